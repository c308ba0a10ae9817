"""Marking where the light comes from, at laptop and phone size: by clicks, paint, keys; undone, kept and cleared."""

import io
import json

import numpy as np
import pytest
from conftest import PATIENCE
from page_parts import at, give, halves, harmonized, kite, numbers, only, serious_findings, set_numbers, settle, write
from PIL import ExifTags, Image
from test_page_first import canvas
from test_page_phone import SMALL, TARGET, finger

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZES = {
    "laptop": {"width": 1366, "height": 768},
    "phone": {"width": 360, "height": 740, "has_touch": True, "is_mobile": True},
    "phone on its side": {"width": 740, "height": 360, "has_touch": True, "is_mobile": True},
}
SCENE = (640, 400)  # width, height
EVERYWHERE = "The networks take their light from the whole background."


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths: a scene that is blue on the left and orange on the right, an object and its mask."""
    folder = tmp_path_factory.mktemp("light")
    photo, mask = kite(240, 300)
    return {
        "background": write(folder / "halves.png", halves(*SCENE[::-1])),
        "object": write(folder / "kite.png", photo),
        "mask": write(folder / "kite mask.png", mask),
    }


def begin(page, photos):
    for role, path in photos.items():
        give(page, role, path)
    page.locator(".stage-placing").wait_for()
    harmonized(page)
    return page


@pytest.fixture(params=SIZES)
def anywhere(request, open_page, photos):
    """A page of each size, with the object in its scene."""
    page = begin(open_page(**SIZES[request.param]), photos)
    page.is_phone = "has_touch" in SIZES[request.param]
    return page


@pytest.fixture
def laptop(open_page, photos):
    return begin(open_page(**SIZES["laptop"]), photos)


def press(page, selector):
    """Presses by finger or mouse, whichever the page has."""
    button = page.locator(selector)
    button.scroll_into_view_if_needed()
    button.tap() if page.evaluate("navigator.maxTouchPoints") else button.click()


def mark(page, x, y):
    """Clicks a place on the background."""
    page.locator(".stage-marks").scroll_into_view_if_needed()
    place = at(page, SCENE, x, y)
    page.touchscreen.tap(*place) if page.evaluate("navigator.maxTouchPoints") else page.mouse.click(*place)
    harmonized(page)


def note(page, text):
    page.locator(".light-note", has_text=text).wait_for()


def warmth(page):
    """Red over blue on the canvas, where the object lies."""
    shown = canvas(page)
    height, width = shown.shape[:2]
    middle = shown[round(height * 0.48) : round(height * 0.6), round(width * 0.46) : round(width * 0.54)]
    return (middle[..., 2] - middle[..., 0]).mean()


def hatching(page):
    """float (h, w): the opacity of what is drawn over the picture."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    data = page.evaluate(
        """() => {
            const canvas = document.querySelector(".stage-marks");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.width, canvas.height, Array.from(data).filter((_, index) => index % 4 === 3)];
        }"""
    )
    return np.array(data[2]).reshape(data[1], data[0]) / 255


def sides(page):
    """The mean opacity over the scene's left and right quarter."""
    shown = hatching(page)
    height, width = shown.shape
    scale = 0.94 * min(width / SCENE[0], height / SCENE[1])
    half = SCENE[0] * scale / 2
    rows = slice(round(height / 2 - SCENE[1] * scale / 4), round(height / 2 + SCENE[1] * scale / 4))
    left = shown[rows, round(width / 2 - half) + 4 : round(width / 2 - half / 2)]
    right = shown[rows, round(width / 2 + half / 2) : round(width / 2 + half) - 4]
    return left.mean(), right.mean()


def test_a_click_decides_where_the_light_comes_from_and_undo_takes_it_back(anywhere):
    page = anywhere
    before, everywhere = canvas(page), warmth(page)
    press(page, ".light summary")
    note(page, EVERYWHERE)
    assert page.evaluate(SMALL, TARGET) == [] or not page.is_phone
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    mark(page, 0.12, 0.3)
    note(page, "take their light from the 50 % of the photo that you marked")
    only_left = warmth(page)
    left, right = sides(page)
    assert left < 0.02 and right > 0.3, "what may not lend is hatched"
    press(page, '[data-only="false"]')
    note(page, "take no light from the 50 %")
    harmonized(page)
    never_left = warmth(page)
    left, right = sides(page)
    assert right < 0.02 and left > 0.3
    assert only_left + 1 < everywhere < never_left - 1
    assert page.locator(".light-state").inner_text() == "never from 50 %"
    for said in ("take their light from the 50 %", EVERYWHERE):
        undo(page)
        note(page, said)
    harmonized(page)
    assert np.array_equal(canvas(page), before), "as it was"
    assert max(sides(page)) < 0.02


def undo(page):
    if page.evaluate("navigator.maxTouchPoints"):
        # Tools are beside the picture while it is edited.
        press(page, '[data-act="edit"]')
        press(page, '[data-act="undo"]')
        press(page, '[data-act="edit"]')
    else:
        page.locator('[data-act="undo"]').click()
    settle(page)


