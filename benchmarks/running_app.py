"""The app in a process of its own, and a browser that visits it, for what is measured on the page and on the endpoint."""

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

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SECONDS = 20  # until an app that is told to end is killed


class RunningApp:
    """The app as a user starts it, at a port of its own.

    Attributes:
        address: where it answers. folder: where it keeps visitors' files. process: the app's.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        """Starts it. settings: variables of its environment. Returns when it answers; RuntimeError if it ends before."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder, self.address = folder, f"http://127.0.0.1:{port}"
        variables = {"GRADIO_SERVER_PORT": port, "GRADIO_TEMP_DIR": folder, **settings}
        self._environment = os.environ | {name: str(value) for name, value in variables.items()}
        self.start()

    def start(self) -> None:
        """Once more, at the same address, after `kill`."""
        command = [sys.executable, "app.py"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL)
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(self.address, timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("The app ended before it answered; its words stand above.")

    def kill(self) -> None:
        """As a machine that fails does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_app(folder: Path, **settings: object) -> Iterator[RunningApp]:
    """See RunningApp. It ends with the block."""
    app = RunningApp(folder, **settings)
    try:
        yield app
    finally:
        app.process.terminate()
        try:
            app.process.wait(SECONDS)
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
