"""RAIN: region-aware adaptive instance normalization, used in the decoder (Ling et al., CVPR 2021)."""

import torch
from torch import Tensor, nn

from srin.models.paper.levels import Level, blocks, mean_std


class RAIN(nn.Module):
    """Normalizes foreground and background each by its own statistics; the foreground then takes the background's.

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
            # Both sides are scale * x + shift, and so is their mixture by the mask: one pass over the features is enough.
            fg_gain, bg_gain = 1 + self.foreground_gamma[..., 0], 1 + self.background_gamma[..., 0]
            fg_scale, bg_scale = bg_std / fg_std * fg_gain, bg_gain / bg_std
            # The shift is for features minus the background's mean: with large means, the sums would lose digits.
            fg_shift = bg_mean * fg_gain + self.foreground_beta[..., 0] - (fg_mean - bg_mean) * fg_scale
            bg_shift = self.background_beta[..., 0].expand_as(bg_mean)
            scale, shift = torch.cat([fg_scale, bg_scale], 2), torch.cat([fg_shift, bg_shift], 2)
            f, mask = f.flatten(2), level.mask.flatten(2)
            sides = torch.cat([mask, 1 - mask], 1)
            parts = [torch.addcmul(shift @ sides[..., p], f[..., p] - bg_mean, scale @ sides[..., p]) for p in blocks(f)]
            return torch.cat(parts, 2).view_as(x).to(x.dtype)
