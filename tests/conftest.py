"""Fixtures: data that may be missing, the running app, and a browser for the page's tests."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.running_app import FLAGS, RunningApp, free_port, loaded

# The tests' small networks are slower on two threads than on one, and sums of one thread are the same to the bit. torch
# reads this variable when it is imported; servers and commands that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[1]
# The tests' data beside the checkout; users don't have it.
SHARED = ROOT.parent / "shared"
CHROMIUM = shutil.which("chromium")
PATIENCE = 60_000  # milliseconds that the page may take for anything, on a busy machine


def require(there: bool, what: str) -> None:
    """Skips a test that lacks something. Fails it if SRIN_REQUIRE_ALL is set, as in CI."""
    if there:
        return
    if os.environ.get("SRIN_REQUIRE_ALL"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of photos with masks."""
    require((SHARED / "corpus" / "manifest.csv").is_file(), "the corpus")
    return SHARED / "corpus"


@pytest.fixture(scope="session")
def app_address(tmp_path_factory):
    """The address of the app, started as a user starts it."""
    with running_app(tmp_path_factory.mktemp("server")) as address:
        yield address


@contextmanager
def running_app(folder, *arguments, **how):
    """Runs the app, see RunningApp, and gives its address. folder: for its log and its files. It is killed at the end,
    since stopping in order takes seconds."""
    (folder / "files").mkdir(exist_ok=True)
    with open(folder / "log", "w") as log:
        try:
            app = RunningApp(folder / "files", *arguments, log=log, **how)
        except RuntimeError:
            pytest.fail((folder / "log").read_text())
    try:
        yield app.address
    finally:
        app.kill()


@contextmanager
def app_in_this_process(folder):
    """Runs the app in the tests' process, and gives its address. folder: for its files."""
    from srin.ui.blocks import build, launch_settings
    from srin.ui.gallery import gallery

    for computed_once in (gallery._results, gallery._opening):
        computed_once.cache_clear()  # their pictures lie in the former app's folder
    environment = pytest.MonkeyPatch()
    environment.setenv("GRADIO_TEMP_DIR", str(folder))
    port = free_port()
    demo = build()
    settings = launch_settings(demo)
    demo.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **settings)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        demo.close()
        environment.undo()


@pytest.fixture(scope="session")
def browser():
    require(CHROMIUM is not None, "Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(app_address, browser):
    """Opens fresh pages, each of a visitor of its own; fails on page errors and on requests that leave this machine."""
    yield from _page_opener(app_address, browser)


@pytest.fixture(scope="module")
def open_shared_page(app_address, browser):
    """As `open_page`, for pages that a module's tests share."""
    yield from _page_opener(app_address, browser)


def _page_opener(app_address, browser):
    wrong, contexts = [], []
    local = (app_address, "data:", "blob:")

    def open_one(width=1280, height=900, **how):
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("request", lambda request: request.url.startswith(local) or wrong.append(request.url))
        page.goto(app_address)
        loaded(page)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def page(open_page):
    """A fresh page at laptop size."""
    return open_page()
