"""Draws what the networks do wrong, on the photos that come with the repository: assets/weights/failures.jpg.

    python -m docs.failures

Shows cases with known truth: objects that are in their own photos already, and one in light that varies across it. Beside
each composite are the method's result and the truth.
"""

from pathlib import Path

import cv2
import numpy as np

from srin.compare import TILE, labelled_sheet
from srin.composite import Composite
from srin.harmonizer import Harmonizer
from srin.image_io import load_image, load_mask, save_image
from srin.ui.session.framing import around

ASSETS = Path(__file__).resolve().parents[1] / "assets"
METHOD = "srin"
SIZE = (TILE, TILE * 3 // 4)


def lit_from_the_left(image: np.ndarray) -> np.ndarray:
    """The picture in light that changes by three stops from edge to edge."""
    stops = np.linspace(1.5, -1.5, image.shape[1])[None, :, None]
    return 255 * np.clip((image / 255) ** 2.2 * 2**stops, 0, 1) ** (1 / 2.2)


def main() -> None:
    harmonizer = Harmonizer.from_pretrained(METHOD)
    tiles = []
    for name, caption, spoil in (
        ("osprey", "harmonious already", lambda image: image),
        ("otter", "harmonious already", lambda image: image),
        ("otter", "light from the left", lit_from_the_left),
    ):
        real = load_image(ASSETS / "examples" / f"{name}.jpg")
        mask = load_mask(ASSETS / "examples" / f"{name}_mask.png")
        spoilt = np.where(mask[..., None] > 127, spoil(real), real).round().astype(np.uint8)
        harmonized = harmonizer.harmonize_composite(Composite(spoilt, mask))
        part = around(mask, SIZE[0] / SIZE[1])
        for title, picture in ((f"composite: {caption}", spoilt), (METHOD, harmonized), ("truth", real)):
            tiles.append((title, cv2.resize(part.cut(picture), SIZE, interpolation=cv2.INTER_AREA)))
    save_image(labelled_sheet(tiles), ASSETS / "weights" / "failures.jpg")


if __name__ == "__main__":
    main()
