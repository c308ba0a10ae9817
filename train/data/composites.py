"""Synthetic composites on the fly: an object recoloured in its own photo, whose original colours are the truth.

The remedies against the rim leak are here: a network must not find the object's true colours just outside the mask,
because no real cut-and-paste shows them there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import RegionSource
from train.data import recolour
from train.data.photos import COLOUR, MAX_REGIONS, PEOPLE, Photos

UNCHANGED = 0.09  # share of composites that are left as they are: what is harmonious must stay
LIT = 0.25  # share with light that varies across the object
CLEAN_RIM = 0.5  # share whose ring outside the mask is filled from the background beyond it
MERGED, SPLIT = 0.3, 0.2  # shares of region maps that are randomly merged, and cut by a line
MIN_AREA, MAX_AREA = 0.004, 0.8  # foreground share of the picture
# Squared error (of 1) on the foreground between composite and truth: weaker is no task, stronger is no photo.
MIN_ERROR, MAX_ERROR = 40 / 255**2, 4500 / 255**2
MAX_CLIPPED = 0.12
REFERENCE_SIDE = 288  # the rim's widths below are pixels of a photo of this side
GROW = 4
RING = (3, 8)


@dataclass
class Batch:
    """Attributes:
    composite, real: (B, 3, S, S) in [-1, 1]; equal outside the mask. mask: (B, 1, S, S), 0 or 1.
    regions: int64 (B, S, S), foreground and background never share an id.
    weight: (B,), 0 for a composite that was rejected (clipped, too weak, too strong, too small).
    total: the weights' sum over the whole batch, also where this is one process's share of it.
    """

    composite: Tensor
    real: Tensor
    mask: Tensor
    regions: Tensor
    weight: Tensor
    total: float

    def share(self, process: int, processes: int) -> "Batch":
        """The part of a batch that one of several processes trains on; their number divides B."""
        size = len(self.weight) // processes
        part = slice(process * size, (process + 1) * size)
        return self._each(lambda x: x[part])

    def to(self, device: torch.device) -> "Batch":
        return self._each(lambda x: x.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        parts = (self.composite, self.real, self.mask, self.regions, self.weight)
        composite, real, mask, regions, weight = map(change, parts)
        return Batch(composite, real, mask, regions, weight, self.total)


def make_batch(
    photos: Photos, count: int, size: int, generator: torch.Generator, region_source: RegionSource = "mixed"
) -> Batch:
    """Draws photos, recolours an object in each, and rejects what would teach nothing.

    Args:
        photos: on the device where the batch is wanted, as is the generator.
        count: B. size: S, at most the photos' own.
        region_source: see `train.config.DataConfig`; whatever it is, the composites are the same.
    """
    index = torch.multinomial(photos.chance, count, replacement=True, generator=generator)
    real, mask, regions = _crop(photos, index, size, generator, region_source)
    real = _in_some(0.5, real, lambda i: recolour.grade(real[i], generator), generator)
    mask = _grow(mask, size, generator)

    soiled = _foreground_only(real, mask, generator)
    changed = _recolour(soiled, mask, generator)
    unchanged = _draw(count, UNCHANGED, generator)
    changed = torch.where(unchanged, soiled, changed)

    outside = (real > 0.99).float().amax(1, keepdim=True), (changed >= 0.99).float().amax(1, keepdim=True)
    area = mask.sum((1, 2, 3)).clamp_min(1)
    clipped = ((outside[1] - outside[0]) * mask).sum((1, 2, 3)) / area
    error = ((changed - soiled) ** 2 * mask).sum((1, 2, 3)) / (3 * area)
    share = mask.mean((1, 2, 3))
    fine = unchanged.flatten() | ((error > MIN_ERROR) & (error < MAX_ERROR) & (clipped < MAX_CLIPPED))
    weight = (fine & (share > MIN_AREA) & (share < MAX_AREA)).float()

    background = _in_some(CLEAN_RIM, real, lambda i: _clean_rim(real[i], mask[i], size, generator), generator)
    composite = changed * mask + background * (1 - mask)
    truth = soiled * mask + background * (1 - mask)
    # The foreground's regions are its own.
    regions = 2 * regions + (mask[:, 0] > 0.5).long()
    return Batch(composite * 2 - 1, truth * 2 - 1, mask, consecutive(regions), weight, float(weight.sum()))


def _crop(
    photos: Photos, index: Tensor, size: int, generator: torch.Generator, region_source: RegionSource = "mixed"
) -> tuple[Tensor, Tensor, Tensor]:
    """A random crop of 65 to 100 % of each side, mirrored in half of the samples."""
    count = len(index)
    photo = photos.photo_of[index]
    kind = torch.randint(len(photos.maps), (count,), generator=generator, device=index.device)
    if region_source in ("people", "colour"):
        kind = torch.full_like(kind, PEOPLE if region_source == "people" else COLOUR)
    maps = photos.maps[kind, photo]
    extent = recolour.uniform(count, 2, 0.65, 1, generator)[..., 0, 0]
    shift = recolour.uniform(count, 2, -1, 1, generator)[..., 0, 0] * (1 - extent)
    mirror = 1 - 2 * _draw(count, 0.5, generator).flatten().float()
    theta = torch.zeros(count, 2, 3, device=index.device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = extent[:, 0] * mirror, extent[:, 1], shift
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
    real = F.grid_sample(photos.images[photo].float() / 255, grid, padding_mode="border", align_corners=False)
    mask = F.grid_sample(photos.masks[index][:, None].float(), grid, padding_mode="border", align_corners=False)
    regions = F.grid_sample(maps[:, None].float(), grid, "nearest", "border", align_corners=False)[:, 0].long()
    mixed = _merged_and_split(regions, generator)
    if region_source == "mixed":
        regions = mixed
    elif region_source == "one":
        regions = torch.zeros_like(regions)
    return real, (mask > 0.5).float(), regions


def _merged_and_split(regions: Tensor, generator: torch.Generator) -> Tensor:
    """Region ids (B, S, S) below MAX_REGIONS -> below 2 * MAX_REGIONS: some maps coarser, some cut by a random line.

    So that a network trained on a few segmenters accepts the map of any other.
    """
    count, size, device = len(regions), regions.shape[-1], regions.device
    names = torch.randint(MAX_REGIONS, (count, MAX_REGIONS), generator=generator, device=device)
    names = names % torch.randint(1, 13, (count, 1), generator=generator, device=device)
    merge = _draw(count, MERGED, generator)[:, 0]
    regions = torch.where(merge, names.gather(1, regions.flatten(1)).view_as(regions), regions)
    place = torch.linspace(-1, 1, size, device=device)
    angle = recolour.uniform(count, 1, 0, 2 * torch.pi, generator)[:, 0]
    offset = recolour.uniform(count, 1, -0.5, 0.5, generator)[:, 0]
    beyond = place[:, None] * angle.sin() + place[None, :] * angle.cos() > offset
    return 2 * regions + (beyond & _draw(count, SPLIT, generator)[:, 0]).long()


def _recolour(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Every sample by one family, drawn at random; a share of them additionally under uneven light."""
    count = len(x)
    order = torch.randperm(count, generator=generator, device=x.device)
    # Each object's reference is another object of the batch.
    other, other_mask = x[order].roll(1, 0)[order.argsort()], mask[order].roll(1, 0)[order.argsort()]
    families: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda i: recolour.statistics_lab(x[i], mask[i], other[i], other_mask[i], generator),
        lambda i: recolour.statistics_rgb(x[i], mask[i], other[i], other_mask[i], generator),
        lambda i: recolour.camera(x[i], generator),
        lambda i: recolour.tone(x[i], mask[i], generator),
        lambda i: recolour.curves(x[i], generator),
    )
    family = torch.randint(len(families), (count,), generator=generator, device=x.device)
    y = x
    for number, apply in enumerate(families):
        y = _changed(family == number, y, apply)
    y = y.clamp(0, 1)
    return _in_some(LIT, y, lambda i: recolour.light_field(y[i], generator).clamp(0, 1), generator)


