"""Makes composites of all test photos in which there is nothing to harmonize, to see how far a method drifts.

    python -m benchmarks.unaltered RECIPES OUT
    python -m train.evaluate OUT -o REPORT

RECIPES is the folder of test_recipe.py and strict_recipe.py, with the corpus beside them. Masks are shrunk and rims
filled as in the strict set; OUT is laid out like it. Each photo is there twice:

    ID               family identity: the object is untouched
    ID-requantized   family requantized: the object is darkened, rounded to 8 bits, brightened back and rounded again.
                     Recolouring leaves such gaps in a histogram, and their absence could give an untouched object away.
                     (Noise of half a level would not help: rounding takes it away.)

The truth of both is the untouched photo.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.recipes import load_recipes, series_of
from srin.errors import OutputError, SrinError
from srin.image_io import save_image, write_whole

SMALLEST = 150  # pixels of a shrunk mask, as in the strict set
DARKENED = (0.6, 0.9)  # range of the factor, drawn for each channel
SEED = 7406


def write_unaltered(recipes: Path, out: Path) -> int:
    """Writes the set; returns its number of composites.

    Raises:
        SrinError: recipes are missing, or OUT can't be written.
    """
    recipe, strict = load_recipes(recipes)
    rng = np.random.default_rng(SEED)
    try:
        for kind in ("composite", "mask", "real"):
            (out / kind).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The composites can't be written to {out}: {error.strerror}.") from error
    lines = io.StringIO(newline="")
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["id", "source", "family", "photo", "series", "fg_ratio"])
    written = 0
    for place, row in enumerate(tqdm(recipe.photos(), unit="photo")):
        mask, real = strict.shrunk(*recipe.read(row))
        if mask.sum() < SMALLEST:
            continue
        again = requantized(real, rng)
        for name, family, image in (
            (f"{place:04d}", "identity", real),
            (f"{place:04d}-requantized", "requantized", np.where(mask[..., None], again, real)),
        ):
            save_image(image, out / "composite" / f"{name}.png")
            save_image(mask.astype(np.uint8) * 255, out / "mask" / f"{name}.png")
            save_image(real, out / "real" / f"{name}.png")
            table.writerow([name, row["source"], family, row["image"], series_of(row["image"]), f"{mask.mean():.4f}"])
            written += 1
    write_whole(lines.getvalue().encode(), out / "index.csv")
    return written


def requantized(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture in fewer levels, at most one level off, see the module's description.

    image: uint8 (H, W, 3), as is the result.
    """
    factor = rng.uniform(*DARKENED, 3)
    return np.rint(np.clip(np.rint(image * factor) / factor, 0, 255)).astype(np.uint8)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.unaltered", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", type=Path, metavar="RECIPES")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args(arguments)
    try:
        print(write_unaltered(options.recipes, options.out), "composites")
    except SrinError as error:
        sys.exit(f"benchmarks.unaltered: {error}")


if __name__ == "__main__":
    main()
