"""The ready examples load, fit together, are credited, and each shows its object."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from srin.composite import Composite, Placement, place
from srin.image_io import load_image, load_mask

ASSETS = Path(__file__).resolve().parents[1] / "assets"
FOLDER = ASSETS / "examples"
EXAMPLES = json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))["examples"]
PICTURES = sorted(path for path in FOLDER.iterdir() if path.suffix != ".json")


def object_mask(example: dict) -> np.ndarray:
    return load_mask(FOLDER / (example["mask"] or example["foreground"]))


def compose(example: dict) -> Composite:
    background, foreground = (load_image(FOLDER / example[key]) for key in ("background", "foreground"))
    return place(background, foreground, object_mask(example), Placement(**example["placement"]))


def test_one_object_comes_in_four_scenes_and_another_in_two():
    scenes: dict[str, set[str]] = {}
    for example in EXAMPLES:
        scenes.setdefault(example["foreground"], set()).add(example["background"])
    counts = sorted((len(backgrounds) for backgrounds in scenes.values()), reverse=True)
    assert counts[0] >= 4 and counts[1] >= 2
    names = [example["name"] for example in EXAMPLES]
    assert len(set(names)) == len(names)


def test_the_folder_holds_the_listed_pictures_and_nothing_else():
    listed = {example[key] for example in EXAMPLES for key in ("background", "foreground", "mask")} - {None}
    assert {path.name for path in PICTURES} == listed


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_bare_and_credited(path):
    assert path.stat().st_size < 1_000_000
    with Image.open(path) as image:
        assert max(image.size) <= 1700
        # No camera data, and no colour profile that would make other numbers of the same bytes.
        assert not image.getexif() and "icc_profile" not in image.info
    assert f"`{path.name}`" in (ASSETS / "CREDITS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_an_example_shows_its_object(example):
    composite = compose(example)
    share = (composite.mask > 127).mean()
    assert 0.05 < share < 0.5
    # Cropped to the object, so that the placement means the same before and after `crop_to_mask`.
    mask = object_mask(example)
    assert cv2.boundingRect(mask) == (0, 0, mask.shape[1], mask.shape[0])
    # Where its own photo cuts the object off, the scene's frame must do so too, or a straight edge would show.
    for side in range(4):
        if (np.rot90(mask, side)[0] > 127).mean() > 0.08:
            assert (np.rot90(composite.mask, side)[0] > 127).mean() > 0.05


def test_the_scenes_differ_in_light():
    backgrounds = sorted({example["background"] for example in EXAMPLES})
    means = [
        cv2.cvtColor(load_image(FOLDER / name), cv2.COLOR_RGB2LAB).reshape(-1, 3).mean(axis=0) for name in backgrounds
    ]
    for index, mean in enumerate(means):
        others = np.array(means[:index] + means[index + 1 :])
        assert np.linalg.norm(others - mean, axis=1).min() > 5
