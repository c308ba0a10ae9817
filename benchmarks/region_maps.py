"""Measures how well maps that need no checkpoint cover the regions that people drew.

    python -m benchmarks.region_maps [--corpus ../shared/corpus] [--split test] [--json FILE]

Segmentation covering (`srin.segmentation.automatic.covering`) on the photos of bsds500: colour regions as `draw` makes
them for a composite, colour regions of the full proxy, as the page makes them, and the embedded network's regions.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from srin.image_io import load_image, load_labels
from srin.resizing import enlarged_labels
from srin.segmentation.automatic import covering
from srin.segmentation.embedded import EmbeddedEngine
from srin.segmentation.regions import PROXY_SIDE, colour_regions
from srin.segmentation.semantic_map import MAP_SIZE, map_side
from train.data.tables import read_table


def maps(image: np.ndarray) -> dict[str, np.ndarray]:
    """Integers (h, w), by who drew them. image: uint8 (H, W, 3)."""
    scale = map_side(*image.shape[:2]) / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return {
        f"colour regions at {MAP_SIZE} px": colour_regions(small),
        f"colour regions at {PROXY_SIDE} px": colour_regions(image),
        "embedded network": EmbeddedEngine(image).regions().labels,
    }


def measure(corpus: Path, split: str) -> dict[str, dict[str, float]]:
    """Mean covering and number of regions, by who drew them."""
    rows = read_table(corpus / "manifest.csv", ("source", "image", "segments", "split"), ())
    photos = {row["image"]: row["segments"] for row in rows if row["source"] == "bsds500" and row["split"] == split}
    found: dict[str, list[tuple[float, int]]] = {}
    for image, segments in tqdm(photos.items(), unit="photo"):
        truth = load_labels(corpus / segments)
        for name, labels in maps(load_image(corpus / image)).items():
            found.setdefault(name, []).append(
                (covering(enlarged_labels(labels, truth.shape), truth), int(labels.max()) + 1)
            )
    return {
        name: dict(zip(("covering", "regions"), np.mean(values, 0).tolist(), strict=True)) | {"photos": len(values)}
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "corpus")
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if not (arguments.corpus / "segments").is_dir():
        parser.error(f"there is no folder {arguments.corpus / 'segments'}")
    report = measure(arguments.corpus, arguments.split)
    for name, row in report.items():
        print(f"{name:28}{row['covering']:8.3f}{row['regions']:8.1f} regions")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
