"""What the server holds for a visitor: order, masks at full size, and colours along a cut-out's edge."""

import copy
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page_parts import gradient, ragged, write

from srin.composite import Placement
from srin.errors import SrinError
from srin.foreground import estimate_foreground
from srin.offsets import Offsets
from srin.segmentation.semantic_map import draw
from srin.ui.answering import request_queue
from srin.ui.blocks import build
from srin.ui.gallery.examples import load_examples
from srin.ui.session.previews import shown, shown_mask
from srin.ui.session.scene import Photo, Scene
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file, sweep
from srin.ui.stage import masks, stage
from srin.ui.stage.stage import act


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A photo that is larger than its proxy."""
    path = write(tmp_path_factory.mktemp("session") / "large.jpg", gradient(1600, 2000))
    return Photo.load(path, "photo")


def test_requests_are_answered_in_their_order():
    session, order = SessionState(), []
    for thread in [asking(session, number, order) for number in (3, 2, 1)]:
        thread.join(10)
    assert order == [1, 2, 3] and session.answered == 3


def asking(session, number, done):
    """A thread that asks for something, as Gradio's do; it ends when it is no longer needed."""
    thread = threading.Thread(target=lambda: list(session.answer(number, number, done.append)))
    thread.start()
    return thread


def test_a_forged_number_hurts_nobody_else(monkeypatch):
    monkeypatch.setattr(request_queue, "PATIENCE", 600)
    sessions, done, forged = [SessionState() for _ in range(request_queue.MOST_PATIENT + 1)], [], 10**6
    threads = [asking(sessions[0], forged + number, done) for number in range(20)]
    assert left(threads, 1) and not done, "one visitor's wait holds one thread"
    threads.append(asking(sessions[0], 1, done))
    assert left(threads, 1) and until(lambda: done) and done == [1], "what is not forged is answered meanwhile"
    with pytest.raises(SrinError, match="at once"):
        for number in range(request_queue.MOST_WAITING):
            list(sessions[0].answer(forged + 20 + number, 0, done.append))
    threads += [asking(session, forged, done) for session in sessions[1:]]
    assert left(threads, request_queue.MOST_PATIENT) and done == [1, forged], "few wait, of all visitors"
    for session in sessions:  # so that they wait no longer
        session._queue.answered = 10 * forged
        with session._queue._changed:
            session._queue._changed.notify()
    assert left(threads, 0)


def left(threads, count):
    """Whether so many threads still run, after the others had time to end."""
    until(lambda: sum(thread.is_alive() for thread in threads) <= count)
    return sum(thread.is_alive() for thread in threads) == count


