"""SRIN: semantic-guided region-aware instance normalization (the paper's section 2.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.config import Logits, Shift
from srin.models.paper.attention import attend, with_logits
from srin.models.paper.levels import Level, mean_std


class SRIN(nn.Module):
    """Equations 2 to 6 to the letter, one layer between encoder and decoder.

    Q = h_q(M_s), K = h_k(F_bar), V = h_v(F); R = softmax(Q^T K) over all positions, unscaled; gamma and beta are
    ReLU(g(V R^T * M)), since V^T R as printed has no defined shape; out = gamma * F_bar + beta on the foreground.
    """

    def __init__(self, channels: int, logits: Logits = "plain", shift: Shift = "relu") -> None:
        super().__init__()
        self._logits, self._shift = logits, shift
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
        projected = (self.query(level.painted), self.key(normalized), self.value(x))
        query, key, value = (y.flatten(2).mT for y in projected)
        query = with_logits(query[:, level.inside], self._logits)
        borrowed = attend(query, key, value) * level.mask.flatten(2)[..., level.inside].mT
        # The 1x1 convolutions g are computed as matrix products, which also work without any position.
        gamma, beta = (F.linear(borrowed, g.weight.flatten(1), g.bias).mT for g in (self.gamma, self.beta))
        gamma = F.relu(gamma)
        if self._shift == "relu":
            beta = F.relu(beta)
        return level.mix(gamma * normalized.flatten(2)[..., level.inside] + beta, x)
