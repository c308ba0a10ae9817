"""Why: what SRIN and BAIN borrowed from where, drawn over the picture, and what each region of the background changed."""

from typing import TYPE_CHECKING, Any

import cv2
import gradio as gr
import numpy as np

from srin.errors import SrinError
from srin.harmonizer import Harmonizer, unavailable
from srin.ui import deadline
from srin.ui.harmonizing import LABELS, Run
from srin.ui.pictures import inline, shrink
from srin.ui.requests import answer, data_of
from srin.ui.visit import Visit
from srin.untrusted import Data, number

if TYPE_CHECKING:
    from srin.explain import Explanation  # it imports torch, for which the page doesn't wait

NETWORKS = ("srin", "bain")
SIDE = 900  # pixels of the longer side of what is drawn
HOT = 3.0  # times the weight by area: the brightest colour
PART = (45, 212, 191)


def explain(visit: Visit, event: gr.EventData) -> dict[str, Any]:
    """What the background did to the part of the object at the point that the page sends."""
    data = data_of(event)
    share = number(data, "x", 0, 0.9999), number(data, "y", 0, 0.9999)
    return gr.update(why=answer(data, deadline.models, _explained, visit.run, share))


def _explained(run: Run | None, share: tuple[float, float]) -> Data:
    """What the page shows of each network. share: x, y in fractions of the run's composite."""
    if run is None:
        raise SrinError("Harmonize first.")
    here = [method for method in NETWORKS if unavailable(method) is None]
    if not here:
        raise SrinError("The weights of SRIN and BAIN are missing here, so there is nothing to explain.")
    height, width = run.composite.mask.shape
    point = (share[0] * width, share[1] * height)
    items = []
    for method in here:
        shown = Harmonizer.from_pretrained(method).explain_composite(run.composite, point, run.semantic_map)
        items.append({"label": LABELS[method], "url": inline(overlay(shown)), "sentence": shown.sentence})
    return {"items": items}


def overlay(shown: "Explanation") -> np.ndarray:
    """uint8 (h, w, 4): the weights as a heat map, the regions' outlines in white, the part's in the accent's colour."""
    heat = shrink(np.rint((shown.heat / HOT).clip(0, 1) * 255).astype(np.uint8), SIDE)
    size = heat.shape[::-1]
    colours = cv2.cvtColor(cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = np.where(heat > 0, 30 + 0.8 * heat, 0).astype(np.uint8)
    layer = np.dstack([colours, opacity])
    lines = cv2.resize(shown.outlines.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    layer[lines] = (255, 255, 255, 150)
    part = cv2.resize(shown.part.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(layer, contours, -1, (*PART, 255), 3)
    return layer
