"""Is a photo for testing, or one that is held out, nearly the same as one for training?

    python -m benchmarks.near_duplicates CORPUS [MORE]

Compares 256 bits of each photo: whether a pixel is brighter than its left neighbour, in a grey 16 x 17 copy (dHash;
Krawetz 2013). Copies at another size or quality differ in a few bits, unrelated photos in about half. Prints how many
pairs lie within each distance, and the closest ones. Folders are those of `train.data.photos`.
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from srin.image_io import load_image
from train.data.photos import File, find_photos, split_photos

LIMITS = (10, 20, 40, 60)
SHOWN = 5
BITS = np.array([bin(i).count("1") for i in range(256)], np.uint8)


def fingerprint(image: np.ndarray) -> np.ndarray:
    """uint8 (32,), the 256 bits of a picture (H, W, 3)."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (17, 16), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1])


def distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bits (N, M) in which fingerprints (N, 32) and (M, 32) differ."""
    return np.stack([BITS[others ^ one].sum(1) for one in some])


def test_photos(corpus: Path) -> list[File]:
    with open(corpus / "manifest.csv", newline="") as stream:
        names = dict.fromkeys(row["image"] for row in csv.DictReader(stream) if row["split"] == "test")
    return [File(corpus / name) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("more", type=Path, nargs="?")
    arguments = parser.parse_args()
    training, held_out = ([photo.image for photo in part] for part in split_photos(find_photos(arguments.corpus)))
    if arguments.more:
        training += [photo.image for photo in find_photos(arguments.more)]
    parts = {"training": training, "held out": held_out, "test": test_photos(arguments.corpus)}
    found = {
        name: np.stack([fingerprint(load_image(file.read())) for file in tqdm(files, desc=name, unit="photo")])
        for name, files in parts.items()
    }
    for name in ("held out", "test"):
        apart = distances(found[name], found["training"])
        nearest = apart.min(1)
        counts = ", ".join(f"{(nearest <= limit).sum()} within {limit} bits" for limit in LIMITS)
        print(f"{name}, {len(nearest)} photos, nearest of {len(training)} for training: {counts}")
        for place in np.argsort(nearest)[:SHOWN]:
            print(f"  {nearest[place]}: {parts[name][place]} and {training[apart[place].argmin()]}")


if __name__ == "__main__":
    main()
