"""Sets and labels derived from the frozen test recipes, on recipes and photos made up here."""

import csv
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import development_set, photo_labels, unaltered
from benchmarks.photo_labels import has_second_object
from srin.errors import SrinError
from train.data.photos import find_photos, split_photos

FIRST = """
import csv, os
import numpy as np
from PIL import Image
CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
def photos():
    with open(os.path.join(CORPUS, "manifest.csv"), newline="") as f:
        return list(csv.DictReader(f))
def read(row):
    image = np.asarray(Image.open(os.path.join(CORPUS, row["image"])).convert("RGB"))
    return image, np.asarray(Image.open(os.path.join(CORPUS, row["mask"])).convert("L")) > 127
"""
SECOND = """
import cv2, numpy as np
import test_recipe
def shrunk(photo, mask):
    small = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return small, np.where((mask & ~small)[..., None], np.uint8(9), photo)
"""
SHAPE = (100, 120)
OBJECT = (slice(20, 60), slice(10, 50))


def labels(second_rows):
    """Classes of a photo: the object's, 7, and as many more rows of the same class at the bottom, 80 pixels wide."""
    array = np.zeros(SHAPE, np.uint8)
    array[OBJECT] = 7
    array[100 - second_rows :, :80] = 7
    return array


@pytest.fixture
def recipes(tmp_path):
    """Photo 0 has a second object, 1 has a piece of one that is too small, 2 only region ids, 3 a mask that vanishes."""
    folder = tmp_path / "recipes"
    for name in ("images", "masks", "segments"):
        (folder / "corpus" / name).mkdir(parents=True)
    (folder / "test_recipe.py").write_text(FIRST)
    (folder / "strict_recipe.py").write_text(SECOND)
    lines = ["source,image,mask,segments"]
    sources = (("ccp", 5), ("labelmefacade", 0), ("bsds500", 5), ("lalonde_real", None))
    for i, (source, second_rows) in enumerate(sources):
        rng = np.random.default_rng(i)
        stem = "street__0001" if i == 1 else f"{i}"
        Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)).save(folder / f"corpus/images/{stem}.png")
        mask = np.zeros(SHAPE, bool)
        mask[OBJECT if i < 3 else (slice(0, 8), slice(0, 8))] = True
        Image.fromarray(mask).save(folder / f"corpus/masks/{stem}.png")
        segments = ""
        if second_rows is not None:
            segments = f"segments/{stem}.png"
            Image.fromarray(labels(second_rows)).save(folder / "corpus" / segments)
        lines.append(f"{source},images/{stem}.png,masks/{stem}.png,{segments}")
    (folder / "corpus" / "manifest.csv").write_text("\n".join(lines))
    return folder


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def picture(path):
    return np.asarray(Image.open(path))


def test_labels_say_photo_series_and_second_object(recipes, tmp_path, capsys):
    out = tmp_path / "set"
    out.mkdir()
    lines = ["id,source,family", "0003,lalonde_real,lab", "0000,ccp,lut", "0002,bsds500,tone", "0001,labelmefacade,lab"]
    (out / "index.csv").write_text("\n".join(lines))
    photo_labels.main([str(recipes), str(out)])
    assert capsys.readouterr().out == "A second object of the class: 1 yes, 1 no, 2 not known.\n"
    assert [tuple(row.values()) for row in table(out / "labels.csv")] == [
        ("0003", "images/3.png", "images/3.png", ""),
        ("0000", "images/0.png", "images/0.png", "yes"),
        ("0002", "images/2.png", "images/2.png", ""),
        ("0001", "images/street__0001.png", "images/street", "no"),
    ]
    assert not {"test_recipe", "strict_recipe"} & set(sys.modules)

    for wrong in ("0001,ccp,lab", "0004,ccp,lab", "x,ccp,lab"):
        (out / "index.csv").write_text(f"id,source,family\n{wrong}")
        with pytest.raises(SystemExit, match="is not of these recipes"):
            photo_labels.main([str(recipes), str(out)])
    (recipes / "strict_recipe.py").unlink()
    with pytest.raises(SystemExit, match="There is no .*strict_recipe.py"):
        photo_labels.main([str(recipes), str(out)])


