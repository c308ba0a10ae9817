"""Measures the live preview: from letting the object go to the harmonized object on the canvas, in a real Chromium.

    python -m benchmarks.live [--megapixels 12] [--json FILE]

Starts the app by itself, with a background and an object of the given size, and measures how long a visitor waits for the
first harmonized picture. Then it moves the object a dozen times, and reads the time that the page measures and shows.
Also measures how long a frame takes during a drag, a stroke of the brush, and while the sliders of strength and feather
move. The aim on two cores is 3 s for the first picture, 300 ms for the next ones, and 50 ms a frame. Needs the weights,
and Debian's chromium.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page

from benchmarks.measure import EXAMPLES
from benchmarks.running_app import chromium, running_app

RELEASES = 12
FRAMES = """() => {
    const times = []; let last = performance.now();
    const tick = (now) => {
        times.push(now - last);
        last = now;
        if (window.frames_ === times) requestAnimationFrame(tick);
    };
    window.frames_ = times;
    requestAnimationFrame(tick);
}"""
SLIDE = """async (name) => {
    const slider = document.querySelector(`[data-view="${name}"]`);
    for (let step = 0; step <= 60; step++) {
        slider.value = slider.max * (1 - step / 60);
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise(requestAnimationFrame);
    }
}"""


def enlarged(name: str, megapixels: float, folder: Path) -> Path:
    image = np.asarray(Image.open(EXAMPLES / name))
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    Image.fromarray(image).save(folder / name)
    return folder / name


def give(page: Page, role: str, path: Path) -> None:
    page.locator(f'input[data-for="{role}"]').set_input_files(path)
    page.locator(f'[data-role="{role}"] .slot-name', has_text=path.name).wait_for()


def drag(page: Page, x: float, y: float, dx: float) -> None:
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y, steps=12)
    page.mouse.up()


def first_picture(page: Page, folder: Path, megapixels: float) -> float:
    """Seconds that a visitor waits for the first harmonized picture. Counted is what the page takes for three actions,
    choosing two photos and clicking on the object, without the time between them."""
    paths = [enlarged(name, megapixels, folder) for name in ("mountain_lake.jpg", "otter.jpg")]
    began = time.perf_counter()
    for role, path in zip(("background", "object"), paths, strict=True):
        give(page, role, path)
    board = page.locator(".stage-marks")
    page.locator(".stage-cutting").wait_for()
    box = board.bounding_box()
    assert box is not None
    board.click(position={"x": box["width"] / 2, "y": box["height"] * 0.55})
    page.locator(".stage-live", has_text="Harmonized by").wait_for()
    return time.perf_counter() - began


def measure(page: Page, folder: Path, megapixels: float) -> dict[str, float]:
    figures = {"first_picture_ms": 1000 * first_picture(page, folder, megapixels)}
    mask = enlarged("otter_mask.png", megapixels, folder)
    page.locator('input[data-for="mask"]').set_input_files(mask)
    page.locator(".stage-placing").wait_for()
    box = page.locator(".stage-marks").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.55
    said = page.locator(".stage-live", has_text=" ms")
    said.wait_for()
    times = []
    for release in range(RELEASES):
        page.evaluate("document.querySelector('.stage-live').textContent = ''")
        drag(page, x, y, 40 if release % 2 else -40)
        said.wait_for()
        found = re.search(r"(\d+) ms", said.inner_text())
        assert found is not None
        times.append(int(found[1]))
    frames = {"drag": frames_of(page, lambda: wander(page, x, y))}
    page.locator('[data-tool="brush"]').click()
    frames["brush"] = frames_of(page, lambda: wander(page, x, y))
    for method in page.locator(".methods input:enabled:visible").all():
        method.set_checked(method.input_value() == "poisson")
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    for name in ("strength", "feather"):
        frames[name] = frames_of(page, partial(page.evaluate, SLIDE, name))
    figures["release_to_picture_ms"] = statistics.median(times[2:])
    figures["release_to_picture_worst_ms"] = max(times[2:])
    for name, durations in frames.items():
        figures[f"{name}_frame_median_ms"] = statistics.median(durations)
        figures[f"{name}_frame_95th_ms"] = sorted(durations)[int(0.95 * len(durations))]
    return figures


def frames_of(page: Page, act: Callable[[], object]) -> list[float]:
    """The milliseconds of each frame while `act` runs."""
    page.evaluate(FRAMES)
    act()
    return page.evaluate("() => { const times = window.frames_; window.frames_ = null; return times; }")


def wander(page: Page, x: float, y: float) -> None:
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(60):
        page.mouse.move(x + (step % 20) * 4, y + step % 7)
    page.mouse.up()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_app(Path(name) / "files") as app, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(app.address)
        page.locator(".example.has-after:visible").last.wait_for()  # the weights are there
        figures = measure(page, Path(name), arguments.megapixels)
    for name, value in figures.items():
        print(f"{name:30} {value:7.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
