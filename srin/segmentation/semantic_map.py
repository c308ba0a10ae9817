"""The semantic map of a composite: which pixels belong together, and on which side of the mask.

In the paper, SRIN gets the map painted with mean colours (M_s). A map records which segmenter drew it, so that a map of
colour regions is never mistaken for one by Segment Anything.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from srin.composite import Composite, Placement, placement_matrix
from srin.errors import MaskError, OutputError, SegmentationError
from srin.image_io import load_labels, save_image
from srin.mask_values import extent
from srin.models.config import BACKGROUND_REGIONS, FOREGROUND_REGIONS
from srin.outputs import SETTINGS
from srin.resizing import enlarged_labels, shrunk_size
from srin.segmentation.automatic import AutomaticMap
from srin.segmentation.candidate import COLOUR_REGIONS, EMBEDDED

if TYPE_CHECKING:
    from srin.segmentation.sam_model import LoadedSam

MAX_REGIONS = 64  # of a photo without a mask; for composites, see BACKGROUND_REGIONS and FOREGROUND_REGIONS
CROP_SIDE = 512  # pixels of the longer side of a cut-out's labels
NOTE = "Segmenter"  # key of the segmenter's name in a map's PNG
MAP_SUFFIXES = (".png",)
SAM_SIDE = 1024  # pixels of the longer side at which Segment Anything sees a composite, at most
MAP_SIZE = 96  # a composite's colour regions are drawn on a copy with about MAP_SIZE ** 2 pixels
MAX_LABELS = 4096  # a map with more distinct values is a photo or a JPEG, not a map
SEGMENTERS = ("auto", "sam", "embedded", "colour")


@dataclass(frozen=True, eq=False)  # comparing arrays has no single truth value
class SemanticMap:
    """Regions of a picture.

    Attributes:
        labels: int32 (H, W), region ids, consecutive from 0. In a map from `build`, no region is on both
            sides of the mask, there are at most BACKGROUND_REGIONS and FOREGROUND_REGIONS, and the background's ids
            come before the foreground's.
        segmenter: what drew the regions, to be shown to people: "sam (vit_b)", "colour regions",
            "embedded network", "provided", "one region".

    Raises:
        SegmentationError: the labels are not as described.
    """

    labels: np.ndarray
    segmenter: str

    def __post_init__(self) -> None:
        labels = self.labels
        right_type = labels.ndim == 2 and labels.dtype == np.int32
        if not right_type or labels.min() != 0 or not np.bincount(labels.ravel()).all():
            raise SegmentationError(
                "The labels of a semantic map are a two-dimensional int32 array, consecutive from 0. "
                "Make one from any label array with srin.segmentation.semantic_map.build."
            )

    def paint(self, image: np.ndarray) -> np.ndarray:
        """Paints every region with its mean colour: M_s of the paper.

        Args:
            image: uint8 (H, W, 3), the composite.

        Returns:
            uint8 (H, W, 3), the means rounded to the nearest value.

        Raises:
            SegmentationError: the picture and the map differ in size.
        """
        _check_size(self.labels, image)
        areas, sums = _areas_and_sums(self.labels, image)
        return np.rint(sums / areas[:, None]).astype(np.uint8)[self.labels]

    def save(self, path: str | os.PathLike[str], settings: dict[str, Any] | None = None) -> None:
        """Writes the ids as a greyscale PNG of 8 bits, or 16 if there are more than 256 regions. settings: what the map
        was made with, stored in the file.

        Raises:
            OutputError: the file can't be written, or isn't named .png.
        """
        if Path(path).suffix.lower() not in MAP_SUFFIXES:
            raise OutputError(f"Can't save {path}: label maps are saved as .png, which keeps every label.")
        labels = self.labels.astype(np.uint8 if self.labels.max() < 256 else np.uint16)
        notes = {NOTE: self.segmenter, SETTINGS: json.dumps(settings or {"segmenter": self.segmenter})}
        save_image(labels, path, notes)

    def save_painted(self, image: np.ndarray, path: str | os.PathLike[str]) -> None:
        """Writes a picture of the regions: each in its mean colour, with white outlines.

        Raises:
            OutputError: the file can't be written.
            SegmentationError: the picture and the map differ in size.
        """
        painted = self.paint(image)
        edge = np.zeros(self.labels.shape, np.uint8)
        edge[:, 1:] |= self.labels[:, 1:] != self.labels[:, :-1]
        edge[1:] |= self.labels[1:] != self.labels[:-1]
        thick = max(1, round(max(edge.shape) / 400))
        painted[cv2.dilate(edge, np.ones((thick, thick), np.uint8)) > 0] = 255
        save_image(painted, path, {SETTINGS: json.dumps({"segmenter": self.segmenter})})

    @staticmethod
    def saved_by(path: Path) -> str | None:
        """The segmenter's name in a file that `save` wrote; None if there is no such file."""
        try:
            with Image.open(path) as image:
                return image.info.get(NOTE)
        except Exception:  # on what is no picture Pillow raises nearly anything
            return None

    @staticmethod
    def load(path: str | os.PathLike[str]) -> SemanticMap:
        """Reads the ids from a picture with one channel of 8 or 16 bits, or a palette.

        The file doesn't depend on a mask: pass its labels to `build`, together with the composite.

        Raises:
            ImageError: the file is not a picture, or a colour picture.
            SegmentationError: it has more than MAX_LABELS values, so it is no map.
        """
        labels, count = _consecutive(load_labels(path, what="semantic map"))
        _check_count(count)
        return SemanticMap(labels, "provided")


