"""Time of each method at full resolution, against saving the same picture as PNG, in one run.

    python benchmarks/inference.py [--megapixels 12] [--json FILE]

Decoding and encoding are not counted. Ratios within one run are comparable; seconds on a shared machine are not.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from srin.composite import Composite
from srin.harmonizer import METHODS, Harmonizer, unavailable
from srin.segmentation.semantic_map import segment

EXAMPLES = Path(__file__).resolve().parents[1] / "assets" / "examples"
REPEATS = 3


def seconds(call: Callable[[], object]) -> float:
    """Median over REPEATS calls after one that is not counted."""
    call()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    photo = np.asarray(Image.open(EXAMPLES / "mountain_lake.jpg").convert("RGB"))
    factor = (arguments.megapixels * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
    photo = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(photo.shape[:2], np.uint8)
    height, width = photo.shape[:2]
    cv2.ellipse(mask, (width // 2, height * 2 // 3), (width // 5, height // 5), 0, 0, 360, 255, -1)
    composite = Composite(photo, mask)
    save = seconds(lambda: Image.fromarray(photo).save(io.BytesIO(), "PNG"))
    semantic_map = segment(composite, "colour")
    times = {"semantic map": seconds(lambda: segment(composite, "colour"))}
    for method in METHODS:
        if unavailable(method) is None:
            harmonizer = Harmonizer.from_pretrained(method)
            times[method] = seconds(lambda h=harmonizer: h.harmonize_composite(composite, semantic_map))  # type: ignore[misc]
    ratios = {f"{name}_over_png_save": value / save for name, value in times.items()}
    for name, ratio in ratios.items():
        print(f"{name:32} {ratio:6.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"ratios": ratios, "png_save_seconds": save}, indent=1))


if __name__ == "__main__":
    main()
