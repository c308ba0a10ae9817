"""Compares the adaptive automatic map with the library's own generator: quality, decoded points, and time.

    python -m benchmarks.automatic_map [--corpus ../shared/corpus] [--photos 100] [--checkpoint FILE] [--json FILE]

Covering: both ask the same oracle (srin/segmentation/oracle.py) on photos whose regions people drew, sampled with seed 0,
first from bsds500. The score is the segmentation covering of those regions. The library's masks overlap, so they are
scored in three ways: as a label map with smaller masks on top, as one with surer masks on top, and by each region's best
mask (which no label map reaches). The best of the three counts; all are printed.

Cost: the seconds of encoding, a click and the full map, decoded points and peak memory, each in a process of its own, on
an example photo. Without --checkpoint the model is a vit_b with random weights: the arithmetic is the same, but masks are
noise, so only covering tells about quality. Seconds on a shared machine are not comparable between runs; ratios are.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from srin.image_io import load_image, load_labels
from srin.resizing import enlarged_labels
from srin.segmentation.automatic import FULL_GRID, MAX_POINTS, adaptive_map, covering, full_grid_masks, painted
from srin.segmentation.oracle import OracleDecoder

PHOTO = Path(__file__).resolve().parents[1] / "assets" / "examples" / "otter.jpg"
SOURCES = ("bsds500", "ccp", "voc_animals")  # in this order, until there are enough photos
SEED = 0


def corpus_photos(corpus: Path, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures uint8 (H, W, 3) and the regions that people drew, int32 (H, W)."""
    rng = np.random.default_rng(SEED)
    paths: list[Path] = []
    for source in SOURCES:
        here = sorted((corpus / "segments").glob(f"{source}*.png"))
        paths += [here[i] for i in rng.permutation(len(here))]
    for path in paths[:count]:
        labels = load_labels(path)
        yield load_image(corpus / "images" / f"{path.stem}.webp"), labels


