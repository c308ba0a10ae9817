"""A mask decoder that answers from a label map made by people, to measure automatic maps without a checkpoint.

It stands in for Segment Anything's decoder when there are no weights. It imitates that decoder's ambiguity (three
granularities) and faults (rough edges, a misjudged score, answers that are plainly wrong). It can't show how good Segment
Anything itself is on a photo.
"""

import cv2
import numpy as np

SIDE = 256  # pixels of the longer side of the logits, as the real decoder's
JITTER = 2.0  # pixels of the logits by which an edge is displaced at most
WAVE = 8  # pixels from one random displacement to the next, so that edges are wavy, not ragged
PART = 0.2  # of the longer side: radius around the point of the smallest granularity
SCORE_NOISE = 0.05  # standard deviation
WRONG = 0.1  # share of points whose answer is wrong
STEEPNESS = 4.0  # logits per pixel of distance from the edge


class OracleDecoder:
    """A PointDecoder (see automatic.py) on one photo. The same point always gets the same answer.

    A point is answered by three masks in random order: its region, the region together with its neighbour of the most
    similar colour, and the region's part around the point. For one point in ten the answer is wrong: half of these get
    another point's answer, the others random ellipses around the point. Their scores are as high as those of right ones.

    Args:
        image: uint8 (H, W, 3), sRGB, from which similar neighbours are found.
        labels: integers (H, W), the regions that people drew.
        seed: of the random faults.

    Attributes:
        size: (h, w) of the logits, longer side SIDE.
        decoded_points: how many points were answered so far.
    """

    def __init__(self, image: np.ndarray, labels: np.ndarray, seed: int) -> None:
        height, width = labels.shape
        scale = SIDE / max(height, width)
        self.size = (max(1, round(height * scale)), max(1, round(width * scale)))
        self.decoded_points = 0
        self._seed = seed
        rows, columns = (np.arange(n) * full // n for n, full in zip(self.size, labels.shape, strict=True))
        _, ids = np.unique(labels[rows[:, None], columns], return_inverse=True)
        self._ids = ids.reshape(self.size)
        small = cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA)
        self._partner = _most_similar_neighbours(self._ids, cv2.cvtColor(small, cv2.COLOR_RGB2LAB))
        self._distances: dict[tuple[int, ...], np.ndarray] = {}
        self._rows, self._columns = np.mgrid[: self.size[0], : self.size[1]].astype(np.float32)

    def decode(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answers N points.

        Args:
            points: (N, 2), x and y as fractions of the picture's width and height.

        Returns:
            float32 logits (N, 3, h, w), above 0 inside the mask, and float32 predicted IoU (N, 3).
        """
        self.decoded_points += len(points)
        answers = [self._answer(x, y) for x, y in points]
        if not answers:
            return np.zeros((0, 3, *self.size), np.float32), np.zeros((0, 3), np.float32)
        logits, scores = zip(*answers, strict=True)
        return np.stack(logits), np.stack(scores)

    def _answer(self, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        height, width = self.size
        column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
        rng = np.random.default_rng([self._seed, row, column])
        fate = rng.random()
        elsewhere = (int(rng.integers(height)), int(rng.integers(width)))
        if fate < WRONG / 2:
            meant = self._granularities(*elsewhere)
        elif fate < WRONG:
            meant = [self._ellipse(row, column, rng) for _ in range(3)]
        else:
            meant = self._granularities(row, column)
        logits = np.stack([distance + self._displacement(rng) for distance in meant])
        inside, truth = logits > 0, np.stack(meant) > 0
        overlap = (inside & truth).sum((1, 2)) / np.maximum((inside | truth).sum((1, 2)), 1)
        scores = overlap + rng.normal(0, SCORE_NOISE, 3)
        order = rng.permutation(3)
        return (logits * STEEPNESS)[order].astype(np.float32), scores[order].astype(np.float32)

    def _granularities(self, row: int, column: int) -> list[np.ndarray]:
        """Signed distances, positive inside, of the region, the region with its partner, and the part."""
        region = int(self._ids[row, column])
        whole = self._distance((region,))
        around = PART * SIDE - np.hypot(self._rows - row, self._columns - column)
        return [whole, self._distance((region, self._partner[region])), np.minimum(whole, around)]

    def _distance(self, regions: tuple[int, ...]) -> np.ndarray:
        key = tuple(sorted(set(regions)))
        if key not in self._distances:
            inside = np.isin(self._ids, key).astype(np.uint8)
            if inside.all():
                self._distances[key] = np.full(self.size, SIDE, np.float32)
            else:
                within, beyond = (cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (inside, 1 - inside))
                self._distances[key] = np.where(inside, within - 0.5, 0.5 - beyond)
        return self._distances[key]

    def _ellipse(self, row: int, column: int, rng: np.random.Generator) -> np.ndarray:
        radii = np.maximum(rng.uniform(0.03, 0.4, 2) * self.size, 2)
        reach = np.hypot((self._rows - row) / radii[0], (self._columns - column) / radii[1])
        return ((1 - reach) * radii.min()).astype(np.float32)

    def _displacement(self, rng: np.random.Generator) -> np.ndarray:
        height, width = self.size
        coarse = rng.uniform(-JITTER, JITTER, (height // WAVE + 2, width // WAVE + 2)).astype(np.float32)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _most_similar_neighbours(ids: np.ndarray, lab: np.ndarray) -> list[int]:
    """For each region, the neighbour with the nearest mean colour; the region itself if it has no neighbour."""
    count = int(ids.max()) + 1
    areas = np.bincount(ids.ravel(), minlength=count)
    means = np.stack([np.bincount(ids.ravel(), lab[..., c].ravel()) / areas for c in range(3)], axis=1)
    touching = np.zeros((count, count), bool)
    for one, other in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
        touching[one.ravel(), other.ravel()] = touching[other.ravel(), one.ravel()] = True
    np.fill_diagonal(touching, False)
    gaps = np.where(touching, np.linalg.norm(means[:, None] - means[None], axis=2), np.inf)
    return [int(np.argmin(row)) if touching[i].any() else i for i, row in enumerate(gaps)]
