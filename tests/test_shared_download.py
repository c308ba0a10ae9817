"""One download for everybody: begun once, stopped by those who asked, continued where it stopped."""

import shutil
import threading
import time
from collections import namedtuple

import pytest

from srin.segmentation import checkpoints, shared_download
from srin.segmentation.shared_download import SharedDownload

pytest_plugins = ["tiny_sam"]


class Held:
    """Downloads that wait before each chunk until `go` lets it through."""

    def __init__(self):
        self.go, self.waiting = threading.Semaphore(0), threading.Event()
        self.read = checkpoints._read

    def __call__(self, *arguments):
        self.waiting.set()
        assert self.go.acquire(timeout=60)
        return self.read(*arguments)


@pytest.fixture
def held(monkeypatch):
    held = Held()
    monkeypatch.setattr(checkpoints, "CHUNK", 10_000)
    monkeypatch.setattr(checkpoints, "_read", held)
    yield held
    held.go.release(10_000)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_two_at_once_share_it_and_it_stops_when_neither_wants_it(tiny, server, held):
    shared = SharedDownload()
    assert shared.status.state == "idle"
    shared.ask("first", tiny)
    shared.ask("second", tiny)
    held.go.release(3)
    assert until(lambda: shared.status.done > 0) and shared.status.total == tiny.size
    assert not shared.cancel("first") and shared.status.state == "running"
    assert shared.cancel("second") and shared.status.state == "stopped", "at once, while the server is still waited for"
    held.go.release(10_000)
    assert until(lambda: shared._thread is None)
    assert shared.status.state == "stopped" and not tiny.path.exists() and tiny.part.stat().st_size > 0
    kept = tiny.part.stat().st_size
    shared.ask("second", tiny)
    assert until(lambda: tiny.is_complete and shared.status.state == "idle")
    assert server.requests == [None, f"bytes={kept}-"]
    assert tiny.path.read_bytes() == server.content


def test_asked_for_again_before_it_has_stopped_it_goes_on(tiny, server, held):
    shared = SharedDownload()
    shared.ask("one", tiny)
    assert held.waiting.wait(30)
    for _ in range(20):
        assert shared.cancel("one")
        shared.ask("one", tiny)
    assert [thread.name for thread in threading.enumerate()].count("download") == 1
    held.go.release(10_000)
    assert until(lambda: tiny.is_complete) and until(lambda: shared.status.state == "idle")
    assert len(server.requests) == 1


def test_stopped_on_its_way_out_it_begins_again(tiny, monkeypatch):
    """Asked for again between its last chunk and the end of its thread."""
    shared, tries = SharedDownload(), []

    def stopping(checkpoint, progress):
        tries.append(checkpoint)
        if len(tries) == 1:
            shared.cancel("one")
            with pytest.raises(shared_download._Stopped):
                progress(1, 2)
            shared.ask("one", tiny)
            raise shared_download._Stopped

    monkeypatch.setattr(shared_download, "download", stopping)
    shared.ask("one", tiny)
    assert until(lambda: shared.status.state == "idle") and tries == [tiny, tiny]


def test_who_has_gone_stops_nothing_and_is_not_waited_for(tiny, held):
    shared = SharedDownload()
    shared.ask("closed its page", tiny)
    shared.leave("closed its page")
    assert shared.status.state == "running"
    assert shared.cancel("the same after a reload") and shared.status.state == "stopped"


def test_failures_are_told_and_the_next_try_goes_on(tiny, server, monkeypatch):
    shared = SharedDownload()

    def failed(words):
        shared.ask("one", tiny)
        assert until(lambda: shared.status.state != "running")
        assert shared.status.state == "failed" and words in shared.status.problem and not tiny.is_complete

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: namedtuple("usage", "free")(1000))
        failed("only 0 MB are free")
    server.stop_after = 200_000
    failed("broke off")
    server.stop_after, whole = None, server.content
    server.content = bytes(len(whole))
    failed("not the published one")
    assert not tiny.part.exists()
    server.content = whole
    shared.ask("one", tiny)
    assert until(lambda: shared.status.state == "idle") and tiny.path.read_bytes() == whole


def test_the_time_left_follows_the_pace(tiny, monkeypatch):
    now, shared = [100.0], SharedDownload()
    monkeypatch.setattr(shared_download.time, "monotonic", lambda: now[0])
    shared._status = shared_download.Status("running", 0, 1000)
    shared._progress(300, 1000)  # 300 were there already, nearly
    assert shared.status.left is None
    now[0] += 10
    shared._progress(400, 1000)
    assert shared.status.left == 60 and shared.status.done == 400
