"""Applies what a network decided at its working size to the photo's own pixels.

The decision is a colour transform for each cell of a coarse grid. The transforms act on the original pixels, so texture
and edges stay those of the photo at any size. Applying them needs no torch, so that a small process can do it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from srin.composite import Composite

if TYPE_CHECKING:
    from torch import Tensor

TILE = 256  # pixels a side handled at a time: stays in the cache, and memory doesn't grow with the picture
CELL = 4  # pixels of the working size a side, for each fitted transform; as srin.models.network.CELL
WINDOW = 8  # pixels of the working size a side, from which a transform is fitted
RIDGE = 1e-4  # ridge, in units of variance of colours in [-1, 1]; far below this variance, a fit is only a shift
FAINT = 1e-3  # weight of a cell without foreground, where none of its neighbours has any either


def apply_coefficients(
    coefficients: Tensor | np.ndarray,
    composite: Composite,
    strength: float = 1.0,
    proceed: Callable[[float], None] = lambda done: None,
) -> np.ndarray:
    """Applies a low-resolution colour transform to the original pixels, under the mask.

    The coefficients are interpolated bilinearly between the cells. Each cell is weighted by its share of foreground, so
    that transforms of background cells don't reach across the mask's edge.

    Args:
        coefficients: (1, 12, h, w), rows of 3x4 matrices for colours in [-1, 1], covering the whole picture
            (`HarmonizationNet.coefficients`).
        composite: the picture at full size.
        strength: 0 leaves the composite as it is, 1 applies the transform in full, above 1 its change is extrapolated.
        proceed: called after each band of rows with the share that is done; may raise an exception to stop.

    Returns:
        uint8 (H, W, 3): composite + strength * mask / 255 * (transformed - composite), where transformed is clipped to
        0 to 255, rounded and clipped. Identical to the composite where the mask is 0.
    """
    out, mask = composite.image.copy(), composite.mask
    height, width = mask.shape
    grid = _weighted_grid(np.asarray(coefficients[0], np.float32), mask)
    x, y, box_width, box_height = cv2.boundingRect(mask)
    for top in range(y, y + box_height, TILE):
        rows = slice(top, min(top + TILE, y + box_height))
        row_cells, down = _interpolation(rows, height, grid.shape[1])
        for left in range(x, x + box_width, TILE):
            columns = slice(left, min(left + TILE, x + box_width))
            if not mask[rows, columns].any():
                continue
            column_cells, across = _interpolation(columns, width, grid.shape[2])
            transform = down @ grid[:, row_cells, column_cells] @ across.T
            colour = out[rows, columns].transpose(2, 0, 1).astype(np.float32)
            change = _transformed(colour, transform)
            change -= colour
            change *= mask[rows, columns] * np.float32(strength / 255)
            change += colour
            np.rint(change, out=change).clip(0, 255, out=change)
            out[rows, columns] = change.transpose(1, 2, 0)
        proceed((rows.stop - y) / box_height)
    return out


def fit_coefficients(harmonized: Tensor, composite: Tensor, mask: Tensor) -> Tensor:
    """Fits colour transforms to the output of a network that gives colours, in windows of the foreground.

    This is a ridge regression of the change on the composite's colours, weighted by the mask: the guided filter's local
    linear model with a colour guide (He et al., PAMI 2013, section 3.5), solved on a grid.

    Args:
        harmonized, composite: (1, 3, h, w) in [-1, 1], the network's result and what it saw; h and w multiples of CELL.
        mask: (1, 1, h, w) in [0, 1].

    Returns:
        (1, 12, h / CELL, w / CELL), for `apply_coefficients`.
    """
    import torch

    weight = mask + FAINT
    total = _windows(weight)

    def mean(values: Tensor) -> Tensor:
        """(1, C, h, w) -> (1, h / CELL, w / CELL, C)."""
        return (_windows(values * weight) / total).movedim(1, -1)

    def mean_product(left: Tensor, right: Tensor) -> Tensor:
        return mean((left[:, :, None] * right[:, None]).flatten(1, 2)).unflatten(-1, (3, 3))

    change = harmonized - composite
    colour_mean, change_mean = mean(composite)[..., None], mean(change)[..., None]
    variance = mean_product(composite, composite) - colour_mean @ colour_mean.mT
    covariance = mean_product(change, composite) - change_mean @ colour_mean.mT
    identity = torch.eye(3, device=mask.device)
    matrix = torch.linalg.solve(variance + RIDGE * identity, covariance, left=False)
    transform = torch.cat([matrix + identity, change_mean - matrix @ colour_mean], -1)
    return transform.flatten(3).movedim(3, 1)


def _windows(x: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.avg_pool2d(x, WINDOW, CELL, (WINDOW - CELL) // 2)


def _transformed(colour: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """(3, h, w) colours under (13, h, w) weighted transforms, clipped to 0 to 255."""
    matrix = transform[:12].reshape(3, 4, *transform.shape[1:])
    result = matrix[:, 3].copy()
    for channel in range(3):
        result += matrix[:, channel] * colour[channel]
    result /= transform[12]
    return result.clip(0, 255, out=result)


def _weighted_grid(coefficients: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Converts (12, h, w) transforms from colours in [-1, 1] to [0, 255], and weights each cell by its foreground.

    Returns (13, h, w): the transforms times the weights, and the weights.
    """
    rows, columns = coefficients.shape[1:]
    parts = coefficients.reshape(3, 4, rows, columns).copy()
    parts[:, 3] = 127.5 * (parts[:, 3] + 1 - parts[:, :3].sum(1))
    share = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
    weight = share[None].astype(np.float32) / 255 + np.float32(FAINT)
    return np.concatenate([parts.reshape(12, rows, columns) * weight, weight])


def _interpolation(pixels: slice, size: int, cells: int) -> tuple[slice, np.ndarray]:
    """Bilinear interpolation along one axis: the cells that these pixels of `size` lie between, and weights
    (pixels, cells). Constant beyond the first and the last cell's centre.
    """
    place = ((np.arange(pixels.start, pixels.stop) + 0.5) * cells / size - 0.5).clip(0, cells - 1)
    first, last = int(place[0]), min(int(place[-1]) + 2, cells)
    weights = (1 - np.abs(place[:, None] - np.arange(first, last))).clip(0)
    return slice(first, last), weights.astype(np.float32)