def build(composite: Composite, labels: np.ndarray, segmenter: str) -> SemanticMap:
    """Fits any label map to a composite: splits regions at the mask's edge, and merges those of each side to a few.

    While a side has too many regions, its smallest one is merged into the one of that side with the nearest mean colour.
    The result is deterministic, and building it again from its own labels changes nothing.

    Args:
        composite: the picture; mask > 127 is foreground.
        labels: integers (H, W), of any values.
        segmenter: name to show to people, see SemanticMap.

    Raises:
        SegmentationError: labels and composite differ in size, or labels are no map.
    """
    _check_size(labels, composite.image)
    return _fit(composite.image, composite.mask, labels, segmenter)


def read_or_draw(composite: Composite, path: str | os.PathLike[str] | None, segmenter: str = "auto") -> SemanticMap:
    """Reads a composite's map from a file and fits it to the composite; without a file, draws one as `draw` does.

    Raises:
        ImageError, SegmentationError: as `SemanticMap.load`, `build` and `segment`.
    """
    if path is None:
        return draw(composite, segmenter)
    return build(composite, SemanticMap.load(path).labels, "provided")


def draw(composite: Composite, segmenter: str = "auto") -> SemanticMap:
    """Draws the map that SRIN takes if none is given. Colour regions are drawn at the same small size as in training.

    Args:
        segmenter: as in `segment`.

    Returns:
        A map that may be smaller than the composite, see `fitted`. Errors are those of `segment`.
    """
    height, width = composite.mask.shape
    side = SAM_SIDE
    if segmenter_name(segmenter) == COLOUR_REGIONS:
        side = map_side(height, width)
    return segment(composite.shrunk(side), segmenter)


def map_side(height: int, width: int) -> int:
    """The longer side, in pixels, of a copy with about MAP_SIZE ** 2 pixels, on which colour regions are drawn."""
    return round(MAP_SIZE * (max(height, width) / min(height, width)) ** 0.5)


def fitted(composite: Composite, semantic_map: SemanticMap) -> SemanticMap:
    """Enlarges a map of any size to the composite's, and fits it to the composite."""
    return build(composite, enlarged_labels(semantic_map.labels, composite.mask.shape), semantic_map.segmenter)


def segment(
    picture: np.ndarray | Composite, segmenter: str = "auto", checkpoint: str | os.PathLike[str] | None = None
) -> SemanticMap:
    """Draws the semantic map of a composite, or of a photo without a mask.

    Args:
        picture: a Composite, or uint8 (H, W, 3); the latter is all background.
        segmenter: "sam" for Segment Anything, "embedded" for the embedded network, "colour" for colour regions, "auto"
            for Segment Anything where one of its checkpoints is found, otherwise colour regions.
        checkpoint: of Segment Anything, see `load_sam`; by default what `find_checkpoint` finds.

    Raises:
        SegmentationError: an unknown segmenter, "sam" without a checkpoint, or a broken checkpoint.
    """
    if isinstance(picture, np.ndarray):
        image, mask = picture, np.zeros(picture.shape[:2], np.uint8)
    else:
        image, mask = picture.image, picture.mask
    labels, name = _draw(image, segmenter, checkpoint)
    return _fit(image, mask, labels, name)


