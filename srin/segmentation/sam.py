"""Segment Anything on a picture: one encoding, then masks from clicks and boxes, and a map of everything."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from srin.errors import SegmentationError
from srin.segmentation.checkpoints import find_checkpoint
from srin.segmentation.prompts import checked_box, checked_points
from srin.segmentation.sam_model import load_sam

CACHE_BYTES = 256 << 20  # 64 embeddings of 4 MiB
MAP_SIDE = 256  # pixels of the longer side of automatic maps: the decoder's own resolution
GRIDS = (8, 16, 32)  # points per side asked by the automatic map, coarse to fine; 32 is the library's default
POINTS_PER_BATCH = 32  # 0.4 GB of logits at the encoder's resolution


class _Cache:
    """Arrays and tensors by key; those used longest ago go first when their bytes exceed the limit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    def get(self, key: tuple[str, ...]) -> Any:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: tuple[str, ...], value: Any) -> None:
        with self._lock:
            self._entries[key] = value
            size = sum(entry.nbytes for entry in self._entries.values())
            while size > CACHE_BYTES:
                size -= self._entries.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


_cache = _Cache()
# Encodings and automatic maps go one at a time: each uses all cores, and a second request for the same
# picture finds the first one's result. Clicks on an encoded picture never wait for it.
_heavy_work = threading.RLock()