def until(condition):
    """Whether the condition holds within ten seconds."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_every_visitor_starts_afresh():
    session = SessionState()
    session.strokes = 5
    other = copy.deepcopy(session)
    assert other.strokes == 0 and other.versions is not session.versions


def test_painting_keeps_full_detail_where_nothing_was_painted(photo, tmp_path):
    session = SessionState()
    session.scene = type(session.scene)(object=photo)
    fine = ragged(1600, 2000)
    fine[::7, 300:900] = 0  # detail that the proxy can't hold
    session.select(fine, "mask file")
    before = session.scene.mask
    layer = np.zeros((*before.proxy.shape, 4), np.uint8)
    layer[..., 3] = before.proxy
    layer[20:80, 20:80, 3] = 255  # painted in a corner
    mask = masks.edited(photo, before, write(tmp_path / "painted.png", layer))
    assert np.array_equal(mask[200:], fine[200:])
    assert mask[60:90, 60:90].min() == 255


def test_what_was_written_for_visitors_expires_and_the_gallery_stays(photo, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    build()
    gallery = set(tmp_path.rglob("preview.jpg"))
    files = [Path(url.removeprefix("gradio_api/file=")) for url in (shown(photo.proxy), shown_mask(ragged(90, 80)))]
    files.append(new_file("meadow-srin.png"))
    files[-1].touch()
    sweep(tmp_path, 3600)
    assert all(file.is_file() for file in files)
    sweep(tmp_path, -1)
    assert not any(file.exists() for file in files)
    assert gallery and all(file.is_file() for file in gallery)


def test_arbitrary_requests_are_answered_in_words():
    class Event:
        def __init__(self, data):
            self._data = data

    session = SessionState()
    for data in (
        None,
        {"kind": "nonsense"},
        {"kind": "photo", "role": "background", "path": "/etc/passwd"},
        {"kind": "photo", "role": [], "path": 3},
        {"kind": "prompt", "points": "many", "box": [1, 2]},
        {"kind": "restore", "version": float("nan")},
        {"kind": "edit", "path": "../../secrets"},
        {"kind": "adjust", "amount": "x"},
        {"kind": "choose", "index": -4},
    ):
        [(_, update)] = act(session, Event(data))
        assert update["state"]["problem"].endswith(".")
        assert session.scene.object is None


def test_a_failed_mask_leaves_the_scene_as_it_was(photo):
    session = SessionState()
    session.scene = type(session.scene)(object=photo)
    session.select(ragged(1600, 2000), "mask file")
    before = session.scene
    for wrong in (np.zeros((1600, 2000), np.uint8), np.full((1600, 2000), 255, np.uint8), np.zeros((5, 5), np.uint8)):
        with pytest.raises(SrinError):
            session.select(wrong, "mask file")
        assert session.scene is before
    with pytest.raises(SrinError, match="background"):
        before.composite(Placement())


@pytest.mark.parametrize("size", [120, 1000])
def test_the_old_background_leaves_the_edge(size):
    """A red disc photographed before green, with a soft edge: the estimate is red all over, and opaque pixels stay."""
    y, x = np.mgrid[:size, :size] * (120 / size)
    alpha = np.clip((40 - np.hypot(x - 60, y - 60)) / 8 + 0.5, 0, 1)
    red, green = np.array([200.0, 40, 30]), np.array([30.0, 190, 60])
    image = np.rint(alpha[..., None] * red + (1 - alpha[..., None]) * green).astype(np.uint8)
    mask = np.rint(alpha * 255).astype(np.uint8)
    cleaned = estimate_foreground(image, mask)
    edge = (mask > 20) & (mask < 235)
    assert np.abs(image[edge] - red).mean() > 30
    assert np.abs(cleaned[edge] - red).mean() < 8
    assert np.array_equal(cleaned[mask == 255], image[mask == 255])
    assert np.array_equal(cleaned[mask == 0], image[mask == 0])


def test_a_first_look_is_told_from_the_picture_with_regions(monkeypatch):
    """Only a network that uses a map is asked again once the photos' regions are found, and only until then."""
    session = SessionState()
    load_examples()[0].put_into(session)
    placement = session.placement
    for method, known, awaits in (("srin", False, True), ("srin", True, False), ("baseline", False, False)):
        monkeypatch.setattr(Scene, "has_regions", known)
        if known:  # drawn in the background otherwise
            monkeypatch.setattr(Scene, "semantic_map", lambda scene, composite, placement, **_: draw(composite, "colour"))
        assert stage._live(session.scene, placement, method, Offsets())["awaits"] is awaits


def test_a_picture_for_strengths_above_1_comes_where_it_is_asked_for():
    session = SessionState()
    load_examples()[0].put_into(session)
    data = {"placement": asdict(session.placement), "method": "baseline"}
    events = (SimpleNamespace(_data=data | {"strong": strong}) for strong in (False, True, "yes"))
    weak, both, forged = (stage.live(session, event)["live"]["urls"] for event in events)
    assert weak == forged == both[:1] and len(both) == 2 and both[1] != both[0]


def test_cancelling_a_download_stops_that_one_alone():
    """The Stage and the comparison may each have one; Cancel may also come before the server has heard of it."""

    class Download:
        stopped = False

        def stop(self):
            self.stopped = True

    session, first, second, third = SessionState(), Download(), Download(), Download()
    session.begin_download(1, first)
    session.begin_download(2, second)
    session.stop_download(1)
    session.stop_download(3)
    session.begin_download(3, third)
    assert (first.stopped, second.stopped, third.stopped) == (True, False, True)
    session.end_download(2)
    session.stop_download(2)
    assert not second.stopped
