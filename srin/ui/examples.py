"""The shipped examples: which files they are made of, and their thumbnails."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from srin.composite import Composite, Placement, crop_to_mask, place
from srin.errors import SrinError
from srin.image_io import load_image, load_mask
from srin.ui.pictures import shrink
from srin.ui.visit import Photo, Visit

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "examples"
THUMBNAIL_SIDE = 360


@dataclass(frozen=True)
class Example:
    """mask: of the foreground; None where the foreground brings its own transparency."""

    name: str
    background: Path
    foreground: Path
    mask: Path | None
    placement: Placement

    def put_into(self, visit: Visit) -> None:
        """Loads the example. Raises SrinError, and leaves the visit as it was, when its files are broken."""
        before = visit.scene
        background = Photo.load(self.background, "background")
        foreground = Photo.load(self.foreground, "object's photo")
        visit.scene = replace(before, background=background, object=foreground, ready=False)
        try:
            visit.select(load_mask(self.mask or self.foreground), "the example's own mask", pure=True)
        except SrinError:
            visit.scene = before
            raise
        visit.place(self.placement)


def load_examples(folder: Path = FOLDER) -> list[Example]:
    """Reads examples.json of a folder; an empty list where there is none."""
    index = folder / "examples.json"
    if not index.is_file():
        return []
    return [
        Example(
            entry["name"],
            folder / entry["background"],
            folder / entry["foreground"],
            entry["mask"] and folder / entry["mask"],
            Placement(**entry["placement"]),
        )
        for entry in json.loads(index.read_text(encoding="utf-8"))["examples"]
    ]


def thumbnails(examples: Sequence[Example]) -> list[Composite]:
    """The composites, small. Examples share files, and every file is read once."""

    @cache
    def background(path: Path) -> np.ndarray:
        return shrink(load_image(path), THUMBNAIL_SIDE)

    @cache
    def foreground(path: Path, mask: Path | None) -> tuple[np.ndarray, np.ndarray]:
        crop = crop_to_mask(load_image(path), load_mask(mask or path))
        return shrink(crop[0], THUMBNAIL_SIDE), shrink(crop[1], THUMBNAIL_SIDE)

    return [
        place(
            background(example.background), *foreground(example.foreground, example.mask), example.placement
        )
        for example in examples
    ]
