"""Card 4: the methods, run one after the other on the originals, and the semantic map."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from srin.compare import Result, run_methods
from srin.composite import Composite, Placement
from srin.errors import SrinError
from srin.harmonizer import METHODS, Harmonizer, unavailable
from srin.segmentation.semantic_map import SemanticMap, segment
from srin.ui.parts import card, note
from srin.ui.pictures import shown
from srin.ui.session import Run, Scene

LABELS = {
    "copy-paste": "Copy-paste",
    "reinhard": "Reinhard",
    "histogram": "Histogram",
    "poisson": "Poisson",
    "baseline": "Baseline (RAIN)",
    "bain": "BAIN",
    "srin": "SRIN",
}
MAP_HEIGHT = 280


@dataclass(frozen=True)
class Harmonizing:
    """The card's components."""

    methods: gr.CheckboxGroup
    segmenter: gr.Radio
    start: gr.Button
    cancel: gr.Button
    status: gr.HTML
    map: gr.Image
    map_caption: gr.HTML
    draw_map: gr.Button


def layout() -> Harmonizing:
    reasons = {method: unavailable(method) for method in METHODS}
    usable = [method for method, reason in reasons.items() if reason is None]
    with card(4, "Harmonize", "harmonizing"), gr.Row():
        with gr.Column(scale=3, min_width=280):
            methods = gr.CheckboxGroup(
                [(LABELS[method], method) for method in usable],
                value=usable,
                label="Methods",
                elem_id="methods",
            )
            missing = [f"{LABELS[method]}: {reason}" for method, reason in reasons.items() if reason]
            gr.HTML("".join(note(line) for line in ("Not available here:", *missing)), visible=bool(missing))
            segmenter = gr.Radio(
                [("Colour regions", "colour"), ("Segment Anything", "sam")],
                value="colour",
                label="SRIN's semantic map is drawn by",
                info="Segment Anything needs its checkpoint, and minutes on a CPU.",
                elem_id="map-segmenter",
            )
            with gr.Row(elem_classes="actions"):
                start = gr.Button("Harmonize", variant="primary", size="lg", elem_id="harmonize", scale=2)
                cancel = gr.Button("Cancel", size="lg", interactive=False, elem_id="cancel", min_width=100)
            status = gr.HTML(elem_id="status")
        with gr.Column(scale=2, min_width=280):
            picture = gr.Image(
                label="Semantic map",
                interactive=False,
                height=MAP_HEIGHT,
                buttons=["fullscreen"],
                elem_id="map",
            )
            caption = gr.HTML(
                note("Each region in its mean colour: this is what SRIN compares."), elem_id="map-caption"
            )
            draw_map = gr.Button("Draw the map", size="sm", elem_id="draw-map")
    return Harmonizing(methods, segmenter, start, cancel, status, picture, caption, draw_map)


def preview_map(scene: Scene, segmenter: str, *numbers: Any) -> tuple[str, str]:
    """The map of the present placement, and its caption."""
    composite = scene.preview(Placement(*numbers))
    return map_views(segment(composite, segmenter), composite)


def map_views(semantic_map: SemanticMap, composite: Composite) -> tuple[str, str]:
    """Values of map and map_caption."""
    count = int(semantic_map.labels.max()) + 1
    return shown(semantic_map.paint(composite.image)), note(
        f"{count} regions, drawn by: {semantic_map.segmenter}"
    )


@dataclass(frozen=True)
class Step:
    """run: results so far, or None while the composite is being prepared. running: the method at work, if any."""

    run: Run | None
    running: str | None
    status: str


def run_steps(scene: Scene, segmenter: str, methods: list[str], *numbers: Any) -> Iterator[Step]:
    """Runs the methods on the composite of full size; a step for each change that is worth showing.

    Raises SrinError when there is nothing to run, or no composite or map.
    """
    if scene.missing:
        raise SrinError(scene.missing)
    if not methods:
        raise SrinError("Choose at least one method.")
    yield Step(None, None, "Preparing the composite and its semantic map")
    placement = Placement(*numbers)
    full = scene.composite(placement)
    run = Run.start(scene, placement, full, segmenter)
    semantic_map = run.semantic_map(full)
    for index, method in enumerate(methods, start=1):
        yield Step(run, method, f"{LABELS[method]} is running ({index} of {len(methods)})")
        run = run.with_result(_result(full, semantic_map, method))
    size = f"{full.mask.shape[1]} x {full.mask.shape[0]}"
    yield Step(run, None, f"{len(run.done)} of {len(methods)} methods are done, at {size} pixels.")


def _result(full: Composite, semantic_map: SemanticMap, method: str) -> Result:
    """One method's result. Whatever goes wrong in it stays in it."""
    try:
        return next(run_methods(full, semantic_map, [method]))
    except Exception:
        logging.getLogger(__name__).exception("%s failed", method)
        return Result(
            method, None, 0.0, "This method failed; the server's log says why. The others are not affected."
        )


def warm_up() -> None:
    """Imports torch and loads the weights, so that the first visitor's first run doesn't wait for them."""
    for method in METHODS:
        try:
            if unavailable(method) is None:
                Harmonizer.from_pretrained(method)
        except SrinError:
            logging.getLogger(__name__).exception("%s can't be loaded", method)
