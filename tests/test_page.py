"""The whole page in a real Chromium."""

import numpy as np
import pytest
from conftest import PATIENCE, ROOT
from page_parts import only, settle

from benchmarks.running_app import loaded
from srin.harmonizer import CLASSICAL, NETWORKS, PAPER_NETWORKS, unavailable
from srin.image_io import load_image, load_mask

AT_FIRST = [method for method in (*CLASSICAL, *NETWORKS) if unavailable(method) is None]
CHEAP = ("copy-paste", "reinhard")


def harmonize(page):
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()


@pytest.mark.browser
def test_from_the_empty_page_to_the_downloaded_picture(page):
    width = page.locator("#stage").bounding_box()["width"]
    page.locator(".example:visible").nth(1).click()
    page.locator("#harmonize:not([disabled])").wait_for()
    harmonize(page)
    assert page.locator("#stage").bounding_box()["width"] == width
    assert page.locator(".tile").count() == len(AT_FIRST)
    for method in AT_FIRST:
        assert page.locator(f'[data-method="{method}"]').get_attribute("data-state") == "done"
    page.locator('[data-method="reinhard"] button').click()
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "winter_sunset_roofs-reinhard.png"
    result = load_image(download.value.path().read_bytes())
    with page.expect_download() as download:
        page.locator("#download-mask").click()
    mask = load_mask(download.value.path().read_bytes())
    background = load_image(ROOT / "assets" / "examples" / "winter_sunset_roofs.jpg")
    assert result.shape == background.shape and mask.shape == background.shape[:2]
    assert np.array_equal(result[mask == 0], background[mask == 0])
    assert np.abs(result[mask == 255].astype(int) - background[mask == 255]).mean() > 10


@pytest.mark.slow
@pytest.mark.browser
def test_the_papers_networks_are_there_for_who_asks(page):
    """They are folded away and not chosen at first. Once chosen, they have results that differ, and stay chosen."""
    group = page.locator(".of-paper")
    boxes = group.locator("input")
    assert boxes.count() == len(PAPER_NETWORKS) and group.locator("input:checked").count() == 0
    assert not boxes.first.is_visible()
    group.locator("summary").click()
    assert "composites" in group.locator(".trained").inner_text()
    only(page, "copy-paste", *PAPER_NETWORKS)
    page.locator(".example:visible").nth(1).click()
    page.locator("#harmonize:not([disabled])").wait_for()
    harmonize(page)
    for method in PAPER_NETWORKS:
        tile = page.locator(f'[data-method="{method}"]')
        assert tile.get_attribute("data-state") == "done" and "Paper: " in tile.inner_text()
    assert page.locator(".viewer-name").inner_text() == "Copy-paste", "one of the paper's is looked at by choice alone"
    page.locator(f'[data-method="{PAPER_NETWORKS[2]}"] button').click()
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "winter_sunset_roofs-paper-srin.png"
    background = load_image(ROOT / "assets" / "examples" / "winter_sunset_roofs.jpg")
    assert load_image(download.value.path().read_bytes()).shape == background.shape
    again = page.context.new_page()
    again.goto(page.url)
    loaded(again)
    assert again.locator(".of-paper").get_attribute("open") is not None
    assert again.locator(".of-paper input:checked").count() == len(PAPER_NETWORKS)


@pytest.mark.slow
@pytest.mark.browser
def test_harmonize_before_the_example_has_settled(page):
    """Pressed right after an example is chosen, it waits for the example and leaves nothing disabled."""
    only(page, *CHEAP)
    page.locator(".example:visible").nth(0).click()
    page.locator("#harmonize:not([disabled])").wait_for()
    page.evaluate(
        """() => {
            document.querySelectorAll(".gallery .example")[4].click();
            document.querySelector("#harmonize").click();
        }"""
    )
    page.locator(".run-status", has_text="methods done").wait_for()
    for method in CHEAP:
        assert page.locator(f'[data-method="{method}"] button').is_enabled()
    assert "otter" in page.locator('[data-role="object"] .slot-name').inner_text()
    assert page.locator(".stale").is_hidden()


@pytest.mark.browser
def test_a_broken_upload_gets_a_sentence_and_loses_nothing(page, tmp_path):
    page.locator(".example:visible").nth(0).click()
    page.locator("#harmonize:not([disabled])").wait_for()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture at all")
    page.locator('input[data-for="background"]').set_input_files(broken)
    page.locator(".stage-problem", has_text="not an image").wait_for()
    settle(page)
    assert page.get_by_text("Traceback").count() == 0
    page.locator('[data-act="dismiss"]').click()
    page.locator(".stage-problem").wait_for(state="hidden")
    assert page.locator('[data-role="background"] .slot-name').inner_text() == "mountain_lake.jpg"
    assert page.locator("#harmonize").is_enabled()


# On a quick machine the run would be done before a click from here arrives.
CANCEL_AT_ONCE = """() => new MutationObserver((_, observer) => {
    const cancel = document.querySelector('#cancel:not([disabled])');
    if (cancel) { observer.disconnect(); cancel.click(); }
}).observe(document.body, { subtree: true, attributes: true, childList: true })"""


@pytest.mark.slow
@pytest.mark.browser
def test_cancel_and_the_mark_on_results_of_another_composite(page):
    page.locator(".example:visible").nth(5).click()
    page.locator("#harmonize:not([disabled])").wait_for()
    page.evaluate(CANCEL_AT_ONCE)
    page.locator("#harmonize").click()
    page.locator(".run-status", has_text="Cancelled").wait_for()
    only(page, *CHEAP)
    page.locator('.stage-placing [data-act="harmonize"]').click()
    page.locator(".run-status", has_text="methods done").wait_for()
    page.locator('[data-number="x"]').fill("40")
    page.locator('[data-number="x"]').press("Enter")
    page.locator(".stale").wait_for()
    page.locator('[data-act="undo"]').click()
    page.locator(".stale").wait_for(state="hidden")


@pytest.mark.slow
@pytest.mark.browser
def test_a_full_queue_only_delays(app_address, browser):
    """Refused requests are repeated, and the page says so; nothing is lost."""
    page, refused = browser.new_page(), []  # a page of its own: the browser reports every refusal as an error
    page.set_default_timeout(PATIENCE)
    page.goto(app_address)
    loaded(page)

    def full(route):
        refused.append(route)
        route.fulfill(status=503, json={"detail": "Queue is full."})

    page.route("**/queue/join*", full, times=2)
    page.locator(".example:visible").nth(2).click()
    page.locator(".queue-note", has_text="Waiting for a place").wait_for()
    page.locator('[data-role="background"] .slot-name', has_text="old_arena.jpg").wait_for()
    page.locator(".queue-note", has_text="Waiting").wait_for(state="hidden")
    assert len(refused) == 2
    page.close()
