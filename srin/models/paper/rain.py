"""RAIN: region-aware adaptive instance normalization, of the decoder (Ling et al., CVPR 2021)."""

import torch
from torch import Tensor, nn

from srin.models.paper.levels import Level, blocks, mean_std


class RAIN(nn.Module):
    """Each side normalized by its own statistics; the foreground then takes the whole background's.

    Four learnt vectors scale and shift the two sides:

        foreground: ((x - mu_f) / s_f * s_b + mu_b) * (1 + g_f) + b_f      background: (x - mu_b) / s_b * (1 + g_b) + b_b
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
            aligned = (own * bg_std + bg_mean) * (1 + self.foreground_gamma[..., 0]) + self.foreground_beta[..., 0]
            scale = (1 + self.background_gamma[..., 0]) / bg_std
            rest = torch.cat([(f[..., p] - bg_mean) * scale + self.background_beta[..., 0] for p in blocks(f)], 2)
            return level.mix(aligned, rest.view_as(x)).to(x.dtype)
