"""Kills, full disks, read-only folders, broken devices: half-written files are never used, and problems are told."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys

import gradio as gr
import numpy as np
import pytest
import torch
from conftest import ROOT
from hostile_files import encoded, photo

from srin import batch, device, harmonizer, image_io
from srin.cli import main
from srin.device import best_device, checked_device
from srin.errors import OutputError, SegmentationError, SrinError
from srin.image_io import load_image, save_image
from srin.segmentation.checkpoints import download, find_checkpoint
from srin.ui.compare import compare
from srin.ui.session.session_state import SessionState
from srin.ui.stage import stage

pytest_plugins = ["tiny_sam"]


def killed(program, *arguments, **environment):
    """Runs a program that kills itself with SIGKILL."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("moment", ["half of the bytes are written", "all are, but not yet under their name"])
def test_a_kill_while_saving_leaves_whole_pictures(tmp_path, moment):
    before = np.asarray(photo())
    save_image(before, tmp_path / "old.png")
    program = """
import os, signal, sys
from pathlib import Path
import numpy as np
from srin import image_io

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Dying:
    def __init__(self, path, mode):
        self.file = open(path, mode)
    def __enter__(self):
        return self
    def write(self, content):
        self.file.write(bytes(content)[: len(content) // 2])
        self.file.flush()
        die()
    def __exit__(self, *_):
        pass

if sys.argv[2].startswith("half"):
    image_io.open = Dying
else:
    image_io.os.replace = die
image_io.save_image(np.zeros((48, 64, 3), np.uint8), Path(sys.argv[1]))
"""
    for name in ("old.png", "new.png"):
        killed(program, tmp_path / name, moment)
    assert np.array_equal(load_image(tmp_path / "old.png"), before)
    assert [path.name for path in batch.pictures(tmp_path)] == ["old.png"], "a part is no picture"


def test_a_kill_during_a_download_leaves_no_checkpoint(tiny, server, cache):
    program = """
import os, signal, sys
from srin.segmentation import checkpoints
checkpoints.CHUNK = 50_000
name, url, sha256, size = sys.argv[1:]

def progress(done, total):
    if done > 150_000:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoints.download(checkpoints.Checkpoint(name, url, sha256, int(size), 8), progress)
"""
    killed(program, tiny.name, tiny.url, tiny.sha256, tiny.size, SRIN_CACHE=str(cache))
    assert not tiny.is_complete and find_checkpoint() is None
    assert any(cache.iterdir()), "something had been written"
    assert download(tiny).read_bytes() == server.content
    assert server.requests[0] is None and server.requests[1].startswith("bytes="), "it continued"


class Event:
    def __init__(self, data):
        self._data = data


@pytest.fixture
def pair(tmp_path):
    """A composite and its mask, as files."""
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 255
    save_image(np.asarray(photo()), tmp_path / "image.png")
    save_image(mask, tmp_path / "mask.png")
    return tmp_path / "image.png", tmp_path / "mask.png"


@pytest.fixture
def visitor(tmp_path, monkeypatch, pair):
    """A session with a composite, a mask and results."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    visitor = SessionState()
    list(stage.act(visitor, Event({"kind": "way", "way": "ready"})))
    for role, path in zip(("picture", "mask"), pair, strict=True):
        shutil.copy(path, tmp_path / "uploads")
        list(stage.act(visitor, Event({"kind": "photo", "role": role, "path": str(tmp_path / "uploads" / path.name)})))
    *_, last = compare.start(visitor, Event({"methods": ["histogram"], "run": 1}))
    assert last["run"]["state"] == "done", last
    return visitor


def fails_with(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


FULL_DISK = """
import builtins, errno, os
own = builtins.open
def opened(file, mode="r", *rest, **named):
    if "w" in mode:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return own(file, mode, *rest, **named)
builtins.open = opened
"""


def test_a_full_disk_is_said_everywhere(visitor, pair, tmp_path, monkeypatch, capsys, caplog):
    """No disk is filled: opening files raises the error, also in the process that makes downloads."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "sitecustomize.py").write_text(FULL_DISK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "full"))
    monkeypatch.setattr(image_io, "open", fails_with(errno.ENOSPC), raising=False)
    for what in ("picture", "mask", "sheet", "animation"):
        *_, saved = compare.save(visitor, Event({"what": what, "method": "histogram", "format": "png"}))
        assert "no space is left on the disk" in saved["saved"]["problem"], what
    *_, run = compare.start(visitor, Event({"methods": ["histogram"], "run": 2}))
    assert "no space is left on the disk" in run["run"]["text"]
    with pytest.raises(gr.Error, match="no space is left on the disk"):
        # Another photo, whose preview can't be kept.
        path = tmp_path / "uploads" / "other.png"
        path.write_bytes(encoded(photo(30, 30), "PNG"))
        list(stage.act(visitor, Event({"kind": "photo", "role": "picture", "path": str(path)})))
    assert main(["harmonize", *map(str, pair), "-o", str(tmp_path / "out.png"), "--method", "histogram"]) == 1
    assert "no space is left on the disk" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists() and not [r for r in caplog.records if r.name.startswith("srin")]


