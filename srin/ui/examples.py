"""The shipped examples: which files they are made of, and their thumbnails."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from srin.composite import Placement, crop_to_mask, place
from srin.image_io import load_image, load_mask
from srin.ui import cutout
from srin.ui.pictures import shrink
from srin.ui.session import Photo, Scene

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

    def scene(self) -> Scene:
        """The example, loaded. Raises SrinError when its files are broken."""
        background = Photo.load(self.background, "background")
        foreground = Photo.load(self.foreground, "foreground", segmented=True)
        if self.mask is None:
            cut = cutout.from_transparency(foreground)
        else:
            cut = cutout.from_file(foreground, self.mask, "the example's own mask")
        return Scene(background, foreground, cut)


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


def thumbnails(examples: Sequence[Example]) -> list[np.ndarray]:
    """uint8 (h, w, 3) each: the composites, small. Examples share files, and every file is read once."""

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
        ).image
        for example in examples
    ]
