"""Makes and changes masks at the photo's full size, whatever the page is."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from srin.errors import MaskError
from srin.image_io import load_mask, load_rgba
from srin.mask_values import remark_if_inverted
from srin.segmentation.candidate import Candidate
from srin.segmentation.refine import feathered_alpha, softened
from srin.ui.session.scene import Photo, Selection

MOST_PIXELS = 400  # of the proxy: how far a mask can be grown, shrunk or feathered
MOST_PROMPTS = 200

Point = tuple[float, float, int]


def from_prompts(
    photo: Photo, points: Sequence[Point], box: Sequence[float] | None, before: Selection | None
) -> list[Candidate]:
    """Masks to choose from, the likeliest first, from clicks and a box.

    points: (x, y, label) in fractions of the photo; label 1 is on the object, 0 beside it. box: (x0, y0, x1, y1), in
    fractions. before: the present mask; one that was painted or loaded is corrected instead of replaced.
    Raises SegmentationError.
    """
    pixels = [(x * photo.seen[0], y * photo.seen[1]) for x, y, _ in points]
    sides = (*photo.seen, *photo.seen)
    corners = None if box is None else [part * side for part, side in zip(box, sides, strict=True)]
    previous = before.mask() if before and not before.prompted else None
    return photo.segmentation.candidates(pixels, [label for _, _, label in points], corners, previous)


def from_candidate(photo: Photo, candidate: Candidate) -> np.ndarray:
    """A segmenter's answer as a mask of the photo's size."""
    return softened(candidate.mask(photo.height, photo.width))


def subject(photo: Photo) -> tuple[np.ndarray, str]:
    """The photo's main object, and who found it. Raises SegmentationError."""
    candidate = photo.segmentation.subject()
    return from_candidate(photo, candidate), f"{candidate.segmenter}, the subject"


def edited(photo: Photo, before: Selection | None, painted: Path) -> np.ndarray:
    """A mask after painting on its proxy. What was not painted keeps the detail of full size.

    painted: a PNG of the proxy's size, whose opacity is the painted mask. Raises MaskError, ImageError.
    """
    rgb, opacity = load_rgba(painted, "painted mask")
    layer = np.full(rgb.shape[:2], 255, np.uint8) if opacity is None else opacity
    height, width = photo.proxy.shape[:2]
    if layer.shape != (height, width):
        raise MaskError("The painted mask doesn't belong to this photo. Load the page again.")
    size = (photo.width, photo.height)
    if before is None:
        return cv2.resize(layer, size, interpolation=cv2.INTER_LINEAR)
    change = layer.astype(np.int16) - before.proxy
    large = cv2.resize(change.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.rint((before.mask() + large).clip(0, 255)).astype(np.uint8)


def adjusted(mask: np.ndarray, photo: Photo, kind: str, amount: float) -> np.ndarray:
    """A mask that is grown, or shrunk if `amount` is negative, feathered, inverted ("invert"), or given an edge that
    follows hair and fur ("hair"). amount: how far, in pixels of the proxy.

    Raises MaskError when nothing is left.
    """
    if kind == "invert":
        return 255 - mask
    factor = photo.height / photo.proxy.shape[0]
    reach = min(abs(amount), MOST_PIXELS) * factor
    if kind == "hair":
        return feathered_alpha(photo.original(), mask, reach)
    if kind == "feather":
        return cv2.GaussianBlur(mask, (0, 0), max(reach / 2, 0.01)) if reach else mask
    # Distances to the outline, so that any amount costs the same and corners stay round.
    side = mask <= 127 if amount > 0 else mask > 127
    distance = cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
    moved = distance <= reach if amount > 0 else distance > reach
    result = softened(moved.astype(np.uint8) * 255)
    if result.max() <= 127:
        raise MaskError("Nothing would be left of the mask. Shrink it by less.")
    return result


def fitting(path: Path, photo: Photo, what: str = "mask") -> np.ndarray:
    """A mask file of the photo's size. Raises ImageError, MaskError."""
    mask = load_mask(path, what)
    remark_if_inverted(mask)
    if mask.shape != (photo.height, photo.width):
        raise MaskError(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the photo {photo.width} x {photo.height}. "
            "Both must have the same size."
        )
    return mask
