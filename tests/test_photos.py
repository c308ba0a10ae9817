"""Folders of training photos: what is found, what is refused, and the cache."""

import os
import zipfile

import cv2
import numpy as np
import pytest

from srin.image_io import load_image, load_mask
from tests.made_up_photos import write_manifest, write_photos
from train.config import DataConfig
from train.data.near_duplicates import is_near, small_copy
from train.data.photos import File, find_photos, fingerprint, load_photos, split_photos


@pytest.fixture(scope="module")
def photos_folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("corpus"))


def data(folder, cache, **more):
    return DataConfig(root=folder, cache=cache, **{"size": 48, "photo_side": 64, **more})


def test_test_and_held_out_photos_are_not_trained_on(photos_folder):
    training, held_out = split_photos(find_photos(photos_folder))
    assert len(training) + len(held_out) == 39 and held_out
    names = {photo.image.name for photo in training}
    assert "img0.png" not in names and not names & {photo.image.name for photo in held_out}


@pytest.mark.parametrize("form", ["side by side", "two folders"])
def test_folders_without_a_manifest(photos_folder, tmp_path, form):
    for i in range(1, 5):
        image = (photos_folder / f"img{i}.png").read_bytes()
        mask = (photos_folder / f"img{i}_mask.png").read_bytes()
        if form == "side by side":
            (tmp_path / f"img{i}.png").write_bytes(image)
            (tmp_path / f"img{i}_mask.png").write_bytes(mask)
        else:
            files = {f"images/img{i}.png": image, f"masks/img{i}__0.png": mask, f"masks/img{i}__1.png": mask}
            for name, content in files.items():
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_bytes(content)
    found = find_photos(tmp_path)
    assert [photo.image.name for photo in found] == [f"img{i}.png" for i in range(1, 5)]
    assert {len(photo.masks) for photo in found} == {1 if form == "side by side" else 2}
    config = data(tmp_path, tmp_path / "cache")
    loaded, held_out = load_photos(config, "train"), load_photos(config, "validation")
    assert (len(loaded), len(held_out)) == (3, 1)  # one is held out, however few there are


def test_pictures_and_masks_come_back_as_they_were(photos_folder, tmp_path):
    training, _ = split_photos(find_photos(photos_folder))
    loaded = load_photos(data(photos_folder, tmp_path), "train")
    size = (round(96 * 64 / 72), 64)
    for number in (0, 7, len(training) - 1):
        photo = training[number]
        expected = cv2.resize(load_image(photo.image.read()), size, interpolation=cv2.INTER_AREA)
        assert np.array_equal(loaded.image(number), expected)
        mask = cv2.resize(load_mask(photo.masks[0].read()), size, interpolation=cv2.INTER_AREA) > 127
        assert loaded.masks[number] == 1 and np.array_equal(loaded.mask(number, 0), mask)
        assert loaded.sources[number] == "here"


def test_a_second_folder_of_zips_is_for_training_alone(photos_folder, tmp_path):
    more, cache = tmp_path / "more", tmp_path / "cache"
    more.mkdir()
    with zipfile.ZipFile(more / "zipped.zip", "w") as archive:
        archive.write(photos_folder / "img1.png", "images/a.png")
        archive.write(photos_folder / "img1_mask.png", "masks/a.png")
        archive.write(photos_folder / "img2.png", "images/b.png")
    rows = [
        {"source": "zipped", "image": "images/a.png", "mask": "masks/a.png"},
        {"source": "zipped", "image": "images/b.png", "mask": ""},
    ]
    write_manifest(more, rows)
    alone = data(photos_folder, cache)
    both = data(photos_folder, cache, more=more)
    assert len(load_photos(both, "train")) == len(load_photos(alone, "train")) + 2
    assert fingerprint(load_photos(both, "validation")) == fingerprint(load_photos(alone, "validation"))
    assert load_photos(both, "train").masks[-2:] == [1, 0]


