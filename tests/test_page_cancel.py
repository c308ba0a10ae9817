"""Cancel frees the page at once, whatever the server still sends."""

import threading

import pytest
from conftest import app_in_this_process
from page_parts import only

from srin import explain, full_size
from srin.ui.compare import compare
from srin.ui.compare.harmonizing import run_steps
from srin.ui.session.session_state import Newest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def app_address(tmp_path_factory):
    """The address of an app whose methods the tests can hold up."""
    with app_in_this_process(tmp_path_factory.mktemp("files")) as address:
        yield address


class Held:
    """Makes the methods' runs wait before each step until `go` lets them through, and records when they have ended."""

    def __init__(self):
        self.go, self.ended, self.steps = threading.Semaphore(0), threading.Event(), 0

    def __call__(self, *arguments):
        for step in run_steps(*arguments):
            assert self.go.acquire(timeout=60)
            self.steps += 1
            yield step
        self.ended.set()


@pytest.fixture
def held(monkeypatch):
    held = Held()
    monkeypatch.setattr(compare, "run_steps", held)
    yield held
    held.go.release(1000)


def begun(page):
    """Presses Harmonize on an example, with methods that cost little."""
    only(page, "copy-paste", "reinhard", "histogram")
    page.locator(".example:visible").nth(0).click()
    page.locator("#harmonize:not([disabled])").click()
    page.locator("#cancel:not([disabled])").wait_for()


STEPS = {0: "Starting", 1: "Preparing", 3: "2 of 3"}  # what is said after so many steps


def test_updates_that_come_after_cancel_change_nothing(page, held, monkeypatch):
    """The server hears of Cancel only when all is done. At each step the page is free, and stays so."""
    monkeypatch.setattr(Newest, "goes_on", lambda newest, number: True)
    begun(page)
    for allowed, said in STEPS.items():
        held.ended.clear()
        if allowed:
            held.go.release(allowed)
        page.locator(".run-status", has_text=said).wait_for()
        page.locator("#cancel").click()
        assert page.locator(".run-status").inner_text().startswith("Cancelled.")
        assert page.locator("#harmonize").is_enabled() and page.locator("#cancel").is_disabled()
        held.go.release(10)
        assert held.ended.wait(60)
        # When a later request is answered, all that the server sent for the cancelled run has come.
        page.locator('[data-act="map"]').click()
        page.locator(".stage-live", has_text="regions, drawn by").wait_for()
        page.locator('[data-act="map"]').click()
        assert page.locator(".run-status").inner_text().startswith("Cancelled.")
        assert page.locator("#harmonize").is_enabled()
        held.go = threading.Semaphore(0)
        page.locator("#harmonize").click()
        page.locator("#cancel:not([disabled])").wait_for()
    held.go.release(10)
    page.locator(".run-status", has_text="methods done").wait_for()


def test_the_server_stops_between_methods_and_the_next_run_goes_on(page, held):
    begun(page)
    held.go.release(2)
    page.locator(".run-status", has_text="1 of 3").wait_for()
    page.locator("#cancel").click()
    page.locator(".run-status", has_text="Cancelled").wait_for()
    page.locator("#harmonize").click()  # the next run waits for the method at work alone
    held.go.release(1)  # its step, which is thrown away
    held.go.release(5)
    page.locator(".run-status", has_text="methods done").wait_for()
    assert held.steps == 2 + 1 + 5, "no further step of the run that was cancelled"
    for method in ("copy-paste", "reinhard", "histogram"):
        assert page.locator(f'[data-method="{method}"]').get_attribute("data-state") == "done"


def test_why_can_be_cancelled_and_asked_again(page, monkeypatch):
    """The page is free at once, the server stops after a few regions, and what it still sends changes nothing."""
    go, ended, asked, real = threading.Semaphore(0), threading.Event(), [], explain.explain_network

    def held(network, composite, point, semantic_map, allowed, proceed):
        asked.append(point)

        def wait(done):
            assert go.acquire(timeout=60)
            proceed(done)

        try:
            return real(network, composite, point, semantic_map, allowed, wait)
        finally:
            ended.set()

    monkeypatch.setattr(explain, "explain_network", held)
    only(page, "copy-paste", "reinhard")
    page.locator(".example:visible").nth(0).click()
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    page.locator(".why-ask").press("Enter")
    cancel = page.locator('[data-act="why-cancel"]')
    cancel.wait_for()
    wait_until(page, lambda: asked)
    cancel.click()
    assert page.locator(".why-said").inner_text() == "Cancelled." and cancel.is_hidden()
    go.release()
    assert ended.wait(60) and len(asked) == 1, "no further network"
    assert page.locator(".why-answers figure").count() == 0
    ended.clear()
    page.locator(".why-ask").press("Enter")
    wait_until(page, lambda: len(asked) == 2)
    page.locator(".why-ask").press("Enter")  # a newer question takes the place of this one
    go.release(1000)
    page.locator(".why-answers figure").first.wait_for()
    assert page.locator(".why-said").inner_text().startswith("The brighter a region") and cancel.is_hidden()
    assert len(asked) == 4, "one network for the second question, two for the third"


def wait_until(page, condition):
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(50)
    pytest.fail("it never happened")


def test_the_method_that_is_looked_at_comes_first(page, monkeypatch):
    order = []

    def noted(scene, placement, segmenter, methods, key):
        order.append(list(methods))
        yield from run_steps(scene, placement, segmenter, methods, key)

    monkeypatch.setattr(compare, "run_steps", noted)
    only(page, "copy-paste", "reinhard", "histogram")
    page.locator(".example:visible").nth(0).click()
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    page.locator('[data-method="reinhard"] button').click()
    page.locator("#harmonize").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    assert order[-1] == ["reinhard", "copy-paste", "histogram"]
    shown = page.locator(".tile").evaluate_all("(tiles) => tiles.map((tile) => tile.dataset.method)")
    assert shown == ["copy-paste", "reinhard", "histogram"], "the grid keeps its order"


def test_a_download_can_be_cancelled_in_the_middle_of_a_native_step(page, monkeypatch):
    """Its process is gone at once, the page is free, and the next download comes once, and no other."""
    started = []
    start = full_size.subprocess.Popen

    def stuck(command, **how):
        started.append(start([command[0], "-c", "import time; time.sleep(600)"], **how))
        return started[-1]

    only(page, "copy-paste", "histogram")
    page.locator(".example:visible").nth(0).click()
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    monkeypatch.setattr(full_size.subprocess, "Popen", stuck)
    page.locator("#download").click()
    page.locator('[data-act="stop"]').wait_for()
    for _ in range(100):
        if started:
            break
        page.wait_for_timeout(50)
    page.locator('[data-act="stop"]').click()
    assert page.locator(".saved").inner_text() == "Cancelled." and page.locator("#download").is_enabled()
    assert started[0].wait(10) == -9
    monkeypatch.undo()
    downloads = []
    page.on("download", lambda one: downloads.append(one))
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "mountain_lake-histogram.png"
    page.locator('[data-act="map"]').click()
    page.locator(".stage-live", has_text="regions, drawn by").wait_for()
    assert len(downloads) == 1
