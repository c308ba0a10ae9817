"""The automatic map: all regions of a picture, from as few decoded points as possible.

Decoding points takes most of the time. So the next points go where the map is uncertain, largest places first, until
every place is explained or more points gain nothing. A mask is trusted when several answers agree on it: nearly all
points inside a region propose that region, while a part or a mistake is proposed only by the point asked there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

MAX_POINTS = 102  # a tenth of the library's grid of 32x32
FIRST_GRID = 4  # points per side
ROUND = 8  # points decoded together; between rounds the next points are chosen from the map
MIN_SCORE = 0.75  # predicted IoU
MIN_STABILITY = 0.9  # area at STABILITY_OFFSET over area at its negative; the library requires 0.95 at full size
STABILITY_OFFSET = 1.0  # logits
MIN_AREA = 0.001  # share of the picture: smaller masks are dropped, and smaller places are not worth a point
SAME = 0.8  # IoU above which two masks are one
AGREEMENT = 0.7  # share of the points inside a mask that must have proposed it
ENOUGH_VOTES = 3  # a mask proposed by so many points needs no further one
FRESH = 0.6  # share of a mask that must still be unclaimed when it is painted
SPECK = 0.01  # islands and holes smaller than this share of a mask are noise
FULL_GRID = 32  # points per side, the library's default
MAX_OBJECT = 0.6  # share of the picture above which a mask is scenery
PROPOSALS = 8


class PointDecoder(Protocol):
    """A decoder of point prompts on one picture: Segment Anything's, or the oracle.

    Attributes:
        size: (h, w) of its logits, which cover the whole picture.
    """

    size: tuple[int, int]

    def decode(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answers N points, each with A masks.

        points: float (N, 2), x and y as fractions of width and height. Returns float32 logits (N, A, h, w), above 0
        inside the mask, and float32 predicted IoU (N, A).
        """
        ...


@dataclass(frozen=True, eq=False)
class AutomaticMap:
    """The regions and objects of a picture.

    Attributes:
        labels: int32 (h, w) at the decoder's resolution, consecutive from 0.
        objects: bool (N, h, w), at most PROPOSALS masks of whole objects, the most certain first.
        decoded_points: how many points were asked.
        segmenter: what drew the regions, to be shown to people. finder: what found the objects.
    """

    labels: np.ndarray
    objects: np.ndarray
    decoded_points: int
    segmenter: str
    finder: str


def adaptive_map(
    decoder: PointDecoder,
    segmenter: str,
    proceed: Callable[[float], None] = lambda done: None,
) -> AutomaticMap:
    """Splits a picture into regions: asks a coarse grid of points first, then points where the map is uncertain.

    Args:
        decoder: answers the points. At most MAX_POINTS are asked.
        segmenter: its name.
        proceed: called before every round with the share of the points asked; may raise an exception to stop.
    """
    evidence = _Evidence(decoder.size)
    places = grid(FIRST_GRID)
    while len(places):
        proceed(len(evidence.points) / MAX_POINTS)
        evidence.add(places, *decoder.decode(places))
        labels, certainty = evidence.partition()
        room = min(ROUND, MAX_POINTS - len(evidence.points))
        places = _next_points(labels, certainty, evidence.pixels, room)
    return AutomaticMap(_without_gaps(labels), evidence.objects(), len(evidence.points), segmenter, segmenter)


def grid(side: int) -> np.ndarray:
    """The middles of side x side cells of a picture, as fractions of width and height: float (side * side, 2)."""
    return (np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=-1).reshape(-1, 2) + 0.5) / side


