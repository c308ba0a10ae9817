"""The paper's U-Net: RAIN in the decoder, and a layer of BAIN or SRIN between encoder and decoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.config import ModelConfig
from srin.models.paper.bain import BAIN
from srin.models.paper.heads import ResidualHead, RGBHead
from srin.models.paper.levels import Level, RegionPyramid
from srin.models.paper.rain import RAIN
from srin.models.paper.srin import SRIN

STRIDE = 8
HEADS: dict[str, type[RGBHead]] = {"rgb": RGBHead, "residual": ResidualHead}

# (kernel, stride, output channels in units of n, instance norm after)
ENCODER = (
    (3, 1, 1, False),
    (4, 2, 2, True),
    (3, 1, 4, True),
    (4, 2, 8, True),
    (3, 1, 8, True),
    (4, 2, 8, True),
    (3, 1, 8, True),
    (3, 1, 8, False),
)
# (kernel, stride, output channels in units of n)
DECODER = ((3, 1, 8), (3, 1, 8), (4, 2, 8), (3, 1, 8), (4, 2, 4), (3, 1, 2), (4, 2, 1))


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalization over the whole picture, so that the foreground stays different from the background."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor, level: Level) -> Tensor:  # type: ignore[override]
        """(B, C, h, w) -> (B, C, h, w); called as RAIN is."""
        return super().forward(x)


class PaperNet(nn.Module):
    """G of I_h = G(I_c, M) * M + I_c * (1 - M), the paper's section 2.1.

    `config` has preset "paper". Its baseline (slot "rain") has no layer between encoder and decoder.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        n = config.width
        channels = [4] + [n * factor for _, _, factor, _ in ENCODER]
        self.encoder = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], kernel, stride, 1, bias=False)
            for i, (kernel, stride, _, _) in enumerate(ENCODER)
        )
        inputs = channels[-1]
        self.between: BAIN | SRIN | None = None
        if config.slot != "rain":
            bain = config.slot == "bain"
            self.between = BAIN(inputs, config.logits) if bain else SRIN(inputs, config.logits, config.shift)
        self.decoder = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, (kernel, stride, factor) in enumerate(DECODER):
            self.decoder.append(nn.ConvTranspose2d(inputs, n * factor, kernel, stride, 1, bias=False))
            self.norms.append(RAIN(n * factor) if config.decoder_norm == "rain" else InstanceNorm(n * factor))
            inputs = n * factor + channels[-2 - i]  # the skip joins
        self.head = HEADS[config.head](inputs)

    def forward(self, composite: Tensor, mask: Tensor, regions: Tensor | None = None) -> Tensor:
        """The harmonized image.

        Args:
            composite: (B, 3, H, W) in [-1, 1]. mask: (B, 1, H, W) in [0, 1], 1 = foreground.
            regions: int64 (B, H, W), the semantic map's region ids; None means one region.

        Returns:
            (B, 3, H, W); equal to the composite where the mask is 0. On the foreground it is in [-1, 1] with head "rgb",
            and in [-2, 2] with head "residual".
        """
        height, width = composite.shape[2:]
        output = self._run(*_filled_up(composite, mask, regions))[:, :, :height, :width]
        if self.config.head == "residual":
            output = composite + output
        return output * mask + composite * (1 - mask)

    def _run(self, composite: Tensor, mask: Tensor, regions: Tensor | None) -> Tensor:
        """The head's output, (B, 3, H, W); H and W are multiples of STRIDE."""
        pyramid = RegionPyramid(composite, mask, regions if self.config.slot == "srin" else None)
        skips = self._encode(composite, mask)
        x = skips.pop()
        if self.between is not None:
            x = self.between(x, pyramid.at(*x.shape[2:]))
        for transposed, norm in zip(self.decoder, self.norms, strict=True):
            x = transposed(F.relu(x))
            x = norm(x, pyramid.at(*x.shape[2:]))
            x = torch.cat([x, skips.pop()], 1)
        return self.head(x)

    def _encode(self, composite: Tensor, mask: Tensor) -> list[Tensor]:
        """The features of every layer of the encoder."""
        x = torch.cat([composite, mask], 1)
        layers: list[Tensor] = []
        for convolution, (_, _, _, norm) in zip(self.encoder, ENCODER, strict=True):
            x = convolution(F.leaky_relu(x, 0.2) if layers else x)
            if norm:
                x = F.instance_norm(x)
            layers.append(x)
        return layers


def _filled_up(composite: Tensor, mask: Tensor, regions: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The arguments with height and width padded to multiples of STRIDE, by repeating the border."""
    for dim in (-2, -1):
        size = composite.shape[dim]
        filled = (size + STRIDE - 1) // STRIDE * STRIDE
        if torch.compiler.is_exporting() or filled != size:
            place = torch.arange(filled, device=composite.device).clamp_max(size - 1)
            composite, mask = composite.index_select(dim, place), mask.index_select(dim, place)
            regions = None if regions is None else regions.index_select(dim, place)
    return composite, mask, regions
