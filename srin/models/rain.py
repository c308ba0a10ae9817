"""RAIN: region-aware adaptive instance normalization, the baseline's slot (Ling et al., CVPR 2021)."""

import torch
from torch import Tensor, nn

from srin.models.scene import Level, blocks, mean_std


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
            fg_mean, fg_std = (s[..., 0] for s in mean_std(f, level.foreground))
            bg_mean, bg_std = (s[..., 0] for s in mean_std(f, level.background))
            f = f.flatten(2)
            # The foreground's result matters only where there is foreground.
            own = (f[..., level.inside] - fg_mean) / fg_std
            mean, std = self.borrow(f, own, (bg_mean, bg_std), level)
            aligned = (own * std + mean) * (1 + self.foreground_gamma[..., 0]) + self.foreground_beta[..., 0]
            scale = (1 + self.background_gamma[..., 0]) / bg_std
            rest = torch.cat([(f[..., p] - bg_mean) * scale + self.background_beta[..., 0] for p in blocks(f)], 2)
            return level.mix(aligned, rest.view_as(x)).to(x.dtype)

    def borrow(
        self, features: Tensor, own: Tensor, background: tuple[Tensor, Tensor], level: Level
    ) -> tuple[Tensor, Tensor]:
        """The mean and standard deviation that each foreground position takes, broadcastable to (B, C, n).

        Args:
            features: (B, C, h * w), as they came in.
            own: (B, C, n), those at the n positions `level.inside`, normalized by the foreground's statistics.
            background: mean and std of the whole background, (B, C, 1) each.
            level: weights and regions at this resolution.
        """
        raise NotImplementedError


class RAIN(RegionNorm):
    """The foreground takes the mean and standard deviation of the whole background."""

    def borrow(
        self, features: Tensor, own: Tensor, background: tuple[Tensor, Tensor], level: Level
    ) -> tuple[Tensor, Tensor]:
        return background
