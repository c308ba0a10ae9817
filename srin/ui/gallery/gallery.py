"""The examples, on the empty Stage and then below it."""

import logging
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import gradio as gr
import numpy as np

from srin.composite import Composite
from srin.difference import distances, lab_sample
from srin.errors import SrinError
from srin.harmonizer import Harmonizer, unavailable
from srin.ui.gallery.examples import all_examples, load_examples, load_recoloured, thumbnails
from srin.ui.page.component import component
from srin.ui.session.framing import around, middle
from srin.ui.session.previews import shown
from srin.ui.session.uploads import KEPT

SHOWN = "srin"  # whose results the thumbnails show
OPENING_SIDE = 1280
RATIO = 16 / 9  # of a thumbnail, as in gallery.css
_computing = threading.Lock()  # results are computed once; others wait for them


def layout() -> gr.HTML:
    return component("gallery", (), {"examples": _cards([None] * len(_composites())), "opening": None})


def harmonized() -> dict[str, Any]:
    """An update of the gallery that adds results to the thumbnails, if the weights are there."""
    with _computing:
        results, opening = _results(), _opening()
    return gr.update(examples=_cards([result.address if result else None for result in results]), opening=opening)


def prepare() -> None:
    """Computes what `harmonized` shows, so that no visitor waits for it."""
    try:
        harmonized()
    except SrinError:
        logging.getLogger(__name__).exception("the examples can't be harmonized")


@dataclass(frozen=True)
class Harmonized:
    """A thumbnail's result. address: where the browser finds it. change: mean dE2000 inside the object."""

    address: str
    change: float


@cache
def _composites() -> list[Composite]:
    return thumbnails(load_examples(), load_recoloured())


@cache
def _results() -> list[Harmonized | None]:
    """The thumbnails' results, computed once for all visitors."""
    if unavailable(SHOWN) is not None:
        return [None] * len(_composites())
    harmonizer = Harmonizer.from_pretrained(SHOWN)
    return [_result(composite, harmonizer.harmonize_composite(composite)) for composite in _composites()]


def _result(composite: Composite, result: np.ndarray) -> Harmonized:
    change = distances(lab_sample(composite.image, composite.mask), lab_sample(result, composite.mask))
    return Harmonized(_framed(composite, result), float(change.mean()))


@cache
def _opening() -> dict[str, Any] | None:
    """The large picture that the page opens with: of the pasted objects, the one that the network changes most."""
    results = _results()[: len(load_examples())]
    if not results or None in results:
        return None
    index = max(range(len(results)), key=lambda i: results[i].change)  # type: ignore[union-attr]
    composite = load_examples()[index].composite(OPENING_SIDE)
    result = Harmonizer.from_pretrained(SHOWN).harmonize_composite(composite)
    before, after = (shown(picture, KEPT) for picture in (composite.image, result))
    return {
        "index": index,
        "name": load_examples()[index].name,
        "before": before,
        "after": after,
        "middle": middle(composite.mask),
        "ratio": composite.mask.shape[1] / composite.mask.shape[0],
    }


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
