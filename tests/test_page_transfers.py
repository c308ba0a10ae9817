"""Uploads of photos: progress, small copies to begin with, lost connections, and originals in the end."""

import re
from hashlib import sha256
from urllib.parse import urljoin

import cv2
import numpy as np
import pytest
from conftest import PATIENCE
from page_parts import at, give, gradient, numbers, ragged, selected, set_numbers, settle, write
from PIL import ExifTags, Image
from playwright.sync_api import expect
from test_page_work import STORED

from benchmarks.running_app import loaded
from srin.image_io import load_image

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZES = {
    "laptop": {"width": 1366, "height": 768},
    "phone": {"width": 360, "height": 740, "has_touch": True, "is_mobile": True},
}
SIZE = (4000, 3000)  # width, height: 12 megapixels
SLOW = {"offline": False, "latency": 400, "downloadThroughput": 1.5e6 / 8, "uploadThroughput": 1.5e6 / 8}
PROGRESS = re.compile(r"^\d+ % sent, about \d+ (s|minutes) left$")
FAST = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths: a background of 12 megapixels and some 4 MB, and a plain object whose file lies on its side."""
    folder = tmp_path_factory.mktemp("transfers")
    noise = np.random.default_rng(0).normal(0, 9, (SIZE[1], SIZE[0], 1))
    plain = ragged(*SIZE[::-1])[..., None] > 127
    scene = (gradient(*SIZE[::-1], (30, 40, 110)) + noise).clip(0, 255).astype(np.uint8)
    image = np.where(plain, gradient(*SIZE[::-1], (190, 60, 170)), gradient(*SIZE[::-1], (30, 90, 40)))
    image = (image + noise / 2).clip(0, 255).astype(np.uint8)
    Image.fromarray(scene).save(folder / "evening.jpg", quality=89)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(image)).save(folder / "kite.jpg", quality=85, exif=exif)
    assert 3e6 < (folder / "evening.jpg").stat().st_size < 6e6 and (folder / "kite.jpg").stat().st_size > 1e6
    return {"background": folder / "evening.jpg", "object": folder / "kite.jpg"}


class Line:
    """The connection of a page: its speed, and which uploads are lost. sent: how many began."""

    def __init__(self, page):
        self.lost, self.sent, self._page = 0, 0, page
        self._client = page.context.new_cdp_session(page)
        self._client.send("Network.enable")

    def speed(self, conditions):
        self._client.send("Network.emulateNetworkConditions", conditions)

    def watch(self):
        """Counts uploads from now on, and cuts those from the number `lost` on."""

        def handle(route):
            self.sent += 1
            if self.lost and self.sent >= self.lost:
                route.abort("connectionreset")
            else:
                route.continue_()

        self._page.route("**/gradio_api/upload*", handle)


def slot(page, role, part):
    return page.locator(f'[data-role="{role}"] {part}')


def choose(page, role, path):
    """As `give`, without waiting until the page has the photo."""
    page.locator(f'input[data-for="{role}"]').set_input_files(path)
    slot(page, role, "img:not([hidden])").wait_for()


def travels(page, role):
    return slot(page, role, "progress").is_visible() or slot(page, role, ".slot-again").is_visible()


def aim(page, touch):
    (page.touchscreen.tap if touch else page.mouse.click)(*at(page, SIZE, 0.4, 0.6))


def taken(page, what):
    with page.expect_download(timeout=2 * PATIENCE) as download:
        page.locator(f'.stage-placing [data-take="{what}"]:not([disabled])').click()
    return load_image(download.value.path().read_bytes())


@pytest.mark.parametrize("size", SIZES)
def test_work_begins_while_twelve_megapixels_still_travel(open_page, photos, size):
    """At 1.5 Mbit/s and 400 ms latency. Actions that need the originals wait, say so, and give results of their size."""
    page = open_page(**SIZES[size])
    line = Line(page)
    line.speed(SLOW)
    choose(page, "background", photos["background"])
    expect(slot(page, "background", ".slot-name")).to_have_text(PROGRESS, timeout=PATIENCE)
    first = float(slot(page, "background", "progress").evaluate("(bar) => bar.value"))
    choose(page, "object", photos["object"])
    aim(page, size == "phone")
    page.locator(".stage-placing").wait_for()
    set_numbers(page, 60, 50, 40, 10)
    page.locator(".stage-live", has_text="Harmonized by").wait_for()
    assert travels(page, "background") and travels(page, "object"), "all this before the originals were there"
    assert float(slot(page, "background", "progress").evaluate("(bar) => bar.value")) > first
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    url = page.locator(".stage-maker").get_attribute("data-mask")
    page.locator('[data-look="strength"]').fill("130")
    page.locator('[data-act="harmonize"]').click()
    page.locator(".run-status", has_text="Waiting until evening.jpg and kite.jpg are sent").wait_for()
    page.locator("#cancel").click()
    with page.expect_download(timeout=2 * PATIENCE) as download:
        page.locator('.stage-placing [data-take="picture"]').click()
        page.locator(".stage-saved", has_text="Waiting until evening.jpg and kite.jpg are sent").wait_for()
        line.speed(FAST)
    result, mask = load_image(download.value.path().read_bytes()), taken(page, "mask")[..., 0]
    scene = load_image(photos["background"])
    assert result.shape == scene.shape and mask.shape == scene.shape[:2]
    assert np.array_equal(result[mask == 0], scene[mask == 0]) and (result != scene).any(2).mean() > 0.02
    assert not travels(page, "background") and not travels(page, "object")
    assert page.locator(".stage-maker").get_attribute("data-mask") == url, "the mask is the one that was made"
    assert numbers(page) == [60, 50, 40, 10] and page.locator('[data-look="strength"]').input_value() == "130"
    with page.expect_download() as download:
        page.locator('.stage-placing [data-take="cutout"]').click()
    height, width = load_image(download.value.path().read_bytes()).shape[:2]
    left, top, w, h = cv2.boundingRect((ragged(*SIZE[::-1]) > 127).astype(np.uint8))
    assert abs(width - w) < 0.05 * w and abs(height - h) < 0.05 * h, "upright, and of the original's size"


@pytest.fixture
def visitor(browser, app_address):
    """A page whose connection may be lost, which the browser reports as an error; and its line."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(app_address)
    loaded(page)
    line = Line(page)
    line.watch()
    yield page, line
    context.close()
    assert not wrong


