"""Objects found in photos that have no masks: kept where the segmenter is sure, and trained on."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from srin.image_io import load_image, load_mask
from srin.segmentation.candidate import Candidate, overlap
from train.config import DataConfig
from train.data.composites import Maker
from train.data.maps import content_path
from train.data.photos import File, find_photos, load_photos
from train.find_objects import find, sure_subject

EXAMPLES = ROOT / "assets" / "examples"
OBJECTS = ("osprey", "otter")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos, of which two have masks, two have an object without a mask, and one has no object; with what was found."""
    root = tmp_path_factory.mktemp("photos")
    photos, found = root / "photos", root / "found"
    photos.mkdir()
    rows = ["image,mask", *(f"drawn {name}.jpg,drawn {name}_mask.png" for name in OBJECTS)]
    rows += [f"{name}," for name in (*(f"{name}.png" for name in OBJECTS), "sunset.png", "broken.jpg")]
    (photos / "manifest.csv").write_text("\n".join(rows))
    for name in OBJECTS:
        shutil.copy(EXAMPLES / f"{name}.jpg", photos / f"drawn {name}.jpg")
        shutil.copy(EXAMPLES / f"{name}_mask.png", photos / f"drawn {name}_mask.png")
    for name in OBJECTS:
        Image.fromarray(load_image(EXAMPLES / f"{name}.jpg")[:, ::-1]).save(photos / f"{name}.png")
    Image.fromarray(load_image(EXAMPLES / "hill_sunset.jpg")).save(photos / "sunset.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    done = subprocess.run(
        [sys.executable, "-m", "train.find_objects", photos, found], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "broken.jpg: " in done.stderr and "of 4 photos without masks" in done.stdout
    (photos / "broken.jpg").unlink()
    (photos / "manifest.csv").write_text("\n".join(rows[:-1]))
    return photos, found


def mask_of(photos, found, name):
    """bool (H, W), or None where nothing was found."""
    path = content_path(found, (photos / f"{name}.png").read_bytes())
    return load_mask(path.read_bytes()) > 127 if path.stat().st_size else None


def test_sure_objects_are_found_and_no_others(folder):
    photos, found = folder
    assert mask_of(photos, found, "sunset") is None
    osprey = mask_of(photos, found, "osprey")
    truth = load_mask(EXAMPLES / "osprey_mask.png")[:, ::-1] > 127
    assert osprey is not None and overlap(np.asarray(Image.fromarray(osprey).resize(truth.shape[::-1])), truth) > 0.7
    with_masks = {content_path(found, (photos / f"drawn {name}.jpg").read_bytes()).exists() for name in OBJECTS}
    assert with_masks == {False}, "people's masks are left alone"


def test_it_goes_on_where_it_stopped(folder, monkeypatch):
    photos, found = folder
    before = {path: path.stat().st_mtime_ns for path in found.rglob("*.png")}
    monkeypatch.setattr("train.find_objects.sure_subject", lambda image: pytest.fail("looked at again"))
    files = [File(photos / f"{name}.png") for name in (*OBJECTS, "sunset")]
    count, problems = find(files, found)
    assert count == sum(path.stat().st_size > 0 for path in before) and not problems
    assert {path: path.stat().st_mtime_ns for path in found.rglob("*.png")} == before


def config(root, **more):
    return DataConfig(root=root, cache=root.parent / "cache", size=64, photo_side=96, free_masks=0, **more)


def test_they_become_training_photos_shrunk_twice_as_far(folder, tmp_path):
    photos, found = folder
    without, with_them = (load_photos(config(photos, found=path), "train") for path in (None, found))
    count = sum(mask_of(photos, found, name) is not None for name in OBJECTS)
    assert sum(with_them.masks) == sum(without.masks) + count and sum(with_them.found) == count
    assert not any(without.found)
    assert sum(load_photos(config(photos, found=found), "validation").found) == 0
    # The same composites, except that masks are shrunk differently.
    makers = [Maker(with_them, config(photos), 64) for _ in range(2)]
    other = load_photos(config(photos, found=found), "train")
    other.found = [False] * len(other)
    makers[1] = Maker(other, config(photos), 64)
    drawn = [[maker._draw(np.random.default_rng(n)) for n in range(40)] for maker in makers]
    pairs = [pair for pair in zip(*drawn, strict=True) if all(pair)]
    areas = [(twice[1].sum(), once[1].sum()) for twice, once in pairs]
    assert all(twice <= once for twice, once in areas) and any(twice < once for twice, once in areas)


def test_a_folder_without_any_is_said(folder, tmp_path):
    photos, _ = folder
    with pytest.raises(ValueError, match="no masks of train.find_objects"):
        load_photos(config(photos, found=tmp_path), "train")


def test_what_can_not_be_done_is_said(folder, tmp_path):
    photos, _ = folder
    shutil.copy(EXAMPLES / "osprey.jpg", tmp_path / "a.jpg")
    shutil.copy(EXAMPLES / "osprey_mask.png", tmp_path / "a_mask.png")
    for places, said in (
        ((photos, photos), "never|among|in"),
        ((tmp_path, photos.parent / "other"), "no photos without masks"),
    ):
        call = [sys.executable, "-m", "train.find_objects", *places]
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode != 0 and re.match(f"train.find_objects: .*({said})", done.stderr), done.stderr
    assert len(find_photos(photos)) == 5


def test_what_the_mirror_image_does_not_show_is_not_sure(monkeypatch):
    """A segmenter that always takes the left half finds another half in the mirror image."""
    left = np.full((8, 8), -9.0, np.float32)
    left[:, :4] = 9

    class Engine:
        def subject(self):
            return Candidate(left, 0.99, "stub")

    monkeypatch.setattr("train.find_objects.EmbeddedEngine", lambda image: Engine())
    assert sure_subject(np.ones((64, 64, 3), np.uint8)) is None
