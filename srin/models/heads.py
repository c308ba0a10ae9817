"""Two ways to end the network: colours (the paper's), or a colour transform (ours)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.scene import Scene, mean_std


class RGBHead(nn.Module):
    """ReLU, 3x3 convolution, tanh: the harmonized colours themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3, H, W) in [-1, 1]."""
        return torch.tanh(self.convolution(F.relu(x)))


class AffineHead(nn.Module):
    """A 3x4 colour transform: one for the whole foreground plus a smooth residual from the decoder.

    The global part is read from the statistics of foreground and background: of the colours, of the first and the last
    encoder layer and of the decoder, where the slot has aligned the two sides. Both parts start at zero (the identity).
    Matrices act around the foreground's mean colour, which decouples a shift of the tone from a change of contrast.
    Texture stays in the composite, so there is nothing to blur and the transform carries to any resolution.
    """

    def __init__(self, width: int, bottleneck: int, channels: int) -> None:
        super().__init__()
        pooled = 4 * 3 + 4 * width + 2 * bottleneck + 2 * channels
        self.pooled = nn.Sequential(
            nn.Linear(pooled, 2 * bottleneck),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * bottleneck, bottleneck),
            nn.LeakyReLU(0.2),
            nn.Linear(bottleneck, 12),
        )
        self.residual = nn.Conv2d(channels, 12, 3, padding=1)
        for layer in (self.pooled[-1], self.residual):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, scene: Scene, first: Tensor, bottleneck: Tensor, decoded: Tensor) -> Tensor:
        """Colour transforms (B, 12, h, w) in fp32 at the decoder's resolution, rows of [A | b], out = A colour + b.

        Args:
            scene: the composites. first: (B, n, H, W), first encoder layer. bottleneck: (B, 8n, H/8, W/8), last one.
            decoded: (B, C, h, w), the decoder's output with its skip.
        """
        with torch.autocast(decoded.device.type, enabled=False):
            decoded = decoded.float()
            full, deep, here = (scene.at(*x.shape[2:]) for x in (first, bottleneck, decoded))
            fg_colour = mean_std(scene.composite, full.foreground)
            statistics = [
                *fg_colour,
                *mean_std(scene.composite, full.background),
                *mean_std(first.float(), full.foreground),
                *mean_std(first.float(), full.background),
                mean_std(bottleneck.float(), deep.foreground)[0],
                mean_std(bottleneck.float(), deep.background)[0],
                mean_std(decoded, here.foreground)[0],
                mean_std(decoded, here.background)[0],
            ]
            change = self.pooled(torch.cat(statistics, 1).flatten(1))[..., None, None]
            change = (change + self.residual(F.relu(decoded))).unflatten(1, (3, 4))
            matrix, shift = change[:, :, :3], change[:, :, 3]
            mean = fg_colour[0]
            shift = shift - torch.einsum("bijhw,bj->bihw", matrix, mean[..., 0, 0])
            matrix = matrix + torch.eye(3, device=matrix.device)[None, :, :, None, None]
            return torch.cat([matrix, shift[:, :, None]], 2).flatten(1, 2)


def apply_affine(coefficients: Tensor, image: Tensor) -> Tensor:
    """Applies colour transforms: (B, 12, h, w), upsampled bilinearly, to (B, 3, H, W) -> (B, 3, H, W).

    The coefficients may cover a picture padded to multiples of 8 (see `HarmonizationNet.coefficients`).
    """
    height, width = image.shape[2:]
    padded = (height + -height % 8, width + -width % 8)
    matrix = F.interpolate(coefficients, size=padded, mode="bilinear", align_corners=False)
    matrix = matrix[:, :, :height, :width].unflatten(1, (3, 4))
    return (matrix[:, :, :3] * image[:, None]).sum(2) + matrix[:, :, 3]
