"""A mask that a segmenter proposes, kept at a small size until it is needed at the photo's own."""

from dataclasses import dataclass

import cv2
import numpy as np

CANDIDATES = 3  # of an answer, at most
# Names of the segmenters other than Segment Anything, as shown to people.
COLOUR_REGIONS, EMBEDDED = "colour regions", "embedded network"


@dataclass(frozen=True, eq=False)
class Candidate:
    """One possible answer to a prompt.

    Attributes:
        logits: float32 (h, w), above 0 inside the mask, covering the whole photo; at most 640 px a side.
        score: the segmenter's own estimate of the mask's IoU with what was meant, or None where it has none.
        segmenter: what made it, to be shown to people.
    """

    logits: np.ndarray
    score: float | None
    segmenter: str

    def mask(self, height: int, width: int) -> np.ndarray:
        """uint8 (height, width), 0 or 255. Its edge is smooth; srin.segmentation.refine fits it to the photo."""
        large = cv2.resize(self.logits, (width, height), interpolation=cv2.INTER_LINEAR)
        return (large > 0) * np.uint8(255)

    @property
    def area(self) -> float:
        """Share of the photo inside the mask."""
        return float((self.logits > 0).mean())


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks, bool (h, w); 0 of two empty ones."""
    return int(np.count_nonzero(one & other)) / max(int(np.count_nonzero(one | other)), 1)


def from_mask(mask: np.ndarray, segmenter: str) -> Candidate:
    """Makes a candidate from a mask, bool (h, w), of a small copy of the photo."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
    return Candidate(soft - 0.5, None, segmenter)
