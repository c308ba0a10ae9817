"""Ways to select the object in the foreground's photo. Every one says which segmenter made its mask."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from srin.errors import MaskError, SrinError
from srin.image_io import load_image, load_mask, load_rgba
from srin.segmentation.checkpoints import CHECKPOINTS, find_checkpoint, offer
from srin.segmentation.grabcut import box_mask, subject_mask
from srin.ui.session import CutOut, Photo

EDITOR_SIDE = 1024  # pixels of the longer side on which masks are painted
BRUSH = (255, 70, 120)
BRUSH_OPACITY = 0.55


def from_file(photo: Photo, path: Path, segmenter: str = "mask file") -> CutOut:
    """A mask of the photo's size. Raises ImageError, MaskError."""
    mask = load_mask(path)
    if mask.shape != (photo.height, photo.width):
        raise MaskError(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the foreground "
            f"{photo.width} x {photo.height}. Both must have the same size."
        )
    return CutOut.make(_original(photo), mask, segmenter)


def from_transparency(photo: Photo) -> CutOut | None:
    """The photo's own alpha, or None where it has none. Raises ImageError, MaskError."""
    rgb, alpha = load_rgba(photo.path, "foreground")
    return None if alpha is None else CutOut.make(rgb, alpha, "the photo's own transparency")


def from_subject(photo: Photo) -> CutOut:
    """Whatever stands out from the photo's border. Raises SegmentationError."""
    rgb = _original(photo)
    return CutOut.make(rgb, subject_mask(rgb), "grabCut, one click")


def from_box(photo: Photo, box: Sequence[float]) -> CutOut:
    """box: two opposite corners (x0, y0, x1, y1), in pixels of the original. Raises SegmentationError."""
    rgb = _original(photo)
    return CutOut.make(rgb, box_mask(rgb, tuple(box)), "grabCut, from a box")


def from_points(photo: Photo, points: Sequence[tuple[float, float, int]]) -> CutOut:
    """points: (x, y, label) in pixels of the original; label 1 is on the object, 0 beside it.

    Raises SegmentationError, also where there is no checkpoint.
    """
    assert photo.session is not None
    best = photo.session.candidates([point[:2] for point in points], [point[2] for point in points])[0]
    mask = best.mask(photo.height, photo.width)
    return CutOut.make(_original(photo), mask, f"{best.segmenter}, {len(points)} point{'s' * (len(points) > 1)}")


def from_painting(photo: Photo, layers: Sequence[np.ndarray]) -> CutOut:
    """layers: uint8 (h, w, 4), painted on the photo's proxy; what is half as opaque as the brush is selected.

    Raises MaskError when nothing is painted.
    """
    alpha = np.max([layer[..., 3] for layer in layers], axis=0) if layers else np.zeros((1, 1), np.uint8)
    if not alpha.any():
        raise MaskError("Nothing is painted yet. Paint over the object, then press the button again.")
    painted = (alpha > 127 * BRUSH_OPACITY).astype(np.uint8) * 255
    mask = cv2.resize(painted, (photo.width, photo.height), interpolation=cv2.INTER_LINEAR)
    return CutOut.make(_original(photo), mask, "painted by hand")


def paintable(selection: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 4): a mask as a layer of the brush's colour, to be corrected by hand."""
    layer = np.zeros((*selection.shape, 4), np.uint8)
    layer[selection > 127] = (*BRUSH, round(255 * BRUSH_OPACITY))
    return layer


def points_unavailable() -> str | None:
    """Why clicks can't be used here and what to do about it, as Markdown, or None when they can."""
    try:
        if find_checkpoint() is not None:
            return None
        reason = "Points need Segment Anything, and there is no checkpoint of it on this machine."
    except SrinError as error:
        reason = str(error)
    return (
        f"{reason} To get one, run\n\n```\npython -m srin segment --checkpoint vit_b --download PHOTO -o MAP.png\n```\n\n"
        f"({offer(CHECKPOINTS['vit_b'])}) Or point `SRIN_SAM_CHECKPOINT` to a file that you have. Until then, use one of "
        "the other ways."
    )


def _original(photo: Photo) -> np.ndarray:
    return load_image(photo.path, "foreground")
