"""The embedded segmenter: a small network of our own on one photo, for use without Segment Anything.

A photo is encoded once, in about a tenth of a second; after that, a click needs only the decoder. If the object turns out
small, the network encodes a crop around it and is asked again (the second look).
"""

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from cachetools import LRUCache
from numpy.typing import ArrayLike

from srin import models
from srin.errors import SegmentationError
from srin.segmentation.automatic import MAX_OBJECT, PROPOSALS, AutomaticMap, grid
from srin.segmentation.candidate import CANDIDATES, COLOUR_REGIONS, EMBEDDED, Candidate, overlap
from srin.segmentation.prompts import checked_box, checked_points
from srin.segmentation.regions import colour_regions, joined_regions

if TYPE_CHECKING:
    from torch import Tensor

    from srin.segmentation.network import Features, SegmenterNet

WEIGHTS = models.WEIGHTS / "segmenter.safetensors"
SEEN_SIDE = 384  # pixels of the longer side that the network sees; sides are multiples of STRIDE
STRIDE = 32
TWINS = 0.9  # IoU from which two candidates count as the same
SPECK = 0.02  # islands and holes smaller than this share of the object are noise
SMALL = 0.05  # an object below this share of the photo gets a second look
CLOSE = 0.45  # share of the crop's side that the object takes in a second look
LEAST_CROP, MOST_CROP = 0.12, 0.7  # of the photo's sides
AGREE = 0.4  # least IoU of the second look with the first
RESULT_SIDE = 640  # pixels of the longer side of the whole photo, in the logits of a second look
NOTHING = 0.0005  # share of the photo: a smaller mask is no object
SURELY_NOT = -12.0  # logit outside the crop of a second look
REMEMBERED = 32  # chains of clicks that are kept
MOST_CLICKS = 12  # the network sees this many last clicks, as in training; earlier ones act through the previous mask
LONGEST_CHAIN = 24  # clicks
GRID = 6  # clicks a side that are tried for proposals
PROPOSAL_SCORE, MIN_OBJECT = 0.7, 0.01  # least score of a proposal, and least share of the photo
SAME = 0.6  # a proposal with this IoU with another, or more, is the same object
MAP_GRID, TOGETHER = 10, 20  # clicks a side for a map, and clicks that are answered at a time


class Prompt(NamedTuple):
    """A person's prompt, in fractions of the photo: points (N, 2), labels (N,), box (4,) or None."""

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None

    def in_window(self, window: np.ndarray) -> "Prompt":
        """The prompt in fractions of a window (x0, y0, x1, y1); clicks outside the window are left out."""
        size = window[2:] - window[:2]
        points = (self.points - window[:2]) / size
        inside = ((points >= 0) & (points <= 1)).all(1)
        box = None if self.box is None else ((self.box.reshape(2, 2) - window[:2]) / size).clip(0, 1).ravel()
        return Prompt(points[inside], self.labels[inside], box)

    def until(self, count: int) -> "Prompt":
        """The prompt with its first `count` clicks, or the last MOST_CLICKS of these."""
        start = max(0, count - MOST_CLICKS)
        return Prompt(self.points[start:count], self.labels[start:count], self.box)

    @property
    def key(self) -> bytes:
        box = b"" if self.box is None else self.box.tobytes()
        return self.points.tobytes() + self.labels.tobytes() + box


