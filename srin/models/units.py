"""Units: the parts of a composite that borrow and lend, each with the statistics of its pixels.

The units are the whole foreground, the whole background, the background's cells (positions on a grid), and the
background's and the foreground's regions of the semantic map. Here they are only measured; the method decides which of
them borrow and lend (`srin.models.slot`).
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from srin.models.config import BACKGROUND_REGIONS, FOREGROUND_REGIONS
from srin.models.encoder import STRIDE, Encoder

GRID = 6  # cells along each side
UNITS = 2 + GRID**2 + BACKGROUND_REGIONS + FOREGROUND_REGIONS
WHOLE_FOREGROUND, WHOLE_BACKGROUND, WHOLES = slice(0, 1), slice(1, 2), slice(0, 2)
CELLS = slice(2, 2 + GRID**2)
LENDING = slice(CELLS.stop, CELLS.stop + BACKGROUND_REGIONS)  # the background's regions
BORROWING = slice(LENDING.stop, UNITS)  # the foreground's regions
EXPORTED_REGIONS = 64  # region ids of an exported network, whose shapes can't depend on what a map holds
COARSE = 4  # pixels a side of a cell of the grid on which nearness to the mask is measured
REACHES = (4, 16, 40)  # pixels of a picture of 128 x 128, beyond the coarse cell itself
BINS = 7  # of the histogram of lightness
COLOURS = 16 + BINS  # numbers of `Units.colour` for each unit
EMPTY = 1e-5  # a unit with less than this share of the picture is empty
EPS = 1e-5


@dataclass
class Units:
    """Statistics of U units in each of B composites; fp32 or, when stored, fp16.

    Attributes:
        area: (B, U), share of the picture; a unit below EMPTY is empty and all its other numbers are 0.
        colour: (B, U, 23): mean of red, green, blue in [-1, 1]; their standard deviations; covariances of red-green,
            red-blue, green-blue; mean of CIELAB / 50; its standard deviations; mean chroma / 50; shares of pixels in
            seven soft bins of lightness.
        texture: (B, U, 2, 80), mean and standard deviation of the encoder's early features.
        meaning: (B, U, M), mean of its late features.
        near: (B, U, 3), share of the unit within about 6, 16 and 40 px (of 128) of the mask.
        place: (B, U, 3), mean row and mean distance from the picture's left border in [0, 1], and spread.
    """

    area: Tensor
    colour: Tensor
    texture: Tensor
    meaning: Tensor
    near: Tensor
    place: Tensor

    def __getitem__(self, index: Any) -> "Units":
        """Some of the units: `index` applies to dimension 1."""
        return Units(**{f.name: getattr(self, f.name)[:, index] for f in fields(self)})

    def where(self, chosen: Tensor) -> "Units":
        """The chosen units of all composites: every field becomes (N, ...). chosen: bool (B, U), of which N are true."""
        return Units(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @property
    def full(self) -> Tensor:
        """(B, U), true where a unit is not empty."""
        return self.area > EMPTY


def concatenated(parts: list[Units]) -> Units:
    """Units side by side, along dimension 1."""
    return Units(**{f.name: torch.cat([getattr(part, f.name) for part in parts], 1) for f in fields(Units)})


def mixture(weights: Tensor, units: Units) -> Units:
    """The statistics of mixtures of units. They are exact: first and second moments are mixed, not deviations.

    Args:
        weights: (B, N, U), shares that sum to 1 over U; 0 for an empty unit.
        units: U units.

    Returns:
        N units. A mixture by area of a partition's units has the statistics of the whole.
    """

    def mean(x: Tensor) -> Tensor:
        return torch.einsum("bnu,bu...->bn...", weights, x)

    # The variance of a mixture: the mean of the variances plus the variance of the means.
    rgb, lab, chroma_and_bins = units.colour[..., :3], units.colour[..., 9:12], units.colour[..., 15:]
    rgb_mean, lab_mean = mean(rgb), mean(lab)
    apart = rgb[:, None] - rgb_mean[:, :, None]  # (B, N, U, 3)
    lab_apart = lab[:, None] - lab_mean[:, :, None]
    variance = mean(units.colour[..., 3:6] ** 2) + torch.einsum("bnu,bnuc->bnc", weights, apart**2)
    crossed = torch.stack(
        [apart[..., 0] * apart[..., 1], apart[..., 0] * apart[..., 2], apart[..., 1] * apart[..., 2]], -1
    )
    covariance = mean(units.colour[..., 6:9]) + torch.einsum("bnu,bnuc->bnc", weights, crossed)
    lab_variance = mean(units.colour[..., 12:15] ** 2) + torch.einsum("bnu,bnuc->bnc", weights, lab_apart**2)
    colour = [rgb_mean, root(variance), covariance, lab_mean, root(lab_variance), mean(chroma_and_bins)]
    # With 80 channels, second moments about 0 cost less memory than deviations of every pair, and are exact enough.
    texture_mean = mean(units.texture[:, :, 0])
    second = mean(units.texture.square().sum(2))
    texture = torch.stack([texture_mean, root(second - texture_mean**2)], 2)
    return Units(
        mean(units.area), torch.cat(colour, -1), texture, mean(units.meaning), mean(units.near), mean(units.place)
    )


def root(variance: Tensor) -> Tensor:
    """The standard deviation; variances below 1e-8 count as 1e-8, since the root has no finite slope at 0."""
    return variance.clamp_min(1e-8).sqrt()


def sides(mask: Tensor, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights of foreground and background, (B, 1, H, W) each, without a rim of one pixel on both sides of the edge.

    The rim of a paste mixes both sides, and that of a synthetic composite may show what was there before. A side with
    hardly anything but rim keeps it, and an empty side becomes the whole picture.

    Args:
        mask: (B, 1, H, W) in [0, 1]. allowed: the same, 0 where the background must not lend; None: everywhere.
    """
    foreground = -F.max_pool2d(-mask, 3, 1, 1)
    background = 1 - F.max_pool2d(mask, 3, 1, 1)
    outside = 1 - mask
    if allowed is not None:
        background, outside = background * allowed, outside * allowed
    few = 20 / 128**2  # of the picture

    def or_else(side: Tensor, wider: Tensor) -> Tensor:
        return torch.where(side.mean((1, 2, 3), keepdim=True) >= few, side, wider)

    def or_all(side: Tensor) -> Tensor:
        return torch.where(side.mean((1, 2, 3), keepdim=True) > EMPTY, side, torch.ones_like(side))

    return or_all(or_else(foreground, mask)), or_all(or_else(background, outside))


