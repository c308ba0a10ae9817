"""What surfaces look like: the first layers of a network that learnt ImageNet, frozen.

How a photo's edges, textures and contrasts look under its light is more than a few thousand photos teach on a CPU: on
held-out composites, statistics of these features are worth 1.3 dB over statistics of colours alone (docs/method.md).
"""

import torch.nn.functional as F
from torch import Tensor, nn

# EfficientNet-Lite0 (Tan and Le, ICML 2019; Google's Lite variant) up to an eighth of the size:
# blocks, kernel, stride, expansion, output channels. Its later stages, which know objects, only overfit here.
STEM = 32
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40))
CHANNELS = tuple(channels for *_, channels in STAGES)


class TextureFeatures(nn.Module):
    """Never trained further; batch normalization is folded into the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM
        for count, kernel, stride, expansion, outputs in STAGES:
            blocks = [InvertedResidual(inputs, outputs, kernel, stride, expansion)]
            blocks += [InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1], H and W multiples of 8 -> features (B, CHANNELS[i], H / 2^(i + 1), W / 2^(i + 1))."""
        x = self.stem(picture)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Convolution(nn.Conv2d):
    """A convolution and ReLU6; where the stride is 2, padded as in TensorFlow, where the weights were learnt."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1, active: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0 if stride == 2 else kernel // 2, groups=groups)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            kernel = self.kernel_size[0]
            before, after = (kernel - 2) // 2, (kernel - 1) // 2
            x = F.pad(x, (before, after, before, after))
        x = super().forward(x)
        return F.relu6(x) if self.active else x


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project (Sandler et al., CVPR 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner, 1, 1) if expansion > 1 else nn.Identity()
        self.filter = Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, outputs, 1, 1, active=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.filter(self.expand(x)))
        return x + y if self.residual else y
