"""The examples at the head of the page. Their browser side is in web/gallery/."""

import logging
from functools import cache
from typing import Any

import gradio as gr
import numpy as np

from srin.composite import Composite
from srin.errors import SrinError
from srin.harmonizer import Harmonizer, unavailable
from srin.ui.examples import all_examples, load_examples, load_recoloured, thumbnails
from srin.ui.files import KEPT
from srin.ui.framing import around
from srin.ui.island import island
from srin.ui.pictures import shown

SHOWN = "srin"  # whose results the thumbnails show
RATIO = 16 / 9  # of a thumbnail, as in gallery.css


def layout() -> gr.HTML:
    return island("gallery", ("../cards", "main"), examples=_cards([None] * len(_composites())))


def harmonized() -> dict[str, Any]:
    """Update of the gallery: with results on the right of each thumbnail, where the weights are there."""
    return gr.update(examples=_cards(_results()))


@cache
def _composites() -> list[Composite]:
    return thumbnails(load_examples(), load_recoloured())


@cache
def _results() -> list[str | None]:
    """Addresses of the thumbnails' results, computed once for all visitors."""
    if unavailable(SHOWN) is not None:
        return [None] * len(_composites())
    try:
        harmonizer = Harmonizer.from_pretrained(SHOWN)
        return [_framed(composite, harmonizer.harmonize_composite(composite)) for composite in _composites()]
    except SrinError:
        logging.getLogger(__name__).exception("the examples can't be harmonized")
        return [None] * len(_composites())


def _framed(composite: Composite, image: np.ndarray) -> str:
    """The address of the part of a composite, or of its result, that shows the object."""
    return shown(around(composite.mask, RATIO).cut(image), KEPT)


def _cards(results: list[str | None]) -> list[dict[str, Any]]:
    return [
        {
            "name": example.name,
            "before": _framed(composite, composite.image),
            "after": after,
            "middle": around(composite.mask, RATIO).middle,
        }
        for example, composite, after in zip(all_examples(), _composites(), results, strict=True)
    ]