class _Evidence:
    """All answers so far: the distinct masks, and how many answers and points proposed each."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self.points = np.zeros((0, 2))
        self._masks = np.zeros((0, *size), bool)
        self._halves = np.zeros((0, len(range(0, size[0], 2)) * len(range(0, size[1], 2))), np.float32)
        self._answers: list[list[float]] = []  # scores of the answers that proposed each mask
        self._voters: list[int] = []  # number of points that proposed each mask: a point may propose one twice

    @property
    def pixels(self) -> np.ndarray:
        """int (N, 2), row and column of every point asked."""
        height, width = self._size
        return np.minimum((self.points[:, ::-1] * self._size).astype(int), (height - 1, width - 1))

    def add(self, points: np.ndarray, logits: np.ndarray, scores: np.ndarray) -> None:
        """Adds answers: points (N, 2), logits (N, A, h, w) and scores (N, A), as decoded."""
        self.points = np.concatenate([self.points, points])
        places = self.pixels[-len(points) :]
        for (row, column), answers, ious in zip(places, logits, scores, strict=True):
            voted = set()
            for k in np.argsort(-ious, kind="stable"):
                mask = _usable(answers[k], float(ious[k]))
                # An answer that leaves out the point it was asked about is a mistake.
                if mask is not None and mask[row, column]:
                    index = self._index(mask)
                    self._answers[index].append(float(ious[k]))
                    voted.add(index)
            for index in voted:
                self._voters[index] += 1

    def _index(self, mask: np.ndarray) -> int:
        """The index of the known mask that is the same, or of a new one. Masks are compared at half size."""
        half = mask[::2, ::2].ravel().astype(np.float32)
        if len(self._halves):
            shared = self._halves @ half
            overlap = shared / np.maximum(self._halves.sum(1) + half.sum() - shared, 1)
            best = int(np.argmax(overlap))
            if overlap[best] > SAME:
                return best
        self._masks = np.concatenate([self._masks, mask[None]])
        self._halves = np.concatenate([self._halves, half[None]])
        self._answers.append([])
        self._voters.append(0)
        return len(self._answers) - 1

    def _ranking(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the masks in the order in which they may claim pixels, and which masks are confirmed.

        Confirmed masks go first, fine before coarse: two regions that each explain their points are better than their
        union, which explains the same points. Then the others, by how well they explain theirs.
        """
        inside = self._masks[:, self.pixels[:, 0], self.pixels[:, 1]].sum(1)
        agreement = np.array(self._voters) / np.maximum(inside, 1)
        confirmed = (np.array([len(answers) for answers in self._answers]) >= 2) & (agreement >= AGREEMENT)
        quality = agreement * [np.mean(answers) for answers in self._answers]
        areas = self._masks.sum((1, 2))
        return np.lexsort((np.where(confirmed, areas, -quality), ~confirmed)), confirmed

    def partition(self) -> tuple[np.ndarray, np.ndarray]:
        """The map from the answers so far.

        Returns:
            int32 labels (h, w), 0 where nothing is known, and float certainty by label: 0 for label 0, infinite for
            regions that need no further point.
        """
        labels = np.zeros(self._size, np.int32)
        certainty = [0.0]
        if not self._answers:
            return labels, np.array(certainty)
        ranking, confirmed = self._ranking()
        areas = self._masks.sum((1, 2))
        # Whole masks first; then what is left of masks that overlap others.
        for whole in (True, False):
            for index in ranking:
                free = self._masks[index] & (labels == 0)
                if free.sum() >= (FRESH * areas[index] if whole else MIN_AREA * labels.size):
                    labels[free] = len(certainty)
                    certainty.append(self._certainty(index) if whole and confirmed[index] else 0.5)
        return labels, np.array(certainty)

    def _certainty(self, index: int) -> float:
        return np.inf if self._voters[index] >= ENOUGH_VOTES else float(len(self._answers[index]))

    def objects(self) -> np.ndarray:
        """bool (N, h, w): masks that may be whole objects, the most certain first."""
        if not self._answers:
            return self._masks
        _, confirmed = self._ranking()
        weight = np.array([sum(answers) for answers in self._answers]) + 100 * confirmed
        weight[self._masks.mean((1, 2)) > MAX_OBJECT] = 0
        order = np.argsort(-weight, kind="stable")[:PROPOSALS]
        return self._masks[order[weight[order] > 0]]


