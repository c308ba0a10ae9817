"""Writes synthetic composites with known truth as an iHarmony4-style folder of PNG files, for others to use.

    python -m train.make_composites photos OUT data.root=PHOTOS --count 5000

They are the composites that training makes on the fly (train.data.composites), without unchanged ones. IHD_train.txt
lists those from the training photos, IHD_test.txt a tenth as many from the held-out photos. Pictures are squares of
data.size pixels a side.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srin.errors import SrinError
from srin.image_io import save_image
from srin.outputs import check_folder
from train.config import TrainConfig, load_config
from train.data.composites import UNCHANGED, Maker, Sample
from train.data.photos import load_photos
from train.runs import check_alone

SUBSET = "photos"  # the sub-dataset's name in the lists
TEST_SHARE = 10


def make_composites(config: TrainConfig, output: Path, count: int) -> None:
    """Writes `count` training composites and a tenth as many for tests.

    Raises:
        SrinError: it is one of several processes. ValueError: photos can't be used. OutputError: the folder can't be
            written.
    """
    check_alone()
    check_folder(output, (config.data.root, config.data.maps), deep=True)
    for kind in ("composite_images", "masks", "real_images"):
        (output / SUBSET / kind).mkdir(parents=True, exist_ok=True)
    with tqdm(total=count + max(1, count // TEST_SHARE), unit="composite") as bar:
        for number, (part, list_name) in enumerate((("train", "IHD_train.txt"), ("validation", "IHD_test.txt"))):
            maker = Maker(load_photos(config.data, part), config.data, config.data.size)
            wanted = count if part == "train" else max(1, count // TEST_SHARE)
            names: list[str] = []
            for sample in _with_a_task(maker, (config.seed << 1) + number, wanted):
                name = f"{part[0]}{len(names):06d}"
                save_image(sample.composite, output / SUBSET / "composite_images" / f"{name}_1_1.png")
                save_image(sample.mask.astype(np.uint8) * 255, output / SUBSET / "masks" / f"{name}_1.png")
                save_image(sample.real, output / SUBSET / "real_images" / f"{name}.png")
                names.append(f"{SUBSET}/composite_images/{name}_1_1.png")
                bar.update()
            # Written last, so that an interrupted run leaves no list with missing files.
            (output / list_name).write_text("".join(f"{name}\n" for name in names))


def _with_a_task(maker: Maker, seed: int, wanted: int) -> Iterator[Sample]:
    """`wanted` composites that differ from their truth, since unchanged ones have no finite score."""
    made = (maker.make(seed, number) for number in itertools.count())
    return itertools.islice((sample for sample in made if sample.kind != UNCHANGED), wanted)


def main() -> None:
    parser = argparse.ArgumentParser(
        "train.make_composites", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a name in train/configs, or a YAML file; its data is used")
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("changes", nargs="*", metavar="key=value")
    parser.add_argument("--count", type=int, default=1000, help="training composites; default: 1000")
    arguments = parser.parse_args()
    try:
        make_composites(load_config(arguments.config, arguments.changes), arguments.output, arguments.count)
    except (ValueError, OSError, SrinError) as error:
        sys.exit(f"train.make_composites: {error}")


if __name__ == "__main__":
    main()
