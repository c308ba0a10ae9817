"""Cases from public bug reports of neighbouring tools, which lie beside the checkout; each README says what is right."""

import io
import shutil

import numpy as np
import pytest
import tifffile
from conftest import SHARED, require
from PIL import ExifTags, Image

from srin.cli import main
from srin.composite import Composite
from srin.errors import ImageError
from srin.image_io import load_image, load_mask
from srin.remarks import collected
from train.config import DataConfig
from train.data.photos import find_photos, load_photos
from train.evaluation.data import _read_labels

CASES = SHARED / "cases"


@pytest.fixture
def case(request, tmp_path):
    """A copy of the case that the test is named for."""
    source = CASES / request.node.name.removeprefix("test_")
    require(source.is_dir(), "the folder of cases")
    return shutil.copytree(source, tmp_path / "case")


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_exif_adobe_rgb(case):
    np.testing.assert_array_equal(load_image(case / "dcf_r03.jpg"), load_image(case / "a98.jpg"))


def test_folder_overwrites_inputs(case):
    before = {path: path.read_bytes() for path in case.rglob("*.png")}
    for output in ("c", "m"):
        assert run("harmonize", case / "c", case / "m", "-o", case / output, "--method", "reinhard") == 1
    assert run("segment", case / "c", "-o", case / "c", "--segmenter", "colour") == 1
    assert {path: path.read_bytes() for path in case.rglob("*.png")} == before


def test_folder_silently_skipped(case, capsys):
    """All files are looked at. The mask of one belongs to another picture."""
    assert run("harmonize", case / "c", case / "m", "-o", case / "out", "--method", "reinhard") == 1
    assert "6 of 7" in (said := capsys.readouterr().err) and "g.HEIC: The mask has 225 x 126 pixels" in said


def test_folder_stray(case):
    (case / "c" / "._one.jpg").write_bytes(b"\0\5\x16\7" + bytes(99))
    (case / "c" / "sub.png").mkdir()
    assert run("harmonize", case / "c", case / "m", "-o", case / "out", "--method", "reinhard") == 0


def test_folder_unicode(case, capsys):
    assert run("harmonize", case / "c", case / "m", "-o", case / "out", "--method", "reinhard") == 1
    assert "2 of 3" in (said := capsys.readouterr().err) and "img_0001.png is nearly alike" in said


def test_heic(case):
    for name in ("im.heic", "im_heic_named.jpg"):
        assert load_image(case / name).shape == (147, 420, 3)
    with pytest.raises(ImageError, match="floating-point.*Save it with 8 or 16 bits"):
        load_image(case / "rgbf32.tif")


def test_lossy_map(case):
    for name in ("out.jpg", "out.webp"):
        assert run("segment", case / "map.png", "-o", case / name, "--segmenter", "colour") == 1
        assert not (case / name).exists()


def test_mask_alpha_almost_opaque(case):
    for name in ("ma_all254.png", "ma_one254.png"):
        with Image.open(case / name) as image:
            np.testing.assert_array_equal(load_mask(case / name), np.asarray(image)[..., 0])


def test_mask_inverted(case):
    for composite, name in (("c.png", "m_inv.png"), (None, "ma_erased_object.png")):
        with collected() as said:
            Composite.load(case / (composite or name), case / name)
        assert said and "inverted" in said[0]


def test_mask_palette(case):
    for name in ("mdavis", "mvoc", "mgreen"):
        with collected() as said:
            np.testing.assert_array_equal(load_mask(case / f"{name}.png"), load_mask(case / "m.png"))
        assert len(said) == 1


def test_metadata_cli(case):
    assert run("harmonize", case / "meta.jpg", case / "m.png", "-o", case / "out.jpg", "--method", "reinhard") == 0
    with Image.open(case / "meta.jpg") as before, Image.open(case / "out.jpg") as after:
        assert after.info["icc_profile"] == before.info["icc_profile"] and after.info["dpi"] == before.info["dpi"]
        old, new = before.getexif(), after.getexif()
        for tag in (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Copyright, ExifTags.Base.Artist):
            assert new.get(tag) == old.get(tag)


def test_tiff16_planar(case):
    for name in ("p16_None_le_separate", "p16_deflate_le_separate"):
        stored = np.moveaxis(tifffile.imread(case / f"{name}.tif"), 0, -1)
        assert np.abs(load_image(case / f"{name}.tif") - stored / 257).max() <= 1
    stored = tifffile.imread(case / "minwhite16.tif").astype(int)
    assert np.abs(load_image(case / "minwhite16.tif")[..., 0] - (65535 - stored) / 257).max() <= 1


def test_train_manifest_bom(case):
    assert len(find_photos(case)) >= 1
    assert _read_labels(case / "index_with_bom.csv")


def test_train_mask_mismatch(case):
    problems = ""
    for part in ("train", "validation"):
        try:
            load_photos(DataConfig(root=case, cache=case / "cache", size=48, photo_side=64), part)
        except ValueError as error:
            problems += str(error)
    assert all(f"{name}.jpg: The mask" in problems for name in ("p0", "p1", "p3")) and "p2.jpg" not in problems


def test_train_names(case):
    for name, photos in (("n_apple", 2), ("n_double_underscore", 2), ("n_upper", 2), ("n_jpegmasks", 3)):
        assert len(find_photos(case / name)) == photos
    with pytest.raises(ValueError, match="a.jpg and a.png"):
        find_photos(case / "n_same_stem")


def test_resume_stale(case, tmp_path, capsys):
    source = CASES / "folder_overwrites_inputs"
    command = ("harmonize", source / "c", source / "m", "-o", tmp_path / "R", "--method")
    assert run(*command, "reinhard") == 0 and run(*command, "histogram", "--resume") == 0
    (tmp_path / "R" / "a.png").write_bytes(b"")
    assert "finished before" not in capsys.readouterr().err
    assert run(*command, "histogram", "--resume") == 0
    assert "1 of 1" in capsys.readouterr().err
    assert Image.open(io.BytesIO((tmp_path / "R" / "a.png").read_bytes())).size
