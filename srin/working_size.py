"""Shrinks a composite to what a network sees: a small picture, its mask, regions, and where the background may lend."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import cv2
import numpy as np

from srin.composite import Composite
from srin.errors import SrinError
from srin.resizing import enlarged_labels

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from srin.models.config import ModelConfig

WORKING_SIZES = (64, 4096)
STRIDE = 32  # pixels: both sides are multiples of it, as the encoder wants them
LONGEST = 3.0  # aspect ratio beyond which a picture is squeezed
PAPER_STRIDE = 8  # of the paper's literal networks
MIN_SIDE = 32  # pixels of their shorter side, below which H/8 has too few positions


@dataclass(frozen=True, eq=False)
class Seen:
    """A composite at the working size.

    Attributes:
        image: uint8 (h, w, 3). mask: uint8 (h, w). regions: int32 (h, w) of the semantic map, or None.
        allowed: uint8 (h, w), 255 where the background may lend, or None for everywhere.
    """

    image: np.ndarray
    mask: np.ndarray
    regions: np.ndarray | None = None
    allowed: np.ndarray | None = None

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Batches of one: composite (1, 3, h, w) in [-1, 1], mask (1, 1, h, w), regions (1, h, w) and allowed
        (1, 1, h, w), see `srin.models.network.HarmonizationNet.decide`."""
        import torch

        def of(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device)

        image = of(self.image).permute(2, 0, 1)[None].float() / 127.5 - 1
        mask = of(self.mask)[None, None].float() / 255
        regions = None if self.regions is None else of(self.regions)[None].long()
        return image, mask, regions, None if self.allowed is None else of(self.allowed)[None, None].float() / 255


def seen(
    config: ModelConfig,
    composite: Composite,
    labels: np.ndarray | None = None,
    working_size: int | None = None,
    allowed: np.ndarray | None = None,
) -> Seen:
    """The composite at the working size of a network with this configuration.

    Args:
        labels: int32, the semantic map's, of any size. allowed: bool (H, W), see `srin.reference.lenders`; with it, the
            composite must come from `srin.reference.filled`.
        working_size: for the default networks, the side in pixels of a square with as many pixels as the network sees;
            for the paper's, the picture's longer side in pixels. None: the configuration's.

    Raises:
        SrinError: the working size is out of range.
    """
    if working_size is not None and not WORKING_SIZES[0] <= working_size <= WORKING_SIZES[1]:
        low, high = WORKING_SIZES
        raise SrinError(f"The working size is {working_size} pixels; it must lie between {low} and {high}.")
    if config.preset == "default":
        rows, columns = working_shape(working_size or config.working_size, composite.mask.shape)
    else:
        rows, columns = paper_shape(working_size or config.working_size, composite.mask.shape)

    def small(array: np.ndarray) -> np.ndarray:
        return cv2.resize(array, (columns, rows), interpolation=cv2.INTER_AREA)

    return Seen(
        small(composite.image),
        small(composite.mask),
        None if labels is None else enlarged_labels(labels, (rows, columns)),
        None if allowed is None else small(allowed.astype(np.uint8) * 255),
    )


def working_shape(size: int, picture: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns, multiples of STRIDE, for a picture of this height and width.

    They have about size * size pixels and about the picture's aspect ratio, limited to between 1:3 and 3:1: of the sizes
    around the exact one, the one with the least |log aspect error| + |log area error| / 2.
    """
    aspect = min(max(picture[0] / picture[1], 1 / LONGEST), LONGEST)
    exact = size * aspect**0.5 / STRIDE, size / aspect**0.5 / STRIDE

    def error(shape: tuple[int, ...]) -> float:
        rows, columns = shape[0] * STRIDE, shape[1] * STRIDE
        return abs(np.log(rows / columns / aspect)) + abs(np.log(rows * columns / size**2)) / 2

    around = [{max(1, int(side)), max(1, int(side) + 1)} for side in exact]
    best = min(sorted(product(*around)), key=error)
    return best[0] * STRIDE, best[1] * STRIDE


def paper_shape(side: int, picture: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns with `side` pixels on the longer side, both multiples of 8, for a picture of this size."""
    shrink = side / max(picture)
    rows, columns = (max(MIN_SIDE, round(length * shrink / PAPER_STRIDE) * PAPER_STRIDE) for length in picture)
    return rows, columns
