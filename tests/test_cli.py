"""The command line, and Harmonizer behind it."""

import cv2
import numpy as np
import pytest

from srin import METHODS, Harmonizer
from srin.cli import main
from srin.errors import MaskError, MissingWeights, SrinError, UnknownMethod
from srin.harmonizer import unavailable
from srin.image_io import load_image


@pytest.fixture
def pair(tmp_path):
    """A composite (61 x 83, odd on purpose) and its mask, as files."""
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (61, 83, 3)).astype(np.uint8)
    mask = np.zeros((61, 83), np.uint8)
    mask[20:45, 30:60] = 255
    image[mask > 0] //= 2
    paths = tmp_path / "composite.png", tmp_path / "mask.png"
    for path, array in zip(paths, (image, mask), strict=True):
        cv2.imwrite(str(path), array)
    return paths


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_size_and_background(method, pair):
    if unavailable(method):
        pytest.skip(unavailable(method))
    image, mask = load_image(pair[0]), cv2.imread(str(pair[1]), 0)
    result = Harmonizer.from_pretrained(method).harmonize(*pair)
    assert result.shape == image.shape and result.dtype == np.uint8
    assert np.array_equal(result[mask == 0], image[mask == 0])
    if method != "copy-paste":
        assert not np.array_equal(result, image)
    untouched = Harmonizer.from_pretrained(method).harmonize(*pair, strength=0.0)
    assert np.array_equal(untouched, image)


def test_harmonize_writes_the_result(pair, tmp_path):
    output = tmp_path / "out.png"
    assert main(["harmonize", *map(str, pair), "-o", str(output), "--method", "reinhard"]) == 0
    expected = Harmonizer.from_pretrained("reinhard").harmonize(*pair)
    assert np.array_equal(load_image(output), expected)


def test_one_bad_file_does_not_stop_a_folder(pair, tmp_path, capsys):
    folders = [tmp_path / name for name in ("images", "masks", "out")]
    for folder in folders[:2]:
        folder.mkdir()
    for stem in ("a", "c"):
        (folders[0] / f"{stem}.png").write_bytes(pair[0].read_bytes())
        (folders[1] / f"{stem}.png").write_bytes(pair[1].read_bytes())
    (folders[0] / "b.png").write_bytes(b"not a picture")
    (folders[1] / "b.png").write_bytes(pair[1].read_bytes())
    arguments = ["harmonize", str(folders[0]), str(folders[1]), "-o", str(folders[2]), "--method", "histogram"]
    assert main(arguments) == 1
    assert sorted(p.name for p in folders[2].iterdir()) == ["a.png", "c.png"]
    said = capsys.readouterr().err
    assert "b.png" in said and "2 of 3" in said and "Traceback" not in said


def test_compare_writes_a_sheet(pair, tmp_path):
    output = tmp_path / "sheet.png"
    assert main(["compare", *map(str, pair), "-o", str(output), "--segmenter", "colour"]) == 0
    sheet = load_image(output)
    assert sheet.shape[0] > 3 * 61 and sheet.std() > 20


def test_segment_writes_a_map_that_harmonize_takes(pair, tmp_path, capsys):
    output = tmp_path / "map.png"
    assert main(["segment", str(pair[0]), "--mask", str(pair[1]), "-o", str(output), "--segmenter", "colour"]) == 0
    assert "colour regions" in capsys.readouterr().err
    labels = cv2.imread(str(output), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (61, 83) and len(np.unique(labels)) >= 2


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda i, m, o: [i, m, "-o", o, "--method", "magic"], "magic"),
        (lambda i, m, o: [i, i.parent / "none.png", "-o", o, "--method", "reinhard"], "none.png"),
        (lambda i, m, o: [i, m, "-o", o.parent / "missing" / "out.png", "--method", "reinhard"], "missing"),
        (lambda i, m, o: [i, m, "-o", o, "--method", "reinhard", "--strength", "3"], "strength"),
    ],
)
def test_mistakes_get_a_sentence(change, words, pair, tmp_path, capsys):
    arguments = [str(a) for a in change(*pair, tmp_path / "out.png")]
    assert main(["harmonize", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert not (tmp_path / "out.png").exists()


def test_missing_weights_and_unknown_methods(monkeypatch, tmp_path):
    with pytest.raises(UnknownMethod, match="copy-paste"):
        Harmonizer.from_pretrained("magic")
    monkeypatch.setattr("srin.harmonizer.WEIGHTS", tmp_path)
    with pytest.raises(MissingWeights, match="srin.safetensors"):
        Harmonizer.from_pretrained("srin")


def test_a_mask_of_another_size(pair):
    mask = np.zeros((10, 20), np.uint8)
    mask[2:5, 3:9] = 255
    with pytest.raises(MaskError, match="20 x 10.*83 x 61"):
        Harmonizer.from_pretrained("reinhard").harmonize(pair[0], mask)
    assert issubclass(MaskError, SrinError)
