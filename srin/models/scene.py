"""The composite as the normalizations see it: foreground, background and regions at each feature resolution."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EMPTY = 1e-4  # summed weight below which a side counts as empty; one pixel of a 1024 px picture at H/8 weighs 0.016
EPS = 1e-5


@dataclass
class Level:
    """Weights at one feature resolution (h, w); all fp32, all in [0, 1].

    Attributes:
        mask: (B, 1, h, w), the area-resized foreground mask; mixes foreground and background results.
        foreground, background: (B, 1, h, w), weights for statistics. An empty side falls back to the whole image.
        colour: (B, 3, h, w), the area-resized composite.
        foreground_regions, background_regions: (B, R, h, w), the same weights split by region; None without a map.
        region_colours: (B, R, 3), mean composite colour of each region, the value that paints M_s.
        painted: (B, 3, h, w), M_s: every region in its mean colour; None without a map.
    """

    mask: Tensor
    foreground: Tensor
    background: Tensor
    colour: Tensor
    foreground_regions: Tensor | None
    background_regions: Tensor | None
    region_colours: Tensor | None
    painted: Tensor | None


class Scene:
    """A batch of composites with masks and region maps, resized to feature resolutions on demand.

    Args:
        composite: (B, 3, H, W) in [-1, 1].
        mask: (B, 1, H, W) in [0, 1]; soft values are allowed.
        regions: int64 (B, H, W), region ids from 0, or None for one region.
        rim: pixels just outside the mask that belong to neither side's statistics. In a synthetic composite that rim
            still shows the object's true colours, in a real one it shows fringes; neither is light to borrow.
    """

    def __init__(self, composite: Tensor, mask: Tensor, regions: Tensor | None, rim: int) -> None:
        self.composite = composite.float()
        self.mask = mask.float()
        grown = F.max_pool2d(self.mask, 2 * rim + 1, stride=1, padding=rim) if rim else self.mask
        self._foreground = _or_everything(self.mask)
        self._background = _or_everything(1 - grown)
        self._members: Tensor | None = None
        self._region_colours: Tensor | None = None
        if regions is not None:
            self._members = F.one_hot(regions, int(regions.max()) + 1).movedim(-1, 1).to(self.composite.dtype)
            with torch.autocast(composite.device.type, enabled=False):
                self._region_colours = pool(self.composite, self._members)
        self._levels: dict[tuple[int, int], Level] = {}

    def at(self, height: int, width: int) -> Level:
        """The weights at a feature resolution; computed once per resolution."""
        key = (height, width)
        if key not in self._levels:
            with torch.autocast(self.composite.device.type, enabled=False):
                self._levels[key] = self._level(key)
        return self._levels[key]

    def _level(self, size: tuple[int, int]) -> Level:
        foreground_regions = background_regions = painted = None
        if self._members is not None and self._region_colours is not None:
            foreground_regions = resize(self._members * self._foreground, size)
            background_regions = resize(self._members * self._background, size)
            painted = torch.einsum("brhw,brc->bchw", resize(self._members, size), self._region_colours)
        return Level(
            mask=resize(self.mask, size),
            foreground=resize(self._foreground, size),
            background=resize(self._background, size),
            colour=resize(self.composite, size),
            foreground_regions=foreground_regions,
            background_regions=background_regions,
            region_colours=self._region_colours,
            painted=painted,
        )


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Area resize: (B, C, H, W) -> (B, C, *size). Small objects get small weights instead of vanishing."""
    return x if tuple(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size)


def pool(features: Tensor, weights: Tensor) -> Tensor:
    """Weighted means: (B, C, h, w) features under (B, R, h, w) weights -> (B, R, C); 0 where a weight map is empty."""
    sums = torch.einsum("brhw,bchw->brc", weights, features)
    return sums / weights.sum((2, 3)).clamp_min(1e-12)[..., None]


def mean_std(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation over positions, fp32.

    Args:
        x: (B, C, h, w). weight: (B, 1, h, w), not all zero.

    Returns:
        Two tensors (B, C, 1, 1); std is sqrt(variance + 1e-5).
    """
    weight = weight / weight.sum((2, 3), keepdim=True)
    mean = (x * weight).sum((2, 3), keepdim=True)
    variance = ((x - mean) ** 2 * weight).sum((2, 3), keepdim=True)
    return mean, (variance + EPS).sqrt()


def _or_everything(weight: Tensor) -> Tensor:
    empty = weight.sum((2, 3), keepdim=True) < EMPTY
    return torch.where(empty, torch.ones_like(weight), weight)