class EmbeddedEngine:
    """The embedded network on one picture. May be shared by threads.

    Args:
        image: uint8 (H, W, 3), sRGB. It is kept in memory; a small copy of the photo is enough.
        size: (height, width) of the photo, if `image` is a smaller copy of it. Prompts are in the photo's pixels.

    Attributes:
        segmenter: the name to show beside masks. map_segmenter: the name to show beside maps of `automatic`.
    """

    segmenter = EMBEDDED
    map_segmenter = COLOUR_REGIONS

    def __init__(self, image: np.ndarray, size: tuple[int, int] | None = None) -> None:
        self._size = size or image.shape[:2]
        self._image = image
        self._one_colour = bool((image == image[0, 0]).all())
        self._lock = threading.Lock()
        self._whole: _View | None = None
        self._close: _View | None = None  # the last second look

    def prepare(self) -> None:
        """Encodes the photo, unless it is encoded. Raises WeightsError."""
        self._view()

    def candidates(
        self,
        points: ArrayLike = (),
        labels: ArrayLike = (),
        box: Sequence[float] | None = None,
        previous: Candidate | np.ndarray | None = None,
    ) -> list[Candidate]:
        """Selects an object; arguments and errors as in SamEngine.candidates.

        A single click is ambiguous (a shirt, or its wearer?) and gives up to three candidates, the highest score first;
        other prompts give one. Several clicks are processed one after the other, as a person makes them.
        """
        height, width = self._size
        coordinates, marks = checked_points(points, labels, height, width)
        corners = None if box is None else np.array(checked_box(box, height, width)) / (width, height, width, height)
        if not len(coordinates) and corners is None:
            raise SegmentationError("Click on the object or draw a box around it.")
        prompt = Prompt(coordinates.astype(np.float64) / (width, height), marks, corners)
        self._check_colours()
        view = self._view()
        single = len(marks) == 1 and corners is None and previous is None
        before = None if previous is None else _probability(previous, view.cells)
        found = [answer for answer in view.asked(prompt, before, single) if (answer.logits > 0).any()]
        if not found:
            raise SegmentationError("Nothing was found there. Click elsewhere on the object, or draw a box around it.")
        found[0] = self._second_look(found[0], prompt, single, before is not None)
        return [Candidate(answer.logits, answer.score, self.segmenter) for answer in found]

    def subject(self) -> Candidate:
        """The photo's main object, without a prompt. Raises SegmentationError where nothing stands out."""
        self._check_colours()
        answer = self._view().asked(Prompt(np.zeros((0, 2)), np.zeros(0, np.int32), None), None, False)[0]
        if (answer.logits > 0).mean() < NOTHING:
            raise SegmentationError("Nothing stands out in this photo. Click on the object, or draw a box around it.")
        return Candidate(answer.logits, answer.score, self.segmenter)

    def automatic(self, proceed: Callable[[float], None] = lambda done: None) -> AutomaticMap:
        """A map of colour regions. Its objects are the subject and what the network finds on a grid of points."""
        labels = colour_regions(self._image)
        size = self._view().cells
        objects: list[np.ndarray] = []
        if not self._one_colour:
            try:
                objects.append(cv2.resize(self.subject().logits, size[::-1]) > 0)
            except SegmentationError:
                pass  # nothing stands out, which is no error here
            proceed(0.5)
            objects += self._proposals(objects)
        shaped = np.array(objects[:PROPOSALS], bool).reshape(-1, *size)
        return AutomaticMap(labels, shaped, 0, self.map_segmenter, self.segmenter)

    def regions(self) -> AutomaticMap:
        """A map of colour regions that the network joined by its answers to a grid of clicks, see `joined_regions`."""
        if self._one_colour:
            size = self._view().cells
            return AutomaticMap(np.zeros(size, np.int32), np.zeros((0, *size), bool), 0, self.segmenter, self.segmenter)
        points, answers = grid(MAP_GRID), []
        for first in range(0, len(points), TOGETHER):
            logits, scores = self._view().answers(points[first : first + TOGETHER])
            best = logits[np.arange(len(logits)), scores.argmax(1)]
            answers.append(_sigmoid(best))
        labels, none = joined_regions(self._image, np.concatenate(answers)), np.zeros((0, *self._view().cells), bool)
        return AutomaticMap(labels, none, len(points), self.segmenter, self.segmenter)

    def _proposals(self, known: list[np.ndarray]) -> list[np.ndarray]:
        """Whole objects, bool (h, w), that clicks on a grid select and that are not known, the highest score first."""
        logits, scores = self._view().answers(grid(GRID))
        found: list[np.ndarray] = []
        for number in np.argsort(-scores.max(1), kind="stable"):
            best = int(scores[number].argmax())
            mask = logits[number, best] > 0
            if scores[number, best] < PROPOSAL_SCORE or not MIN_OBJECT < mask.mean() < MAX_OBJECT:
                continue
            if all(overlap(mask, other) < SAME for other in known + found):
                found.append(mask)
        return found

    def _check_colours(self) -> None:
        if self._one_colour:
            raise SegmentationError("The photo is of one colour, so no object can be found in it.")

    def _view(self) -> "_View":
        with self._lock:
            if self._whole is None:
                self._whole = _View(self._image, np.array([0.0, 0.0, 1.0, 1.0]))
            return self._whole

    def _second_look(self, answer: "_Answer", prompt: Prompt, single: bool, corrected: bool) -> "_Answer":
        """Asks again about a small object, on a crop around it. Returns the first answer if the two don't agree."""
        inside = answer.logits > 0
        if inside.mean() >= SMALL or corrected:
            return answer
        window = _around(inside, prompt)
        if (window[2:] - window[:2]).max() > MOST_CROP:
            return answer
        with self._lock:
            if self._close is None or not np.array_equal(self._close.window, window):
                self._close = _View(self._image, window)
            view = self._close
        whole = cv2.resize(answer.logits, self._result_size()[::-1], interpolation=cv2.INTER_LINEAR)
        rows, columns = (_pixels(window[axis::2], length) for axis, length in ((1, whole.shape[0]), (0, whole.shape[1])))
        first = whole[rows, columns] > 0
        best, most = None, AGREE
        for one in view.asked(prompt.in_window(window), None, single):
            piece = cv2.resize(one.logits, first.shape[::-1], interpolation=cv2.INTER_LINEAR)
            agreement = overlap(piece > 0, first)
            if agreement > most:
                best, most = (piece, one.score), agreement
        if best is None:
            return answer
        result = np.full(whole.shape, SURELY_NOT, np.float32)
        result[rows, columns] = best[0]
        return _Answer(result, max(answer.score, best[1]))

    def _result_size(self) -> tuple[int, int]:
        height, width = self._size
        scale = RESULT_SIDE / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))


