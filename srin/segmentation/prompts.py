"""Checks of prompts: the clicks and the box with which a person selects an object."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from srin.errors import SegmentationError


def checked_box(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """A box in whole pixels, with its corners in order, clipped to the picture.

    Args:
        box: (x0, y0, x1, y1), any two opposite corners, in pixels from the upper left edge of the picture.
        height, width: size of the picture.

    Returns:
        (x0, y0, x1, y1) with 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height.

    Raises:
        SegmentationError: not four finite numbers, or nothing of the box is inside the picture.
    """
    if len(box) != 4 or not all(math.isfinite(number) for number in box):
        raise SegmentationError(f"A box needs four numbers (left, top, right, bottom), not {tuple(box)}.")
    left, right = sorted((box[0], box[2]))
    top, bottom = sorted((box[1], box[3]))
    x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
    x1, y1 = min(width, math.ceil(right)), min(height, math.ceil(bottom))
    if x0 >= x1 or y0 >= y1:
        raise SegmentationError(
            f"The box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) covers nothing of the picture, "
            f"which has {width} x {height} pixels. Draw it around the object."
        )
    return x0, y0, x1, y1


def checked_points(points: ArrayLike, labels: ArrayLike, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Clicks as arrays: float32 (N, 2) and int32 (N,).

    Args:
        points: N pairs (x, y) in pixels, 0 <= x <= width and 0 <= y <= height.
        labels: N numbers, 1 for a click on the object, 0 for one beside it.
        height, width: size of the picture.

    Raises:
        SegmentationError: numbers of points and labels differ, a point is outside the picture, or a label is
            neither 0 nor 1.
    """
    coordinates = np.asarray(points, np.float32).reshape(-1, 2)
    marks = np.asarray(labels).reshape(-1)
    if len(coordinates) != len(marks):
        raise SegmentationError(f"There are {len(coordinates)} points, but {len(marks)} labels.")
    if not np.isin(marks, (0, 1)).all():
        raise SegmentationError("The label of a point is 1 (on the object) or 0 (beside it).")
    # Written so that NaN counts as outside.
    inside = (coordinates >= 0) & (coordinates <= (width, height))
    if not inside.all():
        x, y = coordinates[~inside.all(1)][0]
        raise SegmentationError(f"The point ({x:g}, {y:g}) is outside the picture, which has {width} x {height} pixels.")
    return coordinates, marks.astype(np.int32)
