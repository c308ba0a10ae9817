"""Results never replace inputs, only whole results of the same settings count as done, and folders are paired."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unicodedata

import numpy as np
import pytest
from conftest import ROOT
from hostile_files import encoded, hostile_files, photo
from PIL import Image
from test_inputs import disc

from srin import budget, outputs, parts
from srin.batch import jobs
from srin.cli import main
from srin.errors import ImageError, OutputError
from srin.image_io import load_image, save_image
from srin.pairing import Index, picture_files


@pytest.fixture
def folders(tmp_path):
    """Three composites and their masks."""
    for name in ("c", "m"):
        (tmp_path / name).mkdir()
    for stem in "xyz":
        photo(60, 40).save(tmp_path / "c" / f"{stem}.png")
        Image.fromarray(disc()).save(tmp_path / "m" / f"{stem}.png")
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def harmonize(folder, output, *more, images="c", masks="m", method="reinhard"):
    command = ["harmonize", folder / images, folder / masks, "-o", output, "--method", method, *more]
    return main([str(part) for part in command])


# --------------------------------------------------------------------------- inputs are never replaced


def test_no_command_replaces_an_input(folders, capsys):
    (folders / "link").symlink_to(folders / "c")
    (folders / "file.png").symlink_to(folders / "c" / "x.png")
    os.link(folders / "m" / "x.png", folders / "hard.png")
    (folders / "out").mkdir()
    os.link(folders / "c" / "y.png", folders / "out" / "z.png")  # the result of z is the composite y
    x, mask = "c/x.png", "m/x.png"
    photo(60, 40).save(folders / "x_painted.png")
    before = contents(folders)
    for command in (
        ["harmonize", "c", "m", "-o", "m"],
        ["harmonize", "c", "m", "-o", "c"],
        ["harmonize", "c", "m", "-o", "c/../link"],
        ["harmonize", "link", "m", "-o", "c"],
        ["harmonize", "c", "m", "-o", "out"],
        ["harmonize", "c", "m", "--map", "m", "-o", "m", "--overwrite"],
        ["harmonize", x, mask, "-o", x],
        ["harmonize", x, mask, "-o", mask],
        ["harmonize", x, mask, "-o", "link/x.png"],
        ["harmonize", x, mask, "-o", "file.png"],
        ["harmonize", "file.png", mask, "-o", x],
        ["harmonize", x, "hard.png", "-o", mask],
        ["harmonize", x, mask, "--map", "c/y.png", "-o", "c/y.png"],
        ["compare", x, mask, "-o", mask],
        ["segment", "c", "-o", "c"],
        ["segment", "c", "--mask", "m", "-o", "m"],
        ["segment", x, "-o", x],
        ["segment", "x_painted.png", "-o", "x.png"],
    ):
        method = ["--method", "reinhard"] if command[0] == "harmonize" else []
        where = [str(folders / part) if not part.startswith("-") and "/" in part or part in ("c", "m", "link", "out")
                 or part.endswith(".png") else part for part in command[1:]]  # fmt: skip
        assert main([command[0], *where, *method]) == 1, command
        said = capsys.readouterr().err
        assert "hoose another" in said and "Traceback" not in said, command
        assert contents(folders) == before, command


def test_where_nothing_can_be_written_is_said_before_the_work(folders, capsys, monkeypatch):
    def never(*_):
        raise AssertionError("a method was loaded")

    monkeypatch.setattr("srin.harmonizer.Harmonizer.from_pretrained", never)
    (folders / "taken").write_text("a file")
    x, mask = folders / "c/x.png", folders / "m/x.png"
    for command, words in (
        (["harmonize", folders / "c", folders / "m", "-o", folders / "taken"], "is a file"),
        (["harmonize", folders / "c", folders / "m", "-o", folders / "taken/below"], "is a file"),
        (["harmonize", folders / "c", mask, "-o", folders / "out"], "must be a folder too"),
        (["harmonize", x, folders / "m", "-o", folders / "out.png"], "is a folder"),
        (["harmonize", x, mask, "-o", folders / "none/out.png"], "does not exist"),
        (["harmonize", x, mask, "-o", folders / "out.tif"], "must end in one of"),
        (["harmonize", x, mask, "-o", folders / "c"], "must end in one of|is a folder"),
        (["compare", x, folders / "m", "-o", folders / "out.png"], "is a folder"),
        (["compare", folders / "c", folders / "m", "-o", folders / "out.png"], "made of one picture"),
        (["harmonize", folders / "none", folders / "m", "-o", folders / "out.png"], "There is no file or folder"),
        (["segment", x, "-o", folders / "map.jpg"], "must end in one of .png"),
        (["segment", x, "-o", folders / "map.webp"], "must end in one of .png"),
    ):
        assert main([str(part) for part in command]) == 1
        said = capsys.readouterr().err
        assert any(word in said for word in words.split("|")), said
    assert not (folders / "out").exists()


# --------------------------------------------------------------------------- what is done


def changed(folder, before):
    return {path.name for path, time_ in before.items() if path.stat().st_mtime_ns != time_}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_done_means_made_with_the_same_and_whole(folders, capsys):
    out = folders / "out"
    assert harmonize(folders, out) == 0
    before = times(out)
    assert harmonize(folders, out, "--resume") == 0 and "3 were finished before" in capsys.readouterr().err
    assert not changed(out, before)
    for options in (["--strength", "0.5"], ["--working-size", "128"], ["--invert-mask"]):
        assert harmonize(folders, out, "--resume", *options) == 0
        assert "3 of 3 pictures harmonized" in capsys.readouterr().err, options
    assert harmonize(folders, out, "--resume", method="histogram") == 0
    assert "3 of 3 pictures harmonized" in capsys.readouterr().err
    expected = load_image(out / "x.png")

    whole = (out / "x.png").read_bytes()
    for content in (b"", whole[:5], whole[:200], whole[: len(whole) // 2], whole[:-12], whole[:-1]):
        (out / "x.png").write_bytes(content)
        assert harmonize(folders, out, "--resume", method="histogram") == 0
        assert "1 of 1 pictures harmonized" in capsys.readouterr().err, len(content)
        np.testing.assert_array_equal(load_image(out / "x.png"), expected)

    # A mask of another content and the old time.
    status = (folders / "m" / "y.png").stat()
    Image.fromarray(np.roll(disc(), 7, 1)).save(folders / "m" / "y.png")
    os.utime(folders / "m" / "y.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert harmonize(folders, out, "--resume", method="histogram") == 0
    assert "1 of 1 pictures harmonized" in capsys.readouterr().err


def test_other_peoples_files_are_kept_and_named(folders, capsys):
    out = folders / "out"
    out.mkdir()
    photo(60, 40).save(out / "y.png")
    (out / "z.png").write_text("notes")
    before = contents(out)
    for more in ([], ["--resume"]):
        assert harmonize(folders, out, *more) == 1
        said = capsys.readouterr().err
        assert "y.png was not made by srin" in said and "z.png was not made by srin" in said and "2 failed" in said
        assert before.items() <= contents(out).items() and (out / "x.png").is_file()
    assert harmonize(folders, out, "--overwrite") == 0 and not before.items() & contents(out).items()


def test_maps_are_drawn_again_where_photo_mask_or_file_changed(folders, capsys):
    maps = folders / "maps"
    command = ["segment", folders / "c", "--mask", folders / "m", "-o", maps, "--segmenter", "colour"]
    command = [str(part) for part in command]
    assert main(command) == 0
    before = times(maps)
    assert main(command) == 0 and not changed(maps, before)
    Image.fromarray(np.roll(disc(), 9, 1)).save(folders / "m" / "x.png")
    (maps / "y.png").write_bytes((maps / "y.png").read_bytes()[:-40])
    (maps / "z_painted.png").unlink()
    capsys.readouterr()
    assert main(command) == 0 and "3 of 3 maps drawn" in capsys.readouterr().err
    save_image(np.zeros((40, 60), np.uint8), maps / "x.png")  # drawn by hand
    assert main(command) == 1 and "x.png was not made by srin" in capsys.readouterr().err
    assert load_image(maps / "x.png").max() == 0


def test_what_a_kill_left_is_swept_and_what_is_written_is_not(tmp_path):
    left = [tmp_path / f".{i:032x}.part" for i in range(3)]
    for path in left:
        path.write_bytes(b"half")
    others = [tmp_path / ".notes.part", tmp_path / "film.part"]
    for path in others:
        path.touch()
    with parts.replacing(tmp_path / "new.png") as part:
        part.write_bytes(b"whole")
        assert parts.sweep(tmp_path) == 3 and part.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.part", "film.part", "new.png"]


# --------------------------------------------------------------------------- folders


def test_every_kind_of_picture_in_a_folder_is_done_or_named(folders, capsys):
    images, masks = folders / "c", folders / "m"
    kinds = {"a.jfif": "JPEG", "b.JPE": "JPEG", "d.GIF": "GIF", "e.ppm": "PPM", "f.PNG": "PNG"}
    kinds |= {"g": "PNG", "h.dat": "JPEG"}
    for name, kind in kinds.items():
        (images / name).write_bytes(encoded(photo(60, 40), kind))
        Image.fromarray(disc()).save(masks / f"{name.partition('.')[0]}.png")
    for name in ("k.psd", "l.cr2", "n.svg"):
        (images / name).write_bytes(b"8BPS\0\1" + bytes(99))
        Image.fromarray(disc()).save(masks / f"{name[0]}.png")
    (images / "._x.png").write_bytes(b"\0\5\x16\7" + bytes(99))
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt", "sound.mp3"):
        (images / name).write_bytes(b"anything")
    (images / "sub.png").mkdir()
    assert harmonize(folders, folders / "out") == 1
    said = capsys.readouterr().err
    assert {path.stem for path in (folders / "out").iterdir()} == set("abdefghxyz")
    assert all(f"srin: {name}" in said for name in ("k.psd", "l.cr2", "n.svg")) and "10 of 13" in said
    for name in ("._x", "Thumbs", "DS_Store", "desktop", "notes", "sound", "sub.png"):
        assert name not in said


def test_names_of_accents_capitals_and_twins(folders, capsys):
    images, masks = folders / "c", folders / "m"
    for form in ("NFD", "NFC"):
        photo(60, 40).save(images / f"{unicodedata.normalize(form, 'Zürich é')}{form}.png")
        name = unicodedata.normalize("NFC" if form == "NFD" else "NFD", "Zürich é")
        Image.fromarray(disc()).save(masks / f"{name}{form}.png")
    photo(60, 40).save(images / "IMG_0001.png")
    Image.fromarray(disc()).save(masks / "img_0001.png")
    Image.fromarray(255 - disc()).save(masks / "x.webp", lossless=True)
    problems = {job.image.stem: job.problem for job in jobs(images, masks, None, folders / "out")}
    assert "x.png and x.webp" in problems.pop("x")
    assert "img_0001.png is nearly alike" in problems.pop("IMG_0001")
    assert len(problems) == 4 and not any(problems.values())
    assert harmonize(folders, folders / "out") == 1 and "4 of 6 pictures" in capsys.readouterr().err


def test_links_pipes_and_unreadable_folders(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in picture_files(tmp_path)] == ["pipe.png", "round.png"]
    with pytest.raises(ImageError, match="can't be read"):
        picture_files(tmp_path / "nowhere")
    assert Index.build(tmp_path, "mask", []).nearly("anything") == ""


# --------------------------------------------------------------------------- memory


def test_threads_share_the_largest_picture(monkeypatch):
    """Two pictures of more than half the limit are never open at once, and threads don't wait for each other for ever."""
    import threading

    monkeypatch.setattr(budget, "MAX_PIXELS", 100)
    inside, most, lock = [], [], threading.Lock()

    def work(pixels):
        with budget.job():
            budget.reserve(pixels)
            with lock:
                inside.append(pixels)
                most.append(sum(inside))
            time.sleep(0.02)
            with lock:
                inside.remove(pixels)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (60, 60, 30, 60, 90, 10, 10)]
    barrier = threading.Barrier(2)

    def growing():
        with budget.job():
            budget.reserve(40)
            barrier.wait(5)
            budget.reserve(90)

    for group in (threads, [threading.Thread(target=growing) for _ in range(2)]):
        for thread in group:
            thread.start()
        for thread in group:
            thread.join(10)
            assert not thread.is_alive()
    assert max(most) <= 100 and len(most) == 7 and max(most) > 60