class SamSession:
    """A picture to be asked about. Cheap to make; may be shared by threads.

    The encoding is made on first use and cached by the picture's content, so that sessions on the same
    picture share it. Call `encode` when the picture arrives to have it ready before the first click.

    Args:
        image: uint8 (H, W, 3), sRGB.
        checkpoint: as `source` of load_sam; by default what find_checkpoint finds.
        device: as in load_sam.

    Raises:
        SegmentationError: there is no checkpoint, as load_sam, or the picture is too narrow to be encoded.
    """

    def __init__(
        self, image: np.ndarray, checkpoint: str | os.PathLike[str] | None = None, device: str | None = None
    ) -> None:
        checkpoint = checkpoint or find_checkpoint()
        if checkpoint is None:
            raise SegmentationError(
                "There is no Segment Anything checkpoint on this machine. Download one, or point "
                "SRIN_SAM_CHECKPOINT to a checkpoint file."
            )
        self._sam = load_sam(checkpoint, device)
        height, width = image.shape[:2]
        side = self._sam.model.image_encoder.img_size
        if min(height, width) * side < max(height, width):
            raise SegmentationError(f"{width} x {height} pixels are too narrow for Segment Anything.")
        self._image = np.ascontiguousarray(image)
        content = hashlib.sha256(self._image.data).hexdigest()
        self._key = (content, f"{width}x{height}", self._sam.key)

    @property
    def segmenter(self) -> str:
        """The name to show beside masks and maps, as "sam (vit_b)"."""
        return f"sam ({self._sam.architecture})"

    def encode(self) -> None:
        """Runs the image encoder, unless its result is cached. The slow part: up to minutes on a CPU."""
        self._predictor()

    def mask(
        self, points: ArrayLike = (), labels: ArrayLike = (), box: Sequence[float] | None = None
    ) -> np.ndarray:
        """Selects an object.

        A single click is ambiguous (a shirt, or its wearer?): of the model's three answers, the one is taken
        of which it is most certain.

        Args:
            points: N clicks (x, y) in pixels.
            labels: N numbers, 1 for a click on the object, 0 for one beside it.
            box: (x0, y0, x1, y1) in pixels, around the object.

        Returns:
            uint8 (H, W), 0 or 255.

        Raises:
            SegmentationError: no prompt, or a wrong one, see prompts.py; or nothing was found.
        """
        height, width = self._image.shape[:2]
        coordinates, marks = checked_points(points, labels, height, width)
        if not len(coordinates) and box is None:
            raise SegmentationError("Click on the object or draw a box around it.")
        masks, scores, _ = self._predictor().predict(
            point_coords=coordinates if len(coordinates) else None,
            point_labels=marks if len(coordinates) else None,
            box=None if box is None else np.array(checked_box(box, height, width)),
            multimask_output=len(coordinates) == 1 and box is None,
        )
        mask = masks[int(np.argmax(scores))]
        if not mask.any():
            raise SegmentationError("Segment Anything found nothing there. Click elsewhere, or draw a box.")
        return mask.astype(np.uint8) * 255

    def automatic_map(self) -> np.ndarray:
        """Splits the whole picture into objects.

        Asks at the points of a coarse grid, then at those of finer ones where nothing is found yet: decoding
        a point is what costs. The finest detail is a pixel of MAP_SIDE, plenty for a map of mean colours.
        Smaller masks are painted over larger ones; what no mask covers is a region of its own.

        Returns:
            int32 (H, W), labels consecutive from 0. Minutes on a CPU; cached like the encoding.
        """
        with _heavy_work:
            labels = _cache.get((*self._key, "map"))
            if labels is None:
                labels = _paint(self._automatic_masks())
                _cache.put((*self._key, "map"), labels)
        height, width = self._image.shape[:2]
        rows = np.arange(height) * labels.shape[0] // height
        columns = np.arange(width) * labels.shape[1] // width
        return labels[rows[:, None], columns]

    def _automatic_masks(self) -> np.ndarray:
        """bool (N, h, w): what the grids' points select, at the size of the map."""
        from segment_anything import SamAutomaticMaskGenerator

        height, width = self._image.shape[:2]
        shrink = min(1.0, MAP_SIDE / max(height, width))
        small = cv2.resize(
            self._image,
            (max(1, round(width * shrink)), max(1, round(height * shrink))),
            interpolation=cv2.INTER_AREA,
        )
        generator = SamAutomaticMaskGenerator(
            self._sam.model, points_per_side=None, point_grids=[], points_per_batch=POINTS_PER_BATCH
        )
        # The generator would encode the small picture; let it find the full one encoded instead.
        predictor = self._predictor()
        predictor.original_size = small.shape[:2]
        predictor.set_image = predictor.reset_image = lambda *args: None
        generator.predictor = predictor

        found: list[np.ndarray] = []
        covered = np.zeros(small.shape[:2], bool)
        for side in GRIDS:
            points = (np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=-1).reshape(-1, 2) + 0.5) / side
            pixels = (points * small.shape[1::-1]).astype(int)
            points = points[~covered[pixels[:, 1], pixels[:, 0]]]
            if not len(points):
                break
            generator.point_grids = [points]
            masks = [record["segmentation"] for record in generator.generate(small)]
            found += masks
            covered = np.any([covered, *masks], axis=0)
        return np.array(found).reshape(-1, *small.shape[:2])

    def _predictor(self) -> Any:
        """A predictor of this picture alone, with the embedding set: SamPredictor is not safe to share."""
        import torch
        from segment_anything import SamPredictor

        predictor = SamPredictor(self._sam.model)
        features = _cache.get(self._key)
        if features is None:
            with _heavy_work:
                features = _cache.get(self._key)
                if features is None:
                    with torch.inference_mode():
                        predictor.set_image(self._image)
                    features = predictor.features
                    _cache.put(self._key, features)
        height, width = self._image.shape[:2]
        predictor.features = features
        predictor.is_image_set = True
        predictor.original_size = (height, width)
        predictor.input_size = predictor.transform.get_preprocess_shape(
            height, width, predictor.transform.target_length
        )
        return predictor


def _paint(masks: np.ndarray) -> np.ndarray:
    """bool (N, h, w) to int32 (h, w): each mask a label, smaller over larger, consecutive from 0."""
    labels = np.zeros(masks.shape[1:], np.int64)
    # A stable sort, so that masks of equal size keep the generator's order.
    for label, index in enumerate(np.argsort(-masks.sum((1, 2)), kind="stable"), start=1):
        labels[masks[index]] = label
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
