"""Takes the pictures of the page that the README shows, with whatever weights are here.

    python docs/screenshots.py        # needs Debian's chromium and requirements-dev.txt
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).resolve().parent
SIZE = {"width": 1280, "height": 900}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def take(page: Page) -> None:
    page.locator(".gallery-card").nth(1).click()
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=DOCS / "stage.png")
    page.locator(".results").screenshot(path=DOCS / "compare.png")
    page.locator('[data-tool="brush"]').click()
    page.wait_for_timeout(500)
    page.locator("#stage").screenshot(path=DOCS / "cut-out.png")


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
        server = subprocess.Popen([sys.executable, "app.py"], cwd=DOCS.parent, env=environment)
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(180_000)
            for _ in range(900):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=1).close()
                    break
                except OSError:
                    page.wait_for_timeout(100)
            page.goto(f"http://127.0.0.1:{port}")
            take(page)
            browser.close()
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    main()
