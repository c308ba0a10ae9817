"""Fits a mask's edge to the photo at full resolution, by the local colours of the object and of what is behind it.

A segmenter's mask has 256 or 640 pixels a side, and one of these pixels covers many of a photo's. In a band around the
edge, each pixel is compared with the colours of the object and of the background nearby: hair, fur and thin things have
the object's colours, gaps between them have the background's.
"""

from itertools import product

import cv2
import numpy as np

from srin.errors import MaskError
from srin.resizing import enlarged_part, shrunk_size

INNER = 0.6  # of the reach: how far the band goes into the object
SURE = 0.12  # of the reach: pixels deeper inside the mask show the object's colours
CELL = 6  # cells in a reach, of the grid on which colours are compared
GRID_SIDE = 512  # cells of the grid's longer side, at most
STATISTICS_SIDE = 2048  # pixels of the longer side, at most, of the copy that the colours are taken from
# Colours are averages over Gaussians of these widths, in cells. The wider ones count where the others find nothing.
WIDTHS = ((3, 1.0), (8, 1e-2), (24, 1e-4))
EVERYWHERE = 1e-7  # weight of the average over the whole photo, the same way
NOISE = 4.0  # standard deviation of a photo's noise, of 255
DOUBT = 5.0  # separation of the two colours, in squared standard deviations, at which the mask counts as much as they do
FAVOUR = 0.5  # how strongly pixels inside the mask are taken for the object, and those outside for the background
DEAD = 1.0  # standard deviations from 0 and 1 within which alpha is 0 or 1
FAINT = 0.1  # alpha: pieces that are connected to the mask by less than this are left out
TILE = 512
EDGE, EDGE_SIDE = 0.8, 1280  # blur of a hard edge: pixels, for photos of up to this longer side; in proportion above


def feathered_alpha(image: np.ndarray, mask: np.ndarray, reach: float) -> np.ndarray:
    """Estimates the share of foreground in every pixel near the mask's edge, for hair, fur and thin things.

    Mean and covariance of the object's and of the background's colours are taken around every place. A pixel's alpha is
    its place between the two means, along the direction that separates the two best (Fisher's linear discriminant). The
    less the two differ, the more the mask itself decides.

    Args:
        image: uint8 (H, W, 3), sRGB. mask: uint8 (H, W), foreground where > 127.
        reach: pixels outside the mask's edge within which hairs lie; 1 to a tenth of the longer side.
            1 to 1.5 % of the longer side suits most hair.

    Returns:
        uint8 (H, W), 0 to 255: 0 beyond `reach` of the mask's edge, 255 deep inside.

    Raises:
        MaskError: sizes differ, or the reach is out of range.
    """
    if image.shape[:2] != mask.shape:
        raise MaskError(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the photo "
            f"{image.shape[1]} x {image.shape[0]}. Both must have the same size."
        )
    limit = max(mask.shape) / 10
    if not 1 <= reach <= max(limit, 1):
        raise MaskError(f"The feather must reach 1 to {limit:.0f} pixels for this photo, not {reach:g}.")
    inside = mask > 127
    # Signed distance from the edge, positive inside.
    depth = _distance(inside) - _distance(~inside)
    object_side, other_side = depth > max(1, SURE * reach), depth < -reach
    band = (depth > -reach) & (depth <= INNER * reach)
    if not object_side.any() or not other_side.any():
        return mask  # one side shows no colours to compare with
    direction, offset, separation = _discriminant(image, object_side, other_side, reach)
    alpha = np.where(inside, np.float32(1), np.float32(0))
    height, width = mask.shape
    for top, left in product(range(0, height, TILE), range(0, width, TILE)):
        tile = slice(top, top + TILE), slice(left, left + TILE)
        here = band[tile]
        if not here.any():
            continue
        along, at, apart = (
            enlarged_part(x, (width, height), left, top, here.shape[::-1]) for x in (direction, offset, separation)
        )
        apart = np.maximum(apart, 1e-3)
        found = (image[tile] * along).sum(2) - at
        found += FAVOUR * (depth[tile] / (reach / 3)).clip(-4, 4) / apart
        dead = np.minimum(0.4, DEAD / np.sqrt(apart))
        found = ((found - dead) / (1 - 2 * dead)).clip(0, 1)
        trust = apart / (apart + DOUBT)
        mixed = trust * found + (1 - trust) * mask[tile] / np.float32(255)
        alpha[tile] = np.where(here, mixed, alpha[tile])
    return np.rint(_connected(alpha, inside) * 255).astype(np.uint8)


