"""An object on transparency, from a photo and a prompt: in one call, without a page."""

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
    """The object under the points and in the box; without any, the photo's subject.

    Args:
        image: uint8 (H, W, 3), sRGB.
        points: clicks (x, y) on the object, box: (x0, y0, x1, y1) around it, in pixels.
        segmenter: who answers them: "sam", "embedded", or "auto": Segment Anything where it has a checkpoint. The subject
            is always found by the embedded network.

    Returns:
        uint8 (H, W, 4), the object's own colours along its soft edge, and the name of who found it.

    Raises:
        SegmentationError: a wrong prompt, nothing was found, or "sam" has no checkpoint.
    """
    height, width = image.shape[:2]
    found = _found(image, points, box, segmenter)
    alpha = softened(found.mask(height, width))
    return np.dstack([estimate_foreground(image, alpha), alpha]), found.segmenter


def weights_digest() -> str:
    """Tells one version of the embedded network from another."""
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
