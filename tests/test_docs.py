"""The commands and the code of README.md and docs/training.md run as they stand there."""

import re
import runpy
import shutil
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT

from srin.image_io import load_image
from srin.project import Mask, Photo, Project

EXAMPLES = ROOT / "assets" / "examples"
# Commands that are not run here: they set up (and start the app or these tests), or need the network, several GPUs, or
# data that the repository doesn't have. Other files run some of them: test_batch.py torchrun, test_export.py the export,
# test_recipe_sets.py those with RECIPES.
LEFT_OUT = ("pip install", "--download", "accelerate launch", "torchrun", "export")
LEFT_OUT += ("data.root=", "RECIPES")
PLACES = {"PROJECT.srin": "project.srin", "PHOTOS": "photos", "COMPOSITES": "runs/composites", "VOTES.csv": "votes.csv"}
PLACES |= {"MORE": "more"}
# Fewer composites, which other commands use; and the repository has no checkpoint of Segment Anything.
LESS = {"--count 100": "--count 8", "--segmenter sam": "--segmenter colour"}


def blocks(document, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def commands(document):
    lines = [line.partition("  #")[0].strip() for block in blocks(document, "sh") for line in block.splitlines()]
    return [line for line in lines if line and not any(part in line for part in LEFT_OUT)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder like a reader's, with a composite and its mask, photos, and votes."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("composites", "masks", "photos"):
        (folder / name).mkdir()
    for name in ("otter.jpg", "otter_mask.png", "osprey.jpg", "osprey_mask.png"):
        cv2.imwrite(str(folder / "photos" / name), cv2.resize(cv2.imread(str(EXAMPLES / name)), (420, 294)))
    for target in ("photo.jpg", "composite.jpg", "composites/one.jpg"):
        shutil.copy(folder / "photos" / "otter.jpg", folder / target)
    for target in ("mask.png", "masks/one.png"):
        shutil.copy(folder / "photos" / "otter_mask.png", folder / target)
    (folder / "assets").symlink_to(ROOT / "assets")
    (folder / "more").mkdir()
    shutil.copy(EXAMPLES / "osprey.jpg", folder / "more" / "osprey.jpg")
    (folder / "more" / "manifest.csv").write_text("image,mask\nosprey.jpg,\n")
    photo, mask = (folder / "photos" / name for name in ("otter.jpg", "otter_mask.png"))
    parts = {"picture": Photo("otter.jpg", photo.read_bytes())}, {"picture": Mask(mask.read_bytes())}
    Project(*parts, ready=True).save(folder / "project.srin")
    rng = np.random.default_rng(0)
    pairs = [("srin", "baseline"), ("baseline", "bain"), ("bain", "srin")]
    votes = [f"r{i},{i},{a},{b},{a if rng.random() < 0.6 else b}\n" for a, b in pairs for i in range(10)]
    (folder / "votes.csv").write_text("rater,item,left,right,winner\n" + "".join(votes))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", [*commands("README.md"), *commands("docs/training.md")])
def test_commands_do_what_they_say(command, folder, monkeypatch):
    for placeholder, path in PLACES.items():
        command = re.sub(rf"\b{re.escape(placeholder)}\b", path, command)
    for much, little in LESS.items():
        command = command.replace(much, little)
    python, _, module, *arguments = command.split()
    assert python == "python"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as end:
        assert not end.code
    written = [argument for option, argument in zip(arguments, arguments[1:], strict=False) if option == "-o"]
    for path in written:
        made = folder / path
        assert made.is_file() and made.stat().st_size or made.is_dir() and any(made.iterdir()), path


def test_python_runs(folder, monkeypatch):
    code = "\n".join(blocks("README.md", "python"))
    foreground = np.argwhere(load_image(folder / "mask.png")[..., 0] > 200)
    y, x = foreground[len(foreground) // 2]
    (point,) = re.findall(r"point=\(\d+, \d+\)", code)
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(code.replace(point, f"point=({x}, {y})"), names)
    assert names["result"].shape == load_image(folder / "composite.jpg").shape
    assert names["shown"].sentence.endswith(".")
    assert names["mask"].shape == load_image(folder / "photo.jpg").shape[:2] and 0.1 < (names["mask"] > 0).mean() < 0.6
    assert 0.1 < names["subject"].area < 0.6
