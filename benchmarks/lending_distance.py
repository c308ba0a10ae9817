"""Measures how far from the object lenders may be: the gains when only a band of the background may lend.

    python -m benchmarks.lending_distance PHOTOS [--composites N] [--json FILE]

Composites are made of held-out photos (train.data.composites), with one light and with two, at 128 px. The reference
(`srin.reference`) is the background within 16 px of the mask, between 16 and 40 px, beyond 40 px, and all of it. Only
composites count whose three bands each hold at least a tenth of the background, so that all columns compare the same.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from srin.composite import Composite
from srin.harmonizer import NETWORKS, Harmonizer
from srin.metrics import score
from srin.segmentation.checkpoints import cache_folder
from srin.segmentation.semantic_map import draw
from train.config import DataConfig
from train.data.composites import OBJECT, SCENE, TWO_LIGHTS, Maker, Sample
from train.data.photos import load_photos

SIZE = 128
SEED = 7
NEAR, FAR = 16, 40  # pixels
SMALLEST = 0.1  # share of the background that a band must hold
KINDS = {"one light": (SCENE, OBJECT), "two lights": (TWO_LIGHTS,)}
ALL = "all of it"


def bands(mask: np.ndarray) -> dict[str, np.ndarray]:
    """Bands of the background, bool (H, W), by their distance from a bool mask (H, W)."""
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return {
        ALL: ~mask,
        f"within {NEAR} px": ~mask & (distance <= NEAR),
        f"{NEAR} to {FAR} px": (distance > NEAR) & (distance <= FAR),
        f"beyond {FAR} px": distance > FAR,
    }


def draw_samples(maker: Maker, kinds: tuple[int, ...], count: int) -> list[Sample]:
    """The first composites of some kinds that have enough background in every band."""
    found: list[Sample] = []
    number = 0
    while len(found) < count:
        sample = maker.make(SEED, number)
        number += 1
        background = np.count_nonzero(~sample.mask)
        enough = all(np.count_nonzero(band) >= SMALLEST * background for band in bands(sample.mask).values())
        if sample.kind in kinds and enough:
            found.append(sample)
    return found


def gains(samples: list[Sample]) -> dict[str, dict[str, np.ndarray]]:
    """Gains in fPSNR over doing nothing, in dB: for every network and band, one for each composite."""
    harmonizers = {name: Harmonizer.from_pretrained(name) for name in NETWORKS}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in NETWORKS}
    for sample in tqdm(samples, unit="composite"):
        composite = Composite(sample.composite, sample.mask.astype(np.uint8) * 255)
        before = score(sample.composite, sample.real, composite.mask, size=SIZE)["fpsnr"]
        semantic_map = draw(composite, "colour")
        for name, harmonizer in harmonizers.items():
            for band, reference in bands(sample.mask).items():
                allowed = None if band == ALL else reference
                result = harmonizer.harmonize_composite(composite, semantic_map, reference=allowed)
                gain = score(np.asarray(result), sample.real, composite.mask, size=SIZE)["fpsnr"] - before
                found[name].setdefault(band, []).append(gain)
    return {name: {band: np.array(values) for band, values in part.items()} for name, part in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--composites", type=int, default=400, metavar="N", help="of each kind of light")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    config = DataConfig(arguments.photos, cache_folder() / "photos", size=SIZE, photo_side=192)
    maker = Maker(load_photos(config, "validation"), config, SIZE)
    report = {}
    for light, kinds in KINDS.items():
        print(f"{light}, {arguments.composites} composites: gain in dB, and its difference to {ALL} +- standard error")
        for name, part in gains(draw_samples(maker, kinds, arguments.composites)).items():
            cells = []
            for band, values in part.items():
                lost = values - part[ALL]
                error = lost.std() / len(lost) ** 0.5
                cells.append(f"{band} {values.mean():+.2f} ({lost.mean():+.2f} +- {error:.2f})")
                report[f"{name}, {light}, {band}"] = {"gain": values.mean(), "lost": lost.mean(), "error": error}
            print(f"{name:10}", ", ".join(cells), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