class _OraclePredictor:
    """The oracle as the SamPredictor that the library's generator expects."""

    device = "cpu"

    def __init__(self, oracle: OracleDecoder) -> None:
        self._oracle = oracle
        self.transform = self
        encoder = SimpleNamespace(img_size=max(oracle.size))
        self.model = SimpleNamespace(mask_threshold=0.0, image_encoder=encoder, device=self.device)

    def apply_coords(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return points / np.array(size[::-1])

    def predict_torch(self, points: Any, labels: Any, multimask_output: bool, return_logits: bool) -> tuple[Any, ...]:
        import torch

        logits, scores = self._oracle.decode(points[:, 0].numpy())
        return torch.from_numpy(logits), torch.from_numpy(scores), None


def measure_covering(corpus: Path, count: int) -> dict[str, Any]:
    """Mean covering and decoded points per photo, of both strategies on the same oracle."""
    readings: dict[str, list[float]] = {"smaller on top": [], "surer on top": [], "best mask of each region": []}
    library_points, ours, our_points = [], [], []
    for index, (image, truth) in enumerate(tqdm(corpus_photos(corpus, count), total=count, unit="photo")):
        oracle = OracleDecoder(image, truth, seed=index)
        masks, scores = full_grid_masks(_OraclePredictor(oracle), oracle.size, FULL_GRID)
        library_points.append(oracle.decoded_points)
        readings["smaller on top"].append(covering(enlarged_labels(painted(masks), truth.shape), truth))
        readings["surer on top"].append(covering(enlarged_labels(_by_score(masks, scores), truth.shape), truth))
        readings["best mask of each region"].append(_best_masks(masks, enlarged_labels(truth, oracle.size)))

        oracle = OracleDecoder(image, truth, seed=index)
        found = adaptive_map(oracle, "oracle")
        our_points.append(oracle.decoded_points)
        ours.append(covering(enlarged_labels(found.labels, truth.shape), truth))
    means = {name: float(np.mean(values)) for name, values in readings.items()}
    library: dict[str, Any] = {"covering": max(means.values()), "decoded_points": float(np.mean(library_points))}
    library["readings"] = means
    adaptive: dict[str, Any] = {"covering": float(np.mean(ours)), "decoded_points": float(np.mean(our_points))}
    adaptive |= {"most_decoded_points": max(our_points), "lowest_covering": min(ours)}
    return {
        "photos": len(ours),
        "library": library,
        "adaptive": adaptive,
        "covering_ratio": adaptive["covering"] / library["covering"],
        "points_ratio": adaptive["decoded_points"] / library["decoded_points"],
    }


def _by_score(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    labels = np.zeros(masks.shape[1:], np.int32)
    for label, index in enumerate(np.argsort(scores, kind="stable"), start=1):
        labels[masks[index]] = label
    return labels


def _best_masks(masks: np.ndarray, truth: np.ndarray) -> float:
    """Covering by masks that may overlap: each region counts the mask that matches it best."""
    total = 0.0
    for region in np.unique(truth):
        inside = truth == region
        shared, either = (masks & inside).sum((1, 2)), (masks | inside).sum((1, 2))
        total += inside.sum() * float((shared / either).max(initial=0))
    return total / truth.size


def measure_cost(checkpoint: Path, work: str) -> dict[str, float]:
    """Seconds, decoded points and peak memory of one piece of work, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_cost, (str(checkpoint), work))


def _cost(checkpoint: str, work: str) -> dict[str, float]:
    from srin.segmentation.sam import SamEngine
    from srin.segmentation.sam_model import load_sam

    cv2.setNumThreads(1)
    image = load_image(PHOTO)
    engine = SamEngine(image, load_sam(checkpoint))
    loaded = _peak()
    began = time.perf_counter()
    engine.prepare()
    result = {"encode_seconds": time.perf_counter() - began}
    engine.candidates([(10, 10)], [1])  # the first call also starts threads and allocates memory
    began = time.perf_counter()
    if work == "click":
        for step in range(5):
            engine.candidates([(50 * step + 20, 100)], [1])
        result |= {"seconds": (time.perf_counter() - began) / 5, "decoded_points": 1}
    elif work == "adaptive":
        found = engine.automatic()
        result |= {"seconds": time.perf_counter() - began, "decoded_points": found.decoded_points}
    else:
        engine.full_grid_map()
        result |= {"seconds": time.perf_counter() - began, "decoded_points": FULL_GRID**2}
    return result | {"peak_mb": _peak(), "peak_mb_with_model_loaded": loaded}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def random_vit_b(folder: Path) -> Path:
    """A vit_b checkpoint of random weights that rates its masks high, so that noise passes the generators' filters."""
    import torch
    from segment_anything import sam_model_registry

    torch.manual_seed(SEED)
    model = sam_model_registry["vit_b"]()
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.layers[-1].bias += 1
    path = folder / "random_vit_b.pth"
    torch.save(model.state_dict(), path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "corpus")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--checkpoint", type=Path, help="of Segment Anything, to time")
    parser.add_argument("--only", choices=["covering", "cost"], help="leave the other part out")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    report: dict[str, Any] = {}
    if arguments.only != "cost":
        if not (arguments.corpus / "segments").is_dir():
            parser.error(f"there is no folder {arguments.corpus / 'segments'}")
        report |= measure_covering(arguments.corpus, arguments.photos)
        _print_covering(report)
    if arguments.only != "covering":
        with tempfile.TemporaryDirectory() as folder:
            os.environ.pop("SRIN_SEGMENT_CACHE", None)
            checkpoint = arguments.checkpoint or random_vit_b(Path(folder))
            weights = str(arguments.checkpoint or "vit_b with random weights")
            report["cost"] = {work: measure_cost(checkpoint, work) for work in ("click", "adaptive", "library")}
        _print_cost(report["cost"], weights)
        report["cost"]["weights"] = weights
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


def _print_covering(report: dict[str, Any]) -> None:
    print(f"{report['photos']} photos, at most {MAX_POINTS} points each for the adaptive map\n")
    print(f"{'':34}covering  decoded points")
    for name, value in report["library"]["readings"].items():
        print(f"library, {name:25}{value:8.3f} {report['library']['decoded_points']:15.1f}")
    print(f"{'adaptive map':34}{report['adaptive']['covering']:8.3f} {report['adaptive']['decoded_points']:15.1f}")
    print(f"{'ratio to the best reading':34}{report['covering_ratio']:8.3f} {report['points_ratio']:15.3f}\n")


def _print_cost(cost: dict[str, dict[str, float]], weights: str) -> None:
    print(f"{weights}; {cost['click']['peak_mb_with_model_loaded']:.0f} MB with the model loaded\n")
    print(f"{'':10}  seconds  decoded points   peak MB")
    print(f"{'encode':10}{cost['click']['encode_seconds']:9.2f}{0:16.0f}")
    for work, row in cost.items():
        print(f"{work:10}{row['seconds']:9.2f}{row['decoded_points']:16.0f}{row['peak_mb']:10.0f}")


if __name__ == "__main__":
    main()
