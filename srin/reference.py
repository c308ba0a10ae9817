"""References: the part of the background that may lend its light. The networks treat it as the whole background.

Excluded pixels are painted over with colours of the pixels that may lend, before a map is drawn and before a network sees
the picture. A network also leaves them out of every statistic. So their colours don't change a single bit of the result.
"""

import os
from collections.abc import Collection

import cv2
import numpy as np
from PIL import Image

from srin.composite import Composite
from srin.errors import MaskError, SegmentationError
from srin.image_io import Source, load_mask
from srin.resizing import enlarged_labels, shrunk_size

Reference = Source | Collection[int]
SMALLEST = 1e-4  # share of the picture that must be left to borrow from: two pixels of 128 x 128
RIM = 256  # the width of a mark's rim is the mark's longer side divided by this
FILL_SIDE = 128  # cells along the longer side of the grid from which excluded pixels get their colours


def lenders(reference: Reference, composite: Composite, labels: np.ndarray | None) -> np.ndarray:
    """Where the background may lend, according to a reference.

    Args:
        reference: a mask, white (above 127) where the background may lend: a path, bytes, a PIL image, or a uint8 or bool
            array (H, W); or the ids of regions that may lend, as a list, a tuple, a set, a range or a one-dimensional
            array of integers.
        labels: integers (h, w) of any size, the regions that ids refer to; None: there are none.

    Returns:
        bool (H, W), false on background pixels that may not lend, true on the others and where the mask is above 0.

    Raises:
        MaskError: a mask of another size, or nothing of the background is left.
        SegmentationError: ids without regions, or ids that no region has.
        ImageError: the mask can't be read.
    """
    background = composite.mask == 0
    if isinstance(reference, str | bytes | os.PathLike | Image.Image) or _is_picture(reference):
        mask = load_mask(reference, "reference")  # type: ignore[arg-type]
        if mask.shape != background.shape:
            ours, theirs = (f"{shape[1]} x {shape[0]}" for shape in (mask.shape, background.shape))
            raise MaskError(f"The reference has {ours} pixels and the picture {theirs}. Both must have the same size.")
        allowed = mask > 127
    else:
        allowed = _in_regions(reference, labels, background.shape)
    if not enough(allowed, composite):
        raise MaskError(
            "This leaves nothing of the background to take the light from. Choose a part of it beside the pasted object."
        )
    return allowed | ~background


def marked(mark: np.ndarray, only: bool, composite: Composite) -> np.ndarray:
    """Where the background may lend, according to a mark on it. Unlike for `lenders`, nothing may be left.

    Borders of regions and strokes are not exact, so a rim along them lends nothing, unless nothing else is left.

    Args:
        mark: uint8 (h, w), above 127 where the background is marked; of any size, covering the whole picture.
        only: true if only the marked part may lend, false if the marked part may not.

    Returns:
        bool (H, W), of the composite's size, true where the composite's mask is above 0.
    """
    inside = mark > 127
    lends = (inside if only else ~inside).view(np.uint8)
    width = 2 * round(max(mark.shape) / RIM) + 1
    inner = cv2.erode(lends, np.ones((width, width), np.uint8))
    return (enlarged_labels(inner if inner.any() else lends, composite.mask.shape) > 0) | (composite.mask > 0)


def enough(allowed: np.ndarray, composite: Composite) -> bool:
    """Whether `allowed`, bool (H, W), leaves a network enough of the background to borrow from."""
    return bool(np.count_nonzero(allowed & (composite.mask == 0)) >= SMALLEST * allowed.size)


def filled(composite: Composite, allowed: np.ndarray | None) -> Composite:
    """Paints smoothly over the excluded background, with colours of the background that may lend.

    Args:
        allowed: bool (H, W), from `lenders`; None: everything. Pixels where the mask is above 0 are kept.

    Returns:
        A composite that doesn't depend on the excluded pixels' colours.
    """
    if allowed is None or allowed.all():
        return composite
    height, width = allowed.shape
    lend = (allowed & (composite.mask == 0))[..., None].view(np.uint8)
    cells = shrunk_size(width, height, FILL_SIDE)[::-1]
    rows, columns = (np.arange(count) * side // count for count, side in zip(cells, (height, width), strict=True))

    def sums(values: np.ndarray) -> np.ndarray:
        """Sums over the cells of a grid: (H, W, C) -> float32 (h, w, C)."""
        down = np.add.reduceat(values, rows, axis=0, dtype=np.uint32)
        return np.add.reduceat(down, columns, axis=1).astype(np.float32)

    weight = sums(lend)
    # Colours are multiplied by 0 or 1 as integers, so that an excluded pixel adds exactly 0.
    fill = _pulled_and_pushed(sums(composite.image * lend), weight)
    image = cv2.resize(np.rint(fill).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.copyTo(composite.image, allowed.view(np.uint8), image)
    return Composite(image, composite.mask)


def _pulled_and_pushed(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean colours of a grid's cells; cells without weight take their colours from coarser grids.

    Pull-push: Gortler et al., "The Lumigraph" (SIGGRAPH 1996), section 3.4.

    Args:
        total: float32 (h, w, 3), sums of colours. weight: float32 (h, w, 1), pixels that were summed, not 0 everywhere.

    Returns:
        float32 (h, w, 3), means of colours.
    """
    height, width = weight.shape[:2]
    mean = total / np.maximum(weight, 1)
    if weight.all() or height == width == 1:
        return mean
    size = ((width + 1) // 2, (height + 1) // 2)
    # Area means of colours times weights and of weights: their quotient is the weighted mean. Weights are at most 1.
    trusted = np.minimum(weight, 1)
    coarse = [cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (mean * trusted, trusted)]
    below = coarse[1].reshape(*size[::-1], 1)
    colours = coarse[0].reshape(*size[::-1], 3) / np.where(below > 0, below, 1)
    known = (below > 0).astype(np.float32)
    coarser = _pulled_and_pushed(colours * known, known)
    up = cv2.resize(coarser, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    return np.where(weight > 0, mean, up)


def _is_picture(reference: object) -> bool:
    return isinstance(reference, np.ndarray) and reference.ndim != 1


def _in_regions(ids: Collection[int], labels: np.ndarray | None, size: tuple[int, ...]) -> np.ndarray:
    """bool (H, W), true where one of the regions is; the map may be of another size."""
    if labels is None:
        raise SegmentationError("Region ids refer to a semantic map: give the map too, or a mask instead of ids.")
    wanted = list(ids)
    if not all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in wanted):
        raise SegmentationError("A reference is a mask, or the ids of regions, which are whole numbers.")
    unknown = sorted(set(map(int, wanted)) - set(map(int, np.unique(labels))))
    if unknown:
        shown = ", ".join(map(str, unknown[:10]))
        span = f"from {labels.min()} to {labels.max()}"
        raise SegmentationError(f"The semantic map has no region {shown}. Its ids run {span}.")
    return enlarged_labels(np.isin(labels, wanted), size)
