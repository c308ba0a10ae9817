"""Cuts an object out of a photo, from a prompt or without one, in one call."""

from collections.abc import Sequence

import numpy as np

from srin.errors import SegmentationError
from srin.foreground import estimate_foreground
from srin.outputs import digest
from srin.segmentation.candidate import Candidate
from srin.segmentation.checkpoints import NONE_HERE, find_checkpoint
from srin.segmentation.embedded import WEIGHTS, EmbeddedEngine
from srin.segmentation.refine import softened
from srin.segmentation.sam import SamEngine
from srin.segmentation.sam_model import load_sam

SUFFIXES = (".png", ".webp")  # formats with transparency


def cutout_of(
    image: np.ndarray,
    points: Sequence[Sequence[float]] = (),
    box: Sequence[float] | None = None,
    segmenter: str = "auto",
) -> tuple[np.ndarray, str]:
    """Cuts out the object under the points and in the box; without points and a box, the photo's subject.

    Args:
        image: uint8 (H, W, 3), sRGB.
        points: clicks (x, y) on the object, box: (x0, y0, x1, y1) around it, in pixels.
        segmenter: what answers them: "sam", "embedded", or "auto": Segment Anything if there is a checkpoint, else the
            embedded network. The subject is always found by the embedded network.

    Returns:
        uint8 (H, W, 4), with the object's own colours along its soft edge; and the segmenter's name.

    Raises:
        SegmentationError: a wrong prompt, nothing was found, or "sam" has no checkpoint.
    """
    height, width = image.shape[:2]
    found = _found(image, points, box, segmenter)
    alpha = softened(found.mask(height, width))
    return np.dstack([estimate_foreground(image, alpha), alpha]), found.segmenter


def weights_digest() -> str:
    """A hash of the embedded network's weights."""
    return digest([WEIGHTS])


def _found(
    image: np.ndarray, points: Sequence[Sequence[float]], box: Sequence[float] | None, segmenter: str
) -> Candidate:
    embedded = EmbeddedEngine(image)
    if not len(points) and box is None:
        return embedded.subject()
    checkpoint = None if segmenter == "embedded" else find_checkpoint()
    if checkpoint is None and segmenter == "sam":
        raise SegmentationError(f"{NONE_HERE} Leave --segmenter out, or download one.")
    engine = embedded if checkpoint is None else SamEngine(image, load_sam(checkpoint))
    return engine.candidates(points, [1] * len(points), box)[0]
