"""Measures how well clicks, boxes and "Select subject" find objects, on photos that no training has used.

    python -m benchmarks.segmentation [--corpus ../shared/corpus] [--objects FILE.csv] [--json FILE]

Objects: those of segmentation_objects.csv beside this file, from the corpus's test split: up to 12 of each source and
size (below 5 %, 5 to 15 %, above 15 % of the photo), drawn with seed 0 by --draw. Masks in several pieces, of which none
holds 70 %, are left out: one click can't stand for them.

Protocol: the first candidate counts. The first click goes to the place deepest inside the object, each further one to
the deepest place of the largest error. Earlier answers are not given to the segmenter. Boxes are the objects' own.
A figure is first averaged over the objects of each source and size, then over these groups. "clicks to 85 %" is 20
where clicks don't suffice. Boundary F allows 0.75 % of the diagonal. Two objects: of the pairs of objects that lie apart
in one photo, the share in which each click's mask fits its own object better than the other one. Times are medians, on
this machine, of a first click: on objects above 15 % of the photo, and on those below 5 %, most of which are looked at
twice.
"""

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from tqdm import tqdm

from srin.errors import SegmentationError
from srin.image_io import load_image, load_mask
from srin.segmentation.candidate import Candidate, overlap
from srin.segmentation.embedded import EmbeddedEngine
from train.data.prompts import correction, is_one_thing, place
from train.data.tables import read_table

OBJECTS = Path(__file__).with_name("segmentation_objects.csv")
CELL_OBJECTS = 12
SIZES = ((0.0, 0.05), (0.05, 0.15), (0.15, 0.8))
MOST_CLICKS = 20
TARGETS = (0.85, 0.9)
TOLERANCE = 0.0075  # of the diagonal
SUBJECTS = ("ccp", "voc_animals", "balloon")  # sources with photos of one main object
SUBJECT_SHARE, SECOND_SHARE = 0.05, 0.34  # see train.data.prompts


class Engine(Protocol):
    def candidates(self, points: Any, labels: Any, box: Any = None) -> list[Candidate]: ...

    def subject(self) -> Candidate: ...


def draw_objects(corpus: Path) -> list[dict[str, str]]:
    """Rows (source, image, mask) of test objects, by source and size."""
    rng = np.random.default_rng(0)
    cells: dict[tuple[str, int], list[dict[str, str]]] = {}
    for row in read_table(corpus / "manifest.csv", ("source", "image", "mask", "fg_ratio", "split"), ()):
        if row["split"] == "test" and is_one_thing(load_mask(corpus / row["mask"]) > 127):
            size = next((k for k, (low, high) in enumerate(SIZES) if low <= float(row["fg_ratio"]) < high), None)
            if size is not None:
                cells.setdefault((row["source"], size), []).append(row)
    chosen = []
    for key in sorted(cells):
        order = rng.permutation(len(cells[key]))[:CELL_OBJECTS]
        chosen += [{name: cells[key][i][name] for name in ("source", "image", "mask")} for i in sorted(order)]
    return chosen


def first_mask(ask: Callable[[], list[Candidate]], size: tuple[int, int]) -> np.ndarray:
    """bool (H, W): the first candidate's mask; False everywhere if nothing was found."""
    try:
        return ask()[0].mask(*size) > 127
    except SegmentationError:
        return np.zeros(size, bool)


