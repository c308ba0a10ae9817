"""iHarmony4 as it is on disk: lists, names, missing files, and the cache of resized pictures."""

import os
import shutil

import cv2
import numpy as np
import pytest

from srin.errors import SrinError
from train.data.iharmony4 import ResizedCache, samples

NAMES = {
    "HCOCO": ["c35030_434421_1.jpg", "c35030_434421_2.jpg"],
    "Hday2night": ["d21901-20130410-181833_1_9.jpg", "d90_under_score_2_1.jpg"],
}
MASKS = {"HCOCO": ["c35030_434421.png"], "Hday2night": ["d21901-20130410-181833_1.png", "d90_under_score_2.png"]}
REALS = {"HCOCO": ["c35030.jpg"], "Hday2night": ["d21901-20130410-181833.jpg", "d90_under_score.jpg"]}
SIZE = (60, 90)  # rows and columns


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = SIZE if path.suffix == ".png" else (*SIZE, 3)
    picture = np.full(shape, value, np.uint8)
    if path.suffix == ".png":
        picture[:20] = 0
    cv2.imwrite(str(path), picture)


@pytest.fixture
def root(tmp_path):
    """Two sub-datasets. Every picture has its own grey, so a wrong pairing would be noticed."""
    root = tmp_path / "iHarmony4"
    value = 10
    for subset in NAMES:
        for folder, names in (("composite_images", NAMES), ("masks", MASKS), ("real_images", REALS)):
            for name in names[subset]:
                write(root / subset / folder / name, 255 if folder == "masks" else value)
                value += 10
    lines = [f"{subset}/composite_images/{name}" for subset in NAMES for name in NAMES[subset]]
    # As some mirrors have it: a byte order mark, Windows line ends, an empty last line, a line twice.
    text = "\ufeff" + "\r\n".join([*lines, lines[0], "", ""])
    (root / "IHD_test.txt").write_bytes(text.encode())
    return root


def test_names_are_split_from_the_right(root):
    found = {s.name: s for s in samples(root, "test")}
    assert [f"{name}.jpg" for name in found] == NAMES["HCOCO"] + NAMES["Hday2night"]
    dashes, underscores = found["d21901-20130410-181833_1_9"], found["d90_under_score_2_1"]
    assert (dashes.mask.name, dashes.real.name) == ("d21901-20130410-181833_1.png", "d21901-20130410-181833.jpg")
    assert (underscores.mask.name, underscores.real.name) == ("d90_under_score_2.png", "d90_under_score.jpg")
    one, two = (found[f"c35030_434421_{k}"] for k in (1, 2))
    assert one.composite != two.composite and (one.mask, one.real) == (two.mask, two.real)
    assert one.subset == "HCOCO" and dashes.subset == "Hday2night"


def test_mirrors_with_lists_of_bare_names(root):
    whole = samples(root, "test")
    (root / "IHD_test.txt").unlink()
    for subset, names in NAMES.items():
        (root / subset / f"{subset}_test.txt").write_text("\n".join(names))
    assert samples(root, "test") == whole
    # A common list that knows only one of them.
    (root / "IHD_test.txt").write_text(f"HCOCO/composite_images/{NAMES['HCOCO'][0]}\n")
    assert [s.name for s in samples(root, "test", ["Hday2night", "HCOCO"])] == [whole[i].name for i in (2, 3, 0)]


def test_choosing_sub_datasets(root):
    shutil.rmtree(root / "HCOCO")  # not chosen, not needed
    assert {s.subset for s in samples(root, "test", ["Hday2night"])} == {"Hday2night"}
    with pytest.raises(SrinError, match="HFlickr: neither IHD_test.txt nor HFlickr/HFlickr_test.txt"):
        samples(root, "test", ["HFlickr"])


def test_missing_files_are_named_together(root):
    (root / "HCOCO" / "masks" / "c35030_434421.png").unlink()
    shutil.rmtree(root / "Hday2night" / "real_images")
    with pytest.raises(SrinError) as caught:
        samples(root, "test")
    message = str(caught.value)
    assert message.startswith("3 files")
    for name in ("HCOCO/masks/c35030_434421.png", *(f"Hday2night/real_images/{n}" for n in REALS["Hday2night"])):
        assert message.count(name) == 1


def test_bad_lists(root, tmp_path):
    with pytest.raises(SrinError, match="no folder .*nowhere"):
        samples(tmp_path / "nowhere", "test")
    with pytest.raises(SrinError, match="neither IHD_train.txt nor lists"):
        samples(root, "train")
    (root / "IHD_test.txt").write_text("HCOCO/composite_images/c35030.jpg")
    with pytest.raises(SrinError, match="c35030.jpg .* is not named X_m_k"):
        samples(root, "test")
    (root / "IHD_test.txt").write_text("c35030_434421_1.jpg")
    with pytest.raises(SrinError, match="without a folder: 'c35030_434421_1.jpg'"):
        samples(root, "test")


def test_pictures_are_resized_once_and_shared(root, tmp_path, monkeypatch):
    first, second, *_ = samples(root, "test")
    composite, mask, real = ResizedCache(tmp_path / "cache", 16).load(first)
    assert composite.shape == real.shape == (16, 16, 3) and mask.shape == (16, 16)
    assert (composite == 10).all() and (real == 40).all()
    assert (mask[:5] == 0).all() and (mask[6:] == 255).all()
    assert 0 < mask[5, 0] < 255  # averaged: the edge lies inside this row

    decoded = []
    from train.data import iharmony4

    original = iharmony4._decode
    monkeypatch.setattr(iharmony4, "_decode", lambda path, mode: decoded.append(path) or original(path, mode))
    for again, kept in zip(ResizedCache(tmp_path / "cache", 16).load(first), (composite, mask, real), strict=True):
        assert np.array_equal(again, kept)
    ResizedCache(tmp_path / "cache", 16).load(second)
    assert [path for path in decoded if root in path.parents] == [second.composite]  # mask and truth are in the cache


def test_changed_sources_and_sizes_are_not_mixed_up(root, tmp_path):
    sample = samples(root, "test")[0]
    cache = tmp_path / "cache"
    ResizedCache(cache, 16).load(sample)
    assert ResizedCache(cache, 24).load(sample)[0].shape == (24, 24, 3)
    before = sample.composite.stat()
    write(sample.composite, 200)
    assert (ResizedCache(cache, 16).load(sample)[0] == 200).all()
    # A file of the same name, length and time in another copy of the dataset may be another picture.
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    other = samples(copy, "test")[0]
    write(other.composite, 90)
    before = sample.composite.stat()
    os.utime(other.composite, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert other.composite.stat().st_size == before.st_size
    assert (ResizedCache(cache, 16).load(other)[0] == 90).all()
    assert not list(cache.rglob("*.part"))


def test_pictures_that_do_not_fit_or_cannot_be_read(root, tmp_path):
    sample = samples(root, "test")[0]
    cv2.imwrite(str(sample.mask), np.full((60, 80), 255, np.uint8))
    with pytest.raises(SrinError, match="HCOCO/c35030_434421_1 differ in size: .*c35030_434421.png 80 x 60"):
        ResizedCache(tmp_path / "cache", 16).load(sample)
    write(sample.mask, 255)
    sample.real.write_bytes(sample.real.read_bytes()[:300])
    with pytest.raises(SrinError, match="c35030.jpg can't be read"):
        ResizedCache(tmp_path / "cache", 16).load(sample)
    write(sample.real, 40)
    (tmp_path / "file").touch()
    with pytest.raises(SrinError, match="The cache can't be made at .*file"):
        ResizedCache(tmp_path / "file", 16).load(sample)
