"""The page with a checkpoint of Segment Anything, and without: what it says, and what a click, a hover and Hair do.

The model is the tiny one, whose masks are noise: only what happens to them is tested. Getting it, from a server on this
machine.
"""

import errno
import threading

import cv2
import numpy as np
import pytest
from conftest import app_in_this_process
from page_parts import at, give, gradient, selected, settle, write

from srin.segmentation import PhotoSegmenter, checkpoints
from srin.segmentation.checkpoints import download
from srin.segmentation.sam import SamEngine
from srin.segmentation.shared_download import SharedDownload
from srin.ui.stage import getting

pytest_plugins = ["tiny_sam"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZE = (320, 240)


@pytest.fixture(scope="module")
def app_address(tmp_path_factory):
    """The address of an app whose model the tests can hold up."""
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


@pytest.fixture
def slow(monkeypatch):
    """Lets one chunk of a download through for each release."""
    allowed, read = threading.Semaphore(0), checkpoints._read

    def waiting(*arguments):
        assert allowed.acquire(timeout=60)
        return read(*arguments)

    monkeypatch.setattr(checkpoints, "CHUNK", 10_000)
    monkeypatch.setattr(checkpoints, "_read", waiting)
    yield allowed
    allowed.release(10_000)


@pytest.fixture(autouse=True)
def nothing_begun(monkeypatch):
    """Each test's server has begun no download yet."""
    monkeypatch.setattr(getting, "download", SharedDownload())


def full_disk(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def busy_photo(path, seed):
    noise = np.random.default_rng(seed).integers(-40, 40, (12, 16, 3)).repeat(20, 0).repeat(20, 1)
    return write(path, (gradient(*SIZE[::-1], (90, 110, 100)) + noise).clip(0, 255).astype(np.uint8))


def photo_of_a_disc(path):
    picture = gradient(*SIZE[::-1], (90, 110, 100)).astype(np.uint8)
    return write(path, cv2.circle(picture.copy(), (SIZE[0] // 2, SIZE[1] // 2), 60, (200, 60, 40), -1))


def marks(page):
    return page.evaluate("() => document.querySelector('.stage-marks').toDataURL()")


def lacking(page, folder, seed=1):
    """The box of a page that lacks Segment Anything, once it has a photo."""
    give(page, "object", busy_photo(folder / f"{seed}.png", seed))
    box = page.locator(".stage-get")
    box.wait_for()
    return box


def test_segment_anything_in_the_page(tiny, held, open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", str(download(tiny)))
    page = open_page()
    give(page, "object", busy_photo(tmp_path / "second.png", 2))
    said = page.locator(".stage-sam")
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


def test_a_button_gets_it_and_photos_that_are_open_use_it(tiny, server, open_page, tmp_path):
    page = open_page()
    give(page, "background", write(tmp_path / "meadow.png", gradient(240, 320)))
    box = lacking(page, tmp_path)
    page.mouse.click(*at(page, SIZE, 0.5, 0.5))
    assert selected(page) is not None
    assert page.locator(".stage-maker").text_content() == "Selected by: embedded network"
    page.locator('[data-tool="point"]').click()
    said = box.locator("p").inner_text()
    assert f"{tiny.size / 1e6:.0f} MB, licence Apache-2.0" in said and "GB are free here" in said
    choice = page.locator('[data-choice="segmenter"] [value="sam"]')
    assert choice.is_disabled() and "not here" in choice.text_content()
    box.locator("button", has_text="Get Segment Anything").click()
    page.locator(".stage-sam summary", has_text="Ready: sam (tiny)").wait_for()
    assert tiny.path.read_bytes() == server.content and box.is_hidden() and choice.is_enabled()
    page.mouse.click(*at(page, SIZE, 0.4, 0.4))
    settle(page)
    assert page.locator(".stage-maker").text_content() == "Selected by: sam (tiny)"
    page.locator('[data-tool="place"]').click()
    page.locator('[data-act="map"]').click()  # drawn again, now with the regions
    page.locator(".stage-live", has_text="regions, drawn by sam (tiny)").wait_for()


def test_two_visitors_share_a_download_and_cancel_is_ones_own(tiny, server, slow, open_page, tmp_path):
    pages = [open_page(), open_page()]
    boxes = [lacking(page, tmp_path, seed) for seed, page in enumerate(pages)]
    boxes[0].locator('[data-get="get"]').click()
    boxes[0].locator("p", has_text="Getting Segment Anything: 0 of").wait_for()
    boxes[1].locator('[data-get="get"]').click()  # this page may or may not know already that the other one downloads it
    boxes[1].locator("p", has_text="Getting Segment Anything").wait_for()
    boxes[0].locator('[data-get="cancel"]').click()
    boxes[0].locator("p", has_text="Somebody else has asked for it too, so it goes on.").wait_for()
    slow.release(20)
    boxes[1].locator('[data-get="cancel"]').click()
    boxes[1].locator("button", has_text="Go on getting it").wait_for()
    said = boxes[1].locator("p").inner_text()
    assert "are here already" in said and boxes[1].locator("progress").is_hidden()
    kept = tiny.part.stat().st_size
    assert 0 < kept < tiny.size and not tiny.path.exists()
    slow.release(10_000)
    boxes[1].locator("button", has_text="Go on getting it").click()
    for page in pages:
        page.locator(".stage-sam summary", has_text="Ready: sam (tiny)").wait_for()
    assert len(server.requests) == 2 and server.requests[1].startswith("bytes=")


@pytest.mark.parametrize("fault", ["broken", "wrong", "full"])
def test_what_goes_wrong_is_told_and_tried_again(tiny, server, open_page, tmp_path, fault):
    disk = pytest.MonkeyPatch()
    page = open_page()
    box = lacking(page, tmp_path)
    whole = server.content
    if fault == "broken":
        server.stop_after, words = 200_000, "broke off after 0.2 of"
    elif fault == "wrong":
        server.content, words = bytes(len(whole)), "not the published one"
    else:
        disk.setattr(checkpoints, "_check_space", full_disk)
        words = "the disk is full. Free some space"
    box.locator("button", has_text="Get Segment Anything").click()
    box.locator("p", has_text=words).wait_for()
    assert not tiny.path.exists()
    give(page, "object", photo_of_a_disc(tmp_path / "other.png"))  # everything else works
    assert selected(page) is None
    page.mouse.click(*at(page, SIZE, 0.5, 0.5))
    assert selected(page) is not None
    server.stop_after, server.content = None, whole
    disk.undo()
    box.locator("button", has_text="Try again").click()
    page.locator(".stage-sam summary", has_text="Ready: sam (tiny)").wait_for()
    assert tiny.path.read_bytes() == whole
    assert server.requests[1:] == {"broken": ["bytes=200000-"], "wrong": [None], "full": []}[fault]


def test_no_button_where_there_is_no_room_or_downloads_are_forbidden(tiny, server, open_page, tmp_path, monkeypatch):
    page = open_page()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "free_bytes", lambda: 1000)
        box = lacking(page, tmp_path)
        assert "Only 0 MB are free here: no room for it." in box.locator("p").inner_text()
        assert box.locator('[data-get="get"]').is_disabled()
    for variable, value, said in (
        ("SRIN_OFFLINE", "1", "downloads are forbidden on this machine."),
        ("SRIN_SAM_CHECKPOINT", "hf://someone/private/sam.pth", "the checkpoint that was named"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            page = open_page()
            box = lacking(page, tmp_path)
            box.locator("p", has_text=said).wait_for()
            assert box.locator("button:visible").count() == 0
            page.evaluate("() => document.querySelector('[data-get=get]').click()")  # not even a forced click asks
            settle(page)
            assert page.locator('[data-choice="segmenter"]').input_value() == "auto"
    assert server.requests == []


def test_hair_gives_a_soft_edge(cache, open_page, tmp_path):
    """The photo has fine lines at the mask's edge, as hair does: the alpha follows the photo."""
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