def test_what_is_nearly_a_photo_for_testing_is_not_trained_on(photos_folder, tmp_path, capsys):
    """Near copies of the test photo and a held-out one: smaller JPEGs, a little brighter and cropped."""
    _, held_out = split_photos(find_photos(photos_folder))
    more = tmp_path / "more"
    more.mkdir()
    for name, source in (("a", "img0.png"), ("b", held_out[0].image.name)):
        image = cv2.imread(str(photos_folder / source))[2:, 3:]
        image = cv2.resize(cv2.convertScaleAbs(image, alpha=1.1, beta=8), (80, 60), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(more / f"{name}.jpg"), image)
        cv2.imwrite(str(more / f"{name}_mask.png"), cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 15, 255, -1))
    another = write_photos(tmp_path, count=3, seed=9)
    for name in ("img1.png", "img1_mask.png"):
        (more / name).write_bytes((another / name).read_bytes())
    alone = load_photos(data(photos_folder, tmp_path / "cache"), "train")
    capsys.readouterr()
    both = load_photos(data(photos_folder, tmp_path / "cache", more=more), "train")
    assert len(both) == len(alone) + 1
    said = capsys.readouterr().err
    assert "2 photos are left out of training" in said and "a.jpg" in said and "b.jpg" in said
    assert len(load_photos(data(photos_folder, tmp_path / "cache"), "validation")) == len(held_out)


def test_photos_on_white_are_not_taken_for_one(tmp_path):
    shots = []
    for place in (20, 60):
        shot = np.full((90, 120, 3), 250, np.uint8)
        shots.append(small_copy(cv2.circle(shot, (place, 40), 12, (30, 60, 160), -1)))
    assert not is_near(shots[0], shots[1][None]) and is_near(shots[0], np.stack(shots))
    assert not is_near(small_copy(np.full((9, 9, 3), 7, np.uint8)), np.stack(shots))  # one colour alone


def test_what_is_wrong_with_a_folder_is_listed(photos_folder, tmp_path):
    with pytest.raises(ValueError, match="no photos with masks"):
        find_photos(tmp_path)
    (tmp_path / "lonely_mask.png").write_bytes((photos_folder / "img1_mask.png").read_bytes())
    with pytest.raises(ValueError, match="lonely_mask.png"):
        find_photos(tmp_path)
    (tmp_path / "lonely_mask.png").unlink()
    for i in (1, 2, 3):
        (tmp_path / f"img{i}.png").write_bytes((photos_folder / f"img{i}.png").read_bytes()[:300])
        (tmp_path / f"img{i}_mask.png").write_bytes((photos_folder / f"img{i}_mask.png").read_bytes())
    with pytest.raises(ValueError, match="2 photos can't be used: .*img.*img"):
        load_photos(data(tmp_path, tmp_path / "cache"), "train")
    assert not list((tmp_path / "cache").glob("photos_*[0-9a-f]")), "what is not whole is not kept"


def test_a_mask_of_another_size_is_refused(photos_folder, tmp_path):
    for i in (1, 2):
        (tmp_path / f"img{i}.png").write_bytes((photos_folder / f"img{i}.png").read_bytes())
        cv2.imwrite(str(tmp_path / f"img{i}_mask.png"), np.zeros((30, 40), np.uint8))
    with pytest.raises(ValueError, match="40 x 30 pixels and the image 96 x 72"):
        load_photos(data(tmp_path, tmp_path / "cache"), "train")


def test_a_corrected_mask_is_read_again(photos_folder, tmp_path):
    for i in (1, 2, 3):
        for name in (f"img{i}.png", f"img{i}_mask.png"):
            (tmp_path / name).write_bytes((photos_folder / name).read_bytes())
    config = data(tmp_path, tmp_path / "cache")
    before = fingerprint(load_photos(config, "train"))
    assert fingerprint(load_photos(config, "train")) == before
    training, _ = split_photos(find_photos(tmp_path))
    path = training[0].masks[0].path
    mask = np.zeros((72, 96), np.uint8)
    mask[20:50, 20:50] = 255
    cv2.imwrite(str(path), mask)
    os.utime(path, ns=(1, 1))
    assert fingerprint(load_photos(config, "train")) != before


def test_a_file_is_known_by_its_path_and_member(tmp_path):
    assert str(File(tmp_path / "a.zip", "b/c.png")).endswith("a.zip/b/c.png")
    assert File(tmp_path / "a.zip", "b/c.png").name == "b/c.png"