def test_a_lost_connection_loses_nothing(visitor, photos):
    """The small copy has arrived, the original has not: it is sent again, and masks that were made meanwhile stay."""
    page, line = visitor
    line.lost = 2
    choose(page, "object", photos["object"])
    page.locator(".stage-problem", has_text="The connection was lost before kite.jpg was sent").wait_for()
    assert slot(page, "object", ".slot-name").inner_text() == "not sent"
    line.lost = 0
    aim(page, touch=False)
    page.locator(".stage-maker", has_text="Selected by").wait_for()
    page.locator('[data-tool="brush"]').click()
    x, y = at(page, SIZE, 0.15, 0.15)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up()
    page.locator(".stage-maker", has_text="corrected by hand").wait_for()
    url = page.locator(".stage-maker").get_attribute("data-mask")
    slot(page, "object", ".slot-again").click()
    slot(page, "object", ".slot-name").get_by_text("kite.jpg").wait_for()
    settle(page)
    assert line.sent >= 3 and page.locator(".stage-maker").get_attribute("data-mask") == url
    assert page.locator('[data-tool="brush"]').get_attribute("aria-pressed") == "true"
    assert page.locator(".stage-problem").is_hidden()
    mask = cv2.imdecode(np.frombuffer(page.request.get(urljoin(page.url, url)).body(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask[round(0.15 * mask.shape[0]), round(0.17 * mask.shape[1]), 3] > 200
    page.locator('[data-tool="erase"]').click()
    page.mouse.click(*at(page, SIZE, 0.17, 0.15))
    assert selected(page)[round(0.15 * mask.shape[0]), round(0.17 * mask.shape[1])] < 60, "painting goes on"


def test_a_reload_in_the_middle_brings_the_original(visitor, photos):
    page, line = visitor
    line.lost = 2
    choose(page, "background", photos["background"])
    slot(page, "background", ".slot-again").wait_for()
    page.locator('.stage-work[data-state="kept"]').wait_for()
    assert page.evaluate(STORED)["files"]["background"] == sha256(photos["background"].read_bytes()).hexdigest()
    line.lost = 0
    page.reload()
    slot(page, "background", ".slot-name").get_by_text("evening.jpg").wait_for()
    settle(page)
    assert not travels(page, "background")
    with page.expect_download() as download:
        page.locator('[data-work="save"]').click()
    assert download.value.path().stat().st_size > photos["background"].stat().st_size - 100_000


def test_what_is_small_transparent_or_unknown_to_the_browser_goes_at_once(visitor, photos, tmp_path):
    page, line = visitor
    scene = cv2.resize(load_image(photos["background"]), (1500, 1125), interpolation=cv2.INTER_AREA)
    Image.fromarray(scene).save(tmp_path / "scan.tif")
    assert (tmp_path / "scan.tif").stat().st_size > 1e6
    give(page, "background", tmp_path / "scan.tif")
    assert line.sent == 1 and slot(page, "background", ".slot-name").inner_text() == "scan.tif"
    noise = np.random.default_rng(1).integers(0, 256, (1000, 1400, 3), np.uint8)
    give(page, "object", write(tmp_path / "kite.png", np.dstack([noise, ragged(1000, 1400)])))
    page.locator(".stage-placing").wait_for()
    assert line.sent == 2 and "own transparency" in page.locator(".stage-maker").text_content()
    give(page, "background", write(tmp_path / "meadow.png", gradient(400, 640)))
    assert line.sent == 3 and not travels(page, "background")
    line.lost = 4
    page.locator('input[data-for="background"]').set_input_files(tmp_path / "scan.tif")
    page.locator(".stage-problem", has_text="The connection was lost before scan.tif was sent").wait_for()
    line.lost = 0
    page.evaluate("dispatchEvent(new Event('online'))")
    slot(page, "background", ".slot-name").get_by_text("scan.tif").wait_for()


def test_what_the_line_does_not_take_can_be_given_up(visitor, photos, tmp_path):
    """The photo that was there stays, and work goes on."""
    page, line = visitor
    give(page, "background", write(tmp_path / "meadow.png", gradient(400, 640)))
    line.lost = line.sent + 1
    choose(page, "background", photos["background"])
    slot(page, "background", ".slot-leave").click()
    page.locator(".stage-problem", has_text="evening.jpg was not sent").wait_for()
    settle(page)
    assert slot(page, "background", ".slot-name").inner_text() == "meadow.png"
    assert slot(page, "background", ".slot-again").is_hidden() and slot(page, "background", ".slot-leave").is_hidden()
    line.lost = line.sent + 2
    choose(page, "background", photos["background"])
    slot(page, "background", ".slot-again").wait_for()
    assert slot(page, "background", ".slot-leave").is_hidden(), "work may have begun on the small copy, which has arrived"
