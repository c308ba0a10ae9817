"""Simulates a person's prompts: crops of photos at all scales, and clicks and boxes for their objects."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from train.data.photos import Photos

CELL = 4  # pixels of a picture, a side, for each cell of the network's masks
CLICKS = 12  # of a prompt, at most
SQUEEZE = 1.25  # largest change of a crop's aspect ratio
MIN_CELLS, MAX_INSIDE = 10, 0.85  # of a mask in a crop: cells at least, and share of the crop at most
KEPT = 0.4  # share of a mask that a crop must keep; of the subject's, SUBJECT_KEPT
SUBJECT_KEPT = 0.75
# Least share of a photo that its subject covers; largest area of another object, as a share of the subject's.
SUBJECT_SHARE, SECOND_SHARE = 0.05, 0.34
LOOSE = 0.25  # largest room around an object in a box, as a share of the box's sides
ONE_THING = 0.7  # share of a mask in its largest piece; below it, the mask may merge several things


@dataclass(frozen=True)
class Crop:
    """A piece of a photo as the network sees it.

    Attributes:
        picture: uint8 (h, w, 3). masks: float32 (n, h/4, w/4), the share of each cell inside the object. subject: the
            index of the mask that is the photo's subject, or -1.
    """

    picture: np.ndarray
    masks: np.ndarray
    subject: int


class Crops:
    """An endless source of crops.

    Args:
        weights: how often photos of a source are drawn; 1 for sources not named. part_weights: for sources where a
            photo's first mask is the object and the others are parts of it: how often a part is drawn.
        subjects: sources whose photos have one main object, if one mask is much larger than the others.
    """

    def __init__(
        self, photos: Photos, weights: dict[str, float], part_weights: dict[str, float], subjects: tuple[str, ...]
    ) -> None:
        self._photos, self._part_weights, self._subjects = photos, part_weights, subjects
        wanted = np.array(
            [weights.get(source, 1.0) * (n > 0) for source, n in zip(photos.sources, photos.masks, strict=True)]
        )
        wide = np.array([width / height for height, width in photos.sizes])
        self._weights = {}
        for name, fits in (("tall", wide < 1.1), ("square", wide > 0), ("wide", wide > 1 / 1.1)):
            chosen = np.cumsum(wanted * fits)
            self._weights[name] = chosen / chosen[-1] if chosen[-1] else np.cumsum(wanted) / wanted.sum()
        self._single: dict[tuple[int, int], bool] = {}

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Crop:
        """One crop of a size (h, w), multiples of CELL."""
        shape = "tall" if size[0] > size[1] else "wide" if size[1] > size[0] else "square"
        while True:
            photo = min(int(np.searchsorted(self._weights[shape], rng.random())), len(self._photos) - 1)
            crop = self._crop(photo, rng, size)
            if crop is not None:
                return crop

    def _crop(self, photo: int, rng: np.random.Generator, size: tuple[int, int]) -> Crop | None:
        numbers = [number for number in range(self._photos.masks[photo]) if self.is_one_thing(photo, number)]
        if not numbers:
            return None
        masks = [self._photos.mask(photo, number) for number in numbers]
        part = self._part_weights.get(self._photos.sources[photo], 1.0)
        chances = np.array([1.0 if number == 0 else part for number in numbers])
        target = masks[rng.choice(len(masks), p=chances / chances.sum())]
        x0, y0, x1, y1 = _window(target, rng, size)
        image = self._photos.image(photo)
        flipped = rng.random() < 0.5
        areas = [mask.sum() for mask in masks]
        largest = int(np.argmax(areas))
        small = (size[1] // CELL, size[0] // CELL)
        kept: list[np.ndarray] = []
        subject = -1
        for k, mask in enumerate(masks):
            inside = mask[y0:y1, x0:x1]
            shrunk = cv2.resize(inside.astype(np.float32), small, interpolation=cv2.INTER_AREA)
            cells = np.count_nonzero(shrunk > 0.5)
            share = inside.sum() / areas[k]
            if share < KEPT or cells < MIN_CELLS or cells > MAX_INSIDE * shrunk.size:
                continue
            if k == largest and share > SUBJECT_KEPT and self.has_subject(photo, masks, largest):
                subject = len(kept)
            kept.append(shrunk[:, ::-1] if flipped else shrunk)
        if not kept:
            return None
        picture = cv2.resize(
            image[y0:y1, x0:x1], size[::-1], interpolation=cv2.INTER_AREA if x1 - x0 > size[1] else cv2.INTER_LINEAR
        )
        return Crop(_relit(picture[:, ::-1] if flipped else picture, rng), np.stack(kept), subject)

    def is_one_thing(self, photo: int, number: int) -> bool:
        key = photo, number
        if key not in self._single:
            self._single[key] = is_one_thing(self._photos.mask(photo, number))
        return self._single[key]

    def has_subject(self, photo: int, masks: list[np.ndarray], largest: int) -> bool:
        if self._photos.sources[photo] not in self._subjects or masks[largest].mean() < SUBJECT_SHARE:
            return False
        most = SECOND_SHARE * masks[largest].sum()
        return all((mask & ~masks[largest]).sum() <= most for mask in masks)


def is_one_thing(mask: np.ndarray) -> bool:
    """Whether a mask, bool (h, w), is mostly in one piece; a mask in several pieces may merge several things."""
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2]
    return bool(stats[1:, cv2.CC_STAT_AREA].max(initial=0) >= ONE_THING * mask.sum() > 0)


def _window(target: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A random crop, x0, y0, x1, y1, that has the target, or as much of it as fits."""
    height, width = target.shape
    wanted = size[1] / size[0]
    aspect = float(np.clip(width / height, wanted / SQUEEZE, wanted * SQUEEZE))
    whole = (min(width, height * aspect), min(height, width / aspect))
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    kind = rng.random()
    if kind < 0.35:
        scale = 1.0
    elif kind < 0.75:
        scale = rng.uniform(0.45, 1.0)
    else:  # close to the object
        fill = rng.uniform(0.35, 0.9)
        scale = float(np.clip(max((right - left) / whole[0], (bottom - top) / whole[1]) / fill, 0.2, 1.0))
    w, h = max(8, round(whole[0] * scale)), max(8, round(whole[1] * scale))
    x = _start(left, right, w, width, rng)
    y = _start(top, bottom, h, height, rng)
    return x, y, min(x + w, width), min(y + h, height)


