"""The parts of a composite: paths of the originals, and pictures of preview size.

Nothing here is ever changed in place: every step makes new objects, so a step that fails loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from srin import budget
from srin.composite import Composite, Placement, crop_to_mask, place
from srin.errors import ImageError, MaskError, SrinError
from srin.foreground import cut_out, estimate_foreground
from srin.image_io import load_mask, load_preview, load_rgba
from srin.limits import check_size
from srin.mask_values import extent
from srin.project import PHOTOS, parts_of
from srin.reference import filled, marked
from srin.remarks import collected
from srin.resizing import enlarged_labels, shrunk_size
from srin.segmentation.photo_segmenter import PhotoSegmenter
from srin.segmentation.semantic_map import SemanticMap, build, compose, crop_labels, draw, fitted, segment
from srin.ui.session.previews import (
    LIVE_SIDE,
    PROXY_SIDE,
    resized,
    shown,
    shown_cutout,
    shown_file,
    shown_mask,
    shrink,
)

ENOUGH = 2 * PROXY_SIDE  # pixels of the longer side of a JPEG that previews and masks are made from

# What a request has decoded, by path. Nothing of full size is kept longer than the request.
_decoded: ContextVar[dict[Path, tuple[np.ndarray, np.ndarray | None]] | None] = ContextVar("decoded", default=None)


@contextmanager
def decoding_once() -> Iterator[None]:
    """Within this block, each photo is decoded at full size once at the most."""
    token = _decoded.set({})
    try:
        yield
    finally:
        _decoded.reset(token)


def _remember(path: Path, decoded: tuple[np.ndarray, np.ndarray | None]) -> None:
    held = _decoded.get()
    if held is not None:
        held[path] = decoded


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo of a visitor.

    path: the original file. name: as the visitor knows it. width, height: of the original, in pixels, upright.
    proxy: uint8 (h, w, 3), of preview size. alpha: uint8 (h, w), its transparency at preview size, or None.
    segmentation: finds masks and the photo's regions; it prepares itself in the background. seen: width and height of
    the picture that it was given, in whose pixels it is asked.
    travels: whether the file is only a small copy, and the original is on its way. Masks have the original's size even
    then. first_address: the address of the small copy that was there before, or "".
    """

    path: Path
    name: str
    width: int
    height: int
    proxy: np.ndarray
    segmentation: PhotoSegmenter
    seen: tuple[int, int]
    alpha: np.ndarray | None = None
    travels: bool = False
    first_address: str = ""

    @classmethod
    def load(
        cls,
        path: Path,
        what: str,
        name: str | None = None,
        original: tuple[int, int] | None = None,
        copied: Photo | None = None,
    ) -> Photo:
        """Raises ImageError; `what` names the picture in its message.

        original: width and height of the original, if the file is a small copy of it. copied: the small copy, if the file
        is the original that takes its place. The original goes on with the segmenter of the copy.
        """
        image, alpha, size = load_preview(path, what, ENOUGH)
        seen = (image.shape[1], image.shape[0])
        if original:
            check_size(*original, what)
            if (
                max(
                    abs(a - b)
                    for a, b in zip(shrunk_size(*original, PROXY_SIDE), shrunk_size(*size, PROXY_SIDE), strict=True)
                )
                > 2
            ):
                raise ImageError(
                    f"The small copy of the {what} has another shape than the {what}. Choose the file again."
                )
            size = original
        elif seen == size:
            _remember(path, (image, alpha))
        # Of the size that small masks get, even if the file was decoded at another.
        small = shrunk_size(*size, PROXY_SIDE)
        proxy = None if alpha is None else resized(alpha, small)
        segmenter = copied.segmentation if copied else PhotoSegmenter(image)
        seen = copied.seen if copied else seen
        photo = cls(path, name or path.name, *size, resized(image, small), segmenter, seen, proxy)
        return replace(photo, travels=original is not None, first_address=copied.identity if copied else "")

    @cached_property
    def address(self) -> str:
        """Where the browser finds the proxy."""
        return shown(self.proxy)

    @property
    def identity(self) -> str:
        """A name that is the same for a small copy and the original that took its place."""
        return self.first_address or self.address

    @cached_property
    def live(self) -> np.ndarray:
        """uint8 (h, w, 3), the proxy at the live preview's size."""
        return shrink(self.proxy, LIVE_SIDE)

    def original(self) -> np.ndarray:
        """uint8 (height, width, 3), decoded again. Raises ImageError where the file has expired."""
        return self.decoded()[0]

    def decoded(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The file as `load_rgba` gives it, read once within `decoding_once`. A small copy is enlarged."""
        held = _decoded.get()
        if held is None or self.path not in held:
            with collected():  # remarks on the file were shown when it came
                pair = load_rgba(self.path, self.name)
            if self.travels:
                size = (self.width, self.height)
                budget.reserve(self.width * self.height)
                pair = (cv2.resize(pair[0], size), None if pair[1] is None else cv2.resize(pair[1], size))
            _remember(self.path, pair)
            return pair
        return held[self.path]

    def composite(self, selection: Selection) -> Composite:
        """The photo as a finished composite, at full size. Raises SrinError."""
        image, alpha = self.decoded()
        return self.composite_of(image, selection.mask(), alpha)

    @staticmethod
    def composite_of(image: np.ndarray, mask: np.ndarray, alpha: np.ndarray | None) -> Composite:
        with collected():  # remarks on the mask were shown when it came
            return Composite.of(image, mask, alpha)


@dataclass(frozen=True, eq=False)
class Selection:
    """The mask of a photo.

    version: its number for the page. png: the mask at the photo's full size. proxy: uint8 (h, w), of preview size.
    segmenter: who made it, to be shown to people. painted: whether a person painted this version. prompted: whether it
    is nothing but a segmenter's answer to clicks and boxes.
    pure: whether it is a photo's own transparency, or the matte of an example. Then the colours under its soft edge
    are the object's alone already.
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

    @cached_property
    def original_address(self) -> str:
        """Where the browser finds the mask at full size."""
        return shown_file(self.png, "png")

    def mask(self) -> np.ndarray:
        """uint8 (height, width), of the photo's size."""
        return load_mask(self.png)


@dataclass(frozen=True, eq=False)
class Light:
    """Where on a photo the networks take their light from.

    version: its number for the page. mask: uint8 (h, w), of the size of `Photo.live`: 255 where the photo is marked and
    0 elsewhere, not 0 everywhere. only: whether they take light from the mark alone, or never from it.
    """

    version: int
    mask: np.ndarray
    only: bool

    @cached_property
    def png(self) -> bytes:
        """The mask as a file of two colours."""
        return cv2.imencode(".png", self.mask, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()

    @cached_property
    def address(self) -> str:
        """Where the browser finds the mask, as opacity."""
        return shown_mask(self.mask)

    @cached_property
    def file_address(self) -> str:
        """Where the browser finds the mask as a file, to be kept."""
        return shown_file(self.png, "png")


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
        """Crops the object. rgb, mask: at full size. pure: see Selection. Raises MaskError if they differ in size, or if
        nothing or everything is selected.
        """
        crop_rgb, crop_mask = crop_to_mask(rgb, mask)
        if mask.min() > 127:
            raise MaskError("The mask selects the whole photo. Select the object alone.")
        factor = photo.proxy.shape[0] / photo.height
        x, y, width, height = (side * factor for side in extent(mask))
        small_rgb, small_mask = shrink(crop_rgb), shrink(crop_mask)
        if not pure:
            small_rgb = estimate_foreground(small_rgb, small_mask)
        return cls(small_rgb, small_mask, (x, y, width, height))


@dataclass(frozen=True, eq=False)
class Scene:
    """Either a background and a cut-out to be placed on it, or (`ready`) a finished composite and its mask.

    real: the file of the true picture, where an example has one. light, picture_light: marks on background and picture.
    """

    background: Photo | None = None
    object: Photo | None = None
    selection: Selection | None = None
    cutout: CutOut | None = None
    ready: bool = False
    picture: Photo | None = None
    picture_selection: Selection | None = None
    real: Path | None = None
    light: Light | None = None
    picture_light: Light | None = None

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

    def has_copy(self, path: Path) -> bool:
        """Whether one of the photos is the small copy with this path."""
        return bool(self._roles_of(path))

    def with_original(self, path: Path, original: Photo) -> Scene:
        """A copy in which an original replaces the small copy with this path. Masks stay. Raises SrinError."""
        arrived: dict[str, Any] = dict.fromkeys(self._roles_of(path), original)
        scene = replace(self, **arrived)
        if "object" in arrived and self.selection:
            cutout = CutOut.make(original, original.original(), self.selection.mask(), self.selection.pure)
            scene = replace(scene, cutout=cutout)
        return scene

    def without_copy(self, path: Path) -> Scene:
        """A copy without the small copy that has this path, its mask, and its mark."""
        gone: dict[str, Any] = dict.fromkeys(self._roles_of(path))
        if "background" in gone:
            gone |= {"light": None}
        if "object" in gone:
            gone |= {"selection": None, "cutout": None}
        if "picture" in gone:
            gone |= {"picture_selection": None, "picture_light": None, "real": None}
        return replace(self, **gone)

    def _roles_of(self, path: Path) -> list[str]:
        photos: dict[str, Photo | None] = {role: getattr(self, role) for role in PHOTOS}
        return [role for role, photo in photos.items() if photo and photo.travels and photo.path == path]

    def check_arrived(self) -> None:
        """Raises SrinError where the original of a photo that the composite is made of is still on its way."""
        for role in parts_of(self.ready):
            photo: Photo | None = getattr(self, role)
            if photo and photo.travels:
                raise SrinError(f"{photo.name} is still on its way. This works as soon as it has arrived.")

    @property
    def backdrop(self) -> Photo | None:
        """The photo that the object lies in, in the present way of working."""
        return self.picture if self.ready else self.background

    @property
    def mark(self) -> Light | None:
        """The backdrop's mark."""
        return self.picture_light if self.ready else self.light

    def with_mark(self, light: Light | None) -> Scene:
        """A copy whose backdrop has another mark."""
        return replace(self, picture_light=light) if self.ready else replace(self, light=light)

    def allowed(self, composite: Composite) -> np.ndarray | None:
        """Where the background may lend, at the size of this scene's composite, see `srin.reference.marked`. None:
        everywhere."""
        return None if self.mark is None else marked(self.mark.mask, self.mark.only, composite)

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
    def size(self) -> tuple[int, int]:
        """Width and height of the composite at full size. Raises SrinError."""
        self._check_complete()
        photo = self.backdrop
        assert photo is not None
        return photo.width, photo.height

    @property
    def stem(self) -> str:
        """The name of the photo that results are made from, without its extension."""
        photo = self.backdrop
        return Path(photo.name).stem if photo else "composite"

    def composite(self, placement: Placement) -> Composite:
        """The composite at full size, from the originals. Raises SrinError."""
        self._check_complete()
        if self.ready:
            assert self.picture and self.picture_selection
            return self.picture.composite(self.picture_selection)
        assert self.background and self.object and self.selection
        cut = cut_out(self.object.original(), self.selection.mask(), self.selection.pure)
        return place(self.background.original(), *cut, placement)

    def preview(self, placement: Placement) -> Composite:
        """The composite at preview size. Raises SrinError."""
        self._check_complete()
        if self.ready:
            assert self.picture and self.picture_selection
            return self.picture.composite_of(self.picture.proxy, self.picture_selection.proxy, self.picture.alpha)
        assert self.background and self.cutout
        return place(self.background.proxy, self.cutout.rgb, self.cutout.alpha, placement)

    def semantic_map(
        self, composite: Composite, placement: Placement, segmenter: str = "auto", lending: bool = True
    ) -> SemanticMap:
        """The regions of this scene's composite, at any size.

        segmenter: "auto" takes the regions that were found when the photos arrived: those of a finished composite, or
            those of both photos, moved along with the object. Any other segmenter looks at the composite.
        lending: whether pixels that may not lend are painted over first, as networks that take a mark need it. Then
            "auto" means colour regions: the photos' regions would show the shapes of what is excluded.

        Raises SrinError, see `segment`.
        """
        allowed = self.allowed(composite) if lending else None
        composite = filled(composite, allowed)
        if segmenter != "auto":
            return segment(composite, segmenter)
        if allowed is not None:
            return fitted(composite, draw(composite, "colour"))
        if not (self.has_regions or self._awaits_sam):
            return segment(composite, "colour")  # the same regions, without waiting for proposals of objects
        if self.ready:
            assert self.picture
            found = self.picture.segmentation.automatic_map()
            return build(composite, enlarged_labels(found.labels, composite.mask.shape), found.segmenter)
        assert self.background and self.object and self.selection and self.cutout
        background, cut = (photo.segmentation.automatic_map() for photo in (self.background, self.object))
        object_labels = crop_labels(cut.labels, self.selection.proxy)
        made = compose(composite, background, object_labels, placement, self.cutout.alpha.shape)
        if background.segmenter == cut.segmenter:
            return made
        return replace(made, segmenter=f"{background.segmenter}, the object's by {cut.segmenter}")

    @property
    def _photos(self) -> list[Photo]:
        """The photos that the composite is made of, as far as they are there."""
        photos = (self.picture,) if self.ready else (self.background, self.object)
        return [photo for photo in photos if photo]

    @property
    def has_regions(self) -> bool:
        """Whether the regions that `semantic_map` takes are found."""
        return all(photo.segmentation.status.map_segmenter for photo in self._photos)

    @property
    def awaits_regions(self) -> bool:
        """Whether regions are being found that `semantic_map` will take."""
        return not self.has_regions or any(photo.segmentation.status.redraws for photo in self._photos)

    @property
    def _awaits_sam(self) -> bool:
        """Whether Segment Anything is finding the regions, or has found them."""
        return all(photo.segmentation.status.state in ("preparing", "ready") for photo in self._photos)

    def _check_complete(self) -> None:
        if self.missing:
            raise SrinError(self.missing)
