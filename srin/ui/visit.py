"""What one visitor is working on: paths of the originals, and pictures of preview size.

All values but the Visit itself are never changed in place: every step makes new ones, so a step that fails loses
nothing.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from srin import limits
from srin.compare import Result
from srin.composite import Composite, Placement, crop_to_mask, place
from srin.errors import MaskError, SrinError
from srin.foreground import estimate_foreground
from srin.image_io import load_image, load_mask
from srin.segmentation.candidate import Candidate
from srin.segmentation.semantic_map import SemanticMap, build, compose, crop_labels, segment
from srin.segmentation.session import Session
from srin.ui.pictures import LIVE_SIDE, shown, shown_cutout, shown_mask, shrink

PATIENCE = 60.0  # seconds that a request waits for those before it
MOST_VERSIONS = 60  # masks kept to go back to


@dataclass(frozen=True, eq=False)
class Photo:
    """path: the original file. name: as the visitor knows it. width, height: pixels, upright.
    proxy: uint8 (h, w, 3), of preview size. segmentation: prepares itself in the background, to be asked for masks and
    for the photo's regions.
    """

    path: Path
    name: str
    width: int
    height: int
    proxy: np.ndarray
    segmentation: Session

    @classmethod
    def load(cls, path: Path, what: str, name: str | None = None) -> Photo:
        """Raises ImageError; `what` names the picture in its message."""
        image = load_image(path, what)
        return cls(path, name or path.name, image.shape[1], image.shape[0], shrink(image), Session(image))

    @cached_property
    def address(self) -> str:
        """Where the browser finds the proxy."""
        return shown(self.proxy)

    @cached_property
    def live(self) -> np.ndarray:
        """uint8 (h, w, 3), the proxy at the live preview's size."""
        return shrink(self.proxy, LIVE_SIDE)

    def original(self) -> np.ndarray:
        """uint8 (height, width, 3), decoded again. Raises ImageError where the file has expired."""
        return load_image(self.path, self.name)


@dataclass(frozen=True, eq=False)
class Selection:
    """The mask of a photo.

    version: number by which the page calls it. png: of the photo's full size. proxy: uint8 (h, w), of preview size.
    segmenter: who made it, to be shown to people. painted: whether a person painted this version. prompted: whether it
    is nothing but a segmenter's answer to clicks and boxes.
    pure: whether it is a photo's own transparency, or the matte of an example: then the colours under its soft edge
    are the object's own already.
    """

    version: int
    png: bytes
    proxy: np.ndarray
    segmenter: str
    painted: bool = False
    prompted: bool = False
    pure: bool = False

    @cached_property
    def address(self) -> str:
        """Where the browser finds the proxy, as opacity."""
        return shown_mask(self.proxy)

    def mask(self) -> np.ndarray:
        """uint8 (height, width), of the photo's size."""
        return load_mask(self.png)