def _foreground_only(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Noise or blur that the background doesn't have, as in an object from another camera; part of the truth."""

    def noisy(i: Tensor) -> Tensor:
        noise = torch.randn(x[i].shape, generator=generator, device=x.device)
        return (x[i] + mask[i] * noise * recolour.uniform(len(i), 1, 0, 0.03, generator)).clamp(0, 1)

    def blurred(i: Tensor) -> Tensor:
        return x[i].lerp(F.avg_pool2d(x[i], 3, 1, 1, count_include_pad=False), mask[i])

    x = _in_some(0.15, x, noisy, generator)
    return _in_some(0.15, x, blurred, generator)


def _grow(mask: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """The mask grown by 0 to 4 px before recolouring: blur and bleeding at the true edge are recoloured too."""
    return _dilate(mask, 0, round(GROW * size / REFERENCE_SIDE), generator)


def _clean_rim(x: Tensor, mask: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """The ring just outside the mask, filled from the background beyond it by normalized averaging."""
    low, high = (max(1, round(width * size / REFERENCE_SIDE)) for width in RING)
    known = 1 - _dilate(mask, low, high, generator)
    filled, weight = x * known, known
    for _ in range(high // 2 + 1):
        filled, weight = (_mean_of_5(_mean_of_5(v, 2), 3) for v in (filled, weight))
        filled = torch.where(known > 0, x, filled / weight.clamp_min(1e-6))
        weight = torch.maximum((weight > 1e-6).float(), known)
        filled = filled * weight
    return torch.where(known > 0, x, filled)


def _mean_of_5(x: Tensor, dim: int) -> Tensor:
    """Sliding mean along one side, zero beyond the border. A sum of shifts: a CPU takes several times as long to pool."""
    side = x.shape[dim]
    padded = F.pad(x, (2, 2, 0, 0) if dim == 3 else (0, 0, 2, 2))
    return sum((padded.narrow(dim, start, side) for start in range(1, 5)), padded.narrow(dim, 0, side)) / 5


def _dilate(mask: Tensor, low: int, high: int, generator: torch.Generator) -> Tensor:
    radius = torch.randint(low, high + 1, (len(mask), 1, 1, 1), generator=generator, device=mask.device)
    grown = reached = mask
    for r in range(1, high + 1):
        reached = F.max_pool2d(reached, 3, 1, 1)
        grown = torch.where(radius == r, reached, grown)
    return grown


def consecutive(regions: Tensor, names: int = 4 * MAX_REGIONS) -> Tensor:
    """The ids of each sample, below `names`, renumbered from 0 without gaps: a batch carries no empty regions."""
    flat = regions.flatten(1)
    present = torch.zeros(len(flat), names, dtype=torch.long, device=flat.device).scatter_(1, flat, 1)
    return (present.cumsum(1) - 1).gather(1, flat).view_as(regions)


def _in_some(chance: float, x: Tensor, change: Callable[[Tensor], Tensor], generator: torch.Generator) -> Tensor:
    """x, with a share of its samples, drawn at random, as `change` makes them. Others cost nothing."""
    return _changed(_draw(len(x), chance, generator).flatten(), x, change)


def _changed(chosen: Tensor, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """x (B, ...), with the samples where `chosen` (B,) is true as `change` makes them, given their indices."""
    index = chosen.nonzero()[:, 0]
    return x.index_copy(0, index, change(index)) if len(index) else x


def _draw(count: int, chance: float, generator: torch.Generator) -> Tensor:
    """Boolean (count, 1, 1, 1), true with the given chance."""
    return torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) < chance
