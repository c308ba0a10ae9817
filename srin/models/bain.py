"""BAIN: background-attentional adaptive instance normalization, pixel by pixel (Hang et al., CVPR 2022)."""

import torch
from torch import Tensor, nn

from srin.models.attention import PlaceAttention, attended_statistics
from srin.models.rain import RegionNorm
from srin.models.scene import Level, mean_std


class BAIN(RegionNorm):
    """Preset "default": every foreground position borrows from the background positions that it attends to."""

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
        own, colour, values = positions(foreground), positions(level.colour), positions(features)
        query = self.attention.query(own, own, colour)
        key = self.attention.key(positions(background), colour)
        mean, std = attended_statistics(query, key, values, values**2, positions(level.background)[..., 0])
        return as_map(mean, features), as_map(std, features)


class PaperBAIN(nn.Module):
    """Preset "paper": one layer between encoder and decoder. There is no public code; this is our reading.

    A = softmax(Q_f K_b^T), mu = A V_b, sigma = sqrt(A V_b^2 - mu^2), out = sigma * IN(F_f) + mu on the foreground, with
    Q and K 1x1 convolutions of the normalized features and V the features themselves.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), in fp32; the background passes unchanged."""
        with torch.autocast(x.device.type, enabled=False):
            return self._align(x.float(), level)

    def _align(self, x: Tensor, level: Level) -> Tensor:
        fg_mean, fg_std = mean_std(x, level.foreground)
        bg_mean, bg_std = mean_std(x, level.background)
        foreground = (x - fg_mean) / fg_std
        query = positions(self.query(foreground))
        key = positions(self.key((x - bg_mean) / bg_std))
        values = positions(x)
        mean, std = attended_statistics(query, key, values, values**2, positions(level.background)[..., 0])
        aligned = foreground * as_map(std, x) + as_map(mean, x)
        return aligned * level.mask + x * (1 - level.mask)


def positions(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C)."""
    return x.flatten(2).transpose(1, 2)


def as_map(x: Tensor, like: Tensor) -> Tensor:
    """(B, h * w, C) -> (B, C, h, w), with the height and width of `like`."""
    return x.transpose(1, 2).unflatten(2, tuple(like.shape[2:]))
