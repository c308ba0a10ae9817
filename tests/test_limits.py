"""Limits that protect the host: settings from the environment, time limits, deleted files and forgotten sessions."""

import os
import threading
import time
from datetime import timedelta

import gradio as gr
import pytest
from gradio.routes import App
from page_parts import gradient, write

from srin import limits
from srin.errors import SrinError
from srin.image_io import load_image
from srin.ui import api
from srin.ui.answering import workers
from srin.ui.server.gradio_sessions import IDLE, forget_idle
from srin.ui.session.scene import Scene
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import KEPT, new_file, sweep
from srin.ui.stage import live_preview, stage


def test_limits_are_whole_numbers_from_the_environment(monkeypatch):
    monkeypatch.setenv("SRIN_TEST", " 250 ")
    assert limits._whole_number("SRIN_TEST", 7) == 250
    monkeypatch.setenv("SRIN_TEST", "")
    assert limits._whole_number("SRIN_TEST", 7) == 7
    for text in ("0", "-3", "100mb", "1e6"):
        monkeypatch.setenv("SRIN_TEST", text)
        with pytest.raises(SrinError, match="SRIN_TEST is .* whole number"):
            limits._whole_number("SRIN_TEST", 7)


def test_who_waits_too_long_is_told_and_the_next_one_has_to_wait_too(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.2)
    end, begun = threading.Event(), []
    with pytest.raises(SrinError, match="longer than the 0.2 seconds"):
        workers.run(end.wait)
    with pytest.raises(SrinError, match="busy"):
        workers.run(begun.append, 1)
    end.set()
    assert workers.run(lambda: "done") == "done" and not begun
    with pytest.raises(ZeroDivisionError):
        workers.run(lambda: 1 // 0)


def test_steps_share_one_deadline(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.5)

    def slow():
        for number in range(100):
            time.sleep(0.1)
            yield number

    seen = []
    with pytest.raises(SrinError, match="longer than"):
        for number in workers.steps(slow()):
            seen.append(number)
    assert 1 <= len(seen) <= 5
    workers.run(time.sleep, 0.15, seconds=5)  # until the last step has ended
    assert list(workers.steps(iter("abc"))) == ["a", "b", "c"]


def test_who_was_worked_on_is_not_told_that_others_took_the_time(monkeypatch):
    """The deadline passes before the next step has begun, here because the worker has something else to do."""
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.2)
    end = threading.Event()
    with pytest.raises(SrinError, match="longer than the 0.2 seconds"):
        for _ in workers.steps(iter("ab")):
            workers.models.submit(end.wait, 10)
    end.set()


def test_small_pictures_overtake_large_ones_at_the_endpoints(monkeypatch):
    """The large request is still at work when the small one is answered."""
    monkeypatch.setattr(limits, "LARGE", 5000)
    end, order = threading.Event(), []

    def work(image):
        size = load_image(image["path"]).shape[0]
        if size == 100:
            assert end.wait(30)
        order.append(size)

    files = {}
    for side in (20, 100):
        files[side] = {"path": str(write(new_file(f"{side}.png"), gradient(side, side)))}
    endpoint = api._endpoint(work)
    large = threading.Thread(target=endpoint, args=(files[100],))
    large.start()
    endpoint(files[20])
    endpoint({"path": files[20]["path"]})
    end.set()
    large.join(30)
    assert order == [20, 20, 100]
    assert not api._is_large({"path": "/etc/passwd"}, None, 7, {"path": files[20]["path"]})


def test_the_stages_work_is_given_up_too(monkeypatch):
    """What it still does afterwards is thrown away."""

    class Event:
        _data = {"kind": "way", "method": "srin"}

    end, ended, session = threading.Event(), threading.Event(), SessionState()

    def slow(draft, data):
        end.wait(10)
        draft.scene = Scene(ready=True)
        ended.set()

    monkeypatch.setattr(limits, "MAX_SECONDS", 0.2)
    monkeypatch.setitem(stage.ACTIONS, "way", slow)
    monkeypatch.setattr(live_preview, "harmonized", lambda *_: end.wait(10))
    monkeypatch.setattr(Scene, "preview", lambda *_: end.wait(10))
    [(_, acted)] = stage.act(session, Event)
    for answer in (acted["state"], stage.live(session, Event)["live"], stage.draw_map(session, Event)["map"]):
        assert "longer than the 0.2 seconds" in answer["problem"]
    end.set()
    assert ended.wait(10) and not session.scene.ready and session.answered == 0
    monkeypatch.setitem(stage.ACTIONS, "way", lambda draft, data: setattr(draft, "scene", Scene(ready=True)))
    list(stage.act(session, Event))
    assert session.scene.ready


def test_old_files_are_deleted_and_shared_ones_kept(tmp_path):
    old, new, shared = (tmp_path / name for name in ("old/a.png", "new/b.png", f"{KEPT}/c/d.png"))
    for path in (old, new, shared):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"picture")
    hour_ago = time.time() - 3600
    for path in (old, shared):
        os.utime(path, (hour_ago, hour_ago))
    sweep(tmp_path, 1800)
    assert not old.exists() and new.exists() and shared.exists() and old.parent.exists()
    os.utime(old.parent, (hour_ago, hour_ago))
    sweep(tmp_path, 1800)
    assert not old.parent.exists() and new.exists() and shared.exists()


def test_the_longest_unused_visit_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(limits, "MAX_VISITORS", 3)
    sessions = [SessionState() for _ in range(4)]
    for session in sessions:
        session.scene = Scene(ready=True)
    for index in (0, 1, 2, 0, 3):
        list(sessions[index].answer(sessions[index].answered + 1, {}, len))
    assert [session.scene.ready for session in sessions] == [True, False, True, True]


def test_calls_are_forgotten_and_pages_are_not():
    with gr.Blocks() as demo:
        work = gr.State(SessionState())
    sessions = App.create_app(demo.queue()).state_holder
    for key in ("page", "call", "unread", "new"):
        assert not sessions[key].state_data
        demo._queue.pending_event_ids_session[key] = {"answer"} if key == "unread" else set()
    session = sessions["page"][work._id]
    for key in ("page", "call", "unread"):
        sessions.time_last_used[key] -= timedelta(seconds=IDLE + 1)
    forget_idle(demo)
    assert set(sessions.session_data) == set(demo._queue.pending_event_ids_session) == {"page", "unread", "new"}
    assert sessions["page"][work._id] is session