@dataclass(frozen=True, eq=False)
class CutOut:
    """The object alone, tightly cropped, of preview size.

    rgb, alpha: uint8 (h, w, 3) and (h, w). box: x, y, width, height of the crop in pixels of the photo's proxy, with
    their fractions, so that the page and the original agree on where it is.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    box: tuple[float, float, float, float]

    @cached_property
    def address(self) -> str:
        """Where the browser finds it."""
        return shown_cutout(self.rgb, self.alpha)

    @classmethod
    def make(cls, photo: Photo, rgb: np.ndarray, mask: np.ndarray, pure: bool) -> CutOut:
        """rgb, mask: of the original. pure: see Selection. Raises MaskError if they differ in size, or if nothing or
        everything is selected.
        """
        crop_rgb, crop_mask = crop_to_mask(rgb, mask)
        if mask.min() > 127:
            raise MaskError("The mask selects the whole photo. Select the object alone.")
        factor = photo.proxy.shape[0] / photo.height
        x, y, width, height = (side * factor for side in cv2.boundingRect(mask))
        small_rgb, small_mask = shrink(crop_rgb), shrink(crop_mask)
        if not pure:
            small_rgb = estimate_foreground(small_rgb, small_mask)
        return cls(small_rgb, small_mask, (x, y, width, height))


@dataclass(frozen=True, eq=False)
class Scene:
    """Either a background and a cut-out to be placed on it, or (`ready`) a finished composite and its mask.

    real: what the composite shows in truth, where an example knows it.
    """

    background: Photo | None = None
    object: Photo | None = None
    selection: Selection | None = None
    cutout: CutOut | None = None
    ready: bool = False
    picture: Photo | None = None
    picture_selection: Selection | None = None
    real: Path | None = None

    @property
    def masked_photo(self) -> Photo | None:
        """The photo that masks belong to, in the present way of working."""
        return self.picture if self.ready else self.object

    @property
    def mask(self) -> Selection | None:
        """The masked photo's mask."""
        return self.picture_selection if self.ready else self.selection

    def with_mask(self, selection: Selection | None, cutout: CutOut | None) -> Scene:
        """A copy whose masked photo has another mask."""
        if self.ready:
            return replace(self, picture_selection=selection)
        return replace(self, selection=selection, cutout=cutout)

    @property
    def missing(self) -> str | None:
        """What to add before there is a composite, as a sentence, or None."""
        if self.ready:
            if self.picture is None:
                return "Add a composite picture first."
            return "Mark the pasted object first, with a mask file or the tools." if self.mask is None else None
        if self.background is None:
            return "Add a background photo first."
        if self.object is None:
            return "Add the object's photo first."
        return "Cut out the object first." if self.cutout is None else None

    @property
    def stem(self) -> str:
        """The name of the photo that results are made from, without its extension."""
        photo = self.picture if self.ready else self.background
        return Path(photo.name).stem if photo else "composite"

    def composite(self, placement: Placement) -> Composite:
        """The composite at full size, from the originals. Raises SrinError."""
        self._check_complete()
        if self.ready:
            assert self.picture and self.picture_selection
            return Composite(self.picture.original(), self.picture_selection.mask())
        assert self.background and self.object and self.selection
        rgb, mask = crop_to_mask(self.object.original(), self.selection.mask())
        if not self.selection.pure:
            rgb = estimate_foreground(rgb, mask)
        return place(self.background.original(), rgb, mask, placement)

    def preview(self, placement: Placement) -> Composite:
        """The composite at preview size. Raises SrinError."""
        self._check_complete()
        if self.ready:
            assert self.picture and self.picture_selection
            return Composite(self.picture.proxy, self.picture_selection.proxy)
        assert self.background and self.cutout
        return place(self.background.proxy, self.cutout.rgb, self.cutout.alpha, placement)

    def semantic_map(self, composite: Composite, placement: Placement, segmenter: str = "auto") -> SemanticMap:
        """The regions of this scene's composite, at any size. With "auto", those of the two photos, which were found when
        they arrived, are moved along with the object; another segmenter looks at the composite itself.

        Raises SrinError, see `segment`.
        """
        if self.ready or segmenter != "auto":
            return segment(composite, segmenter)
        if not (self.has_regions or self._awaits_sam):
            return segment(composite, "colour")  # the same regions, without the wait for proposals of objects
        assert self.background and self.object and self.selection and self.cutout
        object_labels = crop_labels(self.object.segmentation.automatic_map().labels, self.selection.proxy)
        background = self.background.segmentation.automatic_map()
        return compose(composite, background, object_labels, placement, self.cutout.alpha.shape)

    @property
    def has_regions(self) -> bool:
        """Whether `semantic_map` has only to move what is found already."""
        photos = (self.background, self.object)
        return not self.ready and all(photo and photo.segmentation.status.map_segmenter for photo in photos)

    @property
    def _awaits_sam(self) -> bool:
        """Whether Segment Anything will find the regions of both photos, or has."""
        photos = (self.background, self.object)
        return all(photo and photo.segmentation.status.state in ("preparing", "ready") for photo in photos)

    def _check_complete(self) -> None:
        if self.missing:
            raise SrinError(self.missing)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One method's result. patch: uint8, the preview inside the run's window, or None where it failed.

    address: where the browser finds the whole preview. psnr, fmse: against the truth, where it is known.
    """

    patch: np.ndarray | None
    address: str | None
    milliseconds: float
    problem: str | None
    psnr: float | None = None
    fmse: float | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Results of one press of Harmonize, with all that it takes to compute any of them again at full size.

    composite: of preview size. window: its rows and columns that methods may change: results are kept of these
    alone. labels: uint8 (h, w), the semantic map's regions at preview size. size: width and height of the original.
    key: the page's name for the inputs, by which it knows results that no longer match. address, mask_address,
    map_address: where the browser finds the composite, its mask, and the painted map.
    """

    scene: Scene
    placement: Placement
    composite: Composite
    window: tuple[slice, slice]
    labels: np.ndarray
    segmenter: str
    size: tuple[int, int]
    key: str
    address: str
    mask_address: str
    map_address: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def start(cls, scene: Scene, placement: Placement, full: Composite, segmenter: str, key: str) -> Run:
        """full: the composite of full size. segmenter: see Scene.semantic_map. Raises SrinError."""
        composite = Composite(shrink(full.image), shrink(full.mask))
        semantic_map = scene.semantic_map(composite, placement, segmenter)
        x, y, width, height = cv2.boundingRect(composite.mask)
        window = (slice(y, y + height), slice(x, x + width))
        labels = semantic_map.labels.astype(np.uint8)
        size = (full.mask.shape[1], full.mask.shape[0])
        return cls(
            scene, placement, composite, window, labels, semantic_map.segmenter, size, key,
            shown(composite.image), shown_mask(composite.mask), shown(semantic_map.paint(composite.image)),
        )  # fmt: skip

    @property
    def done(self) -> list[str]:
        """The methods that have a picture, in their order."""
        return [method for method, outcome in self.outcomes.items() if outcome.patch is not None]

    def semantic_map(self, composite: Composite) -> SemanticMap:
        """The run's map, fitted to its composite of preview size or of full size."""
        size = composite.mask.shape[::-1]
        return build(
            composite, cv2.resize(self.labels, size, interpolation=cv2.INTER_NEAREST), self.segmenter
        )

    def with_result(self, result: Result, psnr: float | None, fmse: float | None) -> Run:
        """A copy that also holds `result`, which is of full size."""
        patch = address = None
        if result.harmonized is not None:
            preview = shrink(result.harmonized)
            patch, address = preview[self.window].copy(), shown(preview)
        outcome = Outcome(patch, address, result.milliseconds, result.problem, psnr, fmse)
        return replace(self, outcomes={**self.outcomes, result.method: outcome})

    def picture(self, method: str) -> np.ndarray:
        """uint8 (h, w, 3): a result that is there."""
        image = self.composite.image.copy()
        image[self.window] = self.outcomes[method].patch
        return image


