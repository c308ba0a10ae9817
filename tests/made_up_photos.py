"""Folders of made-up photos with object masks, for tests of training."""

import csv

import cv2
import numpy as np


def write_photos(folder, count=40, side=(72, 96), seed=0):
    """Writes a corpus of photos with a disc of one colour on clouds; the first is for tests. Returns the folder."""
    rng = np.random.default_rng(seed)
    cloudy = np.random.default_rng((seed, 1))
    height, width = side
    rows = []
    for i in range(count):
        ramp = np.linspace(0, 1, width)[None, :, None] * rng.uniform(60, 160, 3)
        image = np.broadcast_to(ramp + rng.uniform(20, 60, 3), (height, width, 3)) + rng.normal(0, 6, (height, width, 3))
        image = image + cv2.resize(cloudy.normal(0, 30, (4, 5, 3)), (width, height))  # so that no two photos are alike
        mask = np.zeros((height, width), np.uint8)
        centre = (int(rng.integers(width // 3, 2 * width // 3)), height // 2)
        cv2.circle(mask, centre, int(rng.integers(height // 6, height // 3)), 255, -1)
        image = np.where(mask[..., None] > 0, np.array([60, 110, 190]) + rng.normal(0, 12, image.shape), image)
        cv2.imwrite(str(folder / f"img{i}.png"), np.clip(image, 0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / f"img{i}_mask.png"), mask)
        row = {"source": "here", "image": f"img{i}.png", "mask": f"img{i}_mask.png", "segments": "", "split": "train"}
        rows.append(row)
    rows[0]["split"] = "test"
    write_manifest(folder, rows)
    return folder


def write_manifest(folder, rows):
    with open(folder / "manifest.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
