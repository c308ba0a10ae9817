"""From the network's working size to the photo's own pixels.

What a network says at its working size is carried over as colour transforms, one for each cell of a coarse grid, which
act on the original pixels: texture and edges stay those of the photo at any size.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srin.composite import Composite

TILE = 256  # pixels a side handled at a time: stays in the cache, and memory doesn't grow with the picture
CELL = 4  # pixels of the working size a side, for each fitted transform; the affine head's have that size too
WINDOW = 8  # pixels of the working size a side, from which a transform is fitted
RIDGE = 1e-4  # variance of colours in [-1, 1], far below which a fit is a mere shift
FAINT = 1e-3  # weight of a cell without foreground, where none of its neighbours has any either


def apply_coefficients(coefficients: Tensor, composite: Composite, strength: float = 1.0) -> np.ndarray:
    """Applies a low-resolution colour transform to the original pixels, under the mask.

    The coefficients are interpolated bilinearly between the cells, each cell counting for the share of foreground in
    it: what the network says about the background never reaches across the mask's edge.

    Args:
        coefficients: (1, 12, h, w), rows of 3x4 matrices for colours in [-1, 1], covering the whole picture
            (`HarmonizationNet.coefficients`).
        composite: the picture at full size.
        strength: 0 leaves the composite as it is, 1 applies the transform in full, above 1 its change is extrapolated.

    Returns:
        uint8 (H, W, 3): composite + strength * mask / 255 * (transformed - composite), where transformed is clipped to
        0 to 255, rounded and clipped. Identical to the composite where the mask is 0.
    """
    out, mask = composite.image.copy(), composite.mask
    height, width = mask.shape
    grid = _weighted_grid(coefficients[0].float().cpu(), mask)
    pixels = torch.from_numpy(out)
    x, y, box_width, box_height = cv2.boundingRect(mask)
    for top in range(y, y + box_height, TILE):
        rows = slice(top, min(top + TILE, y + box_height))
        row_cells, down = _interpolation(rows, height, grid.shape[1])
        for left in range(x, x + box_width, TILE):
            columns = slice(left, min(left + TILE, x + box_width))
            if not mask[rows, columns].any():
                continue
            column_cells, across = _interpolation(columns, width, grid.shape[2])
            transform = down @ grid[:, row_cells, column_cells] @ across.mT
            colour = pixels[rows, columns].permute(2, 0, 1).float()
            share = torch.from_numpy(mask[rows, columns] * np.float32(strength / 255))
            change = (_transformed(colour, transform) - colour).mul_(share)
            pixels[rows, columns] = colour.add_(change).round_().clamp_(0, 255).permute(1, 2, 0).byte()
    return out


def fit_coefficients(harmonized: Tensor, composite: Tensor, mask: Tensor) -> Tensor:
    """For a head that gives colours: the transforms that explain them, from one window of the foreground to the next.

    A ridge regression of the change on the composite's colours, weighed by the mask: the guided filter's local linear
    model with a colour guide (He et al., PAMI 2013, section 3.5), solved on a grid.

    Args:
        harmonized, composite: (1, 3, h, w) in [-1, 1], the network's result and what it saw; h and w multiples of CELL.
        mask: (1, 1, h, w) in [0, 1].

    Returns:
        (1, 12, h / CELL, w / CELL), for `apply_coefficients`.
    """
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
    return F.avg_pool2d(x, WINDOW, CELL, (WINDOW - CELL) // 2)


def _transformed(colour: Tensor, transform: Tensor) -> Tensor:
    """(3, h, w) colours under (13, h, w) weighted transforms, clipped to 0 to 255."""
    matrix = transform[:12].unflatten(0, (3, 4))
    result = matrix[:, 3].clone()
    for channel in range(3):
        result.addcmul_(matrix[:, channel], colour[channel])
    return result.div_(transform[12]).clamp_(0, 255)


def _weighted_grid(coefficients: Tensor, mask: np.ndarray) -> Tensor:
    """(12, h, w) transforms of colours in [-1, 1] -> (13, h, w): of colours in [0, 255] times weights, and weights."""
    matrix, shift = coefficients.unflatten(0, (3, 4)).split([3, 1], 1)
    shift = 127.5 * (shift + 1 - matrix.sum(1, keepdim=True))
    share = cv2.resize(mask, coefficients.shape[:0:-1], interpolation=cv2.INTER_AREA)
    weight = torch.from_numpy(share).float()[None] / 255 + FAINT
    return torch.cat([torch.cat([matrix, shift], 1).flatten(0, 1) * weight, weight])


def _interpolation(pixels: slice, size: int, cells: int) -> tuple[slice, Tensor]:
    """The cells that these pixels of `size` lie between, and weights (pixels, cells) between the cells' centres.

    Held constant beyond the first and the last centre.
    """
    place = ((torch.arange(pixels.start, pixels.stop) + 0.5) * cells / size - 0.5).clamp(0, cells - 1)
    first, last = int(place[0]), min(int(place[-1]) + 2, cells)
    return slice(first, last), (1 - (place[:, None] - torch.arange(first, last)).abs()).clamp_min(0)
