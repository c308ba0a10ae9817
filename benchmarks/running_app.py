"""Runs the app in a process of its own, and a browser, for benchmarks, tests and screenshots."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
STARTING, ENDING = 120, 20  # seconds that the app may take to answer, and to end when it is told to


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class RunningApp:
    """The app as a user starts it, at a port of its own.

    Attributes:
        address: where it answers. folder: where it keeps visitors' files. process: the app's.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        root: Path = ROOT,
        port: int | None = None,
        log: IO[str] | None = None,
        **settings: object,
    ) -> None:
        """Starts it, and returns when it answers.

        Args:
            arguments: of `python app.py`. root: the folder of app.py. port: None for a free one. log: takes all its
                output; None: only errors are shown, here. settings: variables of its environment.

        Raises:
            RuntimeError: it ended, or didn't answer in time.
        """
        port = port or free_port()
        self.folder, self.address = folder, f"http://127.0.0.1:{port}"
        self._command, self._root, self._log = [sys.executable, "app.py", *map(str, arguments)], root, log
        variables = {"GRADIO_SERVER_PORT": port, "GRADIO_TEMP_DIR": folder, **settings}
        self._environment = os.environ | {name: str(value) for name, value in variables.items()}
        self.start()

    def start(self) -> None:
        """Starts the app; after `kill`, again at the same address."""
        self.process = subprocess.Popen(
            self._command, cwd=self._root, env=self._environment, stdout=self._log or subprocess.DEVNULL, stderr=self._log
        )
        until = time.monotonic() + STARTING
        while self.process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(self.address, timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        self.kill()
        raise RuntimeError("the app ended before it answered, or did not answer; see what it said")

    def kill(self) -> None:
        """Kills the app without warning, as when a machine fails."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_app(folder: Path, **settings: Any) -> Iterator[RunningApp]:
    """Runs the app as long as the block, see RunningApp."""
    app = RunningApp(folder, **settings)
    try:
        yield app
    finally:
        app.process.terminate()
        try:
            app.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            app.kill()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def loaded(page: Page) -> None:
    """Waits until every part of the studio's page can be used; they begin one after the other."""
    for part in ("stage", "gallery", "compare"):
        page.locator(f".{part}:not([inert])").wait_for(state="attached")