def segmenter_name(segmenter: str, checkpoint: str | os.PathLike[str] | None = None) -> str:
    """The segmenter that would draw a map, named as in SemanticMap.segmenter; arguments and errors as in `segment`."""
    if segmenter == "embedded":
        return EMBEDDED
    sam = _sam(segmenter, checkpoint)
    return f"sam ({sam.architecture})" if sam else COLOUR_REGIONS


def painted_path(path: Path) -> Path:
    """The path of the painted picture of a map whose labels are at `path`."""
    return path.with_name(f"{path.stem}_painted{path.suffix}")


def compose(
    composite: Composite, background: AutomaticMap, foreground: np.ndarray, placement: Placement, size: tuple[int, int]
) -> SemanticMap:
    """Makes a composite's map from the maps of its two photos, placed as the foreground was, without segmenting again.

    Args:
        composite: what `place` returned, at any resolution.
        background: map of the whole background photo.
        foreground: integers (h, w), labels of the picture that was placed, at any resolution. That picture is the crop
            around the object, so its labels come from `crop_labels`.
        placement: as given to `place`.
        size: (height, width) of the picture that was placed, as given to `place`.

    Raises:
        PlacementError: as `placement_matrix`.
    """
    target = composite.mask.shape
    matrix = placement_matrix(target, size, placement)
    # Maps from the labels' grid to the placed picture's, and from pixel edges to OpenCV's pixel centres.
    matrix = matrix @ np.diag([size[1] / foreground.shape[1], size[0] / foreground.shape[0], 1.0])
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    moved = cv2.warpAffine(
        foreground.astype(np.float32),
        matrix,
        target[::-1],
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,  # a soft edge may reach beyond the crop
    )
    labels = enlarged_labels(background.labels, target)
    labels = np.where(composite.mask > 127, moved.astype(np.int32), labels)
    return build(composite, labels, background.segmenter)


