"""How much the region map matters to SRIN: its source and its granularity against fPSNR.

    python -m train.map_study PHOTOS -o study.md [--weights FILE] [--limit 100]

Composites are made from the held-out training photos (train.data.photos.split_photos) that people segmented: an object
recoloured in its own photo, by camera, tone and curves in turn, with seed SEED. All maps are of the true photo, split
at the mask, so that maps differ and nothing else. Sources: people's regions, colour regions, Segment Anything's adaptive
map by the oracle (srin.segmentation.oracle), and one region. Granularity: how many regions are left after the smallest
ones joined the most similar. Every figure is followed by the mean difference to one region and its standard error.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from srin.composite import Composite
from srin.errors import SrinError
from srin.harmonizer import Harmonizer
from srin.image_io import load_image, load_labels, load_mask
from srin.metrics import fpsnr
from srin.models.checkpoint import load_weights
from srin.segmentation.automatic import adaptive_map
from srin.segmentation.oracle import OracleDecoder
from srin.segmentation.regions import colour_regions
from srin.segmentation.semantic_map import build, enlarged
from train.data import recolour
from train.data.photos import VOID, Photo, find_photos, split_photos

SEED = 5
SIZE = 256
REGIONS = (4, 8, 16, 32, 64)
SOURCES = ("people", "colour", "oracle SAM")
MIN_AREA, MAX_AREA = 0.01, 0.6  # foreground share of the picture
Scores = dict[tuple[str, int], list[float]]


def study(photos: list[Photo], harmonizer: Harmonizer) -> Scores:
    """fPSNR of every composite, by source and by largest number of regions; ("one region", 2) is always there."""
    scores: Scores = {}
    generator = torch.Generator().manual_seed(SEED)
    for number, photo in enumerate(tqdm(photos, unit="photo")):
        image = cv2.resize(load_image(photo.image), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        maps = _maps(photo, image, number)
        for composite in _composites(photo, image, number, generator):
            for source, limit in [("one region", 2), *[(s, n) for s in SOURCES for n in REGIONS]]:
                made = build(composite, maps[source], source, limit)
                result = harmonizer.harmonize_composite(composite, made)
                scores.setdefault((source, limit), []).append(fpsnr(result, image, composite.mask))
    return scores


def _maps(photo: Photo, image: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Labels (SIZE, SIZE) by source. Where people left void, colour regions take its place."""
    assert photo.segments is not None
    size = image.shape[:2]
    colour = colour_regions(image)
    drawn = enlarged(load_labels(photo.segments), size)
    people = np.where(np.isin(drawn, VOID), colour + 256, drawn)
    oracle = adaptive_map(OracleDecoder(image, people, seed), "oracle SAM")
    return {
        "people": people,
        "colour": colour,
        "oracle SAM": enlarged(oracle.labels, size),
        "one region": np.zeros(size, np.int32),
    }


def _composites(photo: Photo, image: np.ndarray, number: int, generator: torch.Generator) -> Iterator[Composite]:
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    for k, path in enumerate(photo.masks):
        mask = cv2.resize(load_mask(path), (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 127
        if not MIN_AREA <= mask.mean() <= MAX_AREA:
            continue
        weight = torch.from_numpy(mask)[None, None].float()
        changes = (
            lambda: recolour.camera(x, generator),
            lambda weight=weight: recolour.tone(x, weight, generator),
            lambda: recolour.curves(x, generator),
        )
        changed = (changes[(number + k) % len(changes)]().clamp(0, 1) * 255).round()[0].permute(1, 2, 0).byte().numpy()
        yield Composite(np.where(mask[..., None], changed, image), mask.astype(np.uint8) * 255)


def report(scores: Scores) -> str:
    """A Markdown table: sources by rows, granularity by columns."""
    base = np.array(scores["one region", 2])
    lines = [
        f"fPSNR on {len(base)} composites of held-out photos; one region: {base.mean():.2f}",
        "",
        "| map, by largest number of regions | " + " | ".join(map(str, REGIONS)) + " |",
        "| --- |" + " --- |" * len(REGIONS),
    ]
    for source in SOURCES:
        cells = []
        for limit in REGIONS:
            values = np.array(scores[source, limit])
            gain = values - base
            cells.append(f"{values.mean():.2f} ({gain.mean():+.3f} ± {gain.std() / len(gain) ** 0.5:.3f})")
        lines.append(f"| {source} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        "train.map_study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="a folder with manifest.csv that names segments")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="STUDY.md")
    parser.add_argument("--weights", type=Path, help="of a network with SRIN; default: the ones that come with it")
    parser.add_argument("--limit", type=int, default=100, help="photos; default: 100")
    arguments = parser.parse_args()
    try:
        if arguments.weights:
            harmonizer = Harmonizer("srin", load_weights(arguments.weights, "cpu"))
        else:
            harmonizer = Harmonizer.from_pretrained("srin")
        if not harmonizer.needs_map:
            raise SrinError(f"{arguments.weights} holds a network that looks at no map.")
        _, held_out = split_photos(find_photos(arguments.photos))
        segmented = [photo for photo in held_out if photo.segments is not None]
        if not segmented:
            raise SrinError(f"No held-out photo of {arguments.photos} has people's segments.")
        chosen = np.random.default_rng(SEED).permutation(len(segmented))[: arguments.limit]
        text = report(study([segmented[i] for i in sorted(chosen)], harmonizer))
        arguments.output.write_text(text)
    except (ValueError, OSError, SrinError) as error:
        sys.exit(f"train.map_study: {error}")
    print(text)


if __name__ == "__main__":
    main()