class Visit:
    """One visitor. The page's requests are numbered, and taken one after the other in that order.

    Attributes:
        scene: what is worked on. placement: where the last example wants its object; serial counts these.
        versions: masks to go back to, by number. proposals: masks to choose from. run: the last results.
        answered, strokes, revision: what the page needs to put answers in order, see requests.js.
    """

    def __init__(self) -> None:
        self.answered = self.strokes = self.revision = 0
        self._turn = threading.Condition()
        self._newest_run = self._cancelled_run = 0
        self.forget()

    def forget(self) -> None:
        """Back to the empty page. The page learns it with the next answer."""
        self.scene = Scene()
        self.placement: Placement | None = None
        self.serial = 0
        self.versions: dict[int, Selection] = {}
        self.proposals: list[Candidate] = []
        self.run: Run | None = None

    def __deepcopy__(self, memo: object) -> Visit:
        """Gradio copies the initial value for every visitor: each starts afresh."""
        return Visit()

    def begin_run(self, number: int) -> None:
        """Runs are numbered by the page. The newest goes on, unless it is cancelled; older ones have to stop."""
        self._newest_run = max(self._newest_run, number)

    def cancel_run(self, number: int) -> None:
        """Also for a run that hasn't begun yet."""
        self._cancelled_run = max(self._cancelled_run, number)

    def is_running(self, number: int) -> bool:
        return number == self._newest_run > self._cancelled_run

    @contextmanager
    def turn(self, request: int) -> Iterator[None]:
        """Waits until all requests before this one are answered, or have gone missing."""
        _recent.add(self)
        with self._turn:
            deadline = time.monotonic() + PATIENCE
            while self.answered < request - 1 and time.monotonic() < deadline:
                self._turn.wait(deadline - time.monotonic())
        try:
            yield
        finally:
            with self._turn:
                self.answered = max(self.answered, request)
                self._turn.notify_all()

    @contextmanager
    def look(self) -> Iterator[int]:
        """The number of a new look at all this, higher than any before."""
        with self._turn:
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

    def place(self, placement: Placement) -> None:
        """Puts the object somewhere else than the visitor did."""
        self.placement = placement
        self.serial += 1

    def adopt(self, selection: Selection, mask: np.ndarray) -> None:
        """As `select`, for a mask that has its version already."""
        photo = self.scene.masked_photo
        assert photo is not None
        if self.scene.ready:
            Composite(photo.proxy, selection.proxy)  # raises what is wrong with it
            self.scene = self.scene.with_mask(selection, None)
        else:
            cutout = CutOut.make(photo, photo.original(), mask, selection.pure)
            self.scene = self.scene.with_mask(selection, cutout)
        self.versions[selection.version] = selection
        while len(self.versions) > MOST_VERSIONS:
            self.versions.pop(next(iter(self.versions)))


class _Recent:
    """Which visits are in use, so that memory stays bounded: beyond MAX_VISITORS, the longest unused one is forgotten.

    Gradio's own limit won't do: it counts every call of an endpoint as a visitor, and scripts would push out people.
    """

    def __init__(self) -> None:
        self._visits: OrderedDict[int, weakref.ref[Visit]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, visit: Visit) -> None:
        with self._lock:
            self._visits[id(visit)] = weakref.ref(visit)
            self._visits.move_to_end(id(visit))
            for key in [key for key, reference in self._visits.items() if reference() is None]:
                del self._visits[key]
            too_many = len(self._visits) - limits.MAX_VISITORS
            oldest = [self._visits.popitem(last=False)[1]() for _ in range(too_many)]
        for unused in oldest:
            if unused is not None:
                unused.forget()


_recent = _Recent()
