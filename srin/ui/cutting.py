"""Card 2: cutting the object out of the foreground's photo."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from srin.errors import SegmentationError, SrinError
from srin.ui import cutout
from srin.ui.parts import PhotoInput, card, note, photo_input
from srin.ui.pictures import on_checkerboard, shown, shrink, with_marks, with_selection
from srin.ui.session import Photo, Scene

HEIGHT = 340
TOOLS = {
    "subject": "One click",
    "box": "Box",
    "points": "Points",
    "brush": "Brush",
    "file": "Mask file",
    "transparency": "Transparency",
}


@dataclass(frozen=True)
class Cutting:
    """The card's components."""

    hint: gr.HTML
    body: gr.Row
    tool: gr.Radio
    panels: dict[str, gr.Column]
    subject: gr.Button
    box: list[gr.Number]
    cut_box: gr.Button
    points_reason: gr.Markdown
    points_tools: gr.Column
    point_kind: gr.Radio
    undo: gr.Button
    cut_painting: gr.Button
    mask_file: PhotoInput
    cut_transparency: gr.Button
    photo: gr.Image
    editor_column: gr.Column
    editor: gr.ImageEditor
    result: gr.Image
    caption: gr.HTML


def layout() -> Cutting:
    panels: dict[str, gr.Column] = {}
    with card(2, "Cut out", "cutting"):
        hint = gr.HTML(note("Add a foreground photo, and cut its object out here."))
        with gr.Row(visible=False) as body:
            with gr.Column(scale=2, min_width=260):
                choices = [(label, name) for name, label in TOOLS.items()]
                tool = gr.Radio(choices, value="subject", label="Select the object by", elem_id="tool")
                with gr.Column() as panels["subject"]:
                    gr.HTML(note("For an object that stands out from its surroundings. Runs grabCut."))
                    subject = gr.Button("Select the subject", variant="primary", elem_id="subject")
                with gr.Column(visible=False) as panels["box"]:
                    gr.HTML(
                        note("Click two opposite corners on the photo, or type them in pixels. Runs grabCut.")
                    )
                    with gr.Row(elem_classes="numbers"):
                        box = [
                            gr.Number(label=label, value=0, precision=0, minimum=0, min_width=60)
                            for label in ("Left", "Top", "Right", "Bottom")
                        ]
                    cut_box = gr.Button("Cut out the box", elem_id="cut-box")
                with gr.Column(visible=False) as panels["points"]:
                    points_reason = gr.Markdown(visible=False, elem_id="points-reason")
                    with gr.Column() as points_tools:
                        gr.HTML(note("Click on the object in the photo. The first click takes the longest."))
                        point_kind = gr.Radio(
                            [("On the object", 1), ("Beside it", 0)], value=1, label="The next click is"
                        )
                        undo = gr.Button("Undo the last click")
                with gr.Column(visible=False) as panels["brush"]:
                    gr.HTML(note("Paint over the object. An earlier selection is there to be corrected."))
                    cut_painting = gr.Button("Use what is painted", variant="primary", elem_id="cut-painting")
                with gr.Column(visible=False) as panels["file"]:
                    mask_file = photo_input(
                        "Mask, as large as the photo: white on the object", 200, "mask-file"
                    )
                with gr.Column(visible=False) as panels["transparency"]:
                    gr.HTML(note("For a PNG or WebP whose background is already removed."))
                    cut_transparency = gr.Button("Use its transparency", variant="primary")
                caption = gr.HTML(elem_id="segmenter")
            photo = _view("Foreground", "cut-photo", 3)
            with gr.Column(scale=3, min_width=260, visible=False) as editor_column:
                editor = _editor()
            result = _view("Cut-out", "cut-result", 2)
    return Cutting(
        hint, body, tool, panels, subject, box, cut_box, points_reason, points_tools, point_kind, undo, cut_painting,
        mask_file, cut_transparency, photo, editor_column, editor, result, caption,
    )  # fmt: skip


def _view(label: str, elem_id: str, scale: int) -> gr.Image:
    return gr.Image(
        label=label,
        interactive=False,
        height=HEIGHT,
        buttons=["fullscreen"],
        elem_id=elem_id,
        scale=scale,
        min_width=260,
    )


def _editor() -> gr.ImageEditor:
    return gr.ImageEditor(
        show_label=False,
        height=HEIGHT + 60,
        sources=(),
        transforms=(),
        layers=False,
        format="png",
        buttons=[],
        brush=gr.Brush(
            default_size=32,
            colors=[f"rgba({', '.join(map(str, cutout.BRUSH))}, {cutout.BRUSH_OPACITY})"],
            color_mode="fixed",
        ),
        eraser=gr.Eraser(default_size=32),
    )


