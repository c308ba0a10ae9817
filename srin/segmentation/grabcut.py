"""The embedded way to cut out an object: GrabCut from a box and strokes, for when there is no checkpoint."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from srin.errors import SegmentationError
from srin.segmentation.prompts import checked_box

PROXY_SIDE = 640  # pixels of the longer side
ITERATIONS = 5
SEED = 0  # OpenCV's k-means starts at random
SEARCH_SIDE = 240  # pixels of a box's longer side at which the object is searched; at 480 no better, on average
BAND = 0.025  # of the proxy's longer side: how far the outline found there may be off
INSET = 0.05  # of the picture's sides: what `subject_mask` takes for background
SPECK = 0.02  # islands and holes smaller than this share of the object are noise
MIN_PIXELS = 16  # of the proxy; fewer is nothing
SMOOTHING = 1.0  # standard deviation, in pixels of the proxy, that rounds off the stairs of its pixels
HINT = "Draw a stroke on the object (and one on the background), or another box."


def box_mask(
    image: np.ndarray,
    box: Sequence[float],
    foreground: np.ndarray | None = None,
    background: np.ndarray | None = None,
    previous: np.ndarray | None = None,
) -> np.ndarray:
    """Cuts out the object inside a box (Rother, Kolmogorov, Blake: GrabCut, 2004).

    Everything outside the box is background, except under strokes. Works on a proxy of at most PROXY_SIDE pixels,
    so the cost doesn't grow with the photo: the object of a large box is searched on a smaller one, and its outline is
    then found again. The same input gives the same mask.

    Args:
        image: uint8 (H, W, 3), sRGB.
        box: (x0, y0, x1, y1), opposite corners in pixels.
        foreground: bool (H, W), True where strokes say that this is the object; wins over `background`.
        background: bool (H, W), True where strokes say that this is not the object.
        previous: bool (H, W), a mask to be corrected: inside the box, it tells where to start from.

    Returns:
        uint8 (H, W), 0 or 255.

    Raises:
        SegmentationError: the box is malformed, outside the picture, too small, or leaves no background; a stroke
            layer differs in size from the picture; or no object was found.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = checked_box(box, height, width)
    proxy = _limited(image, PROXY_SIDE)
    size = proxy.shape[1::-1]

    trimap = np.full(proxy.shape[:2], cv2.GC_BGD, np.uint8)
    rows = slice(math.floor(y0 * size[1] / height), math.ceil(y1 * size[1] / height))
    columns = slice(math.floor(x0 * size[0] / width), math.ceil(x1 * size[0] / width))
    trimap[rows, columns] = cv2.GC_PR_FGD
    if trimap[rows, columns].size < MIN_PIXELS:
        raise SegmentationError(
            f"The box has only {x1 - x0} x {y1 - y0} pixels, which is too small. Draw it around the whole object."
        )
    if previous is not None:
        start = cv2.resize(previous.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        if (start & (trimap == cv2.GC_PR_FGD)).any():
            trimap[(trimap == cv2.GC_PR_FGD) & ~start] = cv2.GC_PR_BGD
    if background is not None:
        trimap[_shrunk(background, image, size)] = cv2.GC_BGD
    if foreground is not None:
        trimap[_shrunk(foreground, image, size)] = cv2.GC_FGD
    if (trimap & 1).all():
        raise SegmentationError(
            "The box covers the whole picture, so nothing shows what the background looks like. Draw it closer "
            "around the object, or draw a stroke on the background."
        )
    side = max(trimap[rows, columns].shape)
    found = _searched(proxy, trimap, SEARCH_SIDE / side) if side > SEARCH_SIDE else _grabcut(proxy, trimap, ITERATIONS)
    found = _without_specks(found, trimap)
    if np.count_nonzero(found) < MIN_PIXELS:
        raise SegmentationError(f"No object was found in the box. {HINT}")
    return _enlarged(found, (width, height))


def subject_mask(image: np.ndarray) -> np.ndarray:
    """Cuts out the subject of a photo without being told where it is: whatever differs from the photo's border.

    Args:
        image: uint8 (H, W, 3), sRGB.

    Returns:
        uint8 (H, W), 0 or 255.

    Raises:
        SegmentationError: as box_mask.
    """
    height, width = image.shape[:2]
    return box_mask(image, (width * INSET, height * INSET, width * (1 - INSET), height * (1 - INSET)))


def _searched(proxy: np.ndarray, trimap: np.ndarray, scale: float) -> np.ndarray:
    """uint8 0/1, the object: found on a copy `scale` times as large, then once more along the outline found there."""
    small = _limited(proxy, round(scale * max(trimap.shape)))
    found = _grabcut(small, cv2.resize(trimap, small.shape[1::-1], interpolation=cv2.INTER_NEAREST), ITERATIONS)
    found = cv2.resize(found * np.uint8(255), proxy.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    reach = round(BAND * max(trimap.shape))
    band = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    narrowed = np.where(found > 127, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
    narrowed[cv2.dilate(found, band) <= 127] = cv2.GC_BGD
    narrowed[cv2.erode(found, band) > 127] = cv2.GC_FGD
    certain = (trimap == cv2.GC_BGD) | (trimap == cv2.GC_FGD)
    narrowed[certain] = trimap[certain]
    return _grabcut(proxy, narrowed, 1) if (narrowed & 1).any() else narrowed & 1


def _limited(image: np.ndarray, side: int) -> np.ndarray:
    """A copy of which no side exceeds `side`."""
    height, width = image.shape[:2]
    shrink = min(1.0, side / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _shrunk(stroke: np.ndarray, image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A stroke on the proxy: wherever it touches, so that thin ones survive."""
    if stroke.shape != image.shape[:2]:
        raise SegmentationError(
            f"The strokes are {stroke.shape[1]} x {stroke.shape[0]} pixels, but the picture is "
            f"{image.shape[1]} x {image.shape[0]}. They must have the same size."
        )
    return cv2.resize(stroke.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0


def _grabcut(proxy: np.ndarray, trimap: np.ndarray, iterations: int) -> np.ndarray:
    """uint8 0/1, the object."""
    if not (trimap & 1).any():
        raise SegmentationError(f"The background strokes cover the whole box. {HINT}")
    labels = trimap.copy()
    cv2.setRNGSeed(SEED)
    model = np.zeros((1, 65))
    no_box = (0, 0, 0, 0)
    cv2.grabCut(proxy, labels, no_box, model, model.copy(), iterations, cv2.GC_INIT_WITH_MASK)
    return labels & 1  # GC_FGD is 1, GC_PR_FGD is 3, the background's are even


def _without_specks(found: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Drops small islands and closes small holes, except where a stroke asks for them."""
    result = found.copy()
    limit = SPECK * np.count_nonzero(found)
    for value, certain in ((1, cv2.GC_FGD), (0, cv2.GC_BGD)):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((result == value).astype(np.uint8), connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] < limit
        small[0] = False  # everything else
        small[np.unique(parts[trimap == certain])] = False
        result[small[parts]] = 1 - value
    return result


def _enlarged(found: np.ndarray, size: Sequence[int]) -> np.ndarray:
    soft = cv2.GaussianBlur(found.astype(np.float32), (0, 0), SMOOTHING)
    soft = cv2.resize(soft, size, interpolation=cv2.INTER_CUBIC)
    return (soft > 0.5) * np.uint8(255)