def partition(mask: Tensor, regions: Tensor | None, allowed: Tensor | None = None) -> Tensor:
    """The units' weights at the working size: (B, UNITS, H, W), in the order of WHOLES, CELLS, LENDING, BORROWING.

    Args:
        mask, allowed: as for `sides`.
        regions: int64 (B, H, W), ids from 0; None: one region on each side of the mask. If there are more regions than
            units, the smallest ones share the last unit.
    """
    foreground, background = sides(mask, allowed)
    height, width = mask.shape[2:]
    row = torch.arange(height, device=mask.device) * GRID // height
    column = torch.arange(width, device=mask.device) * GRID // width
    cell = row[:, None] * GRID + column
    if regions is None:
        regions = torch.zeros_like(mask[:, 0], dtype=torch.int64)
    labels = [
        cell.expand_as(regions) + CELLS.start,
        _by_size(regions, background, BACKGROUND_REGIONS) + LENDING.start,
        foreground_regions(mask, regions) + BORROWING.start,
    ]
    weights = mask.new_zeros(len(mask), UNITS, height * width)
    weights.scatter_(1, torch.stack(labels, 1).flatten(2), torch.cat([background, background, foreground], 1).flatten(2))
    weights[:, WHOLE_FOREGROUND], weights[:, WHOLE_BACKGROUND] = foreground.flatten(2), background.flatten(2)
    return weights.unflatten(2, (height, width))


