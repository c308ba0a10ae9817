"""Malformed files, odd names and arbitrary values: answered by a sentence, in time, and without leaving the folders."""

import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import orjson
import pytest
from conftest import ROOT
from hostile_files import SLOW, encoded, hostile_files, photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from srin import image_io
from srin.cli import main
from srin.errors import ImageError, SrinError
from srin.harmonizer import Harmonizer
from srin.image_io import load_image, load_labels, load_mask, load_rgba, save_photo
from srin.ui.answering import request_queue
from srin.ui.answering.requests import UNEXPECTED
from srin.ui.compare import compare, explaining
from srin.ui.session.session_state import SessionState
from srin.ui.stage import stage

SECONDS = 3.0  # the time limit of decoding, for these tests
MEMORY = 3 << 30  # bytes that the command line may take: the largest picture that is allowed needs two thirds of it


@pytest.fixture(params=["sample", pytest.param("all", marks=pytest.mark.hostile)])
def files(request, tmp_path, monkeypatch):
    """The corpus, or a part of it, in a folder below the current one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "files"
    folder.mkdir()
    everything = hostile_files()
    assert len(everything) >= 200
    names = list(everything)
    if request.param == "sample":
        names = random.Random(7).sample([name for name in names if name not in SLOW], 70)
    for name in names:
        (folder / name).write_bytes(everything[name])
    return sorted(folder.iterdir())


def tree(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_python_answers_in_pictures_or_sentences(files, tmp_path, monkeypatch):
    monkeypatch.setattr(image_io, "DECODE_SECONDS", SECONDS)
    before, good = tree(tmp_path), 0
    for path in files:
        for load in (load_rgba, load_mask, load_labels):
            began = time.thread_time()
            try:
                loaded = load(path)
            except SrinError as error:
                assert isinstance(error, ImageError) and str(error).startswith("The "), path.name
            else:
                good += load is load_rgba
                if load is load_rgba and path.name not in SLOW:
                    save_photo(loaded[0], tmp_path / "out.png", path, "a comment")
                    assert np.array_equal(load_image(tmp_path / "out.png"), loaded[0]) or "profile" in path.name
            assert time.thread_time() - began < 2 * SECONDS + 2, path.name
    assert good > len(files) / 3  # many are odd, and still pictures
    assert tree(tmp_path) - before == {"out.png"}


def readable(path):
    """The size of a file's picture, or None if it can't be read."""
    try:
        return load_image(path).shape[:2]
    except ImageError:
        return None


def half(size):
    """A mask of the upper half."""
    mask = np.zeros(size, np.uint8)
    mask.flat[: mask.size // 2] = 255
    return mask


def ours(caplog):
    """What SRIN Studio logged, without Pillow's remarks on odd files."""
    return [record for record in caplog.records if record.name.startswith("srin")]


def run_main(*arguments):
    """Runs the command line in this process. Returns its exit status; checks that nothing was logged as unexpected."""
    return main([str(argument) for argument in arguments])


def test_a_folder_on_the_command_line_loses_only_the_bad_ones(files, tmp_path, monkeypatch):
    """In one process, every file that Python can read gives a result, and every other one an error message."""
    monkeypatch.setattr(image_io, "DECODE_SECONDS", SECONDS)
    (tmp_path / "masks").mkdir()
    expected = set()
    for path in files:
        size = readable(path)
        if size is not None and size != (1, 1):  # a single pixel can't be both foreground and background
            expected.add(f"{path.stem}.png")
        Image.fromarray(half(size or (48, 64))).save(tmp_path / "masks" / f"{path.stem}.png", compress_level=1)
    before = tree(tmp_path)
    # Its own peak: the peak of a process's children includes what the process held when it started them.
    program = (
        "import sys, srin.cli; code = srin.cli.main(sys.argv[1:]); print(open('/proc/self/status').read()); exit(code)"
    )
    command = [sys.executable, "-c", program, "harmonize", "files", "masks", "-o", "out", "--method", "histogram"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SRIN_DECODE_SECONDS": f"{SECONDS:.0f}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "unexpectedly" not in done.stderr, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    for path in files:
        assert f"{path.stem}.png" in expected or f"srin: {path.name}: " in done.stderr
    assert tree(tmp_path) - before == {"out", *(f"out/{name}" for name in expected)}
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout)[1]) * 1024
    assert 1 << 26 < peak < MEMORY


