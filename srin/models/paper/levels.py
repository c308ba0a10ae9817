"""Weights and painted regions of a composite for the paper's normalizations, one level for each feature resolution."""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from srin.models.units import EXPORTED_REGIONS

EMPTY = 1e-4  # summed weight below which a side counts as empty; one pixel of a 1024 px picture at H/8 weighs 0.016
EPS = 1e-5
BLOCK = 1 << 18  # numbers handled at a time: a temporary of 1 MiB stays in the cache
MIN_BLOCK = 2048  # positions


class RegionPyramid:
    """A batch of composites with masks and region maps, resized to feature resolutions on demand.

    Args:
        composite: (B, 3, H, W) in [-1, 1].
        mask: (B, 1, H, W) in [0, 1]; soft values are allowed.
        regions: int64 (B, H, W), region ids from 0, or None for one region.
    """

    def __init__(self, composite: Tensor, mask: Tensor, regions: Tensor | None) -> None:
        self.composite = composite.float()
        self.mask = mask.float()
        self.foreground = _or_everything(self.mask)
        self.background = _or_everything(1 - self.mask)
        self.regions = regions
        self._levels: list[Level] = []

    @cached_property
    def painted(self) -> Tensor:
        """(B, 3, H, W), M_s: every region in the mean colour that the composite has there."""
        if self.regions is None:
            return self.composite.mean((2, 3), keepdim=True).expand_as(self.composite)
        count = EXPORTED_REGIONS if torch.compiler.is_exporting() else int(self.regions.max()) + 1
        colours = _region_means(self.composite, self.regions, count)
        index = self.regions.flatten(1)[..., None].expand(-1, -1, 3)
        return colours.gather(1, index).transpose(1, 2).unflatten(2, tuple(self.regions.shape[1:]))

    def at(self, height: int, width: int) -> "Level":
        """The level of a feature resolution; made once. H and W are multiples of it."""
        # A list, because sizes are symbols while a network is exported: they can be compared, but can't be keys.
        for level in self._levels:
            if level.size == (height, width):
                return level
        self._levels.append(Level(self, (height, width)))
        return self._levels[-1]


class Level:
    """The pyramid at one feature resolution (h, w), in fp32. Each tensor is computed when it is first used."""

    def __init__(self, pyramid: RegionPyramid, size: tuple[int, int]) -> None:
        self._pyramid = pyramid
        self.size = size

    @cached_property
    def mask(self) -> Tensor:
        """(B, 1, h, w), the area-resized foreground mask, by which foreground and background results are mixed."""
        return self._resized(self._pyramid.mask)

    @cached_property
    def foreground(self) -> Tensor:
        """(B, 1, h, w), weights for the foreground's statistics; the whole picture if the foreground is empty."""
        return self._resized(self._pyramid.foreground)

    @cached_property
    def background(self) -> Tensor:
        """(B, 1, h, w), the same for the background."""
        return self._resized(self._pyramid.background)

    @cached_property
    def painted(self) -> Tensor:
        """(B, 3, h, w), the area-resized M_s."""
        return self._resized(self._pyramid.painted)

    @cached_property
    def inside(self) -> Tensor:
        """int64 (n,), the positions, out of h * w, where any picture of the batch has foreground (mask above 0)."""
        return _positions_with_weight(self.mask)

    @cached_property
    def outside(self) -> Tensor:
        """int64 (m,), the positions where any picture of the batch has weight in its background."""
        return _positions_with_weight(self.background)

    def mix(self, aligned: Tensor, rest: Tensor) -> Tensor:
        """Mixes aligned (B, C, n), given at `inside`, and rest (B, C, h, w) by the mask: (B, C, h, w)."""
        mask, flat = self.mask.flatten(2)[..., self.inside], rest.flatten(2)
        mixed = aligned * mask + flat[..., self.inside] * (1 - mask)
        return flat.index_copy(2, self.inside, mixed).view_as(rest)

    def _resized(self, x: Tensor) -> Tensor:
        """Area resize by whole factors. Small objects get small weights, but don't vanish."""
        factors = x.shape[2] // self.size[0], x.shape[3] // self.size[1]
        with torch.autocast(x.device.type, enabled=False):
            return x if factors == (1, 1) else F.avg_pool2d(x, factors)


def blocks(x: Tensor) -> list[slice]:
    """Slices of the last dimension of (B, C, N), for work whose temporaries should stay in the cache.

    While training there is one slice, because each slice's gradient would be as large as the whole.
    """
    if torch.compiler.is_exporting() or torch.is_grad_enabled():
        return [slice(None)]  # in an exported network, the number of slices must not depend on the size
    length = max(MIN_BLOCK, BLOCK // (x.shape[0] * x.shape[1]))
    return [slice(start, start + length) for start in range(0, x.shape[2], length)]


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
    # To first order, the variance doesn't depend on the mean that is subtracted, so no gradient has to flow through it.
    centre = mean.detach()
    variance = torch.stack([_squared(x[..., part] - centre) @ weight[:, part] for part in parts]).sum(0)
    return mean[..., None], (variance + EPS).sqrt()[..., None]


def _squared(x: Tensor) -> Tensor:
    return x * x  # the gradient of x**2 is another power


def _region_means(x: Tensor, regions: Tensor, count: int) -> Tensor:
    """Means of (B, C, H, W) over each region of (B, H, W): (B, count, C); 0 for a region without pixels."""
    index = regions.flatten(1)[:, None]
    values = torch.cat([x, torch.ones_like(x[:, :1])], 1).flatten(2)
    sums = values.new_zeros(*values.shape[:2], count).scatter_add(2, index.expand_as(values), values).mT
    return sums[..., :-1] / sums[..., -1:].clamp_min(1)


def _positions_with_weight(weight: Tensor) -> Tensor:
    if torch.compiler.is_exporting():
        return torch.arange(weight.shape[2] * weight.shape[3])  # a size that depends on values can't be exported
    return (weight > 0).any(0).flatten().nonzero()[:, 0]


def _or_everything(weight: Tensor) -> Tensor:
    empty = weight.sum((2, 3), keepdim=True) < EMPTY
    return torch.where(empty, torch.ones_like(weight), weight)