def views(scene: Scene) -> tuple[Any, ...]:
    """Updates of hint, body, photo, result, caption and mask_file (which is emptied once its file is used)."""
    photo, cut = scene.foreground, scene.cutout
    if photo is None:
        return gr.update(visible=True), gr.update(visible=False), None, None, "", None
    picture = photo.proxy if cut is None else with_selection(photo.proxy, cut.selection)
    if scene.clicks:
        height, width = picture.shape[:2]
        picture = with_marks(picture, [(x * width, y * height, label) for x, y, label in scene.clicks])
    result = None if cut is None else shown(on_checkerboard(cut.rgb, cut.alpha))
    said = "Nothing is selected yet." if cut is None else f"Selected by: {cut.segmenter}"
    return gr.update(visible=False), gr.update(visible=True), shown(picture), result, note(said), None


def show_tool(tool: str, scene: Scene) -> tuple[Any, ...]:
    """Updates of the panels (in the order of TOOLS), points_reason, points_tools, photo, the editor's column and the
    editor, which gets the photo and the present selection.
    """
    reason = cutout.points_unavailable() if tool == "points" else None
    paints = tool == "brush" and scene.foreground is not None
    return (
        *[gr.update(visible=name == tool) for name in TOOLS],
        gr.update(value=reason or "", visible=reason is not None),
        gr.update(visible=reason is None),
        gr.update(visible=not paints),
        gr.update(visible=paints),
        _paintable(scene) if paints else gr.skip(),
    )


def _paintable(scene: Scene) -> dict[str, Any]:
    picture = shrink(_photo(scene).proxy, cutout.EDITOR_SIDE)
    layers = []
    if scene.cutout is not None:
        layers = [cutout.paintable(shrink(scene.cutout.selection, cutout.EDITOR_SIDE))]
    return {"background": picture, "layers": layers, "composite": None}


def by_subject(scene: Scene) -> Scene:
    return replace(scene, cutout=cutout.from_subject(_photo(scene)), clicks=())


def by_box(scene: Scene, *box: float | None) -> Scene:
    """box: left, top, right, bottom in pixels; fields that were emptied are None."""
    numbers = [number for number in box if number is not None]
    if len(numbers) < 4:
        raise SegmentationError("The box needs four numbers: left, top, right and bottom, in pixels.")
    return replace(scene, cutout=cutout.from_box(_photo(scene), numbers), clicks=())


def by_painting(scene: Scene, value: dict[str, Any] | None) -> Scene:
    layers: list[np.ndarray] = value["layers"] if value else []
    return replace(scene, cutout=cutout.from_painting(_photo(scene), layers), clicks=())


def by_file(scene: Scene, path: Path | None) -> Scene:
    return replace(scene, cutout=cutout.from_file(_photo(scene), path), clicks=()) if path else scene


def by_transparency(scene: Scene) -> Scene:
    cut = cutout.from_transparency(_photo(scene))
    if cut is None:
        raise SegmentationError(
            "The foreground's photo has no transparency. Select the object in another way."
        )
    return replace(scene, cutout=cut, clicks=())


def add_click(scene: Scene, tool: str, kind: int, event: gr.SelectData) -> Scene:
    """A click on the photo: the corner of a box, or a point; nothing with the other tools."""
    height, width = _photo(scene).proxy.shape[:2]
    x, y = event.index
    if tool == "box":
        first = scene.clicks if len(scene.clicks) == 1 else ()
        return replace(scene, clicks=(*first, (x / width, y / height, 1)))
    if tool == "points" and cutout.points_unavailable() is None:
        return replace(scene, clicks=(*scene.clicks, (x / width, y / height, kind)))
    return scene


def undo_click(scene: Scene) -> Scene:
    return replace(scene, clicks=scene.clicks[:-1])


def by_clicks(scene: Scene, tool: str) -> tuple[Any, ...]:
    """The scene with what its clicks select, and the four numbers of the box."""
    photo = _photo(scene)
    points = [(x * photo.width, y * photo.height, label) for x, y, label in scene.clicks]
    box: list[Any] = [gr.skip()] * 4
    if tool == "points" and points:
        scene = replace(scene, cutout=cutout.from_points(photo, points))
    elif tool == "box" and len(points) == 2:
        box = [round(number) for x, y, _ in points for number in (x, y)]
        scene = replace(scene, cutout=cutout.from_box(photo, box))
    return scene, *box


def _photo(scene: Scene) -> Photo:
    if scene.foreground is None:
        raise SrinError("Add a foreground photo first.")
    return scene.foreground