def boundary_f(found: np.ndarray, truth: np.ndarray) -> float:
    """Harmonic mean of two shares: of each outline, the part that lies near the other."""
    reach = max(1, round(TOLERANCE * float(np.hypot(*truth.shape))))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))

    def outline(mask: np.ndarray) -> np.ndarray:
        return cv2.morphologyEx(np.pad(mask, 1).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0

    one, other = outline(found), outline(truth)
    near = [cv2.dilate(line.astype(np.uint8), disc) > 0 for line in (other, one)]
    precision, recall = (one & near[0]).sum() / max(one.sum(), 1), (other & near[1]).sum() / max(other.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def measure_object(engine: Engine, truth: np.ndarray, clicks: int) -> dict[str, float]:
    """Scores of one object; "masks" of one click are kept for `told_apart`."""
    size = truth.shape
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    following: tuple[tuple[int, int], int] | None = (place(truth), 1)
    ious: list[float] = []
    found: dict[str, Any] = {}
    while following is not None and len(points) < clicks:
        (row, column), label = following
        points.append((column + 0.5, row + 0.5))
        labels.append(label)
        began = time.perf_counter()
        mask = first_mask(lambda: engine.candidates(points, labels), (size[0], size[1]))
        found.setdefault("click_seconds", time.perf_counter() - began)
        ious.append(overlap(mask, truth))
        if len(points) == 1:
            found["first"], found["boundary"] = mask, boundary_f(mask, truth)
        if len(points) == 3:
            found["boundary_three"] = boundary_f(mask, truth)
        if len(points) >= 3 and max(ious) >= TARGETS[-1]:
            break
        following = correction(truth, mask)
    found["one click"], found["three clicks"] = ious[0], ious[min(2, len(ious) - 1)]
    found.setdefault("boundary_three", found["boundary"])
    if clicks >= MOST_CLICKS:
        for target in TARGETS:
            enough = [k for k, value in enumerate(ious, start=1) if value >= target]
            found[f"clicks to {target:.0%}"] = enough[0] if enough else MOST_CLICKS
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    mask = first_mask(lambda: engine.candidates([], [], box), (size[0], size[1]))
    found["box"], found["boundary_box"] = overlap(mask, truth), boundary_f(mask, truth)
    return found


def told_apart(results: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """For pairs of objects (truth, mask) of one photo that lie apart: whether each mask fits its own object better."""
    answers = []
    for i, (one, mask) in enumerate(results):
        for other, second in results[i + 1 :]:
            if overlap(one, other) < 0.05:
                own, foreign = overlap(mask, one) + overlap(second, other), overlap(mask, other) + overlap(second, one)
                answers.append(float(own > foreign))
    return answers


def measure(
    make: Callable[[np.ndarray], Engine], corpus: Path, objects: list[dict[str, str]], clicks: int
) -> dict[str, Any]:
    """All figures of one segmenter. make: an engine for uint8 (H, W, 3)."""
    cells: dict[tuple[str, int], list[dict[str, float]]] = {}
    apart: list[float] = []
    subjects: list[float] = []
    encodings: list[float] = []
    photos: dict[str, list[dict[str, str]]] = {}
    for row in objects:
        photos.setdefault(row["image"], []).append(row)
    for name, rows in tqdm(photos.items(), unit="photo", mininterval=5):
        image = load_image(corpus / name)
        engine = make(image)
        began = time.perf_counter()
        getattr(engine, "prepare", lambda: None)()
        encodings.append(time.perf_counter() - began)
        results = []
        for row in rows:
            truth = load_mask(corpus / row["mask"]) > 127
            found: dict[str, Any] = measure_object(engine, truth, clicks)
            results.append((truth, found.pop("first")))
            size = next(k for k, (low, high) in enumerate(SIZES) if low <= truth.mean() < high or k == len(SIZES) - 1)
            cells.setdefault((row["source"], size), []).append(found)
        apart += told_apart(results)
    for name, truth in subjects_of(corpus, photos):
        try:
            mask = make(load_image(corpus / name)).subject().mask(*truth.shape) > 127
        except SegmentationError:
            mask = np.zeros(truth.shape, bool)
        subjects.append(overlap(mask, truth))
    names = [key for key in next(iter(cells.values()))[0] if not key.endswith("seconds")]
    report: dict[str, Any] = {
        key: float(np.mean([np.mean([one[key] for one in cell]) for cell in cells.values()])) for key in names
    }
    report |= {"subject": float(np.mean(subjects)), "subjects": len(subjects), "told apart": float(np.mean(apart))}
    report |= {"pairs": len(apart), "objects": len(objects), "photos": len(photos)}
    report["encode_ms"] = 1000 * float(np.median(encodings))
    for name, chosen in (("click_ms", len(SIZES) - 1), ("small_click_ms", 0)):
        times = [one["click_seconds"] for (_, size), cell in cells.items() if size == chosen for one in cell]
        report[name] = 1000 * float(np.median(times)) if times else float("nan")
    report["cells"] = {
        f"{source}, {SIZES[size][0]:.0%} to {SIZES[size][1]:.0%}": {
            "objects": len(cell),
            **{key: float(np.mean([one[key] for one in cell])) for key in ("one click", "three clicks", "box")},
        }
        for (source, size), cell in sorted(cells.items())
    }
    return report


def subjects_of(corpus: Path, photos: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
    """The photos with one main object, and its mask: a large one that the photo's other masks mostly lie in."""
    masks: dict[str, list[str]] = {}
    for row in read_table(corpus / "manifest.csv", ("source", "image", "mask"), ()):
        if row["source"] in SUBJECTS and row["image"] in photos:
            masks.setdefault(row["image"], []).append(row["mask"])
    found = []
    for image, files in masks.items():
        truths = [load_mask(corpus / file) > 127 for file in files]
        largest = max(truths, key=np.count_nonzero)
        beside = max(np.count_nonzero(truth & ~largest) for truth in truths)
        if largest.mean() >= SUBJECT_SHARE and beside <= SECOND_SHARE * largest.sum() and is_one_thing(largest):
            found.append((image, largest))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "corpus")
    parser.add_argument("--objects", type=Path, default=OBJECTS)
    parser.add_argument("--draw", action="store_true", help="draw the objects and write their list instead")
    parser.add_argument("--clicks", type=int, default=MOST_CLICKS, help="fewer than 20 leave the clicks needed out")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if not (arguments.corpus / "manifest.csv").is_file():
        parser.error(f"there is no file {arguments.corpus / 'manifest.csv'}")
    if arguments.draw:
        with open(arguments.objects, "w", newline="") as stream:
            writer = csv.DictWriter(stream, ("source", "image", "mask"), lineterminator="\n")
            writer.writeheader()
            writer.writerows(draw_objects(arguments.corpus))
        return
    objects = read_table(arguments.objects, ("source", "image", "mask"), ())
    report = measure(EmbeddedEngine, arguments.corpus, objects, arguments.clicks)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))
    for key, value in report.items():
        if not isinstance(value, dict):
            print(f"{key:20}{value:8.3f}")


if __name__ == "__main__":
    main()
