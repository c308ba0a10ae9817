"""The code in docs/api.md runs as written, except for the address, and does what the page says."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from srin.harmonizer import Harmonizer
from srin.image_io import load_image

BLOCKS = dict(re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL))
EXAMPLES = ROOT / "assets" / "examples"


@pytest.mark.parametrize("language", ["sh", *(pytest.param(name, marks=pytest.mark.slow) for name in ("python", "js"))])
def test_the_examples_harmonize(app_address, tmp_path, language):
    program = {"python": sys.executable, "sh": shutil.which("curl") and "sh", "js": shutil.which("node")}[language]
    if program is None:  # CI may lack it too
        pytest.skip(f"nothing here runs {language}")
    script = tmp_path / {"python": "script.py", "sh": "script.sh", "js": "script.mjs"}[language]
    script.write_text(BLOCKS[language].replace("http://127.0.0.1:7860", app_address), encoding="utf-8")
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    done = subprocess.run([program, script], cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    expected = Harmonizer.from_pretrained("srin").harmonize(EXAMPLES / "otter.jpg", EXAMPLES / "otter_mask.png")
    assert np.array_equal(load_image(tmp_path / "harmonized.png"), expected)
    assert language == "sh" or "SRIN: " in done.stdout
