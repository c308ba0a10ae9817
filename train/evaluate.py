"""Scores methods on a folder of composites with known truth, such as a frozen test recipe writes.

    python -m train.evaluate FOLDER -o REPORT.md

FOLDER holds composite/ID.png, mask/ID.png, real/ID.png and, optionally, index.csv (id, family, rim). Writes a table of
means by family and by rim, and REPORT.csv with a row for every picture and method. The protocol is "composite":
256x256, rounded to uint8, peak 255, hard mask (srin.metrics).
"""

import argparse
import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from srin.compare import run_methods
from srin.composite import Composite
from srin.errors import SrinError
from srin.harmonizer import METHODS, unavailable
from srin.image_io import load_image
from srin.metrics import SIZE, score
from srin.segmentation.semantic_map import segment

METRICS = ("fpsnr", "fmse", "psnr", "mse", "delta_e")
HEADINGS = {"fpsnr": "fPSNR", "fmse": "fMSE", "psnr": "PSNR", "mse": "MSE", "delta_e": "dE2000"}
Row = dict[str, str | float]


def evaluate(folder: Path, methods: Iterable[str], segmenter: str) -> list[Row]:
    """Scores every method on every composite of the folder; rows with id, family, rim, method and METRICS."""
    known = {}
    if (folder / "index.csv").is_file():
        with open(folder / "index.csv", newline="") as stream:
            known = {row["id"]: row for row in csv.DictReader(stream)}
    methods = tuple(methods)
    rows: list[Row] = []
    for path in tqdm(sorted((folder / "composite").glob("*.png")), unit="picture"):
        composite = Composite.load(path, folder / "mask" / path.name)
        real = load_image(folder / "real" / path.name)
        about = known.get(path.stem, {})
        for result in run_methods(composite, segment(composite, segmenter), methods):
            if result.harmonized is None:
                raise SrinError(f"{result.method} failed on {path.name}: {result.problem}")
            row: Row = {"id": path.stem, "family": about.get("family", ""), "rim": about.get("rim", "")}
            row |= {"method": result.method, **score(result.harmonized, real, composite.mask)}
            rows.append(row)
    return rows
