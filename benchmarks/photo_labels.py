"""Says for each composite of a test set which photo it is made of, and whether that shows a second object of the class.

    python -m benchmarks.photo_labels RECIPES SET

RECIPES is the folder of test_recipe.py and strict_recipe.py, with the corpus beside them; SET is what one of them wrote.
Writes SET/labels.csv, which `train.evaluate` reads: id, photo, series (photos of one place), second_object.

second_object is "yes" where the photo's segmentation by people shows more of the mask's classes outside of it than
LEAST of the photo, "no" where it does not, and empty where classes are not known: in sources without segmentations, and
in bsds500, whose segmentations number regions. The mask's classes are those that cover PART of it or more (a person's
mask in ccp holds many garments). The mask is grown first, since drawn edges are off by some pixels.
"""

import argparse
import csv
import io
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.recipes import load_recipes, series_of
from srin.errors import SrinError
from srin.image_io import load_labels, write_whole

CLASSES = {"voc_animals": {0, 255}, "ccp": {0}, "labelmefacade": {0}, "camvid": {0, 11}}  # by source: labels of no class
PART = 0.05  # share of the mask that a class must cover
LEAST = 0.005  # share of the photo that a second object must cover
GROWN = 0.014  # of the photo's shorter side; masks of the strict set are shrunk by as much


def write_labels(recipes: Path, folder: Path) -> dict[str, int]:
    """Writes labels.csv; returns how many composites have each value of second_object.

    Raises:
        SrinError: recipes, the set's index.csv, or a segmentation are missing, or the set is another recipe's.
    """
    recipe, _ = load_recipes(recipes)
    photos = recipe.photos()
    index = folder / "index.csv"
    if not index.is_file():
        raise SrinError(f"There is no {index}.")
    with open(index, newline="") as stream:
        composites = list(csv.DictReader(stream))
    counts = {"yes": 0, "no": 0, "": 0}
    lines = io.StringIO(newline="")
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["id", "photo", "series", "second_object"])
    for row in tqdm(composites, unit="photo"):
        place = int(row["id"]) if row["id"].isdigit() else -1
        if not 0 <= place < len(photos) or photos[place]["source"] != row["source"]:
            raise SrinError(f"Composite {row['id']} of {folder} is not of these recipes.")
        photo = photos[place]
        second = _second_object(recipe, recipes, photo)
        counts[second] += 1
        table.writerow([row["id"], photo["image"], series_of(photo["image"]), second])
    write_whole(lines.getvalue().encode(), folder / "labels.csv")
    return counts


def _second_object(recipe: ModuleType, recipes: Path, photo: dict[str, str]) -> str:
    if photo["source"] not in CLASSES or not photo["segments"]:
        return ""
    labels = load_labels(recipes / "corpus" / photo["segments"], what="segmentation")
    return "yes" if has_second_object(labels, recipe.read(photo)[1], CLASSES[photo["source"]]) else "no"


def has_second_object(labels: np.ndarray, mask: np.ndarray, void: set[int]) -> bool:
    """Whether more of the mask's classes lies outside of the mask, see the module's description.

    Args:
        labels: integers (H, W), classes. mask: bool (H, W). void: labels that are no class.
    """
    inside, counts = np.unique(labels[mask], return_counts=True)
    classes = set(inside[counts >= PART * mask.sum()].tolist()) - void
    width = max(3, round(GROWN * min(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    outside = cv2.dilate(mask.astype(np.uint8), kernel) == 0
    return bool((np.isin(labels, list(classes)) & outside).mean() >= LEAST)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.photo_labels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", type=Path, metavar="RECIPES")
    parser.add_argument("set", type=Path, metavar="SET")
    options = parser.parse_args(arguments)
    try:
        counts = write_labels(options.recipes, options.set)
    except SrinError as error:
        sys.exit(f"benchmarks.photo_labels: {error}")
    print(f"A second object of the class: {counts['yes']} yes, {counts['no']} no, {counts['']} not known.")


if __name__ == "__main__":
    main()
