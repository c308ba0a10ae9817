"""The composite as the normalizations see it: foreground, background and regions at each feature resolution."""

from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from srin.models.config import Painting

EMPTY = 1e-4  # summed weight below which a side counts as empty; one pixel of a 1024 px picture at H/8 weighs 0.016
EPS = 1e-5
BLOCK = 1 << 18  # numbers handled at a time: a temporary of 1 MiB stays in the cache, a larger one waits for memory
MIN_BLOCK = 2048  # positions
EXPORTED_REGIONS = 64  # of an exported network, whose shapes can't depend on what a map holds; as many as maps have
# Of random colours: a Mersenne prime, and for each channel a power of a multiplier that mixes well modulo it.
PRIME, MIXERS = 2**31 - 1, (48271, 182605794, 1291394886)


class Scene:
    """A batch of composites with masks and region maps, resized to feature resolutions on demand.

    Args:
        composite: (B, 3, H, W) in [-1, 1].
        mask: (B, 1, H, W) in [0, 1]; soft values are allowed.
        regions: int64 (B, H, W), region ids from 0, or None for one region.
        rim: pixels just outside the mask that belong to neither side's statistics. In a synthetic composite that rim
            still shows the object's true colours, in a real one it shows fringes; neither is light to borrow.
        painting: see `srin.models.config.ModelConfig`.

    Attributes:
        region_colours: (B, R, 3) in [-1, 1], the colour of each region in M_s; None without a map.
    """

    def __init__(
        self,
        composite: Tensor,
        mask: Tensor,
        regions: Tensor | None,
        rim: int | torch.SymInt,
        painting: Painting = "mean",
    ) -> None:
        self.composite = composite.float()
        self.mask = mask.float()
        self.foreground = _or_everything(self.mask)
        self.background = _or_everything(1 - grow(self.mask, rim))
        self.regions = regions
        self.region_colours: Tensor | None = None
        if regions is not None:
            count = EXPORTED_REGIONS if torch.compiler.is_exporting() else int(regions.max()) + 1
            if painting == "random":
                self.region_colours = _random_colours(regions, count)
            else:
                self.region_colours = _region_means(self.composite, regions, count)
                if painting == "constant":
                    self.region_colours = torch.zeros_like(self.region_colours)
        self._levels: list[Level] = []

    def at(self, height: int, width: int) -> "Level":
        """The weights at a feature resolution; computed once per resolution. H and W are multiples of it."""
        # A list: while a network is exported sizes are symbols, which can be compared but are no keys.
        for level in self._levels:
            if level.size == (height, width):
                return level
        self._levels.append(Level(self, (height, width)))
        return self._levels[-1]


