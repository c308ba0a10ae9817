"""Draws pastes that come with the repository beside what SRIN makes of them: docs/pastes.jpg.

    python -m docs.pastes

The best come first, as judged by eye. No truth is known for them.
"""

from pathlib import Path

import cv2
import numpy as np

from srin.compare import labelled_sheet
from srin.composite import place
from srin.harmonizer import Harmonizer
from srin.image_io import load_image, load_mask, save_image
from srin.ui.gallery.examples import load_examples
from srin.ui.session.framing import around

SHEET = Path(__file__).with_name("pastes.jpg")
ORDER = (
    "Osprey, neon night",
    "Osprey, winter sunset",
    "Otter, misty tea hills",
    "Otter, sunset in the hills",
    "Osprey, dusk at the old arena",
    "Osprey, clear mountain day",
    "Otter, clear mountain day",
    "Otter, city bay at dusk",
)
SIZE = (360, 270)


def main() -> None:
    examples = {example.name: example for example in load_examples()}
    srin = Harmonizer.from_pretrained("srin")
    tiles = []
    for name in ORDER:
        example = examples[name]
        background, foreground = load_image(example.background), load_image(example.foreground)
        mask = load_mask(example.mask or example.foreground)
        composite = place(background, foreground, mask, example.placement)
        part = around(composite.mask, SIZE[0] / SIZE[1])
        pair = [part.cut(picture) for picture in (composite.image, srin.harmonize_composite(composite))]
        tiles.append((name, np.concatenate([cv2.resize(x, SIZE, interpolation=cv2.INTER_AREA) for x in pair], 1)))
    save_image(labelled_sheet(tiles), SHEET)


if __name__ == "__main__":
    main()
