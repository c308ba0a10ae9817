"""Folders: order, resuming, failures that stay where they are, and several processes."""

import os
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from srin.batch import Job, Processes, jobs, run
from srin.cli import main
from srin.errors import MaskError
from srin.image_io import load_image


@pytest.fixture
def folders(tmp_path):
    """Seven composites with masks, one of them broken (d.png), and where results go."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir(), masks.mkdir()
    rng = np.random.default_rng(0)
    for stem in "abcdefg":
        mask = np.zeros((40, 56), np.uint8)
        mask[10:30, 10:40] = 255
        cv2.imwrite(str(images / f"{stem}.png"), rng.integers(0, 256, (40, 56, 3)).astype(np.uint8))
        cv2.imwrite(str(masks / f"{stem}.png"), mask)
    (images / "d.png").write_bytes(b"not a picture")
    return images, masks, tmp_path / "out"


def command(folders, *more):
    return ["harmonize", str(folders[0]), str(folders[1]), "-o", str(folders[2]), "--method", "reinhard", *more]


def names(folder):
    return sorted(path.stem for path in folder.iterdir())


def test_resuming_skips_what_is_newer_than_its_sources(folders, capsys):
    assert main(command(folders)) == 1
    assert names(folders[2]) == list("abcefg")
    assert "6 of 7 pictures harmonized" in capsys.readouterr().err
    before = {path.name: path.stat().st_mtime_ns for path in folders[2].iterdir()}
    os.utime(folders[1] / "b.png")  # as if the mask had been painted again
    (folders[2] / "c.png").unlink()
    assert main(command(folders, "--resume")) == 1
    said = capsys.readouterr().err
    assert "2 of 3 pictures harmonized" in said and "4 were finished before" in said
    after = {path.name: path.stat().st_mtime_ns for path in folders[2].iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"b.png", "c.png"}


def test_results_come_in_order_and_a_failure_stays_in_its_job(folders, caplog):
    todo = [job for job in jobs(folders[0], folders[1], None, folders[2])]
    threads = set()

    def work(job: Job) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.05 if job.image.stem == "a" else 0)  # the first is done last
        if job.image.stem == "c":
            raise MaskError("No mask.")
        if job.image.stem == "e":
            raise ZeroDivisionError("unforeseen")

    results = list(run(work, todo, workers=3))
    assert [job.image.stem for job, _ in results] == list("abcdefg") and len(threads) > 1
    problems = {job.image.stem: problem for job, problem in results if problem}
    assert problems["c"] == "No mask." and "unforeseen" in problems["e"] and len(problems) == 2
    assert "ZeroDivisionError" in caplog.text


def test_pictures_that_would_overwrite_each_other_or_lack_a_mask_are_said(folders):
    (folders[0] / "a.jpg").write_bytes(b"")
    (folders[1] / "b.png").unlink()
    problems = [job.problem for job in jobs(folders[0], folders[1], None, folders[2])]
    assert "a.jpg" in problems[1] and "no mask named b" in problems[2] and problems[0] is None


def test_every_picture_belongs_to_exactly_one_process():
    parts = [Processes(index, 3).share(list(range(10))) for index in range(3)]
    assert sorted(sum(parts, [])) == list(range(10)) and max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.slow
def test_two_processes_divide_a_folder(folders):
    """The command of the README, under the real launcher."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "-m", "srin"]
    done = subprocess.run([*launch, *command(folders)], capture_output=True, text=True, timeout=300)
    assert names(folders[2]) == list("abcefg")
    assert "process 1 of 2: " in done.stderr and "process 2 of 2: " in done.stderr and "d.png" in done.stderr
    assert "4 of 4 pictures" in done.stderr and "2 of 3 pictures" in done.stderr
    assert main(command((*folders[:2], folders[2].parent / "alone"))) == 1
    for stem in "abcefg":
        alone = load_image(folders[2].parent / "alone" / f"{stem}.png")
        assert np.array_equal(load_image(folders[2] / f"{stem}.png"), alone)