def test_when_a_photo_shows_more_of_the_class():
    mask = labels(0) > 0  # 1,600 of 12,000 pixels
    assert not has_second_object(labels(0), mask, {0})
    # Half a percent of the photo are 60 pixels.
    for length, found in ((59, False), (60, True)):
        more = labels(0)
        more[90, :length] = 7
        assert has_second_object(more, mask, {0}) == found
        assert not has_second_object(more, mask, {0, 7})
    # The class reaches 3 pixels beyond a mask that was drawn too small: no second object; 4 pixels are one.
    for margin, found in ((3, False), (6, True)):
        small = np.zeros(SHAPE, bool)
        small[20 + margin : 60 - margin, 10 + margin : 50 - margin] = True
        assert has_second_object(labels(0), small, {0}) == found
    # A second class counts if it covers a twentieth of the mask, which are 80 pixels.
    for pixels, found in ((79, False), (80, True)):
        more = labels(0)
        more[20:22, 10:50].flat[:pixels] = 3
        more[80:90, 90:] = 3
        assert has_second_object(more, mask, {0}) == found


def test_unaltered_photos_and_requantized_objects(recipes, tmp_path):
    out = tmp_path / "unaltered"
    unaltered.main([str(recipes), str(out)])
    index = table(out / "index.csv")
    assert [(row["id"], row["family"]) for row in index] == [
        (f"{i:04d}{end}", family) for i in range(3) for end, family in (("", "identity"), ("-requantized", "requantized"))
    ]  # photo 3's mask is too small
    assert index[2]["photo"] == index[3]["photo"] == "images/street__0001.png" and index[3]["series"] == "images/street"
    drawn = np.zeros(SHAPE, bool)
    drawn[OBJECT] = True
    for row in index:
        composite, mask, real = (picture(out / kind / f"{row['id']}.png") for kind in ("composite", "mask", "real"))
        inside = mask > 127
        assert row["fg_ratio"] == f"{36 * 36 / 12000:.4f}" and inside.sum() == 36 * 36
        photo = picture(recipes / "corpus" / row["photo"])
        assert (real[inside] == photo[inside]).all() and (real[~drawn] == photo[~drawn]).all()
        assert (real[drawn & ~inside] == 9).all()  # filled
        assert (composite[~inside] == real[~inside]).all()
        error = composite[inside].astype(int) - real[inside]
        if row["family"] == "identity":
            assert not error.any()
        else:
            assert abs(error).max() == 1 and abs(error.mean()) < 0.05
            for channel in range(3):  # photos of noise show all levels
                levels = [len(np.unique(a[inside][:, channel])) for a in (composite, real)]
                assert levels[0] < 0.93 * levels[1]
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="can't be written"):
        unaltered.main([str(recipes), str(tmp_path / "file")])
    with pytest.raises(SrinError, match="There is no"):
        unaltered.write_unaltered(tmp_path, out)


def test_the_development_set_is_made_of_held_out_photos_alone(tmp_path):
    """Sixty photos with two masks each, of which some are for testing and a few are held out."""
    lines = ["source,image,mask,fg_ratio,split"]
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(120):
        for number in range(2):
            mask = f"masks/{i}__{number}.png"
            lines.append(f"ccp,images/{i}.png,{mask},0.2,{'test' if i % 4 == 0 else 'train'}")
            (tmp_path / mask).touch()
        (tmp_path / f"images/{i}.png").touch()
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    training, held_out = split_photos(find_photos(tmp_path))
    names = {f"images/{photo.image.name}" for photo in held_out}
    assert len(names) > 1 and len(training) > 60
    rounds = [development_set.in_turn(development_set.held_out(tmp_path), turn) for turn in range(2)]
    for rows in rounds:
        assert sorted(row["image"] for row in rows) == sorted(names)
        assert all(row["split"] == "train" for row in rows)
    masks = [{row["image"]: row["mask"] for row in rows} for rows in rounds]
    assert all(masks[0][name] != masks[1][name] for name in names)
    assert rounds[0][2 % len(names)]["image"] == rounds[1][0]["image"]  # another family for each photo
