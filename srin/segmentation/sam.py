"""Segment Anything on one picture: one encoding, then masks from prompts, and an automatic map."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from srin.errors import SegmentationError
from srin.segmentation import automatic
from srin.segmentation.automatic import AutomaticMap, adaptive_map, full_grid_masks, painted
from srin.segmentation.cache import ArrayCache
from srin.segmentation.candidate import CANDIDATES, Candidate, overlap
from srin.segmentation.encoder import encode, precision_of
from srin.segmentation.prompts import checked_box, checked_points
from srin.segmentation.sam_model import LoadedSam

INPUT_SIDE = 1024  # pixels of the longer side that the official encoders see
TWINS = 0.95  # IoU from which two candidates count as the same
MASK_LOGIT = 10.0  # logit of a finished mask that is given back as a prompt

cache = ArrayCache(256 << 20)  # 64 embeddings of 4 MiB
# Encodings and automatic maps run one at a time: each uses all cores, and a second request for the same
# picture finds the first one's result. Clicks on an encoded picture never wait for this lock.
_heavy_work = threading.RLock()


def _always(done: float) -> None:
    """A `proceed` that never stops the work."""


class SamEngine:
    """Segment Anything on one picture. May be shared by threads.

    The encoding and the map are cached by the picture's content, so that engines on the same picture share them.

    Args:
        image: uint8 (H, W, 3), sRGB. A copy of at most INPUT_SIDE pixels is kept.
        sam: the model.
        size: (height, width) of the photo, if `image` is a smaller copy of it. Prompts are in the photo's pixels.

    Attributes:
        segmenter: the name to show beside masks and maps, as "sam (vit_b)".

    Raises:
        SegmentationError: the picture is too narrow to be encoded.
    """

    def __init__(self, image: np.ndarray, sam: LoadedSam, size: tuple[int, int] | None = None) -> None:
        self._sam = sam
        self._size = size or image.shape[:2]
        self._image = limited(image)
        height, width = self._size
        side = sam.model.image_encoder.img_size
        if min(height, width) * side < max(height, width):
            raise SegmentationError(f"{width} x {height} pixels are too narrow for Segment Anything.")
        self.segmenter = f"sam ({sam.architecture})"
        content = f"{self._image.shape}{sam.key}".encode() + self._image.tobytes()
        self._key = hashlib.sha256(content).hexdigest()
        scale = side / max(self._image.shape[:2])
        self._input_size = tuple(int(length * scale + 0.5) for length in self._image.shape[:2])

    @property
    def is_prepared(self) -> bool:
        """Whether the encoding is cached."""
        return cache.get(self._key) is not None

    def prepare(self, proceed: Callable[[float], None] = _always) -> None:
        """Runs the image encoder, unless its result is cached. It is the slow part: half a minute on a CPU.

        Args:
            proceed: called with the share that is done; may raise an exception to stop.
        """
        self._embedding(proceed)

    def candidates(
        self,
        points: ArrayLike = (),
        labels: ArrayLike = (),
        box: Sequence[float] | None = None,
        previous: Candidate | np.ndarray | None = None,
    ) -> list[Candidate]:
        """Selects an object.

        A single click is ambiguous (a shirt, or its wearer?): then the model's three answers are ordered by its own
        estimate of their quality. With more prompts, the model's single answer comes first.

        Args:
            points: N clicks (x, y) in pixels of the photo.
            labels: N numbers, 1 for a click on the object, 0 for one beside it.
            box: (x0, y0, x1, y1) in pixels, around the object.
            previous: the mask to be corrected, a candidate or uint8 (H, W).

        Returns:
            One to three different candidates, the likeliest first.

        Raises:
            SegmentationError: no prompt, or a wrong one, see prompts.py; or nothing was found.
        """
        height, width = self._size
        coordinates, marks = checked_points(points, labels, height, width)
        corners = None if box is None else checked_box(box, height, width)
        if not len(coordinates) and corners is None:
            raise SegmentationError("Click on the object or draw a box around it.")
        scale = np.array(self._input_size[::-1]) / (width, height)
        logits, scores = self._decode(
            (coordinates * scale)[None] if len(coordinates) else None,
            marks[None],
            None if corners is None else (np.array(corners).reshape(2, 2) * scale).reshape(1, 4),
            None if previous is None else self._as_prompt(previous),
        )
        ambiguous = len(coordinates) == 1 and corners is None and previous is None
        order = 1 + np.argsort(-scores[0, 1:], kind="stable")
        found: list[Candidate] = []
        for k in order if ambiguous else (0, *order):
            one = Candidate(self._valid(logits[0, k]), float(scores[0, k]), self.segmenter)
            inside = one.logits > 0
            if inside.any() and all(overlap(inside, other.logits > 0) < TWINS for other in found):
                found.append(one)
        if not found:
            raise SegmentationError("Segment Anything found nothing there. Click elsewhere, or draw a box.")
        return found[:CANDIDATES]

    def automatic(self, proceed: Callable[[float], None] = _always) -> AutomaticMap:
        """Splits the whole picture into regions (see automatic.py). It takes some ten times as long as a click, and is
        cached like the encoding."""
        with _heavy_work:
            arrays = cache.get(f"{self._key}-map")
            if arrays is None:
                found = adaptive_map(_PointDecoder(self), self.segmenter, proceed)
                arrays = {"labels": found.labels, "objects": found.objects, "points": np.array(found.decoded_points)}
                cache.put(f"{self._key}-map", arrays)
        return AutomaticMap(arrays["labels"], arrays["objects"], int(arrays["points"]), self.segmenter, self.segmenter)

    def full_grid_map(self) -> np.ndarray:
        """int32 (h, w): the map of the library's own generator, smaller masks over larger ones. Minutes on a CPU."""
        from segment_anything import SamPredictor

        with _heavy_work:
            predictor = SamPredictor(self._sam.model)
            predictor.features = self._embedding(_always)
            predictor.is_image_set = True
            predictor.input_size = self._input_size
            return painted(full_grid_masks(predictor, self.logits_size, automatic.FULL_GRID)[0])

    @property
    def logits_size(self) -> tuple[int, int]:
        """(h, w) of the decoder's logits, as far as they belong to the picture."""
        height, width = (max(1, round(length / 4)) for length in self._input_size)
        return height, width

    def _embedding(self, proceed: Callable[[float], None]) -> Any:
        """The encoder's tensor, fp32 on the model's device."""
        import torch

        model = self._sam.model
        arrays = cache.get(self._key)
        if arrays is None:
            with _heavy_work:
                arrays = cache.get(self._key)
                if arrays is None:
                    arrays = {"features": encode(self._sam, self._image, precision_of(self._sam), proceed)}
                    cache.put(self._key, arrays)
        return torch.from_numpy(arrays["features"]).to(model.device)

    def _decode(
        self, points: np.ndarray | None, marks: np.ndarray, boxes: np.ndarray | None, masks: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs the mask decoder on B prompts.

        Args:
            points: (B, N, 2) in pixels of the encoder's input, marks: (B, N), boxes: (B, 4), masks: (B, 1, s, s) logits.

        Returns:
            float32 logits (B, 4, s, s) and predicted IoU (B, 4): the single answer, then the three ambiguous ones.
        """
        import torch

        model = self._sam.model

        def tensor(array: np.ndarray | None) -> Any:
            return None if array is None else torch.from_numpy(np.asarray(array, np.float32)).to(model.device)

        with torch.inference_mode():
            clicks = None if points is None else (tensor(points), torch.from_numpy(marks).to(model.device))
            sparse, dense = model.prompt_encoder(points=clicks, boxes=tensor(boxes), masks=tensor(masks))
            # The decoder's forward would pick either the single answer or the three; both come from one pass.
            logits, scores = model.mask_decoder.predict_masks(
                image_embeddings=self._embedding(_always),
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
            )
            return logits.float().cpu().numpy(), scores.float().cpu().numpy()

    def _valid(self, logits: np.ndarray) -> np.ndarray:
        """The part (h, w) of logits (s, s) that belongs to the picture; the rest is the encoder's padding."""
        height, width = self.logits_size
        # The part may end inside a pixel of the logits; rounding would shift masks of large photos by several pixels.
        stretch_x, stretch_y = self._input_size[1] / 4 / width, self._input_size[0] / 4 / height
        matrix = np.array([[stretch_x, 0, stretch_x / 2 - 0.5], [0, stretch_y, stretch_y / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(logits, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def _as_prompt(self, previous: Candidate | np.ndarray) -> np.ndarray:
        """Converts a mask to the logits that the prompt encoder expects, (1, 1, s, s)."""
        height, width = self.logits_size
        if isinstance(previous, Candidate):
            inside = previous.logits
        else:
            inside = (previous.astype(np.float32) / 255 - 0.5) * 2 * MASK_LOGIT
        side = self._sam.model.prompt_encoder.mask_input_size[0]
        padded = np.full((side, side), -MASK_LOGIT, np.float32)
        padded[:height, :width] = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
        return padded[None, None]


class _PointDecoder:
    """A PointDecoder (see automatic.py) on the picture of an engine."""

    def __init__(self, engine: SamEngine) -> None:
        self._engine = engine
        self.size = engine.logits_size

    def decode(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = (points * self._engine._input_size[::-1])[:, None]
        marks = np.ones((len(points), 1), np.int32)
        logits, scores = self._engine._decode(places, marks, None, None)
        valid = [[self._engine._valid(one) for one in answers[1:]] for answers in logits]
        return np.array(valid, np.float32), scores[:, 1:]


def limited(image: np.ndarray) -> np.ndarray:
    """A contiguous copy of a picture (H, W, 3), shrunk to INPUT_SIDE as the library would."""
    shrink = INPUT_SIDE / max(image.shape[:2])
    if shrink >= 1:
        return image.copy()
    width, height = (max(1, int(length * shrink + 0.5)) for length in image.shape[1::-1])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
