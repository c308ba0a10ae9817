"""Large pictures on the page, in a real Chromium: who waits for them, how fast Cancel is, and what a killed server loses.

    python -m benchmarks.big_pictures [--megapixels 48] [--tries 50] [--visitors 10] [--json FILE]

Starts the app by itself, and measures within one run on one machine:

- first picture: seconds from choosing a photo of that size until it is shown, and from Harmonize to the first result,
- other visitors: seconds to an example's first result, alone and while another visitor downloads, with every method,
- Cancel: seconds until the page is free and the download's process is gone, in each step of two downloads,
- memory: the peak of a download's process, with each method,
- restart: how many visitors can go on after the server is killed (SIGKILL) in the middle of their work and started again.

Needs Debian's chromium, Linux, and the weights.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from benchmarks.live import enlarged, give
from benchmarks.measure import megabytes
from benchmarks.running_app import RunningApp, chromium, loaded, running_app
from srin.harmonizer import METHODS

PATIENCE = 600_000  # milliseconds
REPEATS = 7
WORKER = "srin.full_size_worker"
CANCELLED = (("srin", "jpg"), ("poisson", "png"))  # methods and formats
BEYOND_FIRST = "() => !/Starting|Preparing|[(]1 of/.test(document.querySelector('.run-status').textContent)"


def workers() -> list[int]:
    """The processes that make downloads."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and WORKER.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass  # it has ended
    return found


@contextmanager
def watched(peaks: list[float]) -> Any:
    """Adds the largest resident memory of a download's process within the block, in MB."""
    stop, largest = threading.Event(), [0.0]

    def watch() -> None:
        while not stop.wait(0.02):
            for process in workers():
                try:
                    largest[0] = max(largest[0], megabytes("VmHWM", process))
                except (OSError, StopIteration):
                    pass  # it has ended

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    stop.set()
    thread.join()
    peaks.append(largest[0])


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_context(accept_downloads=True).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    loaded(page)
    return page


def first_result(page: Page) -> float:
    """Seconds from Harmonize to the first result."""
    button = page.locator("#harmonize:not([disabled])")
    button.wait_for()
    began = time.perf_counter()
    button.click()
    page.wait_for_function(BEYOND_FIRST)
    seconds = time.perf_counter() - began
    page.locator(".run-status", has_text="methods done").wait_for()
    return seconds


def large(page: Page, folder: Path, megapixels: float) -> dict[str, float]:
    """Gives the page a background and an object of that size, cut out and placed."""
    paths = [enlarged(name, megapixels, folder) for name in ("mountain_lake.jpg", "otter.jpg", "otter_mask.png")]
    began = time.perf_counter()
    page.locator('input[data-for="background"]').set_input_files(paths[0])
    page.wait_for_function("() => document.querySelector('[data-role=background] img').naturalWidth > 0")
    shown = time.perf_counter() - began
    give(page, "object", paths[1])
    page.locator('input[data-for="mask"]').set_input_files(paths[2])
    page.locator(".stage-placing").wait_for()
    return {"first picture, s": shown, "first result, s": first_result(page)}


def cancels(page: Page, method: str, kind: str, tries: int) -> dict[str, Any]:
    """Cancels downloads at random moments, equally often in each step. Seconds until the page is free, and until the
    process is gone: the worst of all and of each step."""
    page.locator(f'[data-method="{method}"] button').click()
    page.locator('[data-choice="format"]').select_option(kind)
    steps = steps_of(page)
    generator = random.Random(0)
    worst: dict[str, list[float]] = {}
    for number in range(tries):
        step, seconds = list(steps.items())[number % len(steps)]
        page.locator("#download:not([disabled])").click()
        page.locator(".saved", has_text=step).wait_for()
        page.wait_for_timeout(1000 * seconds * generator.random())
        said = page.locator(".saved").inner_text().partition("…")[0]
        if not page.locator('[data-act="stop"]').is_visible():
            continue  # the download ended before it
        began = time.perf_counter()
        page.locator('[data-act="stop"]').click()
        page.locator("#download:not([disabled])").wait_for()
        free = time.perf_counter() - began
        while workers():
            time.sleep(0.005)
        worst.setdefault(said, []).append(max(free, time.perf_counter() - began))
    return {
        "method": method,
        "format": kind,
        "tries": sum(map(len, worst.values())),
        "free and gone, worst, s": max(map(max, worst.values())),
        "by step": {step: {"tries": len(times), "worst, s": max(times)} for step, times in worst.items()},
    }


