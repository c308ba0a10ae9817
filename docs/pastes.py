"""Draws pastes that come with the repository beside what SRIN makes of them: docs/pastes.jpg.

    python -m docs.pastes

Best first, as judged by eye. No truth is known for them.
"""

import json
from pathlib import Path

import cv2
import numpy as np

from srin.compare import labelled_sheet
from srin.composite import Placement, place
from srin.harmonizer import Harmonizer
from srin.image_io import load_image, load_mask, save_image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "assets" / "examples"
ORDER = (
    "Osprey, neon night",
    "Otter, sunset in the hills",
    "Osprey, winter sunset",
    "Osprey, dusk at the old arena",
    "Otter, misty tea hills",
    "Osprey, clear mountain day",
    "Otter, clear mountain day",
    "Otter, city bay at dusk",
)
SIZE = (360, 270)
MARGIN = 0.3  # of the object's longer side, around it


def around(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a 4:3 part of the picture with the object in its middle, as far as the picture goes."""
    ys, xs = np.nonzero(mask > 127)
    size = np.array(mask.shape)
    centre = np.array([ys.min() + ys.max(), xs.min() + xs.max()]) / 2
    height = max(np.ptp(ys), np.ptp(xs) * 3 / 4) * (1 + 2 * MARGIN)
    part = np.array([height, height * 4 / 3])
    part = (part * min(1, *(size / part))).astype(int)
    top, left = np.clip(centre - part / 2, 0, size - part).astype(int)
    return slice(top, top + part[0]), slice(left, left + part[1])


def main() -> None:
    examples = {row["name"]: row for row in json.loads((EXAMPLES / "examples.json").read_text("utf-8"))["examples"]}
    srin = Harmonizer.from_pretrained("srin")
    tiles = []
    for name in ORDER:
        example = examples[name]
        background, foreground = (load_image(EXAMPLES / example[part]) for part in ("background", "foreground"))
        mask = load_mask(EXAMPLES / example["mask"])
        composite = place(background, foreground, mask, Placement(**example["placement"]))
        part = around(composite.mask)
        pair = [composite.image, srin.harmonize_composite(composite)]
        tiles.append((name, np.concatenate([cv2.resize(x[part], SIZE, interpolation=cv2.INTER_AREA) for x in pair], 1)))
    save_image(labelled_sheet(tiles), ROOT / "docs" / "pastes.jpg")


if __name__ == "__main__":
    main()
