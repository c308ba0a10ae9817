"""PhotoSegmenter: an instance for each photo, made on upload, prepared in the background, then asked for masks and a map.

    segmenter = PhotoSegmenter(image)        # returns at once; the encodings start in the background
    segmenter.candidates([(x, y)], [1])      # up to three masks to choose from
    segmenter.subject()                      # the photo's main object, without a prompt
    segmenter.automatic_map().objects        # masks for a strip of thumbnails
    segmenter.look_again()                   # in case Segment Anything's checkpoint has come since
    segmenter.status                         # what to show: preparing, ready, failed, unavailable, cancelled; and why
    segmenter.cancel()                       # when the photo is replaced

All methods work in every state: the embedded network answers until Segment Anything has read the photo, or if it is not
available; `status` and every mask say which segmenter it was. Expensive results are cached by the photo's content, so a
second instance for the same photo is ready at once.
"""

import atexit
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from srin.errors import SegmentationError, SrinError
from srin.image_io import Source, load_image
from srin.segmentation.automatic import AutomaticMap
from srin.segmentation.candidate import Candidate
from srin.segmentation.checkpoints import NONE_HERE, find_checkpoint, is_here
from srin.segmentation.embedded import EmbeddedEngine
from srin.segmentation.encoder import check_precision, needs_check
from srin.segmentation.sam import SamEngine, limited
from srin.segmentation.sam_model import LoadedSam, load_sam

READING = "Segment Anything is reading the photo."

State = Literal["preparing", "ready", "failed", "unavailable", "cancelled"]


@dataclass(frozen=True)
class Status:
    """The state of a PhotoSegmenter, as the page shows it.

    Attributes:
        state: "preparing": Segment Anything is reading the photo. "ready": it answers.
            "unavailable": there is no checkpoint. "failed": there is one, but it can't be used. "cancelled".
            In all but "ready" the embedded network answers.
        reason: a sentence for people; empty when ready.
        progress: share of the preparation that is done, 0 to 1.
        segmenter: what makes masks now.
        map_segmenter: what drew the map; None while it is being drawn, when `automatic_map` would wait.
        redraws: whether that map is about to be replaced by Segment Anything's.
    """

    state: State
    reason: str
    progress: float
    segmenter: str
    map_segmenter: str | None
    redraws: bool


