"""Card 3: placing the object on the background."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from srin.composite import Placement
from srin.errors import SrinError
from srin.ui.parts import card, note
from srin.ui.pictures import shown
from srin.ui.session import Scene

HEIGHT = 440


@dataclass(frozen=True)
class Placing:
    """The card's components. numbers: x, y, scale, rotation, flip, in a Placement's order."""

    hint: gr.HTML
    body: gr.Row
    preview: gr.Image
    numbers: list[gr.components.Component]
    problem: gr.HTML


def layout() -> Placing:
    start = Placement()
    with card(3, "Place", "placing"):
        hint = gr.HTML(note("With a background and a cut-out there, place the object here."))
        with gr.Row(visible=False) as body:
            preview = gr.Image(
                label="Click the picture to move the object there",
                interactive=False,
                height=HEIGHT,
                buttons=["fullscreen"],
                elem_id="preview",
                scale=5,
                min_width=280,
            )
            with gr.Column(scale=2, min_width=260):
                numbers: list[gr.components.Component] = [
                    gr.Slider(-0.2, 1.2, start.x, step=0.001, label="Left to right", elem_id="place-x"),
                    gr.Slider(-0.2, 1.2, start.y, step=0.001, label="Top to bottom", elem_id="place-y"),
                    gr.Slider(0.02, 2, start.scale, step=0.001, label="Height", elem_id="place-scale"),
                    gr.Slider(
                        -180,
                        180,
                        start.rotation,
                        step=1,
                        label="Rotation in degrees",
                        elem_id="place-rotation",
                    ),
                    gr.Checkbox(start.flip, label="Mirror left to right", elem_id="place-flip"),
                ]
                gr.HTML(note("Position and height are fractions of the background's."))
                problem = gr.HTML(elem_id="place-problem")
    return Placing(hint, body, preview, numbers, problem)


def views(scene: Scene, *numbers: Any) -> tuple[Any, ...]:
    """Updates of hint, body, preview and problem."""
    if scene.missing or scene.ready:
        return gr.update(visible=True), gr.update(visible=False), None, ""
    return gr.update(visible=False), gr.update(visible=True), *show(scene, *numbers)


def show(scene: Scene, *numbers: Any) -> tuple[Any, str]:
    """The composite at preview size, and why there is none. While a slider moves, that is no toast's business."""
    try:
        return shown(scene.preview(Placement(*numbers)).image), ""
    except SrinError as error:
        return gr.skip(), note(str(error), "error")


def move_to(scene: Scene, event: gr.SelectData) -> tuple[float, float]:
    """x and y of a click on the preview."""
    if scene.background is None:
        raise SrinError("Add a background photo first.")
    height, width = scene.background.proxy.shape[:2]
    return round(event.index[0] / width, 3), round(event.index[1] / height, 3)