def _usable(logits: np.ndarray, score: float) -> np.ndarray | None:
    """The mask (h, w) of an answer that passes the filters, without specks; otherwise None."""
    if score < MIN_SCORE:
        return None
    wide = int(np.count_nonzero(logits > -STABILITY_OFFSET))
    if np.count_nonzero(logits > STABILITY_OFFSET) < MIN_STABILITY * max(wide, 1):
        return None
    mask = _without_specks(logits > 0)
    return mask if mask.sum() >= MIN_AREA * mask.size else None


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Fills small holes and removes small islands."""
    result = mask.astype(np.uint8)
    for value in (1, 0):
        _, parts, stats, _ = cv2.connectedComponentsWithStats((result == value).astype(np.uint8), connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] < SPECK * np.count_nonzero(mask)
        small[0] = False  # everything else
        result[small[parts]] = 1 - value
    return result.astype(bool)


def _next_points(labels: np.ndarray, certainty: np.ndarray, asked: np.ndarray, count: int) -> np.ndarray:
    """The next points: in the largest uncertain places, far from their edges and from earlier points.

    Returns:
        float (n, 2), x and y as fractions; no points when the possible gain is below MIN_AREA everywhere.
    """
    height, width = labels.shape
    free = np.ones(labels.shape, np.uint8)
    free[:, 1:][labels[:, 1:] != labels[:, :-1]] = 0
    free[1:][labels[1:] != labels[:-1]] = 0
    free[asked[:, 0], asked[:, 1]] = 0
    distance = cv2.distanceTransform(np.pad(free, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    # Every connected unknown place gets a label of its own.
    _, places = cv2.connectedComponents((labels == 0).astype(np.uint8), connectivity=4)
    places = np.where(labels == 0, places + len(certainty) - 1, labels)
    gain = np.bincount(places.ravel()) / labels.size
    gain[: len(certainty)] /= 1 + certainty
    chosen = np.argsort(-gain, kind="stable")[: max(count, 0)]
    points = []
    for place in chosen[gain[chosen] > MIN_AREA]:
        row, column = np.unravel_index(np.argmax(np.where(places == place, distance, 0)), labels.shape)
        if distance[row, column] > 1.5:
            points.append(((column + 0.5) / width, (row + 0.5) / height))
    return np.array(points).reshape(-1, 2)


def _without_gaps(labels: np.ndarray) -> np.ndarray:
    """Makes labels consecutive from 0. Small unknown places join the nearest region, larger ones become regions."""
    unknown = labels == 0
    _, places, stats, _ = cv2.connectedComponentsWithStats(unknown.astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < MIN_AREA * labels.size
    filled = np.where(unknown, labels.max() + places, labels)
    holes = unknown & small[places]
    if holes.any() and not holes.all():
        _, nearest = cv2.distanceTransformWithLabels(
            holes.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        label_of = np.zeros(int(nearest.max()) + 1, np.int32)
        label_of[nearest[~holes]] = filled[~holes]
        filled[holes] = label_of[nearest[holes]]
    return np.unique(filled, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def full_grid_masks(
    predictor: Any, size: tuple[int, int], points_per_side: int, points_per_batch: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """The masks of the library's own SamAutomaticMaskGenerator with its default filters.

    Args:
        predictor: a SamPredictor whose picture is encoded, or an object that behaves like one.
        size: (h, w) of the masks; the generator's work grows with it.
        points_per_side: of the grid of points. points_per_batch: 32 take 0.4 GB at the real decoder's resolution.

    Returns:
        bool (N, h, w), and their predicted IoU (N,).
    """
    from segment_anything import SamAutomaticMaskGenerator

    generator = SamAutomaticMaskGenerator(
        predictor.model, points_per_side=points_per_side, points_per_batch=points_per_batch
    )
    # The generator would encode the picture that it is given; the predictor has encoded it already.
    predictor.original_size = size
    predictor.set_image = predictor.reset_image = lambda *args: None
    generator.predictor = predictor
    records = generator.generate(np.zeros((*size, 3), np.uint8))
    masks = np.array([record["segmentation"] for record in records], bool).reshape(-1, *size)
    return masks, np.array([record["predicted_iou"] for record in records])


def painted(masks: np.ndarray) -> np.ndarray:
    """Turns masks, bool (N, h, w), into labels, int32 (h, w), consecutive from 0; smaller masks lie over larger ones."""
    labels = np.zeros(masks.shape[1:], np.int64)
    for label, index in enumerate(np.argsort(-masks.sum((1, 2)), kind="stable"), start=1):
        labels[masks[index]] = label
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def covering(labels: np.ndarray, truth: np.ndarray) -> float:
    """Segmentation covering (Arbelaez et al., 2011, equation 8) of a map, from 0 to 1.

    The mean over pixels of the IoU between the pixel's true region and the region of the map that matches it best.

    Args:
        labels, truth: integers (H, W), of any values.
    """
    (_, ours), (_, theirs) = (np.unique(array, return_inverse=True) for array in (labels, truth))
    shape = int(theirs.max()) + 1, int(ours.max()) + 1
    shared = np.bincount(theirs.ravel() * shape[1] + ours.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    areas = shared.sum(1)
    overlap = shared / (areas[:, None] + shared.sum(0) - shared)
    return float((areas * overlap.max(1)).sum() / areas.sum())