class _Answer(NamedTuple):
    """logits: float32 (h, w). score: the network's estimate of the mask's IoU."""

    logits: np.ndarray
    score: float


class _View:
    """The encoding of a window of a picture. window: x0, y0, x1, y1 as fractions."""

    def __init__(self, image: np.ndarray, window: np.ndarray) -> None:
        import torch

        self.window = window
        rows, columns = (_pixels(window[axis::2], image.shape[axis ^ 1]) for axis in (1, 0))
        piece = image[rows, columns]
        scale = SEEN_SIDE / max(piece.shape[:2])
        height, width = (max(STRIDE, round(length * scale / STRIDE) * STRIDE) for length in piece.shape[:2])
        smaller = piece.shape[1] > width
        seen = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        self.cells = (height // 4, width // 4)
        self._network = _network()
        with torch.inference_mode():
            self._features: Features = self._network.encode(picture_tensor(seen[None]))
        self._chains: LRUCache[bytes, np.ndarray] = LRUCache(REMEMBERED)
        self._lock = threading.Lock()  # of the chains: clicks may be answered at the same time

    def asked(self, prompt: Prompt, previous: np.ndarray | None, single: bool) -> list[_Answer]:
        """Answers to a prompt, the best first: up to CANDIDATES different ones for a single click, otherwise one.

        previous: float32 (h, w), the probabilities of a mask to be corrected.
        """
        if previous is None:
            # In training, clicks came one after the other, each with the answer to those before.
            count = len(prompt.labels)
            for number in range(max(1, count - LONGEST_CHAIN), count):
                previous = self._chained(prompt, number, previous)
        logits, scores = self._decoded(prompt.until(len(prompt.labels)), previous)
        if not single:
            return [_Answer(_cleaned(logits[0], prompt), float(scores[0]))]
        found: list[_Answer] = []
        for k in np.argsort(-scores, kind="stable"):
            one = _cleaned(logits[k], prompt)
            if all(overlap(one > 0, other.logits > 0) < TWINS for other in found):
                found.append(_Answer(one, float(scores[k])))
        return found[:CANDIDATES]

    def answers(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answers to N single clicks: points (N, 2) as fractions -> logits (N, A, h, w), scores (N, A)."""
        count = len(points)
        nothing = np.zeros((count, 1, *self.cells))
        return self._run(points[:, None], np.ones((count, 1)), np.zeros((count, 4)), nothing)

    def _chained(self, prompt: Prompt, number: int, previous: np.ndarray | None) -> np.ndarray:
        """The answer to the first `number` clicks of a prompt, as probabilities, float (h, w), for the next click."""
        key = Prompt(prompt.points[:number], prompt.labels[:number], prompt.box).key
        with self._lock:
            known = self._chains.get(key)
        if known is None:
            logits, scores = self._decoded(prompt.until(number), previous)
            single = number == 1 and prompt.box is None
            known = _sigmoid(logits[int(np.argmax(scores)) if single else 0])
            with self._lock:
                self._chains[key] = known
        return known

    def _decoded(self, prompt: Prompt, previous: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Runs the decoder on one prompt: logits (A, h, w) and scores (A,)."""
        points, labels = prompt.points, prompt.labels
        if not len(labels):
            points, labels = np.zeros((1, 2)), np.full(1, -1)
        box = np.zeros(4) if prompt.box is None else prompt.box
        before = np.zeros(self.cells) if previous is None else previous
        logits, scores = self._run(points[None], labels[None], box[None], before[None, None])
        return logits[0], scores[0]

    def _run(
        self, points: np.ndarray, labels: np.ndarray, boxes: np.ndarray, previous: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs the decoder on N prompts, as in network.Prompts: logits (N, A, h, w), scores (N, A)."""
        import torch

        from srin.segmentation.network import Prompts

        where, before, around = (torch.from_numpy(x.astype(np.float32)) for x in (points, previous, boxes))
        with torch.inference_mode():
            features = self._features.of(torch.zeros(len(points), dtype=torch.int64))
            prompts = Prompts(where, torch.from_numpy(labels.astype(np.int64)), around, before)
            logits, quality = self._network(features, prompts)
            return logits.numpy(), quality.sigmoid().numpy()


def picture_tensor(pictures: np.ndarray) -> "Tensor":
    """The network's input, (B, 3, H, W) in [-1, 1], channels last in memory, from uint8 (B, H, W, 3)."""
    import torch

    return (torch.from_numpy(np.ascontiguousarray(pictures)).float() / 127.5 - 1).permute(0, 3, 1, 2)


@lru_cache(maxsize=1)
def _network() -> "SegmenterNet":
    import torch

    from srin.segmentation.network import load_segmenter

    return load_segmenter(WEIGHTS).to(memory_format=torch.channels_last)


def _probability(previous: Candidate | np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """A previous mask as probabilities, float32 (h, w)."""
    if isinstance(previous, Candidate):
        values = _sigmoid(previous.logits)
    else:
        values = previous.astype(np.float32) / 255
    return cv2.resize(values.astype(np.float32), cells[::-1], interpolation=cv2.INTER_AREA)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.clip(-30, 30)))  # beyond, the exponential may overflow


def _cleaned(logits: np.ndarray, prompt: Prompt) -> np.ndarray:
    """Removes small islands without a positive click, and fills small holes without a negative one."""
    result = logits.copy()
    limit = SPECK * np.count_nonzero(logits > 0)
    rows, columns = ((prompt.points[:, axis] * logits.shape[axis ^ 1]).astype(int) for axis in (1, 0))
    rows, columns = rows.clip(0, logits.shape[0] - 1), columns.clip(0, logits.shape[1] - 1)
    for value in (1, 0):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(
            ((result > 0) == value).astype(np.uint8), connectivity=4
        )
        small = stats[:, cv2.CC_STAT_AREA] < limit
        small[0] = False  # everything else
        asked = prompt.labels == value
        small[pieces[rows[asked], columns[asked]]] = False
        noise = small[pieces]
        result[noise] = -0.5 if value else 0.5
    return result


def _around(inside: np.ndarray, prompt: Prompt) -> np.ndarray:
    """A window around an object, its positive clicks and its box: x0, y0, x1, y1 as fractions."""
    height, width = inside.shape
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    corners = [[columns[0] / width, rows[0] / height], [(columns[-1] + 1) / width, (rows[-1] + 1) / height]]
    corners += prompt.points[prompt.labels == 1].tolist()
    if prompt.box is not None:
        corners += prompt.box.reshape(2, 2).tolist()
    low, high = np.min(corners, 0), np.max(corners, 0)
    # It has the photo's proportions. Size and place are rounded, so that a further click mostly gives the same window.
    side = float(np.clip(2 ** (np.ceil(np.log2((high - low).max() / CLOSE) * 2) / 2), LEAST_CROP, 1))
    centre = np.round((low + high) / 2 / (side / 8)) * (side / 8)
    start = (centre - side / 2).clip(0, max(0.0, 1 - side))
    return np.array([*start, *(start + side).clip(0, 1)])


def _pixels(fractions: np.ndarray, length: int) -> slice:
    first = min(int(np.floor(fractions[0] * length)), length - 1)
    return slice(first, max(first + 1, int(np.ceil(fractions[1] * length - 1e-9))))
