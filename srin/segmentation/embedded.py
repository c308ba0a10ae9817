"""The embedded segmenters behind the same methods as Segment Anything's, for when there is no checkpoint."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from srin.errors import SegmentationError
from srin.segmentation.automatic import MAX_OBJECT, PROPOSALS, AutomaticMap
from srin.segmentation.candidate import Candidate, from_mask
from srin.segmentation.grabcut import INSET, PROXY_SIDE, box_mask, subject_mask
from srin.segmentation.prompts import checked_box, checked_points
from srin.segmentation.regions import colour_regions

STROKE = 0.012  # of the longer side: radius of the disc that a click stands for
MIN_OBJECT = 0.01  # share of the picture below which a colour region is no object


class EmbeddedEngine:
    """GrabCut and colour regions on one picture. May be shared by threads.

    Args:
        image: uint8 (H, W, 3), sRGB. A copy of at most 640 px is kept.

    Attributes:
        segmenter, map_segmenter: the names to show beside masks and maps.
    """

    segmenter = "GrabCut"
    map_segmenter = "colour regions"

    def __init__(self, image: np.ndarray) -> None:
        self._size = image.shape[:2]
        shrink = min(1.0, PROXY_SIDE / max(self._size))
        height, width = (max(1, round(length * shrink)) for length in self._size)
        self._proxy = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def candidates(
        self,
        points: ArrayLike = (),
        labels: ArrayLike = (),
        box: Sequence[float] | None = None,
        previous: Candidate | np.ndarray | None = None,
    ) -> list[Candidate]:
        """One candidate, by GrabCut; arguments and errors as in SamEngine.candidates.

        Clicks count as small strokes. Without a box, the object may be anywhere but at the photo's border.
        """
        height, width = self._size
        coordinates, marks = checked_points(points, labels, height, width)
        if not len(coordinates) and box is None:
            raise SegmentationError("Click on the object or draw a box around it.")
        rows, columns = self._proxy.shape[:2]
        scale = np.array([columns / width, rows / height])
        if box is None:
            corners = np.array([INSET, INSET, 1 - INSET, 1 - INSET]) * (columns, rows, columns, rows)
        else:
            corners = np.array(checked_box(box, height, width)) * np.tile(scale, 2)
        strokes = np.zeros((2, rows, columns), np.uint8)
        for (x, y), mark in zip(coordinates * scale, marks, strict=True):
            cv2.circle(strokes[mark], (int(x), int(y)), max(1, round(STROKE * max(rows, columns))), 1, -1)
        found = box_mask(self._proxy, corners.tolist(), strokes[1] > 0, strokes[0] > 0, self._on_proxy(previous))
        return [from_mask(found > 0, self.segmenter)]

    def automatic(self, proceed: Callable[[float], None] = lambda done: None) -> AutomaticMap:
        """Colour regions; as objects, the subject by GrabCut and the larger regions away from the border."""
        labels = colour_regions(self._proxy)
        proceed(0.5)
        objects = []
        try:
            objects.append(subject_mask(self._proxy) > 0)
        except SegmentationError:
            pass  # nothing stands out, and nobody asked
        areas = np.bincount(labels.ravel()) / labels.size
        border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        areas[np.unique(border)] = 0
        for region in np.argsort(-areas, kind="stable")[: PROPOSALS - len(objects)]:
            if MIN_OBJECT < areas[region] < MAX_OBJECT:
                objects.append(labels == region)
        return AutomaticMap(labels, np.array(objects, bool).reshape(-1, *labels.shape), 0, self.map_segmenter)

    def _on_proxy(self, previous: Candidate | np.ndarray | None) -> np.ndarray | None:
        if previous is None:
            return None
        values = previous.logits if isinstance(previous, Candidate) else previous.astype(np.float32) / 255 - 0.5
        return cv2.resize(values, self._proxy.shape[1::-1], interpolation=cv2.INTER_AREA) > 0