def softened(mask: np.ndarray) -> np.ndarray:
    """Blurs the edge of a hard mask, uint8 (H, W), to be as soft as a photo's own edges: without stairs or fringes."""
    return cv2.GaussianBlur(mask, (0, 0), EDGE * max(1.0, max(mask.shape) / EDGE_SIDE))


def _distance(side: np.ndarray) -> np.ndarray:
    """float32 (H, W): how far pixels of a side, bool (H, W), are from the other side; 0 on the other side."""
    if side.all():
        return np.full(side.shape, np.float32(max(side.shape)))
    return cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)


def _discriminant(
    image: np.ndarray, object_side: np.ndarray, other_side: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How to tell the object's colours from the background's, for each cell of a grid.

    Returns:
        A direction (h, w, 3) and an offset (h, w): direction @ colour - offset is 1 at the object's mean colour and 0 at
        the background's. And (h, w), how far apart the two are, in squared standard deviations.
    """
    height, width = object_side.shape
    size = shrunk_size(width, height, STATISTICS_SIDE)
    shrink = max(size) / max(height, width)
    pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    cell = max(1.0, reach * shrink / CELL, max(size) / GRID_SIDE)
    cells = max(1, round(size[0] / cell)), max(1, round(size[1] / cell))
    sides = [
        cv2.resize(side.astype(np.float32), size, interpolation=cv2.INTER_AREA) for side in (object_side, other_side)
    ]
    (mean, spread), (behind, spread_behind) = (_local_colours(pixels, side, cells) for side in sides)
    apart = mean - behind
    within = spread + spread_behind + 2 * NOISE**2 * np.eye(3, dtype=np.float32)
    direction = np.linalg.solve(within, apart[..., None])[..., 0]
    separation = (direction * apart).sum(-1)
    direction = direction / np.maximum(separation, 1e-6)[..., None]
    return direction, (behind * direction).sum(-1), separation


def _local_colours(pixels: np.ndarray, weight: np.ndarray, cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean (h, w, 3) and covariance (h, w, 3, 3) of colours around each cell of a grid of `cells`, (w, h)."""
    channels = np.moveaxis(pixels, 2, 0)
    pairs = [(a, b) for a in range(3) for b in range(a, 3)]
    values = [weight, *(weight * c for c in channels), *(weight * channels[a] * channels[b] for a, b in pairs)]
    coarse = [cv2.resize(value, cells, interpolation=cv2.INTER_AREA) for value in values]
    sums = [
        sum((gain * cv2.GaussianBlur(x, (0, 0), wide) for wide, gain in WIDTHS), EVERYWHERE * x.mean()) for x in coarse
    ]
    count = sums[0]
    mean = np.stack(sums[1:4], -1) / count[..., None]
    covariance = np.empty((*count.shape, 3, 3), np.float32)
    for (a, b), total in zip(pairs, sums[4:], strict=True):
        covariance[..., a, b] = covariance[..., b, a] = total / count - mean[..., a] * mean[..., b]
    return mean, covariance


def _connected(alpha: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Alpha without the pieces that don't touch the mask's inside."""
    count, pieces = cv2.connectedComponents((alpha > FAINT).astype(np.uint8), connectivity=8)
    kept = np.zeros(count, bool)
    kept[np.unique(pieces[inside])] = True
    kept[0] = False  # everything fainter; of this, what lies around a kept piece stays
    around = cv2.dilate(kept[pieces].astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.where(around > 0, alpha, np.float32(0))