def test_painting_moving_reloading_and_taking_away(laptop, photos):
    page = laptop
    page.locator(".light summary").click()
    page.locator('[data-tool="lightbrush"]').click()
    page.locator('[data-light="size"]').fill("30")
    stroke(page, (0.05, 0.5), (0.05, 0.9))
    note(page, "that you marked, and from nowhere else")
    painted = page.locator(".light-state").inner_text()
    page.locator('[data-tool="lighterase"]').click()
    stroke(page, (0.05, 0.85), (0.05, 0.9))
    page.locator(".light-state", has_not_text=painted).wait_for()
    erased = page.locator(".light-state").inner_text()
    assert serious_findings(page) == {}
    page.emulate_media(color_scheme="light")
    page.locator('[data-tool="place"]').click()
    set_numbers(page, 62, 40, 40, 0)
    harmonized(page)
    assert page.locator(".light-state").inner_text() == erased, "moving the object keeps it"
    shown, placed = canvas(page), numbers(page)
    mask = marked(page)
    page.locator('.stage-work[data-state="kept"]').wait_for()
    page.reload()
    page.locator(".stage-placing").wait_for(timeout=PATIENCE)
    harmonized(page)
    assert page.locator(".light-state").inner_text() == erased and numbers(page) == placed
    assert np.array_equal(marked(page), mask)
    assert np.abs(canvas(page) - shown).max() <= 2
    with page.expect_download() as download:
        page.locator('.stage-placing [data-take="picture"]').click()
    said = settings(download.value.path().read_bytes())
    assert said["light"]["only"] is True and said["light"]["mark"]
    only(page, "reinhard", "srin")
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    assert "also the paper's networks, borrow from all of it" in page.locator(".results .marked").inner_text()
    with page.expect_download() as again:
        page.locator('[data-method="srin"] button').click()
        page.locator("#download").click()
    assert again.value.path().read_bytes() == download.value.path().read_bytes(), "one picture"


def stroke(page, *places):
    page.locator(".stage-marks").scroll_into_view_if_needed()
    points = [at(page, SCENE, *place) for place in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()
    harmonized(page)


def marked(page):
    """bool (h, w): what is not hatched, with the panel open."""
    if not page.locator(".light").evaluate("(box) => box.open"):
        page.locator(".light summary").click()
    page.locator('[data-tool="light"]').click()
    page.mouse.move(2, 2)
    shown = hatching(page) < 0.1
    return shown


def settings(data):
    with Image.open(io.BytesIO(data)) as picture:
        return json.loads(picture.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment][8:])


def test_keys_do_all_of_it(laptop):
    page = laptop
    page.locator(".stage-marks").focus()
    page.keyboard.press("l")
    page.locator('[data-tool="light"][aria-pressed="true"]').wait_for()
    for _ in range(9):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    note(page, "take their light from the 50 %")
    page.keyboard.press("Enter")
    note(page, EVERYWHERE)
    page.locator('[data-tool="lightbrush"]').focus()
    page.keyboard.press("Enter")
    page.locator(".stage-marks").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    note(page, "that you marked")
    page.keyboard.press("Control+z")
    note(page, EVERYWHERE)
    page.keyboard.press("v")
    page.locator('[data-tool="place"][aria-pressed="true"]').wait_for()
    before = numbers(page)
    page.keyboard.press("ArrowLeft")
    assert numbers(page)[0] < before[0], "they move the object again"


def test_where_nothing_is_left_it_is_said_and_moving_the_object_helps(laptop):
    page = laptop
    page.locator(".light summary").click()
    page.locator('[data-tool="lightbrush"]').click()
    page.locator('[data-light="size"]').fill("5")
    page.locator(".stage-marks").scroll_into_view_if_needed()
    page.mouse.click(*at(page, SCENE, 0.5, 0.55))
    note(page, "leaves nothing of the background to take the light from")
    assert "error" in page.locator(".light-note").get_attribute("class")
    page.locator('[data-tool="place"]').click()
    set_numbers(page, 20, 30, 40, 0)
    harmonized(page)
    note(page, "that you marked, and from nowhere else")
    page.locator('[data-act="unlight"]').click()
    note(page, EVERYWHERE)


def test_a_click_on_the_object_is_told_and_fingers_scroll(open_page, photos):
    page = begin(open_page(**SIZES["phone"]), photos)
    press(page, ".light summary")
    page.locator(".stage-marks").scroll_into_view_if_needed()
    page.touchscreen.tap(*at(page, SCENE, 0.5, 0.55))
    page.locator(".stage-problem", has_text="can't take its light from itself").wait_for()
    assert page.locator(".light-note").inner_text() == EVERYWHERE
    press(page, '[data-act="dismiss"]')
    press(page, '[data-tool="lightbrush"]')
    page.evaluate("scrollTo(0, 0)")
    x, y = at(page, SCENE, 0.15, 0.6)
    finger(page, *[(x, y - 12 * step) for step in range(8)])
    page.wait_for_function("scrollY > 30")
    settle(page)
    assert page.locator(".light-note").inner_text() == EVERYWHERE, "a finger scrolls until Edit is tapped"
    page.evaluate("scrollTo(0, 0)")
    press(page, '[data-act="edit"]')
    page.locator(".stage-marks").scroll_into_view_if_needed()
    x, y = at(page, SCENE, 0.15, 0.7)
    finger(page, *[(x, y - 3 * step) for step in range(8)])
    note(page, "that you marked")
