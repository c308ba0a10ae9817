"""SRIN: semantic-guided region-aware instance normalization (the paper's section 2.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.attention import PlaceAttention, attend, attended_statistics
from srin.models.bain import as_map, positions
from srin.models.rain import RegionNorm
from srin.models.scene import Level, mean_std, pool


class SRIN(RegionNorm):
    """Preset "default" (ours): foreground positions attend to the background's regions.

    A region of the semantic map answers with its mean normalized feature and its colour in M_s, weighed by its area;
    it lends its mean and second moment. A position asks with its own normalized feature, with its region's, and with
    its region's colour. With one background region this is RAIN; with every pixel a region of its own it is BAIN.
    The cost is O(positions x regions).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.attention = PlaceAttention(channels)

    def borrow(
        self,
        features: Tensor,
        foreground: Tensor,
        background: Tensor,
        background_statistics: tuple[Tensor, Tensor],
        level: Level,
    ) -> tuple[Tensor, Tensor]:
        if level.foreground_regions is None or level.background_regions is None or level.region_colours is None:
            return background_statistics  # no map: one region
        moments = pool(torch.cat([features, features**2, background], 1), level.background_regions)
        mean, second_moment, answer = moments.chunk(3, -1)
        key = self.attention.key(answer, level.region_colours)
        member = positions(level.foreground_regions)
        member = member / member.sum(-1, keepdim=True).clamp_min(1e-12)
        query = self.attention.query(
            positions(foreground),
            member @ pool(foreground, level.foreground_regions),
            member @ level.region_colours,
        )
        area = level.background_regions.sum((2, 3))
        mean, std = attended_statistics(query, key, mean, second_moment, area)
        return as_map(mean, features), as_map(std, features)


class PaperSRIN(nn.Module):
    """Preset "paper": equations 2 to 6 to the letter, one layer between encoder and decoder.

    Q = h_q(M_s), K = h_k(F_bar), V = h_v(F); R = softmax(Q^T K) over the key positions, unscaled; gamma and beta are
    ReLU(g(V R^T * M)), since V^T R as printed has no defined shape; out = gamma * F_bar + beta on the foreground.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(3, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), in fp32; the background passes unchanged."""
        with torch.autocast(x.device.type, enabled=False):
            return self._align(x.float(), level)

    def _align(self, x: Tensor, level: Level) -> Tensor:
        fg_mean, fg_std = mean_std(x, level.foreground)
        normalized = (x - fg_mean) / fg_std
        # Without a map the whole composite is one region, painted in its mean colour.
        painted = level.painted
        if painted is None:
            painted = level.colour.mean((2, 3), keepdim=True).expand_as(level.colour)
        query, key, value = self.query(painted), self.key(normalized), self.value(x)
        borrowed = as_map(attend(positions(query), positions(key), positions(value)), x) * level.mask
        gamma, beta = F.relu(self.gamma(borrowed)), F.relu(self.beta(borrowed))
        return (gamma * normalized + beta) * level.mask + x * (1 - level.mask)
