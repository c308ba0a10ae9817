"""Card 1: the photos, by upload or from an example."""

from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr

from srin.composite import Placement
from srin.errors import SrinError
from srin.ui import cutout
from srin.ui.examples import load_examples, thumbnails
from srin.ui.parts import PhotoInput, card, note, photo_input
from srin.ui.pictures import shown
from srin.ui.session import Photo, Scene

HEIGHT = 260


@dataclass(frozen=True)
class Photos:
    """The card's components. The inputs' names are those of the fields of a Scene that they fill."""

    gallery: gr.Gallery
    tabs: gr.Tabs
    two_photos: gr.Tab
    ready_made: gr.Tab
    background: PhotoInput
    foreground: PhotoInput
    ready_image: PhotoInput
    ready_mask: PhotoInput
    problem: gr.HTML


def layout() -> Photos:
    examples = load_examples()
    pictures = [
        (picture, example.name) for example, picture in zip(examples, thumbnails(examples), strict=True)
    ]
    with gr.Column(elem_id="examples", visible=bool(examples)):
        gr.HTML("<h3>Start with an example</h3>", elem_classes="heading")
        gallery = gr.Gallery(
            pictures,
            columns=8,
            object_fit="cover",
            allow_preview=False,
            show_label=False,
            buttons=[],
            format="jpeg",
            interactive=False,
            elem_id="gallery",
        )
    with card(1, "Photos", "photos"), gr.Tabs() as tabs:
        with gr.Tab("Two photos", id="two") as two_photos, gr.Row():
            background = photo_input("Background", HEIGHT, "background")
            foreground = photo_input("Foreground: the photo of the object", HEIGHT, "foreground")
        with gr.Tab("A ready composite", id="ready") as ready_made:
            with gr.Row():
                ready_image = photo_input("Composite", HEIGHT, "ready-image")
                ready_mask = photo_input("Mask: white on the pasted object", HEIGHT, "ready-mask")
            problem = gr.HTML()
    return Photos(
        gallery, tabs, two_photos, ready_made, background, foreground, ready_image, ready_mask, problem
    )


def views(scene: Scene) -> tuple[str | None, ...]:
    """Values of background, foreground, ready_image, ready_mask and problem."""
    photos = (scene.background, scene.foreground, scene.ready_image, scene.ready_mask)
    return *[photo and shown(photo.proxy) for photo in photos], note(_ready_problem(scene), "error")


def _ready_problem(scene: Scene) -> str:
    """Why composite and mask don't fit each other, once both are there."""
    if scene.ready and not scene.missing:
        try:
            scene.preview(Placement())
        except SrinError as error:
            return str(error)
    return ""


def set_background(scene: Scene, path: Path | None) -> Scene:
    return replace(scene, background=path and Photo.load(path, "background"))


def set_foreground(scene: Scene, path: Path | None) -> Scene:
    """A photo that brings transparency is cut out by it at once."""
    if path is None:
        return replace(scene, foreground=None, cutout=None, clicks=())
    if scene.foreground is not None and scene.foreground.session is not None:
        scene.foreground.session.cancel()
    photo = Photo.load(path, "foreground", segmented=True)
    return replace(scene, foreground=photo, cutout=cutout.from_transparency(photo), clicks=())


def set_ready_image(scene: Scene, path: Path | None) -> Scene:
    return replace(scene, ready_image=path and Photo.load(path, "composite"))


def set_ready_mask(scene: Scene, path: Path | None) -> Scene:
    return replace(scene, ready_mask=path and Photo.load(path, "mask"))


def choose_example(event: gr.SelectData) -> tuple[Scene, dict, float, float, float, float, bool]:
    """Everything that an example fills in: scene, tab, and the placement's five numbers."""
    example = load_examples()[event.index]
    return example.scene(), gr.update(selected="two"), *placement_values(example.placement)


def placement_values(placement: Placement) -> tuple[float, float, float, float, bool]:
    """In the order of the placing card's inputs."""
    return placement.x, placement.y, placement.scale, placement.rotation, placement.flip
