"""Takes the pictures of the page that the README shows, with whatever weights are here.

python -m docs.screenshots                    # needs Debian's chromium and requirements-dev.txt
python -m docs.screenshots --states FOLDER    # instead, every state at every width, light and dark, to be looked at
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from benchmarks.running_app import chromium, running_app

DOCS = Path(__file__).resolve().parent
SIZE = {"width": 1366, "height": 768}
WIDTHS = (390, 768, 1280, 1920)


def take(page: Page) -> None:
    page.locator(".opening").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=DOCS / "opening.png")
    page.locator(".stage-offer .example").nth(1).click()
    page.locator(".stage-live", has_text="Harmonized by").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=DOCS / "stage.png")
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    page.wait_for_timeout(1500)
    page.locator(".results").screenshot(path=DOCS / "compare.png")
    page.evaluate("scrollTo(0, 0)")
    page.locator('[data-tool="brush"]').click()
    page.wait_for_timeout(500)
    page.locator("#stage").screenshot(path=DOCS / "cut-out.png")


def take_states(page: Page, folder: Path) -> None:
    """Takes pictures of the page: empty, with an error, cutting out, busy, and done."""

    def take_all(state: str, before: Callable[[], None] = lambda: None) -> None:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 844 if width < 500 else 900})
            for scheme in ("light", "dark"):
                before()
                page.emulate_media(color_scheme=scheme)
                page.wait_for_timeout(150)
                page.screenshot(path=folder / f"{state}-{width}-{scheme}.png", full_page=True)

    page.locator(".example.has-after:visible").last.wait_for()
    take_all("empty")
    broken = {"name": "holiday.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"}
    page.locator('input[data-for="background"]').set_input_files([broken])
    page.locator(".stage-problem", has_text="not an image").wait_for()
    take_all("error")
    page.locator(".example:visible").nth(1).click()
    page.locator("#harmonize:not([disabled])").wait_for()
    page.locator('[data-tool="point"]').click()
    page.locator('[data-act="propose"]').click()
    page.locator(".stage-proposals button").first.wait_for()
    take_all("cutting")
    page.locator('[data-tool="place"]').click()

    def run() -> None:
        page.locator(".run-status:not(.busy)").wait_for()
        page.locator("#harmonize").click()
        page.locator('.tile[data-state="running"]').wait_for()

    take_all("busy", run)
    page.locator(".run-status", has_text="methods done").wait_for()
    page.locator(".why-ask").press("Enter")
    page.locator(".why-answers figure").first.wait_for()
    take_all("done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=Path, metavar="FOLDER")
    states = parser.parse_args().states
    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder)) as app, chromium() as browser:
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(180_000)
        page.goto(app.address)
        if states is None:
            take(page)
        else:
            states.mkdir(parents=True, exist_ok=True)
            take_states(page, states)


if __name__ == "__main__":
    main()
