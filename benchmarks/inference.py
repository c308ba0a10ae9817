"""Measures times and memory of every method, as ratios within one run.

    python -m benchmarks.inference [--json FILE]

- The whole call on composites of 1 and 12 megapixels, without decoding and encoding, compared with saving that picture as
  PNG. For SRIN the call draws its semantic map too, from colour regions.
- The networks at working sizes of 256, 512 and 1024 pixels and foregrounds of 6, 25 and 60 %, against the baseline: time
  and the peak of memory. SRIN gets its map here. BAIN is left out at 1024, where its attention takes minutes.

What is compared takes turns. Ratios within one run are comparable; seconds on a shared machine are not.
"""

import argparse
import io
import json
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import composite, peak_megabytes, seconds
from srin.harmonizer import METHODS, Harmonizer, load_network, unavailable
from srin.models.network import HarmonizationNet
from srin.segmentation.semantic_map import draw
from srin.working_size import seen

LONGER_SIDES = {"1mp": 1155, "12mp": 4000}  # pixels of whole calls; the photo is 4:3
FOREGROUNDS = (0.06, 0.25, 0.6)
SIZES = (256, 512, 1024)


def whole_calls() -> dict[str, float]:
    """Ratios of every method's call to saving a PNG, at 1 and 12 megapixels and a quarter of foreground."""
    ratios = {}
    for size, side in LONGER_SIDES.items():
        picture = composite(side, 0.25)

        def save(image: np.ndarray = picture.image) -> None:
            Image.fromarray(image).save(io.BytesIO(), "PNG")

        for method in METHODS:
            if unavailable(method) is None:
                harmonize = Harmonizer.from_pretrained(method).harmonize_composite
                call, saved = seconds(partial(harmonize, picture), save)
                ratios[f"{method}_{size}_over_png_save"] = call / saved
    return ratios


def network_call(method: str, side: int, foreground: float) -> Callable[[], object]:
    """The network alone, on a picture of its working size."""
    picture = composite(side, foreground)
    network = load_network(method)
    assert isinstance(network, HarmonizationNet)
    inputs = seen(network.config, picture, draw(picture, "colour").labels, side).tensors(torch.device("cpu"))[:3]

    def call() -> None:
        with torch.inference_mode():
            network.coefficients(*inputs)

    return call


def memory(method: str, side: int, foreground: float) -> float:
    """Megabytes at the peak of `network_call`. In a process of its own, without what earlier calls left behind."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_memory, (method, side, foreground))


def _memory(method: str, side: int, foreground: float) -> float:
    network_call(method, 64, foreground)()  # libraries allocate memory at their first call
    return peak_megabytes(network_call(method, side, foreground))


def networks() -> dict[str, float]:
    """Ratios of SRIN and BAIN to the baseline."""
    ratios = {}
    for side in SIZES:
        for method in ("srin", "bain") if side < 1024 else ("srin",):
            for foreground in FOREGROUNDS:
                name = f"{method}_{side}_at_{foreground:.0%}_over_baseline"
                times = seconds(network_call(method, side, foreground), network_call("baseline", side, foreground))
                ratios[f"{name}_time"] = times[0] / times[1]
                ratios[f"{name}_memory"] = memory(method, side, foreground) / memory("baseline", side, foreground)
    for what in ("time", "memory"):
        worst = max(ratios[f"srin_1024_at_{foreground:.0%}_over_baseline_{what}"] for foreground in FOREGROUNDS)
        ratios[f"srin_1024_over_baseline_{what}"] = worst
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    ratios: dict[str, float] = {}
    for part in (whole_calls, networks):
        found = part()
        ratios |= found
        for name, ratio in found.items():
            print(f"{name:42} {ratio:6.2f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