def foreground_regions(mask: Tensor, regions: Tensor | None) -> Tensor:
    """int64 (B, H, W): the index of each pixel's region among the units BORROWING; arguments as for `partition`."""
    if regions is None:
        return torch.zeros_like(mask[:, 0], dtype=torch.int64)
    return _by_size(regions, sides(mask)[0], FOREGROUND_REGIONS)


def _by_size(regions: Tensor, side: Tensor, most: int) -> Tensor:
    """Renumbers region ids (B, H, W) by area on one side, the largest first; ids beyond `most` - 1 become `most` - 1."""
    count = EXPORTED_REGIONS if torch.compiler.is_exporting() else int(regions.max()) + 1
    flat = regions.flatten(1)
    area = side.new_zeros(len(regions), count).scatter_add(1, flat, side.flatten(1))
    # Counts the regions that are larger, or as large with a lower id: the same as a stable sort, which can't be exported.
    first = torch.ones(count, count, dtype=torch.bool, device=area.device).tril(-1)
    ahead = (area[:, None] > area[:, :, None]) | ((area[:, None] == area[:, :, None]) & first)
    rank = ahead.sum(2).clamp_max(most - 1)
    return rank.gather(1, flat).view_as(regions)


def measure(encoder: Encoder, composite: Tensor, mask: Tensor, weights: Tensor) -> Units:
    """The statistics of every unit, `meaning` with all channels of the encoder.

    Args:
        composite: (B, 3, H, W) in [-1, 1]; H and W multiples of the encoder's stride. mask: (B, 1, H, W) in [0, 1].
        weights: (B, U, H, W) in [0, 1], each pixel's weight in each unit.
    """
    textures, meanings = encoder(composite)
    with torch.autocast(composite.device.type, enabled=False):
        composite, weights = composite.float(), weights.float()
        levels = [weights]  # at 1/1, 1/2, ... 1/32 of the size, as the features are
        for _ in range(STRIDE.bit_length() - 1):
            # Area-resized: a small unit gets small weights, but doesn't vanish.
            levels.append(_halved(levels[-1]))

        def pooled(values: Tensor, level: int) -> Tensor:
            """Weighted means over each unit: (B, C, H / 2^level, W / 2^level) -> (B, U, C)."""
            pixels = levels[level].flatten(2)
            return pixels @ values.flatten(2).mT / pixels.sum(2, keepdim=True).clamp_min(1e-12)

        pixels = pooled(_pixel_values(composite), 0)
        rgb, rgb2, lab, lab2, chroma_bins, place, spread = pixels.split([3, 6, 3, 3, 1 + BINS, 2, 1], -1)
        outer = torch.cat([rgb**2, rgb[..., :1] * rgb[..., 1:], rgb[..., 1:2] * rgb[..., 2:]], -1)
        variance, covariance = (rgb2 - outer).split([3, 3], -1)
        colour = torch.cat([rgb, root(variance), covariance, lab, root(lab2 - lab**2), chroma_bins], -1)
        means, deviations = [], []
        for level, features in enumerate(textures, 1):
            features = features.float()
            mean, second = pooled(torch.cat([features, features**2], 1), level).chunk(2, -1)
            means.append(mean)
            deviations.append(root(second - mean**2))
        texture = torch.stack([torch.cat(means, -1), torch.cat(deviations, -1)], 2)
        meaning = torch.cat([pooled(features.float(), level) for level, features in enumerate(meanings, 4)], -1)
        spread = root(spread - (place**2).sum(-1, keepdim=True))
        area, near = weights.mean((2, 3)), pooled(_nearness(mask.float()), COARSE.bit_length() - 1)
        found = Units(area, colour, texture, meaning, near, torch.cat([place, spread], -1))
        full = found.full
        return Units(
            **{
                f.name: value * full.view(*full.shape, *[1] * (value.ndim - 2)).to(value.dtype)
                for f in fields(found)
                for value in [getattr(found, f.name)]
            }
        )


