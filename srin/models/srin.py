"""SRIN: semantic-guided region-aware instance normalization (the paper's section 2.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.attention import PlaceAttention, attend, attended_statistics
from srin.models.config import Keys
from srin.models.rain import RegionNorm
from srin.models.scene import Level, blocks, mean_std, pool


class SRIN(RegionNorm):
    """Preset "default" (ours): foreground positions attend to the background's regions.

    A region of the semantic map answers with its mean normalized feature and its colour in M_s, weighed by its area;
    it lends its mean and second moment. A position asks with its own normalized feature, with its region's, and with
    its region's colour. With one background region this is RAIN; with every pixel a region of its own it is BAIN.
    The cost is O(positions x regions).

    With keys="all" the foreground's regions answer too. As long as queries are zero that is not RAIN: the foreground
    takes the statistics of both sides together.
    """

    def __init__(self, channels: int, keys: Keys = "background") -> None:
        super().__init__(channels)
        self.attention = PlaceAttention(channels)
        self.keys = keys

    def lending(self, level: Level) -> Tensor | None:
        """(B, R, h, w), the weights of the regions that answer; None without a map."""
        if level.background_regions is None or level.foreground_regions is None or self.keys == "background":
            return level.background_regions
        return level.background_regions + level.foreground_regions

    def borrow(
        self, features: Tensor, own: Tensor, background: tuple[Tensor, Tensor], level: Level
    ) -> tuple[Tensor, Tensor]:
        lending = self.lending(level)
        if level.foreground_regions is None or lending is None or level.region_colours is None:
            return background  # no map: one region
        lending = lending.flatten(2)
        parts = blocks(features)
        sums = sum(lending[..., p] @ torch.cat([features[..., p], features[..., p] ** 2], 1).mT for p in parts)
        area = lending.sum(2)
        mean, second_moment = (sums / area.clamp_min(1e-12)[..., None]).chunk(2, -1)
        key = self.attention.key((mean - background[0].mT) / background[1].mT, level.region_colours)
        belonging = level.foreground_regions.flatten(2)[..., level.inside]
        member = (belonging / belonging.sum(1, keepdim=True).clamp_min(1e-12)).mT
        query = self.attention.query(own.mT, member @ pool(own, belonging), member @ level.region_colours)
        mean, std = attended_statistics(query, key, mean, second_moment, area)
        return mean.mT, std.mT


class PaperSRIN(nn.Module):
    """Preset "paper": equations 2 to 6 to the letter, one layer between encoder and decoder.

    Q = h_q(M_s), K = h_k(F_bar), V = h_v(F); R = softmax(Q^T K) over the key positions, unscaled; gamma and beta are
    ReLU(g(V R^T * M)), since V^T R as printed has no defined shape; out = gamma * F_bar + beta on the foreground.

    With keys="background" (ours) positions count for the share of background in them.
    """

    def __init__(self, channels: int, keys: Keys = "all") -> None:
        super().__init__()
        self.keys = keys
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
        query, key, value = (y.flatten(2).mT for y in (self.query(painted), self.key(normalized), self.value(x)))
        log_weight = level.background.flatten(1).log() if self.keys == "background" else None
        borrowed = attend(query[:, level.inside], key, value, log_weight)
        borrowed = borrowed * level.mask.flatten(2)[..., level.inside].mT
        # The 1x1 convolutions g, as products with a matrix: there may be no position at all.
        gamma, beta = (F.relu(F.linear(borrowed, g.weight.flatten(1), g.bias)).mT for g in (self.gamma, self.beta))
        return level.mix(gamma * normalized.flatten(2)[..., level.inside] + beta, x)
