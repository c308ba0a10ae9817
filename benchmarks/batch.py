"""Compares the speed of harmonizing a folder, in pictures a second, with a loop that takes one file after the other.

    python -m benchmarks.batch [--pictures 24] [--megapixels 2] [--method srin] [--json FILE]

Both decode, harmonize (SRIN draws its maps from colour regions) and write PNG, in one run. Loading weights isn't counted.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import composite, seconds
from srin import batch
from srin.composite import Composite
from srin.harmonizer import METHODS, Harmonizer
from srin.image_io import save_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--megapixels", type=float, default=2)
    parser.add_argument("--method", choices=METHODS, default="srin")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    harmonizer = Harmonizer.from_pretrained(arguments.method)

    def work(job: batch.Job) -> None:
        assert job.mask is not None
        save_image(harmonizer.harmonize_composite(Composite.load(job.image, job.mask)), job.output)

    with tempfile.TemporaryDirectory() as name:
        images, masks = Path(name, "images"), Path(name, "masks")
        images.mkdir()
        masks.mkdir()
        side = round((arguments.megapixels * 1e6 * 4 / 3) ** 0.5)
        for i in range(arguments.pictures):
            picture = composite(side, float(np.linspace(0.06, 0.6, arguments.pictures)[i]))
            save_image(picture.image, images / f"{i}.jpg")
            save_image(picture.mask, masks / f"{i}.png")
        todo = batch.jobs(images, masks, None, Path(name, "out"))

        def loop() -> None:
            for job in todo:
                work(job)

        def pool() -> None:
            problems = [problem for _, problem in batch.run(work, todo, batch.cores(1)) if problem]
            assert not problems, problems

        one, several = seconds(loop, pool, repeats=2)
    ratio = one / several
    print(f"loop {len(todo) / one:6.2f} pictures a second")
    print(f"pool {len(todo) / several:6.2f} pictures a second, with {batch.cores(1)} threads: {ratio:.2f} times as many")
    if arguments.json:
        arguments.json.write_text(json.dumps({"ratios": {"pool_over_loop_pictures_a_second": ratio}}, indent=1))


if __name__ == "__main__":
    main()
