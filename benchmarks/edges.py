"""Measures how well edges fit: those of the segmenter, and those that "Hair" makes of them.

    python -m benchmarks.edges [--corpus ../shared/corpus] [--objects 60] [--json FILE]

Thin: street-fashion photos of the test split (ccp), which the network sees at a third of their size. Boundary F and IoU
are measured at full size against the drawn masks, whose own edges are a pixel or two off.

Hair: photos with large drawn masks, enlarged to 12 megapixels. Hairs of 1 to 3 pixels are drawn around the object, and it
is pasted over another photo, so the true alpha is known. Printed is the mean error of alpha (of 255) close to the hairs,
for the mask as it is (`softened`) and with `feathered_alpha`; the mask is the object without its hairs, and what the
network selects for the object's box.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.segmentation import boundary_f
from srin.image_io import load_image, load_mask
from srin.segmentation.candidate import overlap
from srin.segmentation.embedded import EmbeddedEngine
from srin.segmentation.refine import feathered_alpha, softened
from train.data.prompts import is_one_thing
from train.data.tables import read_table

THIRD = 3
SHARES = (0.05, 0.8)  # of the photo that an object covers
REACHES = (2, 4)  # pixels of the photo, for the first table
SIDE = 4000  # pixels of the longer side
PROXY = 1024  # pixels of the longer side of what the segmenter is given
HAIRS, LENGTH = 600, (20, 90)  # number; pixels, at 12 megapixels
REACH = 0.0125  # of the longer side
SEED = 0


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a bool mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def thin_edges(corpus: Path, count: int) -> dict[str, float]:
    """Means over objects of boundary F and IoU."""
    rows = read_table(corpus / "manifest.csv", ("source", "image", "mask", "fg_ratio", "split"), ())
    rows = [
        row for row in rows if (row["source"], row["split"]) == ("ccp", "test") and 0.05 < float(row["fg_ratio"]) < 0.8
    ]
    chosen = np.random.default_rng(SEED).permutation(len(rows))
    found: dict[str, list[tuple[float, float]]] = {}
    for i in tqdm(chosen, unit="object"):
        image, truth = load_image(corpus / rows[i]["image"]), load_mask(corpus / rows[i]["mask"]) > 127
        if not is_one_thing(truth):
            continue
        height, width = truth.shape
        small = cv2.resize(image, (width // THIRD, height // THIRD), interpolation=cv2.INTER_AREA)
        mask = EmbeddedEngine(small, (height, width)).candidates(box=box_of(truth))[0].mask(height, width)
        masks = {"as it is": mask} | {f"Hair, {reach} px": feathered_alpha(image, mask, reach) for reach in REACHES}
        for name, one in masks.items():
            found.setdefault(name, []).append((boundary_f(one > 127, truth), overlap(one > 127, truth)))
        if len(found["as it is"]) == count:
            break
    report = {}
    for name, values in found.items():
        report[f"boundary F, {name}"], report[f"IoU, {name}"] = np.mean(values, 0).tolist()
    return report | {"objects": len(found["as it is"])}


def hairy(
    photo: np.ndarray, mask: np.ndarray, behind: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The object with hairs over another photo: uint8 (H, W, 3), alpha float32 (H, W), uint8 (H, W), the mask without its
    hairs, and bool (H, W), near hairs."""
    height, width = (round(side * SIDE / max(mask.shape)) for side in mask.shape)
    firm = cv2.resize(mask, (width, height), interpolation=cv2.INTER_CUBIC)
    firm = cv2.GaussianBlur((firm > 127) * np.uint8(255), (0, 0), 2)
    contours, _ = cv2.findContours((firm > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=len)[:, 0].astype(float)
    hairs = np.zeros((height, width), np.uint8)
    centre = outline.mean(0)
    for at in rng.integers(0, len(outline), HAIRS):
        outwards = outline[at] - centre
        angle = np.arctan2(*outwards[::-1]) + rng.normal(0, 0.4)
        steps = np.linspace(0, rng.uniform(*LENGTH), 12)
        angles = angle + rng.normal(0, 0.02) * steps
        line = outline[at] + np.cumsum(np.stack([np.cos(angles), np.sin(angles)], 1) * steps[1], 0)
        cv2.polylines(hairs, [np.rint(line * 16).astype(np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
    alpha = np.maximum(firm, hairs).astype(np.float32) / 255
    # A hair has the colour of the object where it grows.
    colours = cv2.resize(photo, (width, height), interpolation=cv2.INTER_CUBIC)
    _, nearest = cv2.distanceTransformWithLabels(
        (firm < 250).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour_of = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    inside = firm >= 250
    colour_of[nearest[inside]] = colours[inside]
    foreground = np.where(inside[..., None], colours, colour_of[nearest])
    ground = cv2.resize(behind, (width, height), interpolation=cv2.INTER_CUBIC)
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * ground
    image += rng.normal(0, 2, image.shape)  # noise, which enlarging took away
    near = cv2.dilate(hairs, np.ones((41, 41), np.uint8)) > 0
    return np.rint(image.clip(0, 255)).astype(np.uint8), alpha, (firm > 127) * np.uint8(255), near


def hair(corpus: Path) -> dict[str, float]:
    """Mean errors of alpha, of 255, near hairs."""
    rng = np.random.default_rng(SEED)
    paths = sorted((corpus / "large").glob("*_mask.png"))
    photos = [path.with_name(path.name.replace("_mask.png", ".jpg")) for path in paths]
    found: dict[str, list[float]] = {}
    for i in tqdm(range(0, len(paths), 4), unit="photo"):
        image, alpha, firm, near = hairy(load_image(photos[i]), load_mask(paths[i]), load_image(photos[i - 1]), rng)
        scale = PROXY / SIDE
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        candidate = EmbeddedEngine(small, alpha.shape).candidates(box=box_of(alpha > 0.5))[0]
        for whose, mask in (("the object", firm), ("the network", candidate.mask(*alpha.shape))):
            alphas = {"as it is": softened(mask), "with Hair": feathered_alpha(image, mask, REACH * SIDE)}
            for name, one in alphas.items():
                error = float(np.abs(one - 255 * alpha)[near].mean())
                found.setdefault(f"alpha near hairs, mask of {whose}, {name}", []).append(error)
    report = {name: float(np.mean(values)) for name, values in found.items()}
    return report | {"photos with hairs": len(found["alpha near hairs, mask of the object, as it is"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "corpus")
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if not (arguments.corpus / "large").is_dir():
        parser.error(f"there is no folder {arguments.corpus / 'large'}")
    report = thin_edges(arguments.corpus, arguments.objects) | hair(arguments.corpus)
    for name, value in report.items():
        print(f"{name:54}{value:8.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
