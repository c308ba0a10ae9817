"""Interruptions lose no work: lost connections, cancelled downloads, and pages that are left while they wait."""

import time

import pytest
from conftest import PATIENCE, app_in_this_process
from page_parts import harmonized, settle
from test_page_work import begin, brought_back, photos, state, visitor  # noqa: F401

from srin import full_size
from srin.ui.compare import downloads
from srin.ui.session.scene import Scene

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Replaces the worker: announces a step of its plan, and then works on it for ever.
STUCK = """
import json, sys, time
from pathlib import Path
read = sys.stdin.buffer.read
job = json.loads(read(int.from_bytes(read(8), "little")))
read()
print(json.dumps({"text": %r, "share": 0.5, "left": 60}), flush=True)
Path(job["output"]).with_suffix(".part").write_bytes(b"half of it")
time.sleep(600)
"""
STEPS = ("Reading the originals", "Pasting", "SRIN at full size", "Mixing", "Writing the PNG")
SOON = 1.0  # seconds


@pytest.fixture(scope="module")
def app_address(tmp_path_factory):
    """The address of an app whose downloads the tests can hold up."""
    with app_in_this_process(tmp_path_factory.mktemp("files")) as address:
        yield address


def test_a_connection_that_is_lost_and_comes_back_loses_nothing(app_address, visitor, photos):  # noqa: F811
    page = visitor(app_address)
    before = begin(page, photos)
    visitor.context.set_offline(True)
    page.locator('[data-tool="brush"]').click()
    page.locator('[data-act="grow"]').click()  # the request doesn't reach the server
    page.locator('[data-tool="place"]').click()
    page.locator('[data-number="x"]').fill("44")
    page.locator('[data-number="x"]').press("Enter")
    with page.expect_navigation(timeout=PATIENCE):
        visitor.context.set_offline(False)  # Gradio loads the page again, as soon as there is a server
    after = brought_back(page)
    assert after[0][0] == 44 and after[0][1:] == before[0][1:], "also what was done without a connection"
    assert after[1:] == before[1:]
    page.locator('[data-tool="brush"]').click()
    page.locator('[data-act="grow"]').click()  # work can go on
    settle(page)
    page.locator('[data-tool="place"]').click()
    assert state(page)[4] != before[4]


def files_in(paths):
    return [file for path in paths if path.parent.is_dir() for file in path.parent.iterdir()]


def test_a_download_can_be_cancelled_at_each_step(page, monkeypatch):
    """The page is free within a second, the process and its file are gone, and the next download works."""
    started, rendering = [], full_size.subprocess.Popen
    step = {}

    def stuck(command, **how):
        started.append(rendering([command[0], "-c", STUCK % step["text"]], **how))
        return started[-1]

    page.locator(".example:visible").first.click()
    page.locator('[data-take="picture"]:not([disabled])').wait_for()
    settle(page)
    folders = []
    job = downloads.new_file
    monkeypatch.setattr(downloads, "new_file", lambda name: folders.append(job(name)) or folders[-1])
    for step["text"] in STEPS:
        with monkeypatch.context() as patch:
            patch.setattr(full_size.subprocess, "Popen", stuck)
            page.locator('[data-take="picture"]').click()
            page.locator(".stage-saved", has_text=step["text"]).wait_for()
            began = time.monotonic()
            page.locator(".stage-saving button").click()
            page.locator('[data-take="picture"]:not([disabled])').wait_for()
            assert page.locator(".stage-saved").inner_text() == "Cancelled."
            assert time.monotonic() - began < SOON
            assert started[-1].wait(10) == -9
        deadline = time.monotonic() + 10
        while (left := files_in(folders)) and time.monotonic() < deadline:
            page.wait_for_timeout(20)
        assert not left, step["text"]
    assert len(started) == len(STEPS)
    with page.expect_download() as download:
        page.locator('[data-take="picture"]').click()
    assert download.value.suggested_filename.endswith(".png")


def test_a_first_look_is_followed_up_after_a_while_on_the_cut_out(page, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Scene, "has_regions", False)
        page.locator(".example:visible").first.click()
        page.locator(".stage-live", has_text="A first look by").wait_for()
        page.locator('[data-tool="brush"]').click()
        page.wait_for_timeout(1500)  # the next look would come after a second
    page.locator('[data-tool="place"]').click()
    harmonized(page)


def test_a_picture_that_cannot_be_loaded_is_a_sentence(page):
    """A message is shown, no error is thrown, and the page works on."""
    page.locator(".example:visible").first.click()
    harmonized(page)
    page.route("**/preview.jpg", lambda route: route.fulfill(content_type="image/jpeg", body=b"no picture"))
    page.locator('[data-act="map"]').click()
    page.locator(".stage-live", has_text="could not be loaded").wait_for()
    page.unroute("**/preview.jpg")
    for _ in range(2):
        page.locator('[data-act="map"]').click()  # off, and on again
    page.locator(".stage-live", has_text="regions, drawn by").wait_for()
