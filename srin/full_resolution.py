"""From the network's working size to the photo's own pixels."""

import numpy as np
import torch

from srin.composite import Composite

STRIP = 256  # rows handled at a time, so that memory doesn't grow with the picture's height


def apply_coefficients(coefficients: torch.Tensor, composite: Composite) -> np.ndarray:
    """Applies a low-resolution colour transform to the original pixels; texture stays as sharp as it was.

    Args:
        coefficients: (1, 12, h, w), rows of 3x4 matrices for colours in [-1, 1], covering the whole picture
            (`HarmonizationNet.coefficients`). They are interpolated bilinearly.
        composite: the picture at full size.

    Returns:
        uint8 (H, W, 3): transformed colours in the mask's bounding box, the composite elsewhere.
    """
    image, mask = composite.image, composite.mask
    out = image.copy()
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    grid = coefficients[0].float().cpu()
    across = _linear_weights(image.shape[1], grid.shape[2])[left:right]
    down = _linear_weights(image.shape[0], grid.shape[1])
    grid = grid @ across.T  # (12, h, right - left)
    for start in range(top, bottom, STRIP):
        stop = min(start + STRIP, bottom)
        transform = torch.einsum("sh,chw->csw", down[start:stop], grid).view(3, 4, stop - start, -1)
        colours = torch.from_numpy(image[start:stop, left:right]).permute(2, 0, 1).float() / 127.5 - 1
        colours = (transform[:, :3] * colours).sum(1) + transform[:, 3]
        pixels = ((colours + 1) * 127.5).round_().clamp_(0, 255).byte()
        out[start:stop, left:right] = pixels.permute(1, 2, 0).numpy()
    return out


def add_difference(harmonized: torch.Tensor, small: torch.Tensor, composite: Composite) -> np.ndarray:
    """For a head that gives colours: adds what it changed at the working size, upsampled, to the original pixels.

    Args:
        harmonized, small: (1, 3, h, w) in [-1, 1], the network's result and the composite that it saw.
        composite: the picture at full size.

    Returns:
        uint8 (H, W, 3), as `apply_coefficients`.
    """
    # A difference is a colour transform with the identity for a matrix.
    shift = (harmonized - small).float()
    identity = torch.eye(3).to(shift)[None, :, :, None, None].expand(1, 3, 3, *shift.shape[2:])
    return apply_coefficients(torch.cat([identity, shift[:, :, None]], 2).flatten(1, 2), composite)


def _linear_weights(size: int, cells: int) -> torch.Tensor:
    """(size, cells) matrix that interpolates cell centres linearly at pixel centres, held constant at the ends."""
    place = ((torch.arange(size) + 0.5) * cells / size - 0.5).clamp(0, cells - 1)
    low = place.floor().long().clamp_max(max(cells - 2, 0))
    weights = torch.zeros(size, cells)
    weights.scatter_(1, low[:, None], (1 - (place - low))[:, None])
    weights.scatter_add_(1, (low + 1).clamp_max(cells - 1)[:, None], (place - low)[:, None])
    return weights
