"""Sizes of smaller copies, and how what is known of a copy is enlarged again."""

from collections.abc import Sequence

import cv2
import numpy as np


def shrunk_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height of a copy of a picture with at most `side` pixels on its longer side; never larger than it."""
    factor = min(1.0, side / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def enlarged_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resizes labels (h, w) to another size (height, width), larger or smaller, by nearest neighbours."""
    # By index: cv2.resize has no exact path for int32.
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def enlarged_part(small: np.ndarray, size: tuple[int, int], x: int, y: int, part: Sequence[int]) -> np.ndarray:
    """The part (width, height) at x, y of a picture that is enlarged bilinearly to `size`, (width, height).

    small: float32 (h, w) or (h, w, C), up to four channels.
    """
    across, down = small.shape[1] / size[0], small.shape[0] / size[1]
    # From the part's pixels to the small picture's, whose centres are at whole numbers in OpenCV.
    matrix = np.array([[across, 0, (x + 0.5) * across - 0.5], [0, down, (y + 0.5) * down - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(small, matrix, part, flags=flags, borderMode=cv2.BORDER_REPLICATE)
