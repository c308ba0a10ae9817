"""Card 5: results side by side, before and after, strength, downloads."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from srin.composite import Placement
from srin.errors import SrinError
from srin.harmonizer import METHODS, Harmonizer
from srin.image_io import save_image
from srin.ui.harmonizing import LABELS
from srin.ui.parts import card, note
from srin.ui.pictures import shown
from srin.ui.session import Run, Scene

TILE_HEIGHT = 170
SLIDER_HEIGHT = 520
# From the file component's value in the browser: the link is there only after the server made the file.
START_DOWNLOAD = """(file) => {
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name;
    link.click();
}"""


@dataclass(frozen=True)
class Tile:
    """One method's place in the grid."""

    column: gr.Column
    picture: gr.Image
    pick: gr.Button
    note: gr.HTML


@dataclass(frozen=True)
class Comparing:
    """The card's components. tiles: by method."""

    hint: gr.HTML
    stale: gr.HTML
    tiles: dict[str, Tile]
    body: gr.Row
    pair: gr.ImageSlider
    picked: gr.Radio
    strength: gr.Slider
    download: gr.Button
    download_mask: gr.Button
    file: gr.DownloadButton
    saved: gr.HTML


def layout() -> Comparing:
    with card(5, "Compare", "comparing"):
        hint = gr.HTML(note("Results appear here, side by side, as each method finishes."))
        stale = gr.HTML(elem_id="stale")
        with gr.Row(elem_classes="tiles"):
            tiles = {method: _tile(method) for method in METHODS}
        with gr.Row(visible=False) as body:
            with gr.Column(scale=5, min_width=280):
                pair = gr.ImageSlider(
                    label="Before and after",
                    interactive=False,
                    max_height=SLIDER_HEIGHT,
                    buttons=["fullscreen"],
                    elem_id="pair",
                )
            with gr.Column(scale=2, min_width=260):
                picked = gr.Radio([], label="Picked method", elem_id="picked")
                strength = gr.Slider(0, 1, 1, step=0.01, label="Strength", elem_id="strength")
                download = gr.Button("Full-resolution PNG", variant="primary", elem_id="download")
                download_mask = gr.Button("Mask", elem_id="download-mask")
                saved = gr.HTML(elem_id="saved")
                file = gr.DownloadButton(elem_classes="offstage")
    return Comparing(hint, stale, tiles, body, pair, picked, strength, download, download_mask, file, saved)


def _tile(method: str) -> Tile:
    with gr.Column(visible=False, elem_classes="tile", elem_id=f"tile-{method}", min_width=150) as column:
        picture = gr.Image(
            show_label=False,
            interactive=False,
            height=TILE_HEIGHT,
            buttons=[],
            container=False,
        )
        pick = gr.Button(LABELS[method], size="sm", interactive=False, elem_id=f"pick-{method}")
        text = gr.HTML(elem_classes="tile-note")
    return Tile(column, picture, pick, text)


def tile_updates(tile: Tile, method: str, run: Run, running: bool) -> dict[Any, Any]:
    """The state of a chosen method's tile: waiting, running, failed or done."""
    outcome = run.outcomes.get(method)
    done = outcome is not None and outcome.patch is not None
    if outcome is None:
        text = note("running", "busy") if running else note("waiting")
    else:
        text = note(outcome.problem or f"{outcome.milliseconds:,.0f} ms", "" if done else "error")
    return {
        tile.column: gr.update(visible=True),
        tile.picture: shown(run.picture(method)) if done else None,
        tile.pick: gr.update(interactive=done),
        tile.note: text,
    }


def choices(run: Run, picked: str | None) -> dict[str, Any]:
    """Update of the picked method: what is done, and the last of it (the strongest) unless one is picked already."""
    value = picked if picked in run.done else (run.done or [None])[-1]
    return gr.update(choices=[(LABELS[method], method) for method in run.done], value=value)


def show_pair(run: Run | None, picked: str | None, strength: float) -> Any:
    """Copy-paste and the picked method."""
    if run is None or picked not in run.done:
        return gr.skip()
    return shown(run.composite.image), shown(run.picture(picked, strength))


def mark_picked(picked: str | None) -> list[Any]:
    """Updates of the tiles' buttons."""
    return [gr.update(variant="primary" if method == picked else "secondary") for method in METHODS]


def stale_note(scene: Scene, run: Run | None, *numbers: Any) -> str:
    """Says when the page shows results of another composite than the present one."""
    if run is None:
        return ""
    same = run.scene.shows_the_same(scene) and (scene.ready or run.placement == Placement(*numbers))
    return (
        ""
        if same
        else note("The composite has changed since. Press Harmonize to renew these results.", "error")
    )


def save_result(run: Run | None, picked: str | None, strength: float) -> tuple[str, str]:
    """Computes the picked method again from the originals, at full size: the PNG's path, and a note."""
    if run is None or picked not in run.done:
        raise SrinError("Harmonize first, and pick a method.")
    full = run.scene.composite(run.placement)
    result = Harmonizer.from_pretrained(picked).harmonize_composite(full, run.semantic_map(full), strength)
    return _saved(result, f"{run.scene.stem}-{picked}.png")


def save_mask(run: Run | None) -> tuple[str, str]:
    """The mask of the run's composite at full size: the PNG's path, and a note."""
    if run is None:
        raise SrinError("Harmonize first.")
    return _saved(run.scene.composite(run.placement).mask, f"{run.scene.stem}-mask.png")


def _saved(array: Any, name: str) -> tuple[str, str]:
    path = Path(get_upload_folder(), uuid.uuid4().hex, name)
    path.parent.mkdir(parents=True)
    save_image(array, path)
    return str(path), note(
        f"{name}: {array.shape[1]} x {array.shape[0]} pixels, {path.stat().st_size / 1e6:.1f} MB"
    )