def test_files_that_may_not_grow_leave_nothing_half_written(tmp_path):
    """The process has a real limit on file sizes, which most results exceed, and one does not."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    sizes = {"large": (300, 200), "small": (16, 12), "wide": (400, 100)}
    for name, size in sizes.items():
        photo(*size).save(tmp_path / "images" / f"{name}.png")
        mask = np.zeros(size[::-1], np.uint8)
        mask[: size[1] // 2] = 255
        save_image(mask, tmp_path / "masks" / f"{name}.png")

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    command = [sys.executable, "-m", "srin", "harmonize", "images", "masks", "-o", "out", "--method", "histogram"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, preexec_fn=limited
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count(os.strerror(errno.EFBIG)) == 2 and "1 of 3 pictures" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.png"]


def test_a_read_only_cache_is_said(tiny, server, cache, pair, monkeypatch, capsys):
    """/sys is a file system in which nobody may make a file."""
    monkeypatch.setenv("SRIN_CACHE", "/sys/srin")
    with pytest.raises(SegmentationError, match="Can't write /sys/srin.*or choose another folder with SRIN_CACHE"):
        download(tiny)
    with pytest.raises(OutputError, match="/sys/out.png: writing there is not permitted. Choose another folder"):
        save_image(np.asarray(photo()), "/sys/out.png")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/sys/uploads")
    visitor = SessionState()
    with pytest.raises(gr.Error, match="/sys/uploads"):
        list(stage.act(visitor, Event({"kind": "example", "index": 0})))
    folder = str(pair[0].parent)
    assert main(["harmonize", folder, folder, "-o", "/sys/srin/out", "--method", "histogram"]) == 1
    assert "Nothing can be written into /sys" in capsys.readouterr().err


@pytest.fixture
def no_devices(monkeypatch):
    """Forgets devices and networks before and after the test."""
    for function in (best_device, checked_device, harmonizer._network):
        function.cache_clear()
    yield
    for function in (best_device, checked_device, harmonizer._network):
        function.cache_clear()


def test_a_gpu_that_does_not_work(no_devices, pair, tmp_path, monkeypatch, capsys, caplog):
    """The driver reports a GPU, but nothing runs on it."""
    ones = torch.ones

    def broken(*size, device="cpu", **how):
        if str(device).startswith("cuda"):
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with TORCH_USE_CUDA_DSA")
        return ones(*size, device=device, **how)

    monkeypatch.setattr(torch, "ones", broken)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert best_device(("cuda",)) == "cpu"
    assert "no kernel image is available). The CPU is used instead." in caplog.text
    command = ["harmonize", *map(str, pair), "-o", str(tmp_path / "out.png"), "--method", "baseline"]
    assert main(command) == 0
    for name, reason in (("cuda", "no kernel image"), ("nonsense", "Expected one of cpu")):
        assert main([*command, "--device", name]) == 1
        said = capsys.readouterr().err
        assert f"The device '{name}' can't be used here" in said and reason in said and "Traceback" not in said
    assert device.checked_device("cpu") == "cpu"


def test_broken_weights_cost_one_method(no_devices, visitor, pair, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "weights"
    shutil.copytree(harmonizer.WEIGHTS, weights)
    whole = (weights / "srin.safetensors").read_bytes()
    (weights / "srin.safetensors").write_bytes(whole[: len(whole) // 2])
    (weights / "bain.safetensors").unlink()
    monkeypatch.setattr(harmonizer, "WEIGHTS", weights)
    *_, last = compare.start(visitor, Event({"methods": ["histogram", "baseline", "bain", "srin"], "run": 3}))
    tiles = {tile["method"]: tile for tile in last["run"]["tiles"]}
    states = {method: tile["state"] for method, tile in tiles.items()}
    assert states == {"histogram": "done", "baseline": "done", "bain": "failed", "srin": "failed"}
    assert "srin.safetensors can't be read" in tiles["srin"]["problem"]
    assert main(["harmonize", *map(str, pair), "-o", str(tmp_path / "out.png"), "--method", "srin"]) == 1
    assert "srin.safetensors can't be read" in capsys.readouterr().err
    with pytest.raises(SrinError):
        harmonizer.Harmonizer.from_pretrained("bain")