class Level:
    """Weights at one feature resolution (h, w); all fp32, all in [0, 1], each computed when it is first asked for."""

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self._scene = scene
        self.size = size

    @cached_property
    def mask(self) -> Tensor:
        """(B, 1, h, w), the area-resized foreground mask; mixes foreground and background results."""
        return self._resized(self._scene.mask)

    @cached_property
    def foreground(self) -> Tensor:
        """(B, 1, h, w), weights for the foreground's statistics; an empty side falls back to the whole image."""
        return self._resized(self._scene.foreground)

    @cached_property
    def background(self) -> Tensor:
        """(B, 1, h, w), the same for the background."""
        return self._resized(self._scene.background)

    @cached_property
    def colour(self) -> Tensor:
        """(B, 3, h, w), the area-resized composite."""
        return self._resized(self._scene.composite)

    @cached_property
    def inside(self) -> Tensor:
        """int64 (n,), the positions, out of h * w, where any picture of the batch has foreground to mix in."""
        return _positions_with_weight(self.mask)

    @cached_property
    def outside(self) -> Tensor:
        """int64 (m,), the positions where any picture of the batch has weight in its background."""
        return _positions_with_weight(self.background)

    @cached_property
    def foreground_regions(self) -> Tensor | None:
        """(B, R, h, w), `foreground` split by region; None without a map."""
        return self._split(self._scene.foreground)

    @cached_property
    def background_regions(self) -> Tensor | None:
        """(B, R, h, w), `background` split by region; None without a map."""
        return self._split(self._scene.background)

    @property
    def region_colours(self) -> Tensor | None:
        """(B, R, 3), see `Scene`."""
        return self._scene.region_colours

    @cached_property
    def painted(self) -> Tensor | None:
        """(B, 3, h, w), M_s: every region in its colour; None without a map."""
        regions, colours = self._scene.regions, self._scene.region_colours
        if regions is None or colours is None:
            return None
        index = regions.flatten(1)[..., None].expand(-1, -1, 3)
        return self._resized(colours.gather(1, index).transpose(1, 2).unflatten(2, tuple(regions.shape[1:])))

    def mix(self, aligned: Tensor, rest: Tensor) -> Tensor:
        """aligned (B, C, n), given at `inside`, and rest (B, C, h, w) mixed by the mask: (B, C, h, w)."""
        mask, flat = self.mask.flatten(2)[..., self.inside], rest.flatten(2)
        mixed = aligned * mask + flat[..., self.inside] * (1 - mask)
        return flat.index_copy(2, self.inside, mixed).view_as(rest)

    def _resized(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return resize(x, self.size)

    def _split(self, weight: Tensor) -> Tensor | None:
        """(B, 1, H, W) weights, area-resized for each region by itself."""
        regions, colours = self._scene.regions, self._scene.region_colours
        if regions is None or colours is None:
            return None
        # Every pixel adds its weight to its own cell and region: no (R, H, W) tensor.
        (height, width), (h, w) = regions.shape[1:], self.size
        row = torch.arange(height, device=regions.device) // (height // h)
        column = torch.arange(width, device=regions.device) // (width // w)
        index = (regions * (h * w) + (row[:, None] * w + column)).flatten(1)
        share = weight.flatten(1) / ((height // h) * (width // w))
        split = weight.new_zeros(len(weight), colours.shape[1] * h * w).scatter_add(1, index, share)
        return split.unflatten(1, (colours.shape[1], h, w))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Area resize by whole factors: (B, C, H, W) -> (B, C, *size). Small objects get small weights, but don't vanish."""
    factors = x.shape[2] // size[0], x.shape[3] // size[1]
    return x if factors == (1, 1) else F.avg_pool2d(x, factors)


def grow(mask: Tensor, reach: int | torch.SymInt) -> Tensor:
    """(B, 1, H, W) -> the same, each pixel the maximum over the square of `reach` pixels around it.

    Windows double until they are wide enough, which takes log(reach) steps, and unlike a max pooling they need no
    kernel size that is known when the network is exported.
    """
    for dim in (2, 3):
        place, last = torch.arange(mask.shape[dim], device=mask.device), mask.shape[dim] - 1
        below = above = mask
        for step in _doubling_steps(reach):
            below = torch.maximum(below, below.index_select(dim, (place - step).clamp_min(0)))
            above = torch.maximum(above, above.index_select(dim, (place + step).clamp_max(last)))
        mask = torch.maximum(below, above)
    return mask


def _doubling_steps(reach: int | torch.SymInt) -> list[int] | list[Tensor]:
    """Shifts that widen a window of one pixel to reach + 1 pixels, and are never wider than the window before them.

    An exported network doesn't know its reach: it gets eight, enough for 255 pixels, and some of them are 0.
    """
    steps: list[Any] = []
    if torch.compiler.is_exporting():
        left, width = torch.full((), reach), torch.ones((), dtype=torch.int64)
        for _ in range(8):
            steps.append(torch.minimum(width, left))
            left, width = left - steps[-1], width + steps[-1]
    else:
        while (reached := 1 + sum(steps)) <= reach:
            steps.append(min(reached, reach + 1 - reached))
    return steps


def blocks(x: Tensor) -> list[slice]:
    """Slices of the last dimension of (B, C, N), for work whose temporaries should stay in the cache."""
    if torch.compiler.is_exporting():
        return [slice(None)]  # their number must not depend on the size
    length = max(MIN_BLOCK, BLOCK // (x.shape[0] * x.shape[1]))
    return [slice(start, start + length) for start in range(0, x.shape[2], length)]


def pool(features: Tensor, weights: Tensor) -> Tensor:
    """Weighted means: (B, C, N) features under (B, R, N) weights -> (B, R, C); 0 where a weight map is empty."""
    return weights @ features.mT / weights.sum(2).clamp_min(1e-12)[..., None]


def mean_std(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation over positions, fp32.

    Args:
        x: (B, C, h, w). weight: (B, 1, h, w), not all zero.

    Returns:
        Two tensors (B, C, 1, 1); std is sqrt(variance + 1e-5).
    """
    x, weight = x.flatten(2), (weight / weight.sum((2, 3), keepdim=True)).flatten(2).mT
    parts = blocks(x)
    mean = torch.stack([x[..., part] @ weight[:, part] for part in parts]).sum(0)
    variance = torch.stack([(x[..., part] - mean) ** 2 @ weight[:, part] for part in parts]).sum(0)
    return mean[..., None], (variance + EPS).sqrt()[..., None]


def _region_means(x: Tensor, regions: Tensor, count: int) -> Tensor:
    """Means of (B, C, H, W) over each region of (B, H, W): (B, count, C); 0 for a region without pixels."""
    index = regions.flatten(1)[:, None]
    values = torch.cat([x, torch.ones_like(x[:, :1])], 1).flatten(2)
    sums = values.new_zeros(*values.shape[:2], count).scatter_add(2, index.expand_as(values), values).mT
    return sums[..., :-1] / sums[..., -1:].clamp_min(1)


def _random_colours(regions: Tensor, count: int) -> Tensor:
    """A colour for each region of (B, H, W), (B, count, 3) in [-1, 1], from the places of its pixels.

    In whole numbers, so that the same region has the same colour everywhere; names and colours make no difference.
    """
    index = regions.flatten(1)
    place = torch.arange(1, index.shape[1] + 1, device=regions.device)
    squares = (place**2 % PRIME).expand_as(index)
    code = index.new_zeros(len(index), count).scatter_add(1, index, squares) % PRIME
    return 2 * (code[..., None] * torch.tensor(MIXERS, device=regions.device) % PRIME).float() / PRIME - 1


def _positions_with_weight(weight: Tensor) -> Tensor:
    if torch.compiler.is_exporting():
        return torch.arange(weight.shape[2] * weight.shape[3])  # a size that depends on values can't be exported
    return (weight > 0).any(0).flatten().nonzero()[:, 0]


def _or_everything(weight: Tensor) -> Tensor:
    empty = weight.sum((2, 3), keepdim=True) < EMPTY
    return torch.where(empty, torch.ones_like(weight), weight)
