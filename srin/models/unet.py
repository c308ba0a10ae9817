"""The one backbone: a U-Net whose decoder normalizes foreground and background apart, with slots for RAIN, BAIN, SRIN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.bain import BAIN, PaperBAIN
from srin.models.config import ModelConfig
from srin.models.heads import AffineHead, ResidualHead, RGBHead, apply_affine
from srin.models.rain import RAIN, RegionNorm
from srin.models.scene import Scene
from srin.models.srin import SRIN, PaperSRIN

STRIDE = 8
HEADS: dict[str, type[RGBHead] | type[AffineHead]] = {"rgb": RGBHead, "residual": ResidualHead, "affine": AffineHead}

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
# (kernel, stride, output channels in units of n); the first four end at H/8 and H/4, where "default" has its slots
DECODER = ((3, 1, 8), (3, 1, 8), (4, 2, 8), (3, 1, 8), (4, 2, 4), (3, 1, 2), (4, 2, 1))
SLOTS = 4


class HarmonizationNet(nn.Module):
    """G of I_h = G(I_c, M) * M + I_c * (1 - M), the paper's section 2.1.

    With the affine head the decoder ends at H/4: a colour transform is smooth, and carries no texture.
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
        self.between = _paper_layer(config, channels[-1])

        stages = DECODER[:SLOTS] if config.head == "affine" else DECODER
        self.decoder = nn.ModuleList()
        self.norms = nn.ModuleList()
        inputs = channels[-1]
        for i, (kernel, stride, factor) in enumerate(stages):
            self.decoder.append(nn.ConvTranspose2d(inputs, n * factor, kernel, stride, 1, bias=False))
            self.norms.append(_slot_norm(config, n * factor) if i < SLOTS else RAIN(n * factor))
            inputs = n * factor + channels[-2 - i]  # the skip joins
        self.head = HEADS[config.head](inputs)

    def forward(self, composite: Tensor, mask: Tensor, regions: Tensor | None = None) -> Tensor:
        """The harmonized image.

        Args:
            composite: (B, 3, H, W) in [-1, 1]. mask: (B, 1, H, W) in [0, 1], 1 = foreground.
            regions: int64 (B, H, W), the semantic map's region ids; None means one region.

        Returns:
            (B, 3, H, W); about [-1, 1] on the foreground (not clipped), the composite where the mask is 0.
        """
        output = self._run(composite, mask, regions)
        if self.config.head == "affine":
            output = apply_affine(output, composite)
        elif self.config.head == "residual":
            output = composite + output
        return output * mask + composite * (1 - mask)

    def coefficients(self, composite: Tensor, mask: Tensor, regions: Tensor | None = None) -> Tensor:
        """The affine head's colour transform at a quarter of the size: (B, 12, H/4, W/4), rows of 3x4 matrices.

        Arguments as in `forward`. H and W are rounded up to multiples of 8 first.
        """
        if self.config.head != "affine":
            raise ValueError("only the affine head has coefficients")
        return self._run(composite, mask, regions)

    def statistics(self, composite: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the affine head's first guess sees, see `AffineHead.statistics`; arguments as in `forward`."""
        if not isinstance(self.head, AffineHead):
            raise ValueError("only the affine head makes a first guess")
        composite, mask, _ = _filled_up(composite, mask, None)
        return self.head.statistics(Scene(composite, mask, None, self._rim(composite)))

    def _rim(self, composite: Tensor) -> int | torch.SymInt:
        # Our preset keeps a rim of 1/64 of the picture out of the statistics; the paper knows no rim.
        if self.config.preset == "paper":
            return 0
        side = torch.sym_max(composite.shape[2], composite.shape[3])
        # round(side / 64), halves to even, in whole numbers: those an exported network can compute from its input's size.
        return torch.sym_max(1, (side + 31 + side // 64 % 2) // 64)

    def _run(self, composite: Tensor, mask: Tensor, regions: Tensor | None) -> Tensor:
        height, width = composite.shape[2:]
        composite, mask, regions = _filled_up(composite, mask, regions)
        regions = regions if self.config.slot == "srin" else None
        scene = Scene(composite, mask, regions, self._rim(composite), self.config.painting)
        skips = self._encode(composite, mask)
        x = skips.pop()
        if self.between is not None:
            x = self.between(x, scene.at(*x.shape[2:]))
        for transposed, norm in zip(self.decoder, self.norms, strict=True):
            x = transposed(F.relu(x))
            x = norm(x, scene.at(*x.shape[2:]))
            x = torch.cat([x, skips.pop()], 1)
        if isinstance(self.head, RGBHead):
            return self.head(x)[:, :, :height, :width]
        return self.head(scene, x)

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


def _slot_norm(config: ModelConfig, channels: int) -> RegionNorm:
    """The decoder's normalization where preset "default" has its slots."""
    if config.preset == "paper" or config.slot == "rain":
        return RAIN(channels)
    return BAIN(channels) if config.slot == "bain" else SRIN(channels, config.keys)


def _paper_layer(config: ModelConfig, channels: int) -> PaperBAIN | PaperSRIN | None:
    """Preset "paper"'s layer between encoder and decoder, which its baseline lacks."""
    if config.preset == "default" or config.slot == "rain":
        return None
    return PaperBAIN(channels) if config.slot == "bain" else PaperSRIN(channels, config.keys)


def _filled_up(composite: Tensor, mask: Tensor, regions: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same with both sides rounded up to multiples of STRIDE, by repeating the border."""
    for dim in (-2, -1):
        size = composite.shape[dim]
        filled = (size + STRIDE - 1) // STRIDE * STRIDE
        if torch.compiler.is_exporting() or filled != size:
            place = torch.arange(filled, device=composite.device).clamp_max(size - 1)
            composite, mask = composite.index_select(dim, place), mask.index_select(dim, place)
            regions = None if regions is None else regions.index_select(dim, place)
    return composite, mask, regions
