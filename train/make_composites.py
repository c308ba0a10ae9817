"""Writes synthetic composites with known truth as an iHarmony4-style folder of PNG files, for others to use.

    python -m train.make_composites photos OUT data.root=PHOTOS --count 5000

The same composites that training makes on the fly (train.data.composites): from the training photos into IHD_train.txt,
and from the held-out ones into IHD_test.txt, a tenth as many. Pictures are squares of data.size pixels.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from srin.errors import SrinError
from srin.image_io import save_image
from srin.outputs import check_folder
from train.config import TrainConfig, load_config
from train.data.composites import make_batch
from train.data.photos import Photos, load_photos
from train.objective import has_task

SUBSET = "photos"  # the sub-dataset's name in the lists
BATCH = 16
TEST_SHARE = 10


def make_composites(config: TrainConfig, output: Path, count: int) -> None:
    """Writes `count` training composites and a tenth as many for tests.

    Raises:
        ValueError: photos that can't be used. OutputError: the folder can't be written.
    """
    check_folder(output, (config.data.root, config.data.maps), deep=True)
    for kind in ("composite_images", "masks", "real_images"):
        (output / SUBSET / kind).mkdir(parents=True, exist_ok=True)
    with tqdm(total=count + max(1, count // TEST_SHARE), unit="composite") as bar:
        for number, (part, list_name) in enumerate((("train", "IHD_train.txt"), ("validation", "IHD_test.txt"))):
            photos = load_photos(config.data, part)
            wanted = count if part == "train" else max(1, count // TEST_SHARE)
            generator = torch.Generator().manual_seed((config.seed << 20) + number)
            names: list[str] = []
            for composite, mask, real in _accepted(photos, config.data.size, wanted, generator):
                name = f"{part[0]}{len(names):06d}"
                save_image(composite, output / SUBSET / "composite_images" / f"{name}_1_1.png")
                save_image(mask, output / SUBSET / "masks" / f"{name}_1.png")
                save_image(real, output / SUBSET / "real_images" / f"{name}.png")
                names.append(f"{SUBSET}/composite_images/{name}_1_1.png")
                bar.update()
            # Last, so that an interrupted run leaves no list of files that aren't there.
            (output / list_name).write_text("".join(f"{name}\n" for name in names))


def _accepted(
    photos: Photos, size: int, wanted: int, generator: torch.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    left = wanted
    while left:
        batch = make_batch(photos, BATCH, size, generator)
        for i in torch.nonzero(has_task(batch)).flatten()[:left].tolist():
            yield _picture(batch.composite[i]), (batch.mask[i, 0].numpy() * 255).astype(np.uint8), _picture(batch.real[i])
            left -= 1


def _picture(x: Tensor) -> np.ndarray:
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


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
