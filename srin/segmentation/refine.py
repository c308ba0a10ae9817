"""Fits a mask's edge to the photo at full resolution, by closed-form matting in a band around the edge.

A segmenter's mask has 256 or 640 pixels a side, and one of these pixels covers many of a photo's. The matte is solved at
a reduced size first, and then at full size in a band of a few pixels, so the cost grows with the edge's length alone.
"""

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np

from srin.errors import MaskError

COARSE_SIDE = 1024  # pixels of the longer side
FINE_REACH = 2.0  # pixels of the coarse solution: how far its edge may be off
TILE = 512
MARGIN = 16  # pixels around a tile that are solved with it, so that tiles agree at their seams
EPSILON = 1e-4  # closed-form regularization, about the variance of grain; smaller values fit the matte to the grain
TOLERANCE = 1e-4  # relative, of the solver; its default is far finer than 8 bits need
EDGE, EDGE_SIDE = 0.8, 1280  # blur of a hard edge: pixels, for photos of up to this longer side; in proportion above
SHIFTS = (1e-3, 1e-2, 0.1, 0.5, 1.0)  # of the preconditioner; without smaller ones, which fail with warnings first


def feathered_alpha(image: np.ndarray, mask: np.ndarray, reach: float) -> np.ndarray:
    """Estimates the share of foreground in every pixel near the mask's edge, for hair and fur.

    It uses closed-form matting (Levin, Lischinski, Weiss, 2008), as implemented by PyMatting.

    Args:
        image: uint8 (H, W, 3), sRGB. mask: uint8 (H, W), foreground where > 127.
        reach: pixels on both sides of the mask's edge within which hairs lie; 1 to a tenth of the longer side.
            The narrower the better: 1 to 1.5 % of the longer side suits most hair.

    Returns:
        uint8 (H, W), 0 to 255: beyond `reach` of the mask's edge, 255 inside and 0 outside.

    Raises:
        MaskError: sizes differ, or the reach is out of range.
    """
    limit = max(mask.shape) / 10
    if not 1 <= reach <= max(limit, 1):
        raise MaskError(f"The feather must reach 1 to {limit:.0f} pixels for this photo, not {reach:g}.")
    return np.rint(_matte(image, mask, reach).clip(0, 1) * 255).astype(np.uint8)


def softened(mask: np.ndarray) -> np.ndarray:
    """Blurs the edge of a hard mask, uint8 (H, W), to be as soft as a photo's own edges: without stairs or fringes."""
    return cv2.GaussianBlur(mask, (0, 0), EDGE * max(1.0, max(mask.shape) / EDGE_SIDE))


def warm_up() -> None:
    """Imports the matting library, whose first import on a machine compiles for half a minute."""
    import pymatting  # noqa: F401


def _matte(image: np.ndarray, mask: np.ndarray, reach: float) -> np.ndarray:
    """float32 (H, W), 0 to 1. The band is `reach` pixels to both sides of the mask's edge."""
    if image.shape[:2] != mask.shape:
        raise MaskError(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the photo "
            f"{image.shape[1]} x {image.shape[0]}. Both must have the same size."
        )
    height, width = mask.shape
    firm = np.where(mask > 127, np.float32(1), np.float32(0))
    shrink = min(1.0, COARSE_SIDE / max(height, width))
    if shrink == 1:
        return _solved(image, _trimap(firm, reach))
    small = max(1, round(width * shrink)), max(1, round(height * shrink))
    coarse = _solved(
        cv2.resize(image, small, interpolation=cv2.INTER_AREA),
        _trimap(cv2.resize(firm, small, interpolation=cv2.INTER_AREA), reach * shrink),
    )
    guess = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    # At full size, the matte is solved where the coarse one is soft, and close to its edges.
    trimap = _trimap((guess > 0.5).astype(np.float32), FINE_REACH / shrink)
    trimap[(guess > 0.02) & (guess < 0.98)] = 0.5
    outside = np.abs(_trimap(firm, reach) - 0.5) == 0.5
    trimap[outside] = firm[outside]
    return _solved(image, trimap)


def _trimap(mask: np.ndarray, reach: float) -> np.ndarray:
    """float32: 1 and 0 where the mask (0 to 1) is certain, 0.5 within `reach` pixels of its edge."""
    inside = (mask > 0.5).astype(np.uint8)
    trimap = inside.astype(np.float32)
    for side in (inside, 1 - inside):
        if not side.all():
            trimap[(side > 0) & (cv2.distanceTransform(side, cv2.DIST_L2, 5) <= reach)] = 0.5
    return trimap


def _solved(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """The matte of a trimap, solved tile by tile, where there is anything to solve."""
    from pymatting import estimate_alpha_cf, ichol

    alpha = trimap.copy()
    for core, window in _tiles(trimap.shape):
        if not (trimap[core] == 0.5).any():
            continue
        piece = trimap[window]
        if not ((piece == 0).any() and (piece == 1).any()):  # without pixels of both sides, nothing can be solved
            alpha[core] = np.where(trimap[core] == 0.5, piece.max() if (piece == 1).any() else 0.0, trimap[core])
            continue
        solved = estimate_alpha_cf(
            image[window] / 255.0,
            piece.astype(np.float64),
            partial(ichol, shifts=SHIFTS),
            laplacian_kwargs={"epsilon": EPSILON},
            cg_kwargs={"rtol": TOLERANCE},
        )
        inner = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, window, strict=True))
        alpha[core] = solved[inner]
    return alpha


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """(core, window) of every tile: the cores cover the picture, the windows add a margin."""
    for top in range(0, shape[0], TILE):
        for left in range(0, shape[1], TILE):
            core = slice(top, min(top + TILE, shape[0])), slice(left, min(left + TILE, shape[1]))
            yield core, tuple(slice(max(0, s.start - MARGIN), s.stop + MARGIN) for s in core)