def test_notes_and_states(tmp_path):
    with pytest.raises(OutputError, match="would replace"):
        outputs.check_inputs([tmp_path / "a" / ".." / "b.png"], [None, tmp_path / "b.png"])
    save_image(np.zeros((4, 4), np.uint8), tmp_path / "b.png", {outputs.SETTINGS: json.dumps({"a": 1})})
    assert outputs.note(tmp_path / "b.png") == {"a": 1} and outputs.note(tmp_path / "none.png") is None
    assert outputs.state(tmp_path / "b.png", {"a": 1}, []) == "done"
    assert outputs.state(tmp_path / "b.png", {"a": 2}, []) == "ours"


# --------------------------------------------------------------------------- a thousand pictures


@pytest.mark.slow
def test_a_thousand_pictures_thirty_bad_ones_and_ten_kills(tmp_path):
    images, masks, out = (tmp_path / name for name in ("c", "m", "out"))
    images.mkdir(), masks.mkdir(), out.mkdir()
    rng = np.random.default_rng(3)
    everything = hostile_files()
    bad_contents = ["cut_50_png.png", "cut_50_jpg.jpg", "empty_png.png", "four_gigapixels_tif.tif",
                    "drawing.svg_png.png", "text_png.png", "payload_png.png", "one_row_more_png.png", "psd_tif.tif",
                    "zeros_png.png"]  # fmt: skip
    bad = set()
    mask = encoded(Image.fromarray(disc(24, 32)), "PNG")
    for i in range(1000):
        name = f"p{i:04d}"
        picture = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        content, its_mask, suffix = encoded(picture, "PNG"), mask, ".png"
        if i % 33 == 7 and len(bad) < 30:
            kind = len(bad)
            bad.add(name)
            if kind < 10:
                content, suffix = everything[bad_contents[kind]], "." + bad_contents[kind].rpartition(".")[2]
            elif kind < 15:
                its_mask = None
            elif kind < 20:
                its_mask = encoded(Image.fromarray(disc(32, 24)), "PNG")
            elif kind < 25:
                its_mask = encoded(Image.new("L", (32, 24), 255 * (kind % 2)), "PNG")
            elif kind < 28:
                (masks / f"{name}.bmp").write_bytes(encoded(Image.fromarray(disc(24, 32)), "BMP"))
            else:
                (out / f"{name}.png").write_bytes(content)  # a file of other origin
        (images / f"{name}{suffix}").write_bytes(content)
        if its_mask is not None:
            (masks / f"{name}.png").write_bytes(its_mask)
    given = contents(images) | contents(masks) | contents(out)
    command = [sys.executable, "-m", "srin", "harmonize", "c", "m", "-o", "out", "--method", "reinhard", "--resume"]
    how = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    chance = random.Random(5)
    for kill in range(10):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **how)
        goal = len(list(out.glob("*.png"))) + 30
        while process.poll() is None and (len(list(out.glob("*.png"))) < goal and kill < 9):
            time.sleep(0.01)
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **how)
    assert done.returncode == 1
    results = {path.stem for path in out.glob("*.png")}
    assert {f"p{i:04d}" for i in range(1000)} - results == {name for name in bad if not (out / f"{name}.png").exists()}
    lines = [line for line in done.stderr.splitlines() if line.startswith("srin: p")]
    named = {line.split(":")[1].strip().partition(".")[0] for line in lines}
    assert named == bad and "30 failed" in done.stderr
    assert not [path for path in out.iterdir() if path.suffix != ".png"]
    assert {path: path.read_bytes() for path in given} == given
    for name in sorted(set(f"p{i:04d}" for i in range(1000)) - bad)[::97]:
        alone = tmp_path / "alone.png"
        assert main(["harmonize", str(images / f"{name}.png"), str(masks / f"{name}.png"), "-o", str(alone),
                     "--method", "reinhard"]) == 0  # fmt: skip
        assert alone.read_bytes() == (out / f"{name}.png").read_bytes()
    shutil.rmtree(out)