class PhotoSegmenter:
    """Answers prompts on one photo. Safe to use from several threads; holds some 6 MB, never the full photo.

    Args:
        image: uint8 (H, W, 3), sRGB; or an image file's path or bytes, or a PIL picture.

    Raises:
        ImageError: the file can't be read.
    """

    def __init__(self, image: Source) -> None:
        pixels = load_image(image)
        self._image = limited(pixels)
        self._size = pixels.shape[:2]
        self._embedded = EmbeddedEngine(self._image, (pixels.shape[0], pixels.shape[1]))
        self._sam: SamEngine | None = None
        self._state: State = "preparing"
        self._reason = READING
        self._progress = 0.0
        self._map: AutomaticMap | None = None
        self._cancelled = False
        self._lock = threading.Lock()
        self._mapped = threading.Event()
        try:
            if find_checkpoint() is None:
                self._give_up("unavailable", NONE_HERE)
        except SegmentationError as error:
            self._give_up("failed", str(error))
        _worker.submit(_ENCODE, self._prepare)

    @property
    def status(self) -> Status:
        drawn = self._map.segmenter if self._map else None
        return Status(self._state, self._reason, self._progress, self._engine.segmenter, drawn, self._redraws)

    def look_again(self) -> None:
        """If a checkpoint has arrived since, makes Segment Anything read the photo and draw a new map in the background.

        To be called while somebody works on the photo. Returns at once.
        """
        with self._lock:
            if self._state == "unavailable" and is_here():
                self._state, self._reason, self._progress = "preparing", READING, 0.0
                _worker.submit(_ENCODE, self._prepare)

    def cancel(self) -> None:
        """Stops the work in the background, within seconds on a CPU. The embedded segmenters do the rest."""
        with self._lock:
            self._cancelled = True
            if self._state == "preparing":
                self._give_up("cancelled", "Segment Anything was cancelled.")

    def candidates(
        self,
        points: ArrayLike = (),
        labels: ArrayLike = (),
        box: Sequence[float] | None = None,
        previous: Candidate | np.ndarray | None = None,
    ) -> list[Candidate]:
        """Selects an object, at once.

        Args:
            points: N clicks (x, y) in pixels of the photo.
            labels: N numbers, 1 for a click on the object, 0 for one beside it.
            box: (x0, y0, x1, y1) in pixels, around the object. May be given together with points.
            previous: the mask to be corrected: the candidate chosen before, or uint8 (H, W).

        Returns:
            One to three different candidates, the best first: a single click has several meanings (a shirt, or its
            wearer?). `candidates(...)[0].mask(height, width)` is a mask.

        Raises:
            SegmentationError: no prompt, or a wrong one; or nothing was found.
        """
        self._renew()
        return self._engine.candidates(points, labels, box, previous)

    def subject(self) -> Candidate:
        """The photo's main object, found by the embedded network. Raises SegmentationError where nothing stands out."""
        return self._embedded.subject()

    def automatic_map(self) -> AutomaticMap:
        """The regions of the whole photo, and proposals of whole objects. Waits until the map is drawn."""
        self._mapped.wait()
        assert self._map is not None
        return self._map

    @property
    def _engine(self) -> SamEngine | EmbeddedEngine:
        return self._sam if self._sam is not None and self._state == "ready" else self._embedded

    @property
    def _redraws(self) -> bool:
        is_sams = self._sam is not None and self._map is not None and self._map.segmenter == self._sam.segmenter
        return self._map is not None and self._state in ("preparing", "ready") and not is_sams

    def _give_up(self, state: State, reason: str) -> None:
        self._state, self._reason = state, f"{reason} {_INSTEAD}"

    def _proceed(self, done: float) -> None:
        if self._cancelled or _worker.ending:
            raise _Cancelled
        if self._state == "preparing":
            self._progress = done

    def _prepare(self) -> None:
        """Runs in the background: encodes the photo, for the embedded network first, and queues the map."""
        try:
            self._embedded.prepare()
        except SrinError as error:  # `candidates` raises it again
            logging.error("%s", error)
        if self._state == "preparing":
            try:
                checkpoint = find_checkpoint()
                if checkpoint is None:  # deleted meanwhile
                    raise SegmentationError(NONE_HERE)
                sam = load_sam(checkpoint)
                engine = SamEngine(self._image, sam, self._size)
                engine.prepare(self._proceed)
                with self._lock:
                    if self._state == "preparing":
                        self._sam, self._state, self._reason, self._progress = engine, "ready", "", 1.0
                if needs_check(sam):
                    _worker.submit(_CHECK, lambda: _check(sam))
            except _Cancelled:
                pass
            except SegmentationError as error:
                self._give_up("failed", str(error))
            except Exception as error:  # out of memory, a driver's fault: the photo can still be worked on
                logging.exception("Segment Anything failed")
                self._give_up("failed", f"Segment Anything failed ({error}).")
        if self._map is None or self._redraws:
            _worker.submit(_MAP, self._draw_map)

    def _draw_map(self) -> None:
        """Runs in the background, after all waiting encodings, because clicks are more urgent than maps."""
        try:
            self._map = self._engine.automatic(self._proceed)
        except _Cancelled:
            self._map = self._embedded.automatic()
        except Exception as error:
            logging.exception("The automatic map failed")
            self._give_up("failed", f"Segment Anything failed ({error}).")
            self._map = self._embedded.automatic()
        self._mapped.set()

    def _renew(self) -> None:
        """Starts the encoding again, if the cache has dropped it to make room for other users' photos."""
        with self._lock:
            if self._state == "ready" and self._sam is not None and not self._sam.is_prepared:
                self._state, self._reason = "preparing", "Segment Anything is reading the photo again."
                _worker.submit(_ENCODE, self._prepare)


class _Cancelled(Exception):
    pass


_INSTEAD = "Masks come from the embedded network and the map from colour regions."
_ENCODE, _MAP, _CHECK = range(3)  # in order of urgency


def _check(sam: LoadedSam) -> None:
    overlap = check_precision(sam, lambda done: None)
    logging.info("Masks of the shorter precision overlap those of fp32 by %.4f.", overlap)


LONGEST_END = 20.0  # seconds that the program waits for the current job when it ends


class _Worker:
    """One thread for all heavy work of all sessions, since each job uses every core. It starts with the first job."""

    def __init__(self) -> None:
        self._jobs: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.ending = False

    def submit(self, urgency: int, job: Callable[[], None]) -> None:
        self._jobs.put((urgency, next(self._order), job))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="segmentation", daemon=True)
                self._thread.start()
                atexit.register(self._end)

    def _end(self) -> None:
        """Ends the thread when Python ends: if it were cut off inside compiled code, the whole process would abort."""
        self.ending = True
        self._jobs.put((-1, next(self._order), lambda: None))  # wakes the thread if it waits
        assert self._thread is not None
        self._thread.join(LONGEST_END)

    def _work(self) -> None:
        while not self.ending:
            _, _, job = self._jobs.get()
            try:
                job()
            except Exception:
                logging.exception("A segmentation job failed")


_worker = _Worker()
