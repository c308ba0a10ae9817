"""What one visitor is working on: paths of the originals, and pictures of preview size. Knows nothing of the page.

Values are never changed in place: every step makes a new one, so a step that fails loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from srin.compare import Result
from srin.composite import Composite, Placement, crop_to_mask, place
from srin.errors import MaskError, SrinError
from srin.image_io import load_image, load_mask
from srin.segmentation.semantic_map import SemanticMap, build, segment
from srin.segmentation.session import Session
from srin.ui.pictures import shrink


@dataclass(frozen=True, eq=False)
class Photo:
    """path: the original file. stem: its name, for files made from it. width, height: pixels, upright.
    proxy: uint8 (h, w, 3), of preview size. session: what answers prompts on it; None where nobody will click.
    """

    path: Path
    stem: str
    width: int
    height: int
    proxy: np.ndarray
    session: Session | None = None

    @classmethod
    def load(cls, path: Path, what: str, segmented: bool = False) -> Photo:
        """Raises ImageError; `what` names the picture in its message. segmented: starts its session."""
        image = load_image(path, what)
        session = Session(image) if segmented else None
        return cls(path, path.stem, image.shape[1], image.shape[0], shrink(image), session)


@dataclass(frozen=True, eq=False)
class CutOut:
    """The object of the foreground's photo.

    mask: PNG of the mask, of the photo's full size. segmenter: who made it, to be shown to people.
    selection: uint8 (h, w), the mask at the size of the photo's proxy.
    rgb, alpha: uint8 (h, w, 3) and (h, w), the object alone, tightly cropped, of preview size.
    """

    mask: bytes
    segmenter: str
    selection: np.ndarray
    rgb: np.ndarray
    alpha: np.ndarray

    @classmethod
    def make(cls, rgb: np.ndarray, mask: np.ndarray, segmenter: str) -> CutOut:
        """rgb, mask: uint8 (H, W, 3) and (H, W), the original's. Raises MaskError if they differ in size, or if
        nothing or everything is selected.
        """
        crop_rgb, crop_mask = crop_to_mask(rgb, mask)
        if mask.min() > 127:
            raise MaskError("The mask selects the whole photo. Select the object alone.")
        png = cv2.imencode(".png", mask)[1].tobytes()
        return cls(png, segmenter, shrink(mask), shrink(crop_rgb), shrink(crop_mask))


@dataclass(frozen=True, eq=False)
class Scene:
    """Either a background and a cut-out to be placed on it, or (`ready`) a finished composite and its mask.

    clicks: on the foreground, (x, y, label): fractions of its width and height; label 1 is on the object.
    """

    background: Photo | None = None
    foreground: Photo | None = None
    cutout: CutOut | None = None
    clicks: tuple[tuple[float, float, int], ...] = ()
    ready: bool = False
    ready_image: Photo | None = None
    ready_mask: Photo | None = None

    @property
    def missing(self) -> str | None:
        """What to add before there is a composite, as a sentence, or None."""
        if self.ready:
            if self.ready_image is None:
                return "Add the composite picture first."
            return "Add the mask of the composite first." if self.ready_mask is None else None
        if self.background is None:
            return "Add a background photo first."
        if self.foreground is None:
            return "Add a foreground photo first."
        return "Cut out the object first." if self.cutout is None else None

    @property
    def stem(self) -> str:
        """The name of the photo that results are made from."""
        photo = self.ready_image if self.ready else self.background
        return photo.stem if photo else "composite"

    def shows_the_same(self, other: Scene) -> bool:
        """Whether both make the same composite, given the same placement."""
        if self.ready or other.ready:
            kept = self.ready_image is other.ready_image and self.ready_mask is other.ready_mask
            return kept and self.ready == other.ready
        return self.background is other.background and self.cutout is other.cutout

    def composite(self, placement: Placement) -> Composite:
        """The composite at full size, from the originals. Raises SrinError."""
        self._check_complete()
        if self.ready:
            assert self.ready_image and self.ready_mask
            return Composite.load(self.ready_image.path, self.ready_mask.path)
        assert self.background and self.foreground and self.cutout
        foreground = load_image(self.foreground.path, "foreground")
        crop = crop_to_mask(foreground, load_mask(self.cutout.mask))
        return place(load_image(self.background.path, "background"), *crop, placement)

    def preview(self, placement: Placement) -> Composite:
        """The composite at preview size. Raises SrinError."""
        self._check_complete()
        if self.ready:
            assert self.ready_image and self.ready_mask
            sizes = [(photo.width, photo.height) for photo in (self.ready_image, self.ready_mask)]
            if sizes[0] != sizes[1]:
                (width, height), (mask_width, mask_height) = sizes
                raise MaskError(
                    f"The mask has {mask_width} x {mask_height} pixels and the composite {width} x {height}. "
                    "Both must have the same size."
                )
            return Composite(self.ready_image.proxy, shrink(load_mask(self.ready_mask.path)))
        assert self.background and self.cutout
        return place(self.background.proxy, self.cutout.rgb, self.cutout.alpha, placement)

    def _check_complete(self) -> None:
        if self.missing:
            raise SrinError(self.missing)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One method's result. patch: uint8, the preview inside the run's window, or None where it failed."""

    patch: np.ndarray | None
    milliseconds: float
    problem: str | None


@dataclass(frozen=True, eq=False)
class Run:
    """Results of one press of Harmonize, with all that it takes to compute any of them again at full size.

    composite: of preview size. window: its rows and columns that methods may change: results are kept of these
    alone. labels: uint8 (h, w), the semantic map's regions at preview size.
    """

    scene: Scene
    placement: Placement
    composite: Composite
    window: tuple[slice, slice]
    labels: np.ndarray
    segmenter: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def start(cls, scene: Scene, placement: Placement, full: Composite, segmenter: str) -> Run:
        """full: the composite of full size. segmenter: of the semantic map, see `segment`. Raises SrinError."""
        composite = Composite(shrink(full.image), shrink(full.mask))
        semantic_map = segment(composite, segmenter)
        x, y, width, height = cv2.boundingRect(composite.mask)
        window = (slice(y, y + height), slice(x, x + width))
        labels = semantic_map.labels.astype(np.uint8)
        return cls(scene, placement, composite, window, labels, semantic_map.segmenter)

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

    def with_result(self, result: Result) -> Run:
        """A copy that also holds `result`, which is of full size."""
        patch = None if result.harmonized is None else shrink(result.harmonized)[self.window].copy()
        outcome = Outcome(patch, result.milliseconds, result.problem)
        return replace(self, outcomes={**self.outcomes, result.method: outcome})

    def picture(self, method: str, strength: float = 1.0) -> np.ndarray:
        """uint8 (h, w, 3): a result that is there, mixed into the composite. strength: 0 to 1."""
        image = self.composite.image.copy()
        patch = self.outcomes[method].patch
        # Results are blended by the mask already, so mixing them with the composite does not need it.
        image[self.window] = cv2.addWeighted(image[self.window], 1 - strength, patch, strength, 0)
        return image
