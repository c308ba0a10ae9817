"""RAIN: region-aware adaptive instance normalization, the baseline's slot (Ling et al., CVPR 2021)."""

import torch
from torch import Tensor, nn

from srin.models.scene import Level, mean_std


class RegionNorm(nn.Module):
    """What RAIN, BAIN and SRIN of the preset "default" share: each side normalized by its own statistics.

    The foreground then takes the statistics that `borrow` finds for it, a mean and a standard deviation for every
    position; four learnt vectors scale and shift the two sides. RAIN borrows the whole background's.

        foreground: ((x - mu_f) / s_f * s + m) * (1 + g_f) + b_f        background: (x - mu_b) / s_b * (1 + g_b) + b_b
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.foreground_gamma = nn.Parameter(torch.zeros(channels, 1, 1))
        self.foreground_beta = nn.Parameter(torch.zeros(channels, 1, 1))
        self.background_gamma = nn.Parameter(torch.zeros(channels, 1, 1))
        self.background_beta = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), in x's dtype; statistics are fp32 even under mixed precision."""
        with torch.autocast(x.device.type, enabled=False):
            f = x.float()
            fg_mean, fg_std = mean_std(f, level.foreground)
            bg_mean, bg_std = mean_std(f, level.background)
            foreground = (f - fg_mean) / fg_std
            background = (f - bg_mean) / bg_std
            mean, std = self.borrow(f, foreground, background, (bg_mean, bg_std), level)
            aligned = (foreground * std + mean) * (1 + self.foreground_gamma) + self.foreground_beta
            rest = background * (1 + self.background_gamma) + self.background_beta
            return (aligned * level.mask + rest * (1 - level.mask)).to(x.dtype)

    def borrow(
        self,
        features: Tensor,
        foreground: Tensor,
        background: Tensor,
        background_statistics: tuple[Tensor, Tensor],
        level: Level,
    ) -> tuple[Tensor, Tensor]:
        """The mean and standard deviation that each position takes, broadcastable to (B, C, h, w).

        Args:
            features: (B, C, h, w), as they came in.
            foreground, background: the same, normalized by the statistics of that side.
            background_statistics: mean and std of the whole background, (B, C, 1, 1) each.
            level: weights and regions at this resolution.
        """
        raise NotImplementedError


class RAIN(RegionNorm):
    """The foreground takes the mean and standard deviation of the whole background."""

    def borrow(
        self,
        features: Tensor,
        foreground: Tensor,
        background: Tensor,
        background_statistics: tuple[Tensor, Tensor],
        level: Level,
    ) -> tuple[Tensor, Tensor]:
        return background_statistics