def crop_labels(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The labels of the part of a photo that `crop_to_mask` keeps.

    Args:
        labels: integers (h, w), covering the whole photo at any resolution.
        mask: uint8 (H, W), of the photo's own size.

    Returns:
        int32, of the crop's size, but no larger than CROP_SIDE.

    Raises:
        MaskError: the mask is empty.
    """
    x, y, width, height = extent(mask)
    if not width:
        raise MaskError("The foreground's mask is empty: nothing is selected. Select the object first.")
    small = shrunk_size(width, height, CROP_SIDE)[::-1]
    rows = ((y + (np.arange(small[0]) + 0.5) * height / small[0]) * labels.shape[0] / mask.shape[0]).astype(int)
    columns = ((x + (np.arange(small[1]) + 0.5) * width / small[1]) * labels.shape[1] / mask.shape[1]).astype(int)
    return labels[rows[:, None], columns].astype(np.int32)


def _draw(image: np.ndarray, segmenter: str, checkpoint: str | os.PathLike[str] | None) -> tuple[np.ndarray, str]:
    if segmenter == "embedded":
        from srin.segmentation.embedded import EmbeddedEngine

        found = EmbeddedEngine(image).regions()
        return enlarged_labels(found.labels, image.shape[:2]), found.segmenter
    sam = _sam(segmenter, checkpoint)
    if sam is not None:
        from srin.segmentation.sam import SamEngine

        found = SamEngine(image, sam).automatic()
        return enlarged_labels(found.labels, image.shape[:2]), found.segmenter
    from srin.segmentation.regions import colour_regions

    return colour_regions(image), COLOUR_REGIONS


def _sam(segmenter: str, checkpoint: str | os.PathLike[str] | None) -> LoadedSam | None:
    """The Segment Anything model that would draw the map, or None for colour regions."""
    if segmenter not in SEGMENTERS:
        raise SegmentationError(f"There is no segmenter {segmenter!r}. Choose from {', '.join(SEGMENTERS)}.")
    if segmenter == "colour":
        return None
    from srin.segmentation.checkpoints import NONE_HERE, find_checkpoint
    from srin.segmentation.sam_model import load_sam

    checkpoint = checkpoint or find_checkpoint()
    if checkpoint is not None:
        return load_sam(checkpoint)
    if segmenter == "sam":
        raise SegmentationError(
            f"{NONE_HERE} Download one, or point SRIN_SAM_CHECKPOINT to a checkpoint file, or use colour regions instead."
        )
    return None


def _fit(image: np.ndarray, mask: np.ndarray, labels: np.ndarray, segmenter: str) -> SemanticMap:
    labels, count = _consecutive(labels)
    _check_count(count)
    inside = mask > 127
    # Adding the count puts the foreground's regions on ids of their own, after the background's.
    labels, count = _consecutive(labels + count * inside.astype(np.int32))
    most = (BACKGROUND_REGIONS, FOREGROUND_REGIONS) if inside.any() else (MAX_REGIONS, 0)
    first = int(labels[inside].min()) if inside.any() else count
    if first > most[0] or count - first > most[1]:
        areas, sums = _areas_and_sums(labels, image)
        parents = [_merged(areas[:first], sums[:first], most[0]), first + _merged(areas[first:], sums[first:], most[1])]
        labels = _consecutive(np.concatenate(parents)[labels])[0]
    return SemanticMap(labels, segmenter)


def _merged(areas: np.ndarray, sums: np.ndarray, most: int) -> np.ndarray:
    """For every region of one side, the region that it is merged into, so that at most `most` are left."""
    areas, sums = areas.copy(), sums.copy()
    parents = np.arange(len(areas))
    for _ in range(len(areas) - most):
        small = int(np.argmin(areas))
        distances = ((sums / areas[:, None] - sums[small] / areas[small]) ** 2).sum(1)
        distances[np.isinf(areas)] = np.inf  # merged away
        distances[small] = np.inf
        target = int(np.argmin(distances))
        parents[small] = target
        areas[target] += areas[small]
        sums[target] += sums[small]
        areas[small] = np.inf
    # Follow the chains of merges to their ends.
    while not np.array_equal(parents, parents[parents]):
        parents = parents[parents]
    return parents


def _areas_and_sums(labels: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of pixels (R,) and the sums of the colours (R, 3) of every region, as float64, which is exact here."""
    flat = labels.ravel()
    sums = [np.bincount(flat, image[..., channel].ravel()) for channel in range(3)]
    return np.bincount(flat).astype(np.float64), np.stack(sums, axis=1)


def _consecutive(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Renumbers labels to int32, consecutive from 0 and in the same order; also returns how many there are."""
    low = int(labels.min())
    span = int(labels.max()) - low + 1
    if span <= 1 << 24:  # counting beats sorting, and covers every picture file
        shifted = np.subtract(labels, low, dtype=np.int64)
        present = np.bincount(shifted.ravel()) > 0
        return (np.cumsum(present, dtype=np.int32) - 1)[shifted], int(present.sum())
    values, inverse = np.unique(labels, return_inverse=True)
    return inverse.reshape(labels.shape).astype(np.int32), len(values)


def _check_count(count: int) -> None:
    if count > MAX_LABELS:
        raise SegmentationError(
            f"The semantic map has {count:,} different values, and a map has at most {MAX_LABELS:,} regions. "
            "Is it a photo, or was it saved as JPEG or with smooth edges? Save it as PNG without smoothing."
        )


def _check_size(labels: np.ndarray, image: np.ndarray) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise SegmentationError(f"A semantic map holds whole numbers, not {labels.dtype}.")
    if labels.ndim != 2:
        raise SegmentationError(f"A semantic map has two dimensions, height and width, not {labels.ndim}.")
    if labels.shape != image.shape[:2]:
        raise SegmentationError(
            f"The semantic map is {labels.shape[1]}x{labels.shape[0]} pixels, but the picture is "
            f"{image.shape[1]}x{image.shape[0]}. They must have the same size."
        )