def steps_of(page: Page) -> dict[str, float]:
    """A download's steps, as the page calls them, and how many seconds each takes."""
    began: dict[str, float] = {}
    with page.expect_download(timeout=PATIENCE) as download:
        page.locator("#download:not([disabled])").click()
        while not page.locator("#download:not([disabled])").count():
            said = page.locator(".saved").inner_text()
            if "…" in said and not said.startswith("Starting"):
                began.setdefault(said.partition("…")[0], time.perf_counter())
            page.wait_for_timeout(20)
    download.value.path()
    ends = [*list(began.values())[1:], time.perf_counter()]
    return {step: end - start for (step, start), end in zip(began.items(), ends, strict=True)}


def downloads(visitor: Page, other: Page) -> tuple[dict[str, Any], dict[str, float]]:
    """Each method's download, and an example's first result for another visitor, alone and meanwhile."""
    other.locator(".example:visible").nth(2).click()
    other.locator(".slot-name", has_text="old_arena").wait_for()
    first_result(other)
    alone = [first_result(other) for _ in range(REPEATS)]
    busy: list[float] = []
    made: dict[str, Any] = {}
    for method in METHODS:
        visitor.locator(f'[data-method="{method}"] button').click()
        peaks: list[float] = []
        began = time.perf_counter()
        with watched(peaks), visitor.expect_download(timeout=PATIENCE) as file:
            visitor.locator("#download:not([disabled])").click()
            busy += [first_result(other) for _ in range(2)]
        file.value.path()
        made[method] = {"s": time.perf_counter() - began, "peak MB": peaks[0]}
        print(method, json.dumps(made[method]), flush=True)
    ratio = statistics.median(busy) / statistics.median(alone)
    return made, {"alone, s": statistics.median(alone), "meanwhile, s": statistics.median(busy), "ratio": ratio}


def killed(app: RunningApp, browser: Browser, visitors: int) -> dict[str, int]:
    """Visitors at work when the server is killed, and those who have their photos, mask and placement afterwards."""
    pages = [opened(browser, app.address) for _ in range(visitors)]
    for number, page in enumerate(pages):
        page.locator(".example:visible").nth(number % 4).click()
        page.locator("#harmonize:not([disabled])").wait_for()
        page.locator('[data-number="x"]').fill(str(20 + number))
        page.locator('[data-number="x"]').press("Enter")
        page.locator('.stage-work[data-state="kept"]').wait_for()
    for page in pages:
        page.locator("#harmonize").click()
    app.kill()
    app.start()
    on = 0
    for number, page in enumerate(pages):
        page.locator("#harmonize:not([disabled])").wait_for(timeout=120_000)
        page.wait_for_function("() => document.querySelector('.stage-work').dataset.state === 'kept'")
        same = page.locator('[data-number="x"]').input_value() == str(20 + number)
        page.locator("#harmonize").click()
        page.locator(".run-status", has_text="methods done").wait_for()
        on += same
        page.context.close()
    return {"visitors": visitors, "go on": on}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=48)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--visitors", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, running_app(Path(name) / "files") as app, chromium() as browser:
        page, other = opened(browser, app.address), opened(browser, app.address)
        other.locator(".example.has-after:visible").last.wait_for()  # the weights are there
        found["large"] = large(page, Path(name), options.megapixels)
        print(json.dumps(found["large"]), flush=True)
        found["downloads"], found["meanwhile"] = downloads(page, other)
        print(json.dumps(found["meanwhile"]), flush=True)
        found["cancel"] = [cancels(page, *what, options.tries // 2) for what in CANCELLED]
        print(json.dumps(found["cancel"]), flush=True)
        page.context.close()
        found["killed"] = killed(app, browser, options.visitors)
        print(json.dumps(found["killed"]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
