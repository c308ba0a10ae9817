"""Making and changing masks, at the photo's full size. Everything says who made its mask. Knows nothing of the page."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from srin.errors import MaskError
from srin.image_io import load_mask
from srin.segmentation.checkpoints import find_checkpoint
from srin.segmentation.grabcut import box_mask, subject_mask
from srin.segmentation.sam import SamSession
from srin.ui.session import Photo, Selection

EDGE = 0.8  # pixels of the proxy: standard deviation that softens the stairs of a segmenter's hard edge
CLICK = 0.02  # of the longer side: radius that grabCut takes for certain around a click
CLICK_BOX = 0.9  # of each side: what grabCut searches when there are clicks and no box
MOST_PIXELS = 400  # how far a mask can be grown, shrunk or feathered
MOST_PROMPTS = 200

Point = tuple[float, float, int]


def from_prompts(photo: Photo, points: Sequence[Point], box: Sequence[float] | None) -> tuple[np.ndarray, str]:
    """A mask from clicks and a box: by Segment Anything where there is a checkpoint, by grabCut otherwise.

    points: (x, y, label) in fractions of the photo; label 1 is on the object, 0 beside it. box: (x0, y0, x1, y1), in
    fractions. Raises SegmentationError.
    """
    if find_checkpoint() is not None:
        session = SamSession(photo.original())
        pixels = [(x * photo.width, y * photo.height) for x, y, _ in points]
        corners = None if box is None else _scaled(box, photo.width, photo.height)
        mask = session.mask(pixels, [label for _, _, label in points], corners)
        return softened(mask, photo), session.segmenter
    # The embedded segmenter works on at most 640 px, so it may as well start from the proxy.
    height, width = photo.proxy.shape[:2]
    inset = (1 - CLICK_BOX) / 2
    corners = _scaled(box or (inset, inset, 1 - inset, 1 - inset), width, height)
    foreground, background = (_discs(points, label, height, width) for label in (1, 0))
    mask = box_mask(photo.proxy, corners, foreground, background)
    return softened(_enlarged(mask, photo), photo), "grabCut, from " + ("a box" if box else "clicks")


def subject(photo: Photo) -> tuple[np.ndarray, str]:
    """Whatever stands out from the photo's border. Raises SegmentationError."""
    return softened(_enlarged(subject_mask(photo.proxy), photo), photo), "grabCut, one click"


def edited(photo: Photo, before: Selection | None, painted: bytes) -> np.ndarray:
    """A mask after painting on its proxy: what was not painted keeps the detail of full size.

    painted: PNG of the painted proxy, by its opacity. Raises MaskError.
    """
    layer = load_image_alpha(painted)
    height, width = photo.proxy.shape[:2]
    if layer.shape != (height, width):
        raise MaskError("The painted mask doesn't belong to this photo. Load the page again.")
    size = (photo.width, photo.height)
    if before is None:
        return cv2.resize(layer, size, interpolation=cv2.INTER_LINEAR)
    change = layer.astype(np.int16) - before.proxy
    large = cv2.resize(change.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.rint((before.mask() + large).clip(0, 255)).astype(np.uint8)


def load_image_alpha(png: bytes) -> np.ndarray:
    """uint8 (h, w): the opacity of a PNG of the page's."""
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.ndim != 3 or decoded.shape[2] != 4:
        raise MaskError("The painted mask arrived damaged. Paint the last stroke again.")
    return np.ascontiguousarray(decoded[..., 3])


def adjusted(mask: np.ndarray, photo: Photo, kind: str, amount: float) -> np.ndarray:
    """A mask grown (amount > 0) or shrunk by `amount` pixels of the proxy, feathered by as many, or inverted.

    Raises MaskError when nothing is left.
    """
    if kind == "invert":
        return 255 - mask
    factor = photo.height / photo.proxy.shape[0]
    reach = min(abs(amount), MOST_PIXELS) * factor
    if kind == "feather":
        return cv2.GaussianBlur(mask, (0, 0), max(reach / 2, 0.01)) if reach else mask
    # Distances to the outline, so that any amount costs the same and corners stay round.
    side = mask <= 127 if amount > 0 else mask > 127
    distance = cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
    moved = distance <= reach if amount > 0 else distance > reach
    result = softened(moved.astype(np.uint8) * 255, photo)
    if result.max() <= 127:
        raise MaskError("Nothing would be left of the mask. Shrink it by less.")
    return result


def softened(mask: np.ndarray, photo: Photo) -> np.ndarray:
    """A hard mask with an edge as soft as a photo's own, so that neither stairs nor fringes show."""
    sigma = EDGE * photo.height / photo.proxy.shape[0]
    return cv2.GaussianBlur(mask, (0, 0), sigma)


def fitting(path: Path, photo: Photo, what: str = "mask") -> np.ndarray:
    """A mask file of the photo's size. Raises ImageError, MaskError."""
    mask = load_mask(path, what)
    if mask.shape != (photo.height, photo.width):
        raise MaskError(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the photo {photo.width} x {photo.height}. "
            "Both must have the same size."
        )
    return mask


def _scaled(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0 * width, y0 * height, x1 * width, y1 * height


def _discs(points: Sequence[Point], label: int, height: int, width: int) -> np.ndarray:
    """bool (height, width): small discs around the clicks of one kind."""
    layer = np.zeros((height, width), np.uint8)
    for x, y, kind in points:
        if kind == label:
            centre = (round(x * width), round(y * height))
            cv2.circle(layer, centre, max(2, round(CLICK * max(height, width))), 255, -1)
    return layer > 0


def _enlarged(mask: np.ndarray, photo: Photo) -> np.ndarray:
    return cv2.resize(mask, (photo.width, photo.height), interpolation=cv2.INTER_LINEAR)
