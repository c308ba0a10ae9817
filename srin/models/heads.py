"""Ways to end the network: colours (the paper's), a change of colours, or a colour transform (ours)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.scene import Scene, blocks, mean_std
from srin.models.texture import CHANNELS, TextureFeatures

BINS = 9
COLOUR_STATISTICS = 2 * (2 * 5 + 3 * BINS) + 1
TEXTURE_STATISTICS = 4 * sum(CHANNELS)
HIDDEN = 256
MEMBERS = 4  # of the first guess's committee
FAR = 6.0  # standard deviations beyond which a statistic says no more


class RGBHead(nn.Module):
    """ReLU, 3x3 convolution, tanh: the harmonized colours themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3, H, W) in [-1, 1]."""
        return torch.tanh(self.convolution(F.relu(x)))


class ResidualHead(RGBHead):
    """The same, for what is added to the composite's colours: zero at the start (the identity)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        nn.init.zeros_(self.convolution.weight)


class AffineHead(nn.Module):
    """A 3x4 colour transform: one for the whole foreground plus a smooth residual from the decoder.

    The global part is read from the statistics of foreground and background. A first guess comes from their colours
    (means, deviations, histograms) and textures (frozen features); it needs neither encoder nor decoder, and its inputs
    never change, so that it is fitted to a hundred thousand composites in minutes (train/first_guess.py). What the
    decoder shows, where the slot has aligned the two sides, corrects it. All parts start at zero (the identity).
    Matrices act around the foreground's mean colour, which decouples a shift of the tone from a change of contrast.
    Texture stays in the composite, so there is nothing to blur and the transform carries to any resolution.
    """

    def __init__(self, decoded: int) -> None:
        """decoded: channels of the decoder's output."""
        super().__init__()
        self.texture = TextureFeatures()
        self.guess = FirstGuess()
        self.aligned = nn.Sequential(nn.LayerNorm(2 * decoded), *_perceptron(2 * decoded, HIDDEN))
        self.residual = nn.Conv2d(decoded, 12, 3, padding=1)
        nn.init.zeros_(self.residual.weight)
        assert self.residual.bias is not None  # for the type checker
        nn.init.zeros_(self.residual.bias)

    def forward(self, scene: Scene, decoded: Tensor) -> Tensor:
        """Colour transforms (B, 12, h, w) in fp32 at the decoder's resolution, rows of [A | b], out = A colour + b.

        Args:
            scene: the composites, with sides that are multiples of 8.
            decoded: (B, C, h, w), the decoder's output with its skip.
        """
        with torch.autocast(decoded.device.type, enabled=False):
            decoded = decoded.float()
            level = scene.at(*decoded.shape[2:])
            means = [mean_std(decoded, side)[0] for side in (level.foreground, level.background)]
            colours = colour_statistics(scene)
            # Filters tell left from right and light doesn't: a picture and its mirror image are worth two opinions.
            guesses = [self.guess(colours, self.texture_statistics(scene, mirrored)) for mirrored in (False, True)]
            change = torch.stack(guesses).mean(0) + self.aligned(torch.cat(means, 1).flatten(1))
            return around(change[..., None, None] + self.residual(F.relu(decoded)), foreground_mean(colours))

    def statistics(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """What the first guess sees: (B, COLOUR_STATISTICS) and (B, TEXTURE_STATISTICS)."""
        return colour_statistics(scene), self.texture_statistics(scene)

    def texture_statistics(self, scene: Scene, mirrored: bool = False) -> Tensor:
        """(B, TEXTURE_STATISTICS): of each stage and side means and deviations; mirrored: of the mirror image."""
        found: list[Tensor] = []
        for features in self.texture(scene.composite.flip(3) if mirrored else scene.composite):
            features = features.flip(3) if mirrored else features
            level = scene.at(*features.shape[2:])
            for side in (level.foreground, level.background):
                found += mean_std(features, side)
        return torch.cat(found, 1).flatten(1)


class FirstGuess(nn.Module):
    """The change of colours that the statistics of the two sides suggest, as a committee's mean.

    A few thousand photos leave much to chance: each member errs in its own way, and their mean gains 0.2 dB over one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.usual = nn.ModuleList([Standardization(COLOUR_STATISTICS), Standardization(TEXTURE_STATISTICS)])
        self.members = nn.ModuleList(Member() for _ in range(MEMBERS))

    def forward(self, colours: Tensor, textures: Tensor) -> Tensor:
        """(B, COLOUR_STATISTICS), (B, TEXTURE_STATISTICS) -> (B, 12), see `around`."""
        seen = self.standardized(colours, textures)
        return torch.stack([member(*seen) for member in self.members]).mean(0)

    def standardized(self, colours: Tensor, textures: Tensor) -> list[Tensor]:
        """The same statistics on a common scale, as the members see them."""
        return [usual(x) for usual, x in zip(self.usual, (colours, textures), strict=True)]

    def calibrate(self, colours: Tensor, textures: Tensor) -> None:
        """Takes the statistics (N, ...) of many composites for what is usual."""
        for usual, statistics in zip(self.usual, (colours, textures), strict=True):
            assert isinstance(usual, Standardization)  # for the type checker
            usual.set(statistics)


class Member(nn.Module):
    """One of the committee: what colours suggest, and what textures suggest."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = _perceptron(COLOUR_STATISTICS, HIDDEN)
        self.textures = _perceptron(TEXTURE_STATISTICS, 2 * HIDDEN)

    def forward(self, colours: Tensor, textures: Tensor) -> Tensor:
        """Standardized statistics -> (B, 12)."""
        return self.colours(colours) + self.textures(textures)


class Standardization(nn.Module):
    """Statistics on a common scale, by the mean and standard deviation that each has over many composites.

    They differ in scale by orders of magnitude. A LayerNorm, which sees one composite at a time, reaches 0.5 dB less.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def set(self, statistics: Tensor) -> None:
        """statistics: (N, size)."""
        self.mean.copy_(statistics.mean(0))
        self.std.copy_(statistics.std(0).clamp_min(1e-2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, size) -> (B, size), clipped at FAR."""
        return ((x - self.mean) / self.std).clamp(-FAR, FAR)


def colour_statistics(scene: Scene) -> Tensor:
    """(B, COLOUR_STATISTICS): of each side mean and deviation of red, green, blue, grey and colourfulness, and
    histograms of red, green and blue in nine soft bins; then the foreground's share of the picture."""
    full = scene.at(*scene.composite.shape[2:])
    rgb = (scene.composite + 1) / 2
    grey, span = rgb.mean(1, keepdim=True), rgb.amax(1, keepdim=True) - rgb.amin(1, keepdim=True)
    channels = torch.cat([rgb, grey, span], 1)
    statistics = []
    for side in (full.foreground, full.background):
        statistics += [*(s.flatten(1) for s in mean_std(channels, side)), _histograms(rgb, side).flatten(1)]
    return torch.cat([*statistics, full.mask.mean((2, 3))], 1)


def foreground_mean(colours: Tensor) -> Tensor:
    """The foreground's mean colour, (B, 3, 1, 1) in [-1, 1], which (B, COLOUR_STATISTICS) begin with."""
    return 2 * colours[:, :3, None, None] - 1


def _histograms(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted shares of (B, C, h, w) in [0, 1] in BINS soft bins, twice as large as they are: (B, C * BINS, 1).

    Doubled, they are on the scale of the other statistics. A value between two bins' centres belongs to both.
    """
    x, weight = x.flatten(2), (2 * weight / weight.sum((2, 3), keepdim=True)).flatten(2).mT
    centres = torch.linspace(0, 1, BINS, device=x.device)[:, None]
    sums = []
    for part in blocks(x):
        near = (1 - (x[:, :, None, part] - centres).abs() * (BINS - 1)).clamp_min(0)
        sums.append(near.flatten(1, 2) @ weight[:, part])
    return torch.stack(sums).sum(0)


def around(change: Tensor, mean: Tensor) -> Tensor:
    """(B, 12, h, w) change of contrast and shift -> transforms [A | b] that act around a colour (B, 3, 1, 1)."""
    change = change.unflatten(1, (3, 4))
    matrix, shift = change[:, :, :3], change[:, :, 3]
    shift = shift - torch.einsum("bijhw,bj->bihw", matrix, mean[..., 0, 0])
    matrix = matrix + torch.eye(3, device=matrix.device)[None, :, :, None, None]
    return torch.cat([matrix, shift[:, :, None]], 2).flatten(1, 2)


def _perceptron(inputs: int, hidden: int) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, 12),
    )
    for parameter in layers[-1].parameters():
        nn.init.zeros_(parameter)
    return layers


def apply_affine(coefficients: Tensor, image: Tensor) -> Tensor:
    """Applies colour transforms: (B, 12, h, w), upsampled bilinearly, to (B, 3, H, W) -> (B, 3, H, W).

    The coefficients may cover a picture padded to multiples of 8 (see `HarmonizationNet.coefficients`).
    """
    if coefficients.shape[2:] == (1, 1):
        matrix = coefficients.flatten(1).unflatten(1, (3, 4))
        return torch.einsum("bij,bjhw->bihw", matrix[:, :, :3], image) + matrix[:, :, 3, None, None]
    height, width = image.shape[2:]
    padded = (height + -height % 8, width + -width % 8)
    matrix = F.interpolate(coefficients, size=padded, mode="bilinear", align_corners=False)
    matrix = matrix[:, :, :height, :width].unflatten(1, (3, 4))
    return (matrix[:, :, :3] * image[:, None]).sum(2) + matrix[:, :, 3]
