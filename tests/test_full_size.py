"""Downloads at full size are made in processes: same pictures as here, stopped at any time, with time estimates."""

import io
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
from page_parts import gradient, ragged, write
from PIL import Image, ImageCms

from srin import Harmonizer, full_size, full_size_worker
from srin.composite import Placement, mixed, place
from srin.errors import SrinError, TookTooLong
from srin.foreground import cut_out
from srin.full_size import Job, Rendering
from srin.image_io import load_image, load_mask
from srin.segmentation.semantic_map import draw

PLACEMENT = Placement(0.45, 0.55, 0.7, 20, True)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    mask = ragged(300, 400)
    colour = np.where(mask[..., None] > 127, gradient(300, 400, (170, 40, 160)), gradient(300, 400, (40, 90, 40)))
    png = cv2.imencode(".png", mask)[1].tobytes()
    paths = write(folder / "meadow.png", gradient(600, 900)), write(folder / "kite.png", colour)
    composite = place(load_image(paths[0]), *cut_out(colour, mask, False), PLACEMENT)
    job = Job("picture", folder / "out.png", png, 540_000, paths[0], paths[1], placement=PLACEMENT)
    return job, composite


@pytest.mark.parametrize("method", ["copy-paste", "reinhard", "histogram", "poisson", "srin"])
def test_the_process_makes_what_this_one_would(parts, method):
    job, composite = parts
    harmonizer = Harmonizer.from_pretrained(method)
    regions = draw(composite, "colour") if method == "srin" else None
    how = {"strength": 1.4, "feather": 0.01, "comment": "settings"}
    job = replace(job, method=method, label=method, coefficients=harmonizer.coefficients(composite, regions), **how)
    told = list(Rendering(job, 60))
    assert told[-1].text == "Writing the PNG" and [step.share for step in told] == sorted(step.share for step in told)
    harmonized = np.asarray(harmonizer.harmonize_composite(composite, regions))
    assert np.array_equal(load_image(job.output), mixed(harmonized, composite, 1.4, 0.01 * 900))
    with Image.open(job.output) as saved:
        assert b"settings" in saved.info["exif"]


def test_a_finished_composite_and_its_mask(parts, tmp_path):
    _, composite = parts
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    Image.fromarray(composite.image).save(stream, "PNG", icc_profile=profile)
    picture = tmp_path / "paste.png"
    picture.write_bytes(stream.getvalue())
    png = cv2.imencode(".png", composite.mask)[1].tobytes()
    job = Job("picture", tmp_path / "out.png", png, 540_000, picture=picture, method="histogram", label="Histogram")
    list(Rendering(job, 60))
    expected = Harmonizer.from_pretrained("histogram").harmonize_composite(composite)
    assert np.array_equal(load_image(job.output), expected)
    list(Rendering(replace(job, what="mask", output=tmp_path / "mask.png"), 60))
    assert np.array_equal(load_mask(tmp_path / "mask.png"), composite.mask)


def test_what_goes_wrong_is_told_in_words(parts, tmp_path):
    job, _ = parts
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    for wrong in ({"background": broken}, {"object": tmp_path / "gone.png"}, {"output": tmp_path / "no" / "out.png"}):
        with pytest.raises(SrinError) as refusal:
            list(Rendering(replace(job, **wrong), 60))
        assert str(refusal.value).endswith(".") and "memory" not in str(refusal.value)


@pytest.fixture
def endless(monkeypatch, parts):
    """A job whose process is in the middle of something long."""
    monkeypatch.setattr(full_size.subprocess, "Popen", _sleeping(full_size.subprocess.Popen))
    return parts[0]


def _sleeping(start):
    def started(command, **how):
        return start([command[0], "-c", "import time; time.sleep(600)"], **how)

    return started


def test_a_native_step_is_ended_at_once_and_its_process_with_it(endless):
    rendering, told = Rendering(endless, 60), []
    thread = threading.Thread(target=lambda: told.extend(rendering))
    thread.start()
    rendering.stop()
    thread.join(10)
    assert not thread.is_alive() and not told and rendering._process.returncode == -9


def test_one_that_takes_too_long_is_given_up(endless):
    with pytest.raises(TookTooLong, match="longer than the 0.2 seconds"):
        list(Rendering(endless, 0.2))


def test_a_process_that_dies_is_told(endless, monkeypatch):
    rendering = Rendering(endless, 60)
    rendering._process.kill()
    with pytest.raises(SrinError, match="could not be made"):
        list(rendering)


def test_the_time_left_follows_the_pace_so_far(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(full_size_worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(full_size_worker.Told, "_tick", lambda told: None)
    said = []
    monkeypatch.setattr(full_size_worker, "say", said.append)
    told = full_size_worker.Told([("a", 1.0), ("b", 2.0), ("c", 5.0)])
    told.next()
    assert said[-1] == {"text": "a", "share": 0.0, "left": 8.0}, "a guess"
    now[0] += 3  # a unit of work takes three seconds here
    told.next()
    assert said[-1] == {"text": "b", "share": 0.125, "left": 21.0}
    told.inside(0.5)
    now[0] += 3
    told.tell()
    assert said[-1] == {"text": "b", "share": 0.25, "left": 18.0}
    now[0] += 3
    told.next()
    now[0] += 6  # "c" can't tell how far it is: by the clock
    told.tell()
    assert said[-1]["share"] == 0.625 and said[-1]["left"] == pytest.approx(9.0)


def test_the_worker_needs_no_torch():
    import subprocess
    import sys

    code = "import srin.full_size_worker, sys; sys.exit('torch' in sys.modules or 'gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=full_size.PACKAGE).returncode == 0


def test_the_worker_ends_when_nobody_listens(parts, tmp_path):
    job = replace(parts[0], output=tmp_path / "out.png")
    rendering = Rendering(job, 60)
    rendering._process.stdout.close()
    rendering._process.stdin.write(job.packed())
    rendering._process.stdin.close()
    assert rendering._process.wait(60) == 1 and not job.output.exists()