def _start(first: int, last: int, length: int, most: int, rng: np.random.Generator) -> int:
    """A random start for a crop of a given length, so that it holds as much of first..last as it can."""
    low, high = sorted((last - length, first))
    return int(np.clip(round(rng.uniform(low, high)), 0, max(0, most - length)))


def _relit(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture, uint8 (h, w, 3), as under another light or from another camera."""
    if rng.random() < 0.7:
        gamma, gain, balance = rng.uniform(0.7, 1.45), rng.uniform(0.7, 1.25), rng.uniform(0.88, 1.12, 3)
        steps = (np.arange(256) / 255.0) ** gamma * gain
        table = np.clip(steps[:, None] * balance * 255, 0, 255).astype(np.uint8)
        picture = cv2.LUT(np.ascontiguousarray(picture), table[None])
    if rng.random() < 0.35:
        grey = cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        amount = 0.0 if rng.random() < 0.2 else rng.uniform(0.3, 1.4)
        picture = cv2.addWeighted(np.ascontiguousarray(picture), amount, grey, 1 - amount, 0)
    if rng.random() < 0.12:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 1.5))
    return picture


class Clicks:
    """Prompts for N objects, to which clicks are added in the largest error of a network's answer.

    Args:
        truth: float32 (N, h, w), the share of each cell inside the object. rng: for all random choices.

    Attributes:
        points: float32 (N, CLICKS, 2), x and y as fractions. labels: int64 (N, CLICKS), 1, 0, or -1: no click.
        boxes: float32 (N, 4), x0, y0, x1, y1 as fractions; all 0: no box. single: bool (N,), whether a prompt is a single
            click.
    """

    def __init__(self, truth: np.ndarray, rng: np.random.Generator) -> None:
        count = len(truth)
        self._inside = truth > 0.5
        self._rng = rng
        self.points = np.zeros((count, CLICKS, 2), np.float32)
        self.labels = np.full((count, CLICKS), -1, np.int64)
        self.boxes = np.zeros((count, 4), np.float32)
        self.single = np.zeros(count, bool)

    def begin(self, number: int, kind: str) -> None:
        """Makes the first prompt for an object. kind: "click", "box", "both", or "none"."""
        inside = self._inside[number]
        if kind in ("click", "both"):
            self.add(number, place(inside, self._rng), 1)
            self.single[number] = kind == "click"
        if kind in ("box", "both"):
            self.boxes[number] = _noisy_box(inside, self._rng)

    def correct(self, answers: np.ndarray) -> None:
        """Adds a click to each prompt, in the largest error of the answers, bool (N, h, w)."""
        for number, (inside, answer) in enumerate(zip(self._inside, answers, strict=True)):
            found = correction(inside, answer, self._rng)
            if found is not None:
                self.add(number, *found)
        self.single[:] = False

    def add(self, number: int, cell: tuple[int, int], label: int) -> None:
        free = np.flatnonzero(self.labels[number] < 0)
        if len(free):
            height, width = self._inside.shape[1:]
            shift = self._rng.uniform(0.2, 0.8, 2)
            self.points[number, free[0]] = (cell[1] + shift[0]) / width, (cell[0] + shift[1]) / height
            self.labels[number, free[0]] = label


def correction(
    inside: np.ndarray, answer: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[tuple[int, int], int] | None:
    """A click in the largest error of an answer, as (row, column) and label; None if there is no error.

    Args:
        inside: bool (h, w), the true mask. answer: bool (h, w). rng: see `place`.
    """
    best, found = 0.0, None
    for wrong, label in ((inside & ~answer, 1), (answer & ~inside, 0)):
        if not wrong.any():
            continue
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        if stats[largest, cv2.CC_STAT_AREA] > best:
            best, found = float(stats[largest, cv2.CC_STAT_AREA]), (pieces == largest, label)
    return None if found is None else (place(found[0], rng), found[1])


def place(inside: np.ndarray, rng: np.random.Generator | None = None) -> tuple[int, int]:
    """Row and column of a click in a region: the point farthest from its border, or, with an rng, often another one."""
    depth = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    if rng is not None and rng.random() < 0.6:
        least = 0.5 * depth.max() if rng.random() < 0.7 else 0.0
        cells = np.argwhere(depth > least)
        row, column = cells[rng.integers(len(cells))]
    else:
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)


def _noisy_box(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = inside.shape
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
    sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    chance = rng.random()
    if chance < 0.25:  # drawn with much room
        moved = rng.uniform(0, LOOSE, 4) * (-1, -1, 1, 1)
    else:
        moved = rng.normal(0, 1, 4).clip(-2, 2) * (0.0 if chance < 0.5 else 0.06)
    x0, y0, x1, y1 = box + moved * sides
    x0, y0 = np.clip([x0 / width, y0 / height], 0, 0.98)
    x1, y1 = np.clip([x1 / width, y1 / height], 0.02, 1)
    return np.array([min(x0, x1 - 0.01), min(y0, y1 - 0.01), x1, y1], np.float32)


def kinds(crop: Crop, rng: np.random.Generator, count: int, boxes: float) -> Iterator[tuple[int, str]]:
    """Draws `count` prompts for a crop: the index of a mask, and the kind of prompt, see `Clicks.begin`. boxes: share of
    the prompts with a box."""
    for k in range(count):
        chance = rng.random()
        if crop.subject >= 0 and chance < 0.18 and k == 0:
            yield crop.subject, "none"
            continue
        kind = "click" if chance < 1 - boxes else "box" if chance < 0.95 else "both"
        yield int(rng.integers(len(crop.masks))), kind
