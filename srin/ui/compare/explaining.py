"""Why: what leaving out a region of the background changes in a part of the object, in words, numbers and pictures."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import gradio as gr
import numpy as np

from srin.composite import Composite
from srin.difference import signed
from srin.errors import SrinError
from srin.full_resolution import apply_coefficients
from srin.harmonizer import Harmonizer, unavailable
from srin.resizing import enlarged_labels, shrunk_size
from srin.ui.answering import workers
from srin.ui.answering.requests import answer, data_of
from srin.ui.session.framing import around
from srin.ui.session.previews import inline
from srin.ui.session.run import LABELS, Run
from srin.ui.session.session_state import SessionState
from srin.untrusted import Data, number

if TYPE_CHECKING:
    from srin.explain import Explanation, RegionEffect  # it imports torch, which would delay the page

NETWORKS = ("srin", "bain")
SIDE = 900  # pixels of the longer side of what is drawn
REGION_SIDE = 640  # of the picture without a region
RATIO = 16 / 9  # of the pictures around the object
STRONG = 4.0  # grey levels: the effect of the brightest colour
DIM = 0.45  # brightness of what is neither region nor object
PART = (45, 212, 191)


def explain(session: SessionState, event: gr.EventData) -> dict[str, Any]:
    """What the background did to the part of the object at the point that the page sends."""
    data = data_of(event)
    share = number(data, "x", 0, 0.9999), number(data, "y", 0, 0.9999)
    question = int(number(data, "request", 0, 1e9))
    session.questions.begin(question)

    def proceed(done: float) -> None:
        if not session.questions.goes_on(question):
            raise SrinError("This was cancelled.")

    return gr.update(why=answer(data, workers.models, _explained, session.run, share, proceed))


def _explained(run: Run | None, share: tuple[float, float], proceed: Callable[[float], None]) -> Data:
    """What the page shows of each network. share: x, y in fractions of the run's composite. proceed: raises to end it."""
    if run is None:
        raise SrinError("Harmonize first.")
    here = [method for method in NETWORKS if unavailable(method) is None]
    if not here:
        raise SrinError("The weights of SRIN and BAIN are missing here, so there is nothing to explain.")
    height, width = run.composite.mask.shape
    point = (share[0] * width, share[1] * height)
    reference, small = run.scene.allowed(run.composite), run.composite.shrunk(REGION_SIDE)
    items = []
    for method in here:
        proceed(0.0)
        harmonizer = Harmonizer.from_pretrained(method)
        shown = harmonizer.explain_composite(run.composite, point, run.semantic_map, reference, proceed)
        whole = apply_coefficients(shown.transform, small)
        regions = [_told(small, whole, shown, region) for region in shown.regions]
        about = {"label": LABELS[method], "url": inline(overlay(shown)), "sentence": shown.sentence}
        items.append({**about, "regions": regions})
    return {"items": items}


def _told(small: Composite, whole: np.ndarray, shown: "Explanation", region: "RegionEffect") -> Data:
    """A region's place, area and effect; where the effect can be noticed, also in words and pictures.

    small: the composite at the pictures' size. whole: uint8 (h, w, 3), the same harmonized with all regions.
    """
    from srin.explain import HARDLY, would

    told: Data = {"place": region.place, "area": region.area, "effect": region.effect, "would": None}
    if region.effect is None or region.effect < HARDLY:
        return told
    without = apply_coefficients(shown.without[region.region], small)
    frame = around(small.mask, RATIO)
    before, after, mask = (frame.cut(x) for x in (whole, without, small.mask))
    change, factor = signed(before, after, mask)
    scene = _outlined(without, small.mask, enlarged_labels(shown.labels, small.mask.shape) == region.region)
    pictures = {"scene": inline(_opaque(scene)), "change": inline(_opaque(change)), "factor": factor}
    return {**told, "would": would(region), **pictures}


def _outlined(image: np.ndarray, mask: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The picture, dimmed but for the object and the region, which has an outline."""
    lit = np.maximum(mask, 255 * region.astype(np.uint8))[..., None] / 255
    picture = np.rint(image * (DIM + (1 - DIM) * lit)).astype(np.uint8)
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, (0, 0, 0), 4)
    cv2.drawContours(picture, contours, -1, PART, 2)
    return picture


def _opaque(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


def overlay(shown: "Explanation") -> np.ndarray:
    """uint8 (h, w, 4): the regions of the background. The more it changes the part to leave a region out, the brighter it
    is. Outlines of regions are white; the part's has the accent colour."""
    from srin.explain import outlines

    effects = np.zeros(int(shown.labels.max()) + 1)
    for region in shown.regions:
        effects[region.region] = region.effect or 0
    levels = np.rint((effects / STRONG).clip(0, 1) * 255).astype(np.uint8)
    known = np.isin(np.arange(len(levels)), [region.region for region in shown.regions])
    height, width = shown.labels.shape
    size = shrunk_size(width, height, SIDE)[::-1]
    labels = enlarged_labels(shown.labels, size)
    effect = levels[labels]
    colours = cv2.cvtColor(cv2.applyColorMap(effect, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    layer = np.dstack([colours, np.where(known[labels], 90 + 0.6 * effect, 0).astype(np.uint8)])
    layer[outlines(labels)] = (255, 255, 255, 150)
    part = enlarged_labels(shown.part.astype(np.uint8), size)
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(layer, contours, -1, (*PART, 255), 3)
    return layer
