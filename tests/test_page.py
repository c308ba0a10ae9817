"""The page in a real Chromium, and the public endpoint, against a server of their own."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import require

from srin.harmonizer import METHODS, Harmonizer, unavailable
from srin.image_io import load_image, load_mask

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The app as a user starts it; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "files")}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        else:
            pytest.fail((folder / "log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def page(server):
    """A fresh page at laptop size; fails on page errors and on requests that leave this machine."""
    require(CHROMIUM is not None, "Chromium")
    from playwright.sync_api import sync_playwright

    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        local = (server, "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(local) or wrong.append(request.url))
        page.goto(server)
        yield page
        browser.close()
    assert not wrong


@pytest.mark.browser
def test_from_the_empty_page_to_the_downloaded_picture(page, tmp_path):
    page.locator("#gallery button").nth(1).click()
    page.locator("#segmenter", has_text="the example's own mask").wait_for()
    page.locator("#preview img").wait_for()
    page.locator("#harmonize").click()
    page.locator("#status", has_text="methods are done").wait_for()
    for method in METHODS:
        if unavailable(method) is None:
            page.locator(f"#pick-{method}:not([disabled])").wait_for()
    page.locator("#pick-reinhard").click()
    with page.expect_download() as download:
        page.locator("#download").click()
    result = load_image(download.value.path().read_bytes())
    with page.expect_download() as download:
        page.locator("#download-mask").click()
    mask = load_mask(download.value.path().read_bytes())
    background = load_image(ROOT / "assets" / "examples" / "winter_sunset_roofs.jpg")
    assert result.shape == background.shape and mask.shape == background.shape[:2]
    assert np.array_equal(result[mask == 0], background[mask == 0])
    assert np.abs(result[mask == 255].astype(int) - background[mask == 255]).mean() > 10


@pytest.mark.browser
def test_a_broken_upload_gets_a_sentence(page, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture at all")
    page.locator("input[type=file]").first.set_input_files(broken)
    page.get_by_text("not an image").first.wait_for()
    assert page.get_by_text("Traceback").count() == 0


def test_the_endpoint_gives_what_python_gives(server):
    from gradio_client import Client, handle_file

    image = ROOT / "assets" / "examples" / "otter.jpg"
    mask = ROOT / "assets" / "examples" / "otter_mask.png"
    client = Client(server, verbose=False)
    result = client.predict(handle_file(image), handle_file(mask), "histogram", 1.0, api_name="/harmonize")
    expected = Harmonizer.from_pretrained("histogram").harmonize(image, mask)
    assert np.array_equal(load_image(result), expected)


def test_the_endpoint_refuses_in_a_sentence(server):
    from gradio_client import Client, handle_file

    image = handle_file(ROOT / "assets" / "examples" / "otter.jpg")
    mask = handle_file(ROOT / "assets" / "examples" / "osprey_mask.png")
    with pytest.raises(Exception, match="same size"):
        Client(server, verbose=False).predict(image, mask, "histogram", 1.0, api_name="/harmonize")
