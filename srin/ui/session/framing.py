"""Pictures cut to what matters: the object, with a margin."""

from dataclasses import dataclass

import cv2
import numpy as np

from srin.mask_values import extent

MARGIN = 0.12  # of the object's longer side, on each side of it; as in compare/zoom.js


@dataclass(frozen=True)
class Frame:
    """rows, columns: slices of the picture. middle: half the object is left of it, in fractions of the frame's width."""

    rows: slice
    columns: slice
    middle: float

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of (H, W, ...) inside the frame."""
        return image[self.rows, self.columns]


def around(mask: np.ndarray, ratio: float) -> Frame:
    """The part of a picture that shows its object: uint8 mask (H, W), not 0 everywhere.

    ratio: width by height that the frame has, unless the picture is too narrow or too low for it.
    """
    height, width = mask.shape
    x, y, across, down = extent(mask)
    if not across:  # a small copy of a mask may be faint everywhere
        x, y, across, down = cv2.boundingRect(mask)
    wanted = max(across * (1 + 2 * MARGIN), down * (1 + 2 * MARGIN) * ratio)
    columns = min(width, round(wanted))
    rows = min(height, round(wanted / ratio))
    left = int(np.clip(x + across / 2 - columns / 2, 0, width - columns))
    top = int(np.clip(y + down / 2 - rows / 2, 0, height - rows))
    return Frame(slice(top, top + rows), slice(left, left + columns), (middle(mask) * width - left) / columns)


def middle(mask: np.ndarray) -> float:
    """Where to split a picture so that half of its object is on each side, in fractions of its width."""
    share = mask.sum(0, dtype=np.float64).cumsum()
    return float((np.searchsorted(share, share[-1] / 2) + 0.5) / mask.shape[1])
