"""The shipped examples: which files they are made of, and their thumbnails."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from srin.composite import Composite, Placement, blend, crop_to_mask, place
from srin.image_io import load_image, load_mask, save_image
from srin.shipped import ASSETS
from srin.ui.session.previews import shrink
from srin.ui.session.scene import Photo
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file

FOLDER = ASSETS / "examples"
THUMBNAIL_SIDE = 480
GAMMA = 2.2


@dataclass(frozen=True)
class Example:
    """mask: of the foreground; None where the foreground brings its own transparency."""

    name: str
    background: Path
    foreground: Path
    mask: Path | None
    placement: Placement

    def composite(self, side: int) -> Composite:
        """The composite, no side longer than `side` pixels. Raises SrinError when its files are broken."""
        return place(_background(self.background, side), *_cut(self.foreground, self.mask, side), self.placement)

    def put_into(self, session: SessionState) -> None:
        """Loads the example. Raises SrinError, and leaves the session as it was, when its files are broken."""
        draft = session.draft()
        background = Photo.load(self.background, "background")
        foreground = Photo.load(self.foreground, "object's photo")
        draft.change(replace(session.scene, background=background, object=foreground, light=None, ready=False))
        draft.select(load_mask(self.mask or self.foreground), "the example's own mask", pure=True)
        draft.place(self.placement)
        session.accept(draft)


@dataclass(frozen=True)
class Recoloured:
    """A photo whose object was given another light, so that the truth is known: the photo itself.

    gains: of red, green and blue, in linear light.
    """

    name: str
    real: Path
    mask: Path
    gains: tuple[float, float, float]

    def composite(self) -> Composite:
        """The recoloured composite. Raises SrinError when its files are broken."""
        image, mask = load_image(self.real), load_mask(self.mask)
        levels = np.arange(256)[:, None] / 255
        table = np.rint(255 * (levels**GAMMA * self.gains).clip(0, 1) ** (1 / GAMMA)).astype(np.uint8)
        return Composite(blend(cv2.LUT(image, table[None]), Composite(image, mask)), mask)

    def put_into(self, session: SessionState) -> None:
        """Loads the example as a composite with its mask. Raises SrinError when its files are broken."""
        composite = self.composite()
        path = new_file(f"{self.real.stem}-recoloured.png")
        save_image(composite.image, path)
        picture = Photo.load(path, "composite")
        scene = replace(session.scene, ready=True, picture=picture, picture_selection=None, picture_light=None)
        session.change(replace(scene, real=self.real))
        session.select(composite.mask, "the example's own mask", pure=True)


def load_recoloured(folder: Path = FOLDER) -> list[Recoloured]:
    """Reads the recoloured photos of a folder's examples.json."""
    return [
        Recoloured(entry["name"], folder / entry["real"], folder / entry["mask"], tuple(entry["gains"]))
        for entry in _index(folder).get("recoloured", [])
    ]


def _index(folder: Path) -> dict[str, Any]:
    index = folder / "examples.json"
    return json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}


def load_examples(folder: Path = FOLDER) -> list[Example]:
    """Reads examples.json of a folder; an empty list where there is none."""
    return [
        Example(
            entry["name"],
            folder / entry["background"],
            folder / entry["foreground"],
            entry["mask"] and folder / entry["mask"],
            Placement(**entry["placement"]),
        )
        for entry in _index(folder).get("examples", [])
    ]


def all_examples() -> list[Example | Recoloured]:
    """All examples, in the order of the gallery."""
    return [*load_examples(), *load_recoloured()]


def thumbnails(examples: Sequence[Example], recoloured: Sequence[Recoloured]) -> list[Composite]:
    """The composites of the examples at the size of thumbnails."""
    small = [
        Composite(shrink(composite.image, THUMBNAIL_SIDE), shrink(composite.mask, THUMBNAIL_SIDE))
        for composite in (example.composite() for example in recoloured)
    ]
    return [example.composite(THUMBNAIL_SIDE) for example in examples] + small


# Examples share files: each file is read once for each size.
@lru_cache(maxsize=32)
def _background(path: Path, side: int) -> np.ndarray:
    return shrink(load_image(path), side)


@lru_cache(maxsize=32)
def _cut(path: Path, mask: Path | None, side: int) -> tuple[np.ndarray, np.ndarray]:
    rgb, cut = crop_to_mask(load_image(path), load_mask(mask or path))
    return shrink(rgb, side), shrink(cut, side)
