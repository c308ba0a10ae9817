"""The command line, and Harmonizer behind it."""

import cv2
import numpy as np
import pytest

import srin
from srin import METHODS, Harmonizer
from srin.cli import main
from srin.errors import MaskError, MissingWeights, SrinError, UnknownMethod
from srin.harmonizer import unavailable
from srin.image_io import load_image

pytest_plugins = ["tiny_sam"]


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


def test_segment_a_folder_continues_where_it_stopped(pair, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    for stem in ("a", "b"):
        (photos / f"{stem}.png").write_bytes(pair[0].read_bytes())
    (photos / "c.png").write_bytes(b"not a picture")
    arguments = ["segment", str(photos), "-o", str(out), "--segmenter", "colour"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "c.png" in said and "2 of 3 maps drawn by colour regions, 0 were there, 1 failed" in said
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "a_painted.png", "b.png", "b_painted.png"]
    assert load_image(out / "a_painted.png").shape == (61, 83, 3)

    before = (out / "a.png").stat().st_mtime_ns
    (out / "b.png").unlink()
    (photos / "c.png").unlink()
    assert main(arguments) == 0
    assert "1 of 2 maps drawn by colour regions, 1 were there" in capsys.readouterr().err
    assert (out / "a.png").stat().st_mtime_ns == before and (out / "b.png").is_file()


def test_segment_takes_any_checkpoint_and_redraws_others_maps(pair, tmp_path, tiny_weights, cache, capsys):
    photos, out = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    (photos / "a.png").write_bytes(pair[0].read_bytes())
    assert main(["segment", str(photos), "-o", str(out), "--segmenter", "colour"]) == 0
    sam = ["segment", str(photos), "-o", str(out), "--segmenter", "sam"]
    assert main([*sam, "--checkpoint", str(tiny_weights)]) == 0
    assert "1 of 1 maps drawn by sam (32 channels wide), 0 were there" in capsys.readouterr().err
    for checkpoint, words in ((str(pair[0]), "can't be read as a checkpoint"), ("none.pth", "no checkpoint none.pth")):
        assert main([*sam, "--checkpoint", checkpoint]) == 1
        assert words in capsys.readouterr().err


def test_a_checkpoint_is_shown_before_it_is_fetched(pair, tmp_path, tiny, server, capsys, monkeypatch):
    arguments = ["segment", str(pair[0]), "-o", str(tmp_path / "map.png"), "--checkpoint", "tiny"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "--download" in said and "Apache-2.0" in said and " MB" in said and "127.0.0.1" in said
    monkeypatch.setenv("SRIN_OFFLINE", "1")
    assert main([*arguments, "--download"]) == 1
    assert "SRIN_OFFLINE=1 forbids" in capsys.readouterr().err and server.requests == []
    monkeypatch.delenv("SRIN_OFFLINE")
    assert main([*arguments, "--download"]) == 0
    said = capsys.readouterr().err
    assert said.index("Apache-2.0") < said.index("regions by sam (tiny)")
    assert main(arguments) == 0 and len(server.requests) == 1


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"srin {srin.__version__}\n"
