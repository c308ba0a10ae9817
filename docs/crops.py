"""The part of a picture that the sheets in docs/ show."""

import numpy as np

from srin.mask_values import extent

MARGIN = 0.3  # of the object's longer side, around it


def around(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a 4:3 part of the picture with the object in its middle, as far as the picture goes.

    mask: uint8 (H, W) that selects something.
    """
    x, y, width, height = extent(mask)
    size = np.array(mask.shape)
    tall = max(height, width * 3 / 4) * (1 + 2 * MARGIN)
    part = np.array([tall, tall * 4 / 3])
    part = (part * min(1, *(size / part))).astype(int)
    top, left = np.clip(np.array([y + height / 2, x + width / 2]) - part / 2, 0, size - part).astype(int)
    return slice(top, top + part[0]), slice(left, left + part[1])