def _halved(x: Tensor) -> Tensor:
    """Means of 2 x 2 pixels: (..., H, W) -> (..., H / 2, W / 2). It takes a quarter of the time of average pooling."""
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _pixel_values(composite: Tensor) -> Tensor:
    """The values that are averaged over a unit's pixels: (B, 26, H, W), in the order in which `measure` splits them."""
    height, width = composite.shape[2:]
    lab = to_lab(composite) / 50
    chroma = (lab[:, 1:] ** 2).sum(1, keepdim=True).clamp_min(1e-12).sqrt()
    centres = torch.linspace(0.1, 1.9, BINS, device=lab.device)[:, None, None]
    bins = (1 - (lab[:, :1] - centres).abs() / 0.3).clamp_min(0)
    red, green, blue = composite.split(1, 1)
    row = ((torch.arange(height, device=lab.device) + 0.5) / height)[:, None].expand(height, width)
    column = ((torch.arange(width, device=lab.device) + 0.5) / width)[None].expand(height, width)
    place = torch.stack([row, column, row**2 + column**2])[None].expand(len(lab), -1, -1, -1)
    crossed = [red * green, red * blue, green * blue]
    return torch.cat([composite, composite**2, *crossed, lab, lab**2, chroma, bins, place], 1)


def _nearness(mask: Tensor) -> Tensor:
    """(B, 3, H / COARSE, W / COARSE): 1 where the mask is not 0 within each of REACHES (a square neighbourhood)."""
    coarse = (F.max_pool2d(mask, COARSE) > 0).to(mask.dtype)
    if torch.compiler.is_exporting():
        return torch.cat([_grown(coarse, reach) for reach in REACHES], 1)
    side = (mask.shape[2] * mask.shape[3]) ** 0.5
    grown = []
    for reach in REACHES:
        pixels = max(1, round(reach * side / 128 / COARSE))
        grown.append(F.max_pool2d(coarse, 2 * pixels + 1, 1, pixels))
    return torch.cat(grown, 1)


def _grown(coarse: Tensor, reach: int) -> Tensor:
    """The maximum over the same neighbourhood, for an exported network, whose size and so pooling kernel are not known.

    The windows double in width until they are wide enough: eight steps reach 255 coarse pixels.
    """
    side = torch.full((), coarse.shape[2] * coarse.shape[3], dtype=torch.float32).sqrt()  # of the coarse grid
    left = (reach * side / 128).round().clamp_min(1).long()
    width = torch.ones_like(left)
    steps = []
    for _ in range(8):
        steps.append(torch.minimum(width, left))
        left, width = left - steps[-1], width + steps[-1]
    for dim in (2, 3):
        place, last = torch.arange(coarse.shape[dim], device=coarse.device), coarse.shape[dim] - 1
        below = above = coarse
        for step in steps:
            below = torch.maximum(below, below.index_select(dim, (place - step).clamp_min(0)))
            above = torch.maximum(above, above.index_select(dim, (place + step).clamp_max(last)))
        coarse = torch.maximum(below, above)
    return coarse


def to_lab(picture: Tensor) -> Tensor:
    """sRGB (B, 3, H, W) in [-1, 1] -> CIELAB (D65): L* in [0, 100], a*, b*."""
    rgb = ((picture + 1) / 2).clamp(0, 1)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = linear.new_tensor(
        [
            [0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456],
            [0.212671, 0.715160, 0.072169],
            [0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754],
        ]
    )
    xyz = torch.einsum("ij,bjhw->bihw", matrix, linear)
    f = torch.where(xyz > 0.008856, xyz.clamp_min(1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.split(1, 1)
    return torch.cat([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
