"""A visitor's session: what is worked on, and the order of requests."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np

from srin import limits
from srin.composite import Placement
from srin.errors import MaskError, SrinError
from srin.segmentation.candidate import Candidate
from srin.ui.answering.request_queue import RequestQueue
from srin.ui.session.previews import shrink
from srin.ui.session.run import Run
from srin.ui.session.scene import CutOut, Light, Photo, Scene, Selection
from srin.untrusted import Data

MOST_VERSIONS = 60  # masks, and marks, kept to go back to
MOST_STOPPED = 100  # downloads that were cancelled before they began
MOST_SCENES = 3  # sets of photos kept to go back to, besides the present one

Answer = TypeVar("Answer")


class Stoppable(Protocol):
    def stop(self) -> None: ...


Download = TypeVar("Download", bound=Stoppable)


class SessionState:
    """The session of one visitor.

    Attributes:
        scene: what is worked on. placement: where the server last put the object, such as an example's; serial counts
            these.
        versions: masks to go back to, by number; lights: marks on the background, likewise. proposals: masks to choose
            from. run: the last results.
        photos: number of the present set of photos; scenes: former sets, with their masks, to go back to, by number.
        settings: the comparison's, from the last project that was opened.
        token: changes when the session is forgotten, by which the page notices.
        runs, questions: which run of the comparison, and which question why, is the newest.
        strokes, revision: what the page needs to put answers in order, see answers.js.
    """

    def __init__(self) -> None:
        self.strokes = self.revision = 0
        self._queue: RequestQueue[Data] = RequestQueue()
        self._looking = threading.Lock()
        self.runs, self.questions = Newest(), Newest()
        self._downloads: dict[int, Stoppable] = {}
        self._stopped_downloads: set[int] = set()
        self.forget()

    def forget(self) -> None:
        """Empties the session. The page learns it with the next answer."""
        self.token = secrets.token_hex(8)
        self.scene = Scene()
        self.photos = 0
        self.scenes: dict[int, Scene] = {}
        self.placement: Placement | None = None
        self.settings: Data = {}
        self.serial = 0
        self.versions: dict[int, Selection] = {}
        self.lights: dict[int, Light] = {}
        self.proposals: list[Candidate] = []
        self.run: Run | None = None

    def __deepcopy__(self, memo: object) -> SessionState:
        """Gradio copies the initial value for every visitor: each starts afresh."""
        return SessionState()

    @property
    def answered(self) -> int:
        """The number of the page's last request that was answered."""
        return self._queue.answered

    def begin_download(self, number: int, download: Download) -> Download:
        """Keeps a download by the page's number for it. One that was stopped before it began ends at once."""
        self._downloads[number] = download
        if number in self._stopped_downloads:
            download.stop()
        return download

    def end_download(self, number: int) -> None:
        self._downloads.pop(number, None)
        self._stopped_downloads.discard(number)

    def stop_download(self, number: int) -> None:
        """Stops a download, even one that hasn't begun yet."""
        if download := self._downloads.get(number):
            download.stop()
        elif len(self._stopped_downloads) < MOST_STOPPED:
            self._stopped_downloads.add(number)

    def answer(self, number: int, request: Data, work: Callable[[Data], Answer]) -> Generator[Answer, None, None]:
        """As RequestQueue.take."""
        _recent.add(self)
        yield from self._queue.take(number, request, work)

    def draft(self) -> SessionState:
        """A copy to work on, which leaves this as it is."""
        draft = copy(self)
        draft.versions, draft.scenes, draft.lights = dict(self.versions), dict(self.scenes), dict(self.lights)
        return draft

    def accept(self, draft: SessionState) -> None:
        """Takes over what was done to a draft."""
        self.scene, self.placement, self.serial = draft.scene, draft.placement, draft.serial
        self.versions, self.lights, self.proposals = draft.versions, draft.lights, draft.proposals
        self.photos, self.scenes, self.settings = draft.photos, draft.scenes, draft.settings
        if draft.token != self.token:  # the visitor asked to forget everything
            self.run = None

    @contextmanager
    def look(self) -> Iterator[int]:
        """Yields the number of a new view of the session, higher than any before; one view is made at a time."""
        with self._looking:
            self.revision += 1
            yield self.revision

    def select(self, mask: np.ndarray | None, segmenter: str, **how: bool) -> None:
        """Gives the masked photo another mask: uint8 (height, width) of the original, or None. how: see Selection.

        Raises SrinError, and leaves the scene as it was, when there is no photo, the size differs, or nothing or
        everything is selected.
        """
        photo = self.scene.masked_photo
        if photo is None:
            raise SrinError("Add a photo first.")
        if mask is None:
            self.scene = self.scene.with_mask(None, None)
            return
        if mask.shape != (photo.height, photo.width):
            raise MaskError(
                f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the photo {photo.width} x {photo.height}. "
                "Both must have the same size."
            )
        png = cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        version = max(self.versions, default=0) + 1
        self.adopt(Selection(version, png, shrink(mask), segmenter, **how), mask)

    def take_light(self, mask: np.ndarray | None, only: bool) -> None:
        """Marks where on the backdrop the networks take their light from, see Light. None or all 0: from everywhere.

        Raises SrinError, and leaves the scene as it was, when there is no photo, or the mask is of another size.
        """
        photo = self.scene.backdrop
        if photo is None:
            raise SrinError("Add a background photo first.")
        if mask is None or not mask.any():
            self.scene = self.scene.with_mark(None)
            return
        if mask.shape != photo.live.shape[:2]:
            raise MaskError("The mark doesn't belong to this photo. Load the page again.")
        light = Light(max(self.lights, default=0) + 1, mask, only)
        self.scene = self.scene.with_mark(light)
        self.lights[light.version] = light
        while len(self.lights) > MOST_VERSIONS:
            self.lights.pop(next(iter(self.lights)))

    def change(self, scene: Scene) -> None:
        """Takes other photos, or the other way of working. `go_back` brings back what was there before."""
        self._put_aside()
        self.photos = max([self.photos, *self.scenes]) + 1
        self.scene = scene
        while len(self.scenes) > MOST_SCENES:
            del self.scenes[min(self.scenes)]

    def go_back(self, photos: int) -> None:
        """Goes back to a former set of photos, or forth again. Raises SrinError when it is not kept any more."""
        if photos == self.photos:
            return
        if photos not in self.scenes:
            raise SrinError("Those photos are too long ago to go back to.")
        self._put_aside()
        self.photos, self.scene = photos, self.scenes.pop(photos)

    def put_original(self, path: Path, original: Photo) -> None:
        """Replaces the small copy with this path by its original, in all sets of photos. Raises SrinError."""
        scenes = {number: scene.with_original(path, original) for number, scene in self.scenes.items()}
        self.scene, self.scenes = self.scene.with_original(path, original), scenes

    def drop_copy(self, path: Path) -> None:
        """Drops a small copy whose original can't be used, and all former sets of photos that have it."""
        self.scenes = {number: scene for number, scene in self.scenes.items() if not scene.has_copy(path)}
        if self.scene.has_copy(path):
            self.scene = self.scene.without_copy(path)
            self.photos = max([self.photos, *self.scenes]) + 1

    def _put_aside(self) -> None:
        if self.scene.background or self.scene.object or self.scene.picture:
            self.scenes[self.photos] = self.scene

    def place(self, placement: Placement) -> None:
        """Places the object for the visitor; the page follows when `serial` has changed."""
        self.placement = placement
        self.serial += 1

    def adopt(self, selection: Selection, mask: np.ndarray) -> None:
        """As `select`, for a mask that has its version already."""
        photo = self.scene.masked_photo
        assert photo is not None
        if self.scene.ready:
            photo.composite_of(photo.proxy, selection.proxy, photo.alpha)  # raises SrinError for a mask of no use
            self.scene = self.scene.with_mask(selection, None)
        else:
            cutout = CutOut.make(photo, photo.original(), mask, selection.pure)
            self.scene = self.scene.with_mask(selection, cutout)
        self.versions[selection.version] = selection
        while len(self.versions) > MOST_VERSIONS:
            self.versions.pop(next(iter(self.versions)))


class Newest:
    """The newest of what the page has begun and numbered. It goes on unless it is cancelled; older ones have to stop."""

    def __init__(self) -> None:
        self._newest = self._cancelled = 0

    def begin(self, number: int) -> None:
        self._newest = max(self._newest, number)

    def cancel(self, number: int) -> None:
        """Cancels all up to this number, even if they haven't begun yet."""
        self._cancelled = max(self._cancelled, number)

    def goes_on(self, number: int) -> bool:
        return number == self._newest > self._cancelled


class _Recent:
    """Bounds the memory of sessions: beyond MAX_VISITORS, the longest unused one is forgotten.

    Gradio's own limit won't do: it counts every call of an endpoint as a visitor, so scripts would push out people.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[int, weakref.ref[SessionState]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, session: SessionState) -> None:
        with self._lock:
            self._sessions[id(session)] = weakref.ref(session)
            self._sessions.move_to_end(id(session))
            for key in [key for key, reference in self._sessions.items() if reference() is None]:
                del self._sessions[key]
            too_many = len(self._sessions) - limits.MAX_VISITORS
            oldest = [self._sessions.popitem(last=False)[1]() for _ in range(too_many)]
        for unused in oldest:
            if unused is not None:
                unused.forget()


_recent = _Recent()
