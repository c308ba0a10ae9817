"""`python -m srin cut`: one photo, folders, and error messages."""

import shutil

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_embedded import animal

from srin.cli import main
from srin.errors import SegmentationError
from srin.image_io import load_image, save_image
from srin.segmentation.cutting import cutout_of
from train.data.prompts import place

pytest_plugins = ["tiny_sam"]
EXAMPLES = ROOT / "assets" / "examples"


@pytest.fixture(scope="module")
def otter():
    """The photo's path, the photo, and the animal's mask."""
    path = EXAMPLES / "otter.jpg"
    return path, load_image(path), animal("otter")


def overlap(path, truth):
    cutout = np.asarray(Image.open(path))
    assert cutout.shape == (*truth.shape, 4)
    inside = cutout[..., 3] > 127
    return cutout, (inside & truth).sum() / (inside | truth).sum()


def test_a_point_a_box_and_no_prompt_cut_the_object_out(otter, cache, tmp_path, capsys):
    path, image, truth = otter
    row, column = place(truth)
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    prompts = {
        "point": ["--point", f"{column},{row}"],
        "points": ["--point", f"{column},{row}", "--point", f"{column + 5},{row + 5}"],
        "box": ["--box", f"{columns[0]},{rows[0]},{columns[-1] + 1},{rows[-1] + 1}"],
        "nothing": [],
    }
    for name, prompt in prompts.items():
        result = tmp_path / f"{name}.png"
        assert main(["cut", str(path), "-o", str(result), *prompt]) == 0
        cutout, found = overlap(result, truth)
        assert found > 0.75, name
        assert "cut out by embedded network" in capsys.readouterr().err
        firm = cutout[..., 3] == 255
        assert np.array_equal(cutout[firm][:, :3], image[firm]) and not firm.all()
        soft = (cutout[..., 3] > 0) & (cutout[..., 3] < 255)
        assert 0 < soft.mean() < 0.05


def test_segment_anything_answers_where_it_is(tiny, otter):
    from srin.segmentation.checkpoints import download

    image = otter[1]
    with pytest.raises(SegmentationError, match="no Segment Anything checkpoint"):
        cutout_of(image, [(20, 30)], segmenter="sam")
    download(tiny)
    for segmenter, name in (("auto", "sam (tiny)"), ("sam", "sam (tiny)"), ("embedded", "embedded network")):
        assert cutout_of(image, [(image.shape[1] / 2, image.shape[0] / 2)], segmenter=segmenter)[1] == name
    assert cutout_of(image)[1] == "embedded network", "the subject needs no checkpoint"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--point", "9000,5"], "The point (9000, 5) is outside the picture"),
        (["--box", "5000,5000,5010,5010"], "covers nothing of the picture"),
        (["--box", "5,5,5,5"], "covers nothing of the picture"),
    ],
)
def test_wrong_prompts_are_said(otter, tmp_path, capsys, arguments, message):
    assert main(["cut", str(otter[0]), "-o", str(tmp_path / "out.png"), "--segmenter", "embedded", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_wrong_places_and_numbers_are_said(otter, tmp_path, capsys):
    path = str(otter[0])
    for output, message in (("out.jpg", "must end in one of .png, .webp"), ("none/out.png", "does not exist")):
        assert main(["cut", path, "-o", str(tmp_path / output)]) == 1
        assert message in capsys.readouterr().err
    for wrong in ("3", "3,x", "1,2,3"):
        with pytest.raises(SystemExit):
            main(["cut", path, "-o", str(tmp_path / "out.png"), "--point", wrong])
        assert "is not 2 numbers with commas between them" in capsys.readouterr().err
    assert main(["cut", str(tmp_path / "nothing.jpg"), "-o", str(tmp_path / "out.png")]) == 1
    assert "There is no file or folder" in capsys.readouterr().err
    save_image(np.full((60, 80, 3), 90, np.uint8), tmp_path / "plain.png")
    assert main(["cut", str(tmp_path / "plain.png"), "-o", str(tmp_path / "out.png")]) == 1
    assert "The photo is of one colour" in capsys.readouterr().err


def test_a_folder_is_cut_out_and_a_second_call_goes_on(tmp_path, capsys):
    photos, results = tmp_path / "photos", tmp_path / "results"
    photos.mkdir()
    for name in ("otter", "osprey"):
        shutil.copy(EXAMPLES / f"{name}.jpg", photos)
    (photos / "broken.jpg").write_bytes(b"no picture")
    command = ["cut", str(photos), "-o", str(results)]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "2 of 3 photos cut out, 0 were there, 1 failed" in said and "broken.jpg" in said
    assert sorted(path.name for path in results.iterdir()) == ["osprey.png", "otter.png"]
    (photos / "broken.jpg").unlink()
    made = (results / "otter.png").stat().st_mtime_ns
    assert main(command) == 0
    assert "0 of 2 photos cut out, 2 were there" in capsys.readouterr().err
    assert (results / "otter.png").stat().st_mtime_ns == made
    save_image(np.zeros((9, 9, 3), np.uint8), results / "otter.png")
    assert main(command) == 1
    assert "was not made by srin and is kept" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert main([*command, "--point", "3,4"]) == 1
    assert "--point and --box go with one photo" in capsys.readouterr().err
    assert main(["cut", str(photos), "-o", str(photos)]) == 1
    assert "among the pictures that are read" in capsys.readouterr().err
