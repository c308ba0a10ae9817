"""Hosting: the app as on a Space, with its environment and folders, and with GPUs that are lent for each call."""

import shutil
import subprocess
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from conftest import ROOT, running_app
from gradio_client import Client, handle_file

from srin import Harmonizer
from srin.errors import SegmentationError
from srin.image_io import load_image
from srin.segmentation.checkpoints import fetch_from_hub, find_checkpoint

EXAMPLES = ROOT / "assets" / "examples"
LARGEST = 10 * 2**20  # bytes of a file that Spaces take without LFS
# Replaces the package that lends GPUs: functions that it wraps get copies, as in another process.
SPACES = """
import functools, os, pickle, sys
assert "torch" not in sys.modules, "too late"

def GPU(duration):
    def lend(function):
        @functools.wraps(function)
        def lent(*arguments):
            with open(os.environ["LENT_LOG"], "a") as log:
                print(function.__name__, len(pickle.dumps(arguments)), file=log)
            return pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(arguments)))))
        return lent
    return lend

gradio_auto_wrap = lambda function: function  # Gradio calls it
"""


def files_of(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """The repository as a Space has it: only the files that it needs, in a read-only folder."""
    folder = tmp_path_factory.mktemp("space") / "app"
    for name in ("srin", "assets"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
    for name in ("app.py", "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, folder / name)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.slow
def test_the_repository_runs_as_a_space_that_lends_gpus(space, tmp_path):
    before, packages = files_of(space), tmp_path / "packages"
    packages.mkdir()
    (packages / "spaces.py").write_text(SPACES)
    environment = {
        "SPACE_ID": "someone/srin-studio",
        "SYSTEM": "spaces",
        "SPACE_HOST": "someone-srin-studio.hf.space",
        "SPACES_ZERO_GPU": "true",
        "LENT_LOG": str(tmp_path / "lent"),
        "PYTHONPATH": str(packages),
        "HOME": "/dev/null",  # nothing can be written there
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "SRIN_SAM_CHECKPOINT": "vit_b",
        "SRIN_OFFLINE": "1",
    }
    pair = EXAMPLES / "osprey.jpg", EXAMPLES / "osprey_mask.png"
    with running_app(tmp_path, root=space, **environment) as address:
        client = Client(address, verbose=False)
        picture, _ = client.predict(*map(handle_file, pair), api_name="/harmonize")
        _, said = client.predict(*map(handle_file, pair), *point_on(pair[1]), api_name="/explain")
    assert np.array_equal(load_image(picture), Harmonizer.from_pretrained("srin").harmonize(*pair))
    assert said["sentence"] == Harmonizer.from_pretrained("srin").explain(*pair, point_on(pair[1])).sentence
    lent = [line.split() for line in (tmp_path / "lent").read_text().splitlines()]
    assert [name for name, _ in lent][-2:] == ["_transform", "_explain"]
    pixels = load_image(pair[0]).size
    assert all(int(size) < 4 * pixels for _, size in lent)  # pictures are sent, networks aren't
    assert files_of(space) == before
    assert "SRIN_OFFLINE=1 forbids" in (tmp_path / "log").read_text()


def point_on(mask):
    y, x = np.argwhere(load_image(mask)[..., 0] == 255)[0]
    return int(x), int(y)


def test_no_file_is_too_large_for_a_space_and_its_card_is_there():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        assert not path.is_file() or path.stat().st_size <= LARGEST, name
    card = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    gradio = next(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("gradio"))
    assert "sdk: gradio" in card and "app_file: app.py" in card
    assert f"sdk_version: {gradio.partition('==')[2]}" in card


def test_a_checkpoint_may_be_named(monkeypatch, tmp_path):
    """By its name, or by its place on the Hub, which can't be reached here."""
    monkeypatch.setenv("SRIN_CACHE", str(tmp_path))
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", "vit_b")
    assert find_checkpoint() is None
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", "hf://someone/private")
    with pytest.raises(SegmentationError, match="hf://OWNER/REPOSITORY/FILE"):
        find_checkpoint()
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", "hf://someone/private/weights/sam.pth")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, file: f"/cache/{repo}/{file}")
    assert find_checkpoint() == Path("/cache/someone/private/weights/sam.pth")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, file: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, file: 1 // 0)
    assert find_checkpoint() is None
    with pytest.raises(SegmentationError, match="private/weights/sam.pth can't be fetched"):
        fetch_from_hub()
