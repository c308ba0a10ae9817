"""Output heads: one gives the harmonized colours (the paper's), the other a residual to add to the composite."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RGBHead(nn.Module):
    """ReLU, 3x3 convolution, tanh: the harmonized colours themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3, H, W) in [-1, 1]."""
        return torch.tanh(self.convolution(F.relu(x)))


class ResidualHead(RGBHead):
    """The same layers, for a residual that is added to the composite's colours. Its weights start at 0 (the identity)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        nn.init.zeros_(self.convolution.weight)
