"""The page on a phone, upright and on its side, and on a slow network."""

import urllib.request

import pytest
from conftest import PATIENCE, ROOT
from page_parts import give, numbers, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EXAMPLES = ROOT / "assets" / "examples"
SIZES = {"upright": (360, 740), "on its side": (740, 360)}
TARGET = 44  # CSS pixels that a finger needs
# Controls that are too small for a finger: name, width and height, or those of the label that can be tapped instead.
SMALL = """(target) => [...document.querySelectorAll("button, select, input:not([type=file])")]
    .filter((control) => control.offsetParent && !control.closest("footer"))
    .map((control) => {
        const box = (control.type === "checkbox" ? control.closest("label") : control).getBoundingClientRect();
        return [control.outerHTML.slice(0, 90), Math.round(box.width), Math.round(box.height)];
    })
    .filter(([, width, height]) => Math.min(width, height) < target)"""


@pytest.fixture(params=SIZES)
def phone(request, open_page):
    width, height = SIZES[request.param]
    return open_page(width=width, height=height, has_touch=True, is_mobile=True)


def finger(page, *places):
    """One finger goes down at the first place and along the others."""
    client = page.context.new_cdp_session(page)
    kinds = ["touchStart", *["touchMove"] * (len(places) - 1)]
    for kind, (x, y) in zip(kinds, places, strict=True):
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def middle(page, selector):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def swipe(page, dx, dy):
    """Swipes over the middle of the canvas."""
    x, y = middle(page, ".stage-marks")
    finger(page, *[(x + dx * step / 8, y + dy * step / 8) for step in range(9)])


def in_view(page, selector):
    box = page.locator(selector).bounding_box()
    return box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


def test_fingers_scroll_until_edit_is_tapped_and_find_their_targets(phone):
    phone.locator(".opening").wait_for()
    for role in ("background", "object", "picture"):
        assert in_view(phone, f'.stage-waiting [data-choose="{role}"]'), "the first action"
    assert phone.evaluate(SMALL, TARGET) == []
    give(phone, "background", EXAMPLES / "hill_sunset.jpg")
    give(phone, "object", EXAMPLES / "otter.jpg")
    phone.touchscreen.tap(*middle(phone, ".stage-marks"))
    settle(phone)
    phone.locator(".stage-placing").wait_for()
    phone.locator(".stage-live", has_text="Harmonized by").wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth") <= phone.viewport_size["width"]
    assert phone.evaluate(SMALL, TARGET) == []
    assert in_view(phone, '[data-look="strength"]') and in_view(phone, '.stage-placing [data-take="picture"]')
    before = numbers(phone)
    swipe(phone, 0, -90)
    phone.wait_for_function("scrollY > 30")
    assert numbers(phone) == before, "one finger scrolls the page"
    phone.evaluate("scrollTo(0, 0)")
    phone.locator('[data-act="edit"]').tap()
    scrolled = phone.evaluate("scrollY")
    swipe(phone, 30, -30)
    settle(phone)
    after = numbers(phone)
    assert after[0] > before[0] + 3 and after[1] < before[1] - 3 and phone.evaluate("scrollY") == scrolled
    assert phone.evaluate(SMALL, TARGET) == []
    phone.locator('[data-act="edit"]').tap()
    phone.locator(".inset-canvas").tap()
    phone.locator(".stage-cutting").wait_for()
    assert phone.evaluate(SMALL, TARGET) == []
    phone.locator(".stage-next").tap()
    assert numbers(phone) == after, "correcting loses no place"


def test_on_a_slow_network_nothing_that_is_clicked_is_swallowed(app_address, browser):
    """400 ms latency and 1.5 Mbit/s: each control is used in the first frame in which it can be."""
    first = """(selector) => new Promise((done) => {
        const look = () => {
            const found = document.querySelector(selector);
            if (!found || found.closest("[inert]") || !found.getBoundingClientRect().width) requestAnimationFrame(look);
            else { found.click(); done(); }
        };
        look();
    })"""
    for selector, proof in (
        (".stage-offer .example", '[data-role="background"] img:not([hidden])'),
        ('[data-way="ready"]', '[data-way="ready"][aria-pressed="true"]'),
    ):
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        client = context.new_cdp_session(page)
        client.send("Network.enable")
        rate = 1.5e6 / 8
        slow = {"offline": False, "latency": 400, "downloadThroughput": rate, "uploadThroughput": rate}
        client.send("Network.emulateNetworkConditions", slow)
        page.goto(app_address, wait_until="commit")
        page.wait_for_function("document.body")
        page.evaluate(first, selector)
        page.locator(proof).wait_for()
        context.close()


def test_what_is_not_ready_looks_it_and_can_not_be_clicked(app_address, open_page):
    """Until its script runs, a component is inert, as the server sends it."""
    with urllib.request.urlopen(app_address) as answer:
        sent = answer.read().decode().replace("\\u003c", "<").replace("\\u003e", ">")
    components = [part[: part.index(">")] for part in sent.split("<section class=")[1:]]
    assert len(components) == 3 and all("inert" in component for component in components)
    page = open_page()
    assert page.locator("section[inert]").count() == 0
    button = page.locator('[data-way="ready"]')
    page.evaluate("document.querySelector('.stage').inert = true")
    assert float(page.locator(".stage").evaluate("(box) => getComputedStyle(box).opacity")) < 0.6
    page.mouse.click(*middle(page, '[data-way="ready"]'))
    settle(page)
    assert button.get_attribute("aria-pressed") == "false"
