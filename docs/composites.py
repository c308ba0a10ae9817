"""Draws training composites of the photos that come with the repository: docs/composites.jpg.

python -m docs.composites
"""

import csv
import tempfile
from pathlib import Path

import cv2
import numpy as np

from srin.compare import labelled_sheet
from srin.image_io import save_image
from train.config import DataConfig
from train.data.composites import KINDS, OBJECT, SCENE, TWO_LIGHTS, Maker, Sample
from train.data.photos import load_photos

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "assets" / "examples"
SIZE = 192
WANTED = {OBJECT: 6, SCENE: 6, TWO_LIGHTS: 3}


def samples() -> list[Sample]:
    """The first composites of each wanted kind. Photos without an object get another photo's mask."""
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / "manifest.csv", "w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["source", "image", "mask"])
            for photo in sorted(EXAMPLES.glob("*.jpg")):
                mask = photo.with_name(f"{photo.stem}_mask.png")
                writer.writerow(["examples", photo, mask if mask.exists() else ""])
        config = DataConfig(
            EXAMPLES, Path(folder) / "cache", more=Path(folder), size=SIZE, photo_side=384, free_masks=0.6
        )
        maker = Maker(load_photos(config, "train"), config, SIZE)
        left, found, number = dict(WANTED), [], 0
        while any(left.values()):
            sample = maker.make(2, number)
            number += 1
            if left.get(sample.kind, 0):
                left[sample.kind] -= 1
                found.append(sample)
    return sorted(found, key=lambda sample: list(WANTED).index(sample.kind))


def main() -> None:
    tiles = []
    for sample in samples():
        outline = cv2.morphologyEx(sample.mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        shown = np.where(outline[..., None], 255, sample.composite).astype(np.uint8)
        tiles.append((f"{KINDS[sample.kind]}: composite, truth", np.concatenate([shown, sample.real], 1)))
    save_image(labelled_sheet(tiles), ROOT / "docs" / "composites.jpg")


if __name__ == "__main__":
    main()
