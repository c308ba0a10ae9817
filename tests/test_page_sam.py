"""The page with a checkpoint of Segment Anything, and without: what it says, and what a click, a hover and Hair do.

The model is the tiny one, whose masks are noise: only what happens to them is tested.
"""

import threading

import numpy as np
import pytest
from conftest import app_in_this_process
from page_parts import at, give, gradient, selected, settle, write

from srin.segmentation import PhotoSegmenter
from srin.segmentation.checkpoints import download
from srin.segmentation.sam import SamEngine

pytest_plugins = ["tiny_sam"]
pytestmark = pytest.mark.browser

SIZE = (320, 240)


@pytest.fixture(scope="module")
def app_address(tmp_path_factory):
    """Here its model can be held up."""
    with app_in_this_process(tmp_path_factory.mktemp("files")) as address:
        yield address


@pytest.fixture
def held(monkeypatch):
    """An event: until it is set, the encoder waits half-way."""
    released = threading.Event()
    prepare = SamEngine.prepare

    def waiting(self, proceed):
        proceed(0.5)
        assert released.wait(60)
        prepare(self, proceed)

    monkeypatch.setattr(SamEngine, "prepare", waiting)
    yield released
    released.set()


def busy_photo(path, seed):
    noise = np.random.default_rng(seed).integers(-40, 40, (12, 16, 3)).repeat(20, 0).repeat(20, 1)
    return write(path, (gradient(*SIZE[::-1], (90, 110, 100)) + noise).clip(0, 255).astype(np.uint8))


def marks(page):
    return page.evaluate("() => document.querySelector('.stage-marks').toDataURL()")


def test_segment_anything_in_the_page(tiny, held, open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("SRIN_OFFLINE", "1")
    page = open_page()
    give(page, "object", busy_photo(tmp_path / "first.png", 1))
    said = page.locator(".stage-sam")
    assert "No Segment Anything here" in said.locator("summary").inner_text()
    said.locator("summary").click()
    text = said.locator("p").inner_text()
    assert "no Segment Anything checkpoint on this machine" in text and "embedded network" in text
    assert "SRIN_OFFLINE=1 forbids downloads here" in text and "SRIN_SAM_CHECKPOINT=FILE" in text

    monkeypatch.delenv("SRIN_OFFLINE")
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", str(download(tiny)))
    give(page, "object", busy_photo(tmp_path / "second.png", 2))
    said.locator("summary", has_text="reading the photo: 50 %").wait_for()
    held.set()
    said.locator("summary", has_text="Ready: sam (tiny)").wait_for()

    before = marks(page)
    page.mouse.move(*at(page, SIZE, 0.5, 0.5))
    page.wait_for_function("(before) => document.querySelector('.stage-marks').toDataURL() !== before", arg=before)
    assert selected(page) is None  # a hover shows, and selects nothing

    page.mouse.click(*at(page, SIZE, 0.5, 0.5))
    first = selected(page)
    assert 0 < (first > 127).mean() < 1
    assert page.locator(".stage-maker").inner_text() == "Selected by: sam (tiny)"
    proposals = page.locator(".stage-proposals button")
    assert proposals.count() >= 2
    proposals.nth(1).click()
    assert not np.array_equal(selected(page), first)
    page.locator('[data-tool="negative"]').click()
    page.mouse.click(*at(page, SIZE, 0.2, 0.3))
    refined = selected(page)
    assert not np.array_equal(refined, first)
    page.locator('[data-act="undo"]').click()
    page.locator('[data-act="undo"]').click()
    assert np.array_equal(selected(page), first)


def test_hair_gives_a_soft_edge(cache, open_page, tmp_path):
    """An edge of photo and mask that differ by fine lines, as hair does: the alpha follows the photo."""
    page = open_page()
    photo = gradient(*SIZE[::-1], (40, 90, 40))
    photo[60:180, 80:240] = (190, 60, 170)
    photo[50:60, 80:240:4] = (190, 60, 170)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[60:180, 80:240] = 255
    give(page, "object", write(tmp_path / "brush.png", photo))
    give(page, "mask", write(tmp_path / "mask.png", mask))
    page.locator('[data-tool="brush"]').click()
    page.locator('[data-adjust="amount"]').fill("12")
    page.locator('[data-act="hair"]').click()
    settle(page)
    alpha = selected(page).astype(int)
    hairs, gaps = alpha[52:58, 80:240:4], alpha[52:58, 82:240:4]
    assert hairs.mean() > gaps.mean() + 60 and alpha[120, 160] == 255 and alpha[20, 20] == 0


def test_a_named_checkpoint_that_is_missing_is_said(cache, monkeypatch):
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", "/nowhere/sam.pth")
    status = PhotoSegmenter(gradient(40, 50)).status
    assert status.state == "failed" and "/nowhere/sam.pth" in status.reason and "embedded network" in status.reason
