"""Makes the development set: composites by the strict recipe, from photos held out from training and testing.

    python -m benchmarks.development_set RECIPES OUT

RECIPES is the folder of test_recipe.py and strict_recipe.py, with the corpus beside them. Writes OUT/0 to OUT/3 as
strict_recipe.py does: every held-out photo four times, each time in another family and, where it has several objects,
with another one. Settings are chosen on this set; the strict set itself is only for the figures of a release.
"""

import argparse
import zlib
from pathlib import Path

from benchmarks.recipes import load_recipes
from train.data.photos import MAX_SHARE, MIN_SHARE, find_photos, split_photos
from train.data.tables import read_table

ROUNDS = 4


Rows = dict[str, list[dict[str, str]]]


def held_out(corpus: Path) -> Rows:
    """The manifest's rows of the held-out photos, by photo: those whose mask is neither too small nor too large."""
    _, photos = split_photos(find_photos(corpus))
    names = {str(photo.image.path.relative_to(corpus)) for photo in photos}
    rows: Rows = {}
    for row in read_table(corpus / "manifest.csv", ("image", "mask", "source", "fg_ratio", "split")):
        if row["image"] in names and row["mask"] and MIN_SHARE < float(row["fg_ratio"]) < MAX_SHARE:
            rows.setdefault(row["image"], []).append(row)
    return rows


def in_turn(rows: Rows, turn: int) -> list[dict[str, str]]:
    """One row for each photo, in the order by which the recipe deals out families. turn: number of the round."""
    ordered = sorted(rows, key=lambda name: zlib.crc32(name.encode()))
    chosen = [rows[name][(place + turn) % len(rows[name])] for place, name in enumerate(ordered)]
    # Shifted, since the recipe takes seven families in turn by place, and leaves every twentieth photo as it is.
    return chosen[2 * turn :] + chosen[: 2 * turn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    first, strict = load_recipes(arguments.recipes)
    rows = held_out(arguments.recipes / "corpus")
    for turn in range(ROUNDS):
        first.photos = lambda turn=turn: in_turn(rows, turn)  # type: ignore[attr-defined]
        strict.main(str(arguments.out / str(turn)))


if __name__ == "__main__":
    main()
