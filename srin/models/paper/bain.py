"""BAIN: background-attentional adaptive instance normalization, position by position (Hang et al., CVPR 2022)."""

import torch
from torch import Tensor, nn

from srin.models.config import Logits
from srin.models.paper.attention import attended_statistics, with_logits
from srin.models.paper.levels import Level, mean_std


class BAIN(nn.Module):
    """One layer between encoder and decoder. There is no public code; this is our reading of the paper.

    A = softmax(Q_f K_b^T), mu = A V_b, sigma = sqrt(A V_b^2 - mu^2), out = sigma * IN(F_f) + mu on the foreground, with
    Q and K 1x1 convolutions of the normalized features and V the features themselves.
    """

    def __init__(self, channels: int, logits: Logits = "plain") -> None:
        super().__init__()
        self._logits = logits
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), in fp32; the background passes unchanged."""
        with torch.autocast(x.device.type, enabled=False):
            return self._align(x.float(), level)

    def _align(self, x: Tensor, level: Level) -> Tensor:
        fg_mean, fg_std = mean_std(x, level.foreground)
        bg_mean, bg_std = mean_std(x, level.background)
        inside, outside = level.inside, level.outside
        foreground = (x - fg_mean) / fg_std
        query = with_logits(self.query(foreground).flatten(2)[..., inside].mT, self._logits)
        key = self.key((x - bg_mean) / bg_std).flatten(2)[..., outside].mT
        lent = x.flatten(2)[..., outside].mT
        mean, std = attended_statistics(query, key, lent, lent**2, level.background.flatten(1)[:, outside])
        aligned = foreground.flatten(2)[..., inside] * std.mT + mean.mT
        return level.mix(aligned, x)