def test_masks_and_maps_may_be_hostile_too(files, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr(image_io, "DECODE_SECONDS", SECONDS)
    (tmp_path / "images").mkdir()
    (tmp_path / "good").mkdir()
    for path in files:
        if path.name in SLOW:  # other tests read these
            path.unlink()
            continue
        photo().save(tmp_path / "images" / f"{path.stem}.png")
        Image.fromarray(half((48, 64))).save(tmp_path / "good" / f"{path.stem}.png")
    run_main("harmonize", "images", "files", "-o", "by_masks", "--method", "histogram")
    run_main("harmonize", "images", "good", "--map", "files", "-o", "by_maps", "--method", "srin")
    run_main("segment", "files", "-o", "maps", "--segmenter", "colour")
    said = capsys.readouterr().err
    assert not ours(caplog) and "unexpectedly" not in said and "Traceback" not in said, said
    for folder in ("by_masks", "by_maps", "maps"):
        made = list((tmp_path / folder).iterdir())
        assert made and all(load_image(path).size for path in made), folder


NAMES = [
    "..dots...png", "-o.png", "--method.png", "two words.png", "a\nline.png", "\x1b[31mred\x1b[0m.png",
    "\u202egnp.exe.png", "Schnee\u2603.png", "\U0001f9a6.png", "e\u0301.png", "%2e%2e%2f.png", "'; rm -rf ~.png",
    "$(touch executed).png", "<img src=x onerror=alert(1)>.png", "CON.png", "x" * 251 + ".png", "\udcff\udcfe.png",
    "{0}.png", "a.tar.gz.png",
]  # fmt: skip


def test_names_and_links_in_folders(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    images, masks, out = (tmp_path / name for name in ("images", "masks", "out"))
    for folder in (images, masks, out):
        folder.mkdir()
    for name in NAMES:
        photo().save(images / name)
        Image.fromarray(half((48, 64))).save(masks / name)
    odd = ["fifo", "folder", "dangling", "circle", "zero", "memory", "endless"]
    os.mkfifo(images / "fifo.png")
    (images / "folder.png").mkdir()
    (images / "dangling.png").symlink_to(tmp_path / "nowhere")
    (images / "circle.png").symlink_to(images / "circle.png")
    (images / "zero.png").symlink_to("/dev/zero")
    (images / "memory.png").symlink_to("/proc/self/mem")
    with open(images / "endless.png", "wb") as sparse:
        sparse.truncate(1 << 40)
    for name in odd:
        shutil.copy(masks / NAMES[0], masks / f"{name}.png")
    secret = tmp_path / "secret"
    secret.write_text("nobody's business")
    (images / "secret.png").symlink_to(secret)
    (out / NAMES[0]).symlink_to(secret)  # a result replaces the link, not what it leads to
    before = tree(tmp_path)
    assert run_main("harmonize", "images", "masks", "-o", "out", "--method", "histogram") == 1
    said = capsys.readouterr().err
    assert not ours(caplog) and "Traceback" not in said
    assert f"{len(NAMES)} of {len(NAMES) + len(odd)} pictures harmonized" in said  # counts the secret, not the folder
    assert tree(tmp_path) - before == {f"out/{name}" for name in NAMES[1:]}
    assert secret.read_text() == "nobody's business" and "nobody's business" not in said
    assert "\x1b" not in said and "\u202e" not in said
    for name in NAMES:
        assert load_image(out / name).shape == (48, 64, 3) and not (out / name).is_symlink()


# --------------------------------------------------------------------------- the page


class Event:
    def __init__(self, data):
        self._data = data


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def upload(folder, name, content):
    (folder / name).write_bytes(content)
    return str(folder / name)


def acted(visitor, **data):
    """What the page is told, as it is sent."""
    [(_, update)] = stage.act(visitor, Event(data))
    state = update["state"]
    orjson.dumps(state)
    assert state["problem"] != UNEXPECTED, data
    return state


def rectangle(width, height):
    """A mask with foreground and background, however narrow the picture."""
    return encoded(Image.fromarray(half((height, width))), "PNG")


def test_the_page_takes_any_file_for_any_role(files, uploads, monkeypatch, caplog):
    monkeypatch.setattr(image_io, "DECODE_SECONDS", SECONDS)
    visitor = SessionState()
    good = upload(uploads, "good.png", encoded(photo(), "PNG"))
    acted(visitor, kind="photo", role="object", path=good)
    taken = 0
    for path in files:
        if path.name in SLOW:
            continue
        at = upload(uploads, path.name, path.read_bytes())
        for data in ({"kind": "photo", "role": "mask"}, {"kind": "edit"}):
            acted(visitor, **data, path=at)
        for role in ("background", "picture"):
            acted(visitor, kind="way", way="ready" if role == "picture" else "pair")
            state = acted(visitor, kind="photo", role=role, path=at, name=path.name)
            taken += not state["problem"]
            assert state["object"]["name"] == "photo", "what was there before is kept"
    assert taken > len(files) / 3
    assert not ours(caplog)


@pytest.mark.parametrize(
    "name", ["one_row_png.png", "one_column_jpg.jpg", "quite_transparent_png.png", "cmyk_jpg.jpg", "lab_tif.tif"]
)
def test_odd_pictures_go_all_the_way(name, uploads, caplog):
    """From the upload to the full-resolution download, also with a network and the semantic map."""
    content, visitor = hostile_files()[name], SessionState()
    height, width = load_image(content).shape[:2]
    acted(visitor, kind="way", way="ready")
    acted(visitor, kind="photo", role="picture", path=upload(uploads, name, content), name=name)
    acted(visitor, kind="photo", role="mask", path=upload(uploads, "mask.png", rectangle(width, height)))
    *_, last = compare.start(visitor, Event({"methods": ["histogram", "poisson", "srin"], "run": 1}))
    assert last["run"]["state"] == "done", last["run"]["text"]
    orjson.dumps(last["run"])
    for what in ("picture", "mask", "sheet", "animation"):
        *_, saved = compare.save(visitor, Event({"what": what, "method": "srin", "format": "png"}))
        assert "url" in saved["saved"], (what, saved)
    for what in ("picture", "mask", "cutout"):
        *_, saved = stage.save(visitor, Event({"what": what, "method": "srin", "format": "png"}))
        assert "url" in saved["saved"], (what, saved)
    assert "url" in compare.difference(visitor, Event({"method": "srin", "other": "poisson"}))["difference"]
    explained = explaining.explain(visitor, Event({"x": 0.5, "y": 0.1}))["why"]
    assert explained.get("problem") != UNEXPECTED
    assert not ours(caplog)


def test_files_that_were_never_uploaded_stay_closed(uploads, tmp_path):
    outside = upload(tmp_path, "outside.png", encoded(photo(), "PNG"))
    (uploads / "link.png").symlink_to(outside)
    visitor = SessionState()
    for path in (
        outside, f"{uploads}/../outside.png", "../outside.png", "outside.png", f"{uploads}/link.png", f"{uploads}", "",
        f"{uploads}/", "file://" + outside, "/etc/passwd", "/proc/self/environ", "http://127.0.0.1/a.png", "\0",
        "a" * 5000, f"{uploads}/\0.png", f"{uploads}/" + "b" * 300, "\ud800", f"{uploads}2/a.png", "~/.ssh/id_rsa",
        None, 7, ["a"], {},
    ):  # fmt: skip
        state = acted(visitor, kind="photo", role="object", path=path)
        assert state["problem"] == "The file did not arrive. Choose it again." and state["object"] is None


names = st.sampled_from(
    [
        "kind",
        "role",
        "path",
        "name",
        "request",
        "strokes",
        "way",
        "points",
        "box",
        "index",
        "version",
        "adjustment",
        "amount",
    ]
    + [
        "x",
        "y",
        "label",
        "placement",
        "scale",
        "rotation",
        "flip",
        "method",
        "methods",
        "segmenter",
        "key",
        "run",
        "what",
    ]
    + ["format", "strength", "feather", "offsets", "exposure", "saturation", "other", "light", "only", "clear", "why"]
)
texts = st.text(st.characters(), max_size=20) | st.sampled_from(
    [
        *stage.ACTIONS,
        *stage.ROLES,
        "ready",
        "pair",
        "invert",
        "hair",
        "feather",
        "srin",
        "histogram",
        "sheet",
        "animation",
        "picture",
        "cutout",
        "png",
    ]
)
plain = st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats() | texts
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names | texts, inner, max_size=6)
)
requests = st.dictionaries(names, values, max_size=8) | values


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A session with all kinds of photos, masks and results, which requests may then change."""
    folder = tmp_path_factory.mktemp("prepared")
    visitor = SessionState()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        for role in ("background", "object"):
            acted(visitor, kind="photo", role=role, path=upload(folder, f"{role}.png", encoded(photo(), "PNG")))
        acted(visitor, kind="photo", role="mask", path=upload(folder, "mask.png", rectangle(64, 48)))
        *_, last = compare.start(visitor, Event({"methods": ["histogram"], "run": 1}))
        assert last["run"]["state"] == "done"
        yield visitor


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(sorted(set(stage.ACTIONS) - {"example"})), data=requests)  # which is of megapixels
def test_arbitrary_values_from_the_browser(prepared, kind, data):
    """Any request gets an answer that can be sent, and nothing is logged as an error of the app."""
    failures = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = failures.append
    logging.getLogger().addHandler(handler)
    patience, request_queue.PATIENCE = request_queue.PATIENCE, 0
    try:
        event = Event({**data, "kind": kind} if isinstance(data, dict) else data)
        answers = [*(update for _, update in stage.act(prepared, event)), stage.live(prepared, event)]
        answers.append(stage.hover(prepared, event))
        answers += [stage.draw_map(prepared, event), explaining.explain(prepared, event)]
        compare.cancel(prepared, event)
        answers += [*compare.start(prepared, event), *compare.save(prepared, event)]
        answers += [compare.difference(prepared, event), *stage.save(prepared, event)]
        for answer in answers:
            orjson.dumps(answer)
            assert UNEXPECTED not in json.dumps(answer)
    finally:
        request_queue.PATIENCE = patience
        logging.getLogger().removeHandler(handler)
    assert not failures, [record.getMessage() for record in failures]


def test_any_bytes_are_a_picture_or_a_sentence():
    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.sampled_from(sorted(set(hostile_files()) - SLOW)), st.integers(0, 5000), st.binary(max_size=40))
    def spliced(name, at, piece):
        content = hostile_files()[name]
        try:
            load_rgba(content[:at] + piece + content[at + len(piece) :])
        except ImageError:
            pass

    spliced()


def test_python_takes_arrays_and_numbers_as_they_are_documented():
    image, mask = np.asarray(photo()), half((48, 64))
    harmonizer = Harmonizer.from_pretrained("histogram")
    for strength in (-1, 2.01, float("nan"), float("inf")):
        with pytest.raises(SrinError, match="strength"):
            harmonizer.harmonize(image, mask, strength=strength)
