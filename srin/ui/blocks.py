"""The page: its cards, and which event runs what.

What a visitor works on is a `Scene` in a gr.State. Events that change it are followed by one that shows it, whether
they succeeded or not: so a failed step leaves the page as it was. Placement lives in its sliders alone, and results
in a `Run` of their own, so that nothing overwrites anything while methods run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from srin.harmonizer import METHODS
from srin.ui import api, comparing, cutting, harmonizing, photos, placing
from srin.ui.parts import MODEL, PRIVATE, QUICK, note, readable
from srin.ui.session import Run, Scene
from srin.ui.theme import CSS, theme

HOUR = 3600
TITLE = "<h1>SRIN <span>Studio</span></h1><p>Make a pasted object belong to its new photo.</p>"
ABOUT = """<p>Results are computed from the original files, and differ from the composite only under the mask. Your
files are deleted after a few hours.</p>"""

# For launch(): what the page needs, wherever it runs.
LAUNCH: dict[str, Any] = {
    "theme": theme(),
    "css_paths": [CSS],
    "footer_links": ["api"],
    "run_history": False,
    "enable_monitoring": False,
    "max_file_size": "100mb",
    "state_session_capacity": 100,  # visitors; each takes some 20 MB
    "ssr_mode": False,
}


def build() -> gr.Blocks:
    """The whole app; `build().launch(**LAUNCH)` serves it."""
    with gr.Blocks(title="SRIN Studio", analytics_enabled=False, delete_cache=(HOUR, 4 * HOUR)) as demo:
        gr.HTML(TITLE, elem_id="title")
        _Page().connect()
        gr.HTML(ABOUT, elem_id="about")
        gr.api(
            api.harmonize, api_name="harmonize", concurrency_limit=1, concurrency_id=MODEL["concurrency_id"]
        )
        demo.load(harmonizing.warm_up, concurrency_limit=1, show_progress="hidden", **PRIVATE)
    return demo


class _Page:
    """The cards' components, and the events between them."""

    def __init__(self) -> None:
        # Longer than a visitor is likely to pause, shorter than the files that they refer to are kept.
        self.scene = gr.State(Scene(), time_to_live=3 * HOUR)
        self.run = gr.State(None, time_to_live=3 * HOUR)
        self.photos = photos.layout()
        self.cutting = cutting.layout()
        self.placing = placing.layout()
        self.harmonizing = harmonizing.layout()
        self.comparing = comparing.layout()

    def connect(self) -> None:
        self._connect_photos()
        self._connect_cutting()
        self._connect_placing()
        self._connect_harmonizing()
        self._connect_comparing()

    def _show(self, after: Any) -> None:
        """Whatever came of the event, shows the scene as it is now."""
        photo, cut, place = self.photos, self.cutting, self.placing

        def show(scene: Scene, run: Run | None, *numbers: Any) -> tuple[Any, ...]:
            return (
                *photos.views(scene),
                *cutting.views(scene),
                *placing.views(scene, *numbers),
                comparing.stale_note(scene, run, *numbers),
            )

        outputs = [
            *(photo.background, photo.foreground, photo.ready_image, photo.ready_mask, photo.problem),
            *(cut.hint, cut.body, cut.photo, cut.result, cut.caption, cut.mask_file),
            *(place.hint, place.body, place.preview, place.problem),
            self.comparing.stale,
        ]
        after.then(show, [self.scene, self.run, *place.numbers], outputs, **QUICK)

    def _changes_scene(
        self, listener: Callable, function: Callable, inputs: Sequence[Any] = (), **how: Any
    ) -> Any:
        """Lets an event replace the scene: `function` takes the scene and `inputs`, and returns a scene."""
        how = {"concurrency_limit": 2, **PRIVATE, **how}
        event = listener(readable(function), [self.scene, *inputs], self.scene, **how)
        self._show(event)
        return event

    def _connect_photos(self) -> None:
        card = self.photos
        for component, setter in (
            (card.background, photos.set_background),
            (card.foreground, photos.set_foreground),
            (card.ready_image, photos.set_ready_image),
            (card.ready_mask, photos.set_ready_mask),
        ):
            for listener in (component.upload, component.clear):
                event = self._changes_scene(listener, setter, [component])
                if component is card.foreground:
                    self._reset_tool(event)
        self._changes_scene(card.two_photos.select, lambda scene: replace(scene, ready=False))
        self._changes_scene(card.ready_made.select, lambda scene: replace(scene, ready=True))
        example = card.gallery.select(
            readable(photos.choose_example), None, [self.scene, card.tabs, *self.placing.numbers], **PRIVATE
        )
        self._reset_tool(example)
        self._show(example)

    def _reset_tool(self, after: Any) -> None:
        """A new foreground: what the tools show of the former one goes."""
        after.then(lambda: "subject", None, self.cutting.tool, **QUICK)

    def _connect_cutting(self) -> None:
        card = self.cutting
        segmenting: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "segmentation"}
        segmenting["show_progress_on"] = card.result
        self._changes_scene(card.subject.click, cutting.by_subject, **segmenting)
        self._changes_scene(card.cut_box.click, cutting.by_box, card.box, **segmenting)
        self._changes_scene(card.cut_painting.click, cutting.by_painting, [card.editor], **segmenting)
        self._changes_scene(card.cut_transparency.click, cutting.by_transparency, **segmenting)
        self._changes_scene(card.mask_file.upload, cutting.by_file, [card.mask_file], **segmenting)
        for listener, function, inputs in (
            (card.photo.select, cutting.add_click, [card.tool, card.point_kind]),
            (card.undo.click, cutting.undo_click, []),
        ):
            clicked = self._changes_scene(listener, function, inputs)
            selected = clicked.success(
                readable(cutting.by_clicks),
                [self.scene, card.tool],
                [self.scene, *card.box],
                **PRIVATE,
                **segmenting,
            )
            self._show(selected)
        card.tool.change(
            cutting.show_tool,
            [card.tool, self.scene],
            [
                *[card.panels[name] for name in cutting.TOOLS],
                *(card.points_reason, card.points_tools, card.photo, card.editor_column, card.editor),
            ],
            **QUICK,
        )

    def _connect_placing(self) -> None:
        card = self.placing

        def show(scene: Scene, run: Run | None, *numbers: Any) -> tuple[Any, ...]:
            return *placing.show(scene, *numbers), comparing.stale_note(scene, run, *numbers)

        inputs = [self.scene, self.run, *card.numbers]
        outputs = [card.preview, card.problem, self.comparing.stale]
        for number in card.numbers:
            number.input(show, inputs, outputs, trigger_mode="always_last", **QUICK)
        clicked = card.preview.select(readable(placing.move_to), self.scene, card.numbers[:2], **QUICK)
        clicked.then(show, inputs, outputs, **QUICK)

    def _connect_harmonizing(self) -> None:
        card, results, numbers = self.harmonizing, self.comparing, self.placing.numbers
        idle = {card.start: gr.update(interactive=True), card.cancel: gr.update(interactive=False)}

        def run(
            scene: Scene, picked: str | None, segmenter: str, methods: list[str], *numbers: Any
        ) -> Iterator[dict]:
            """Draws what a step of the run changed."""
            before: harmonizing.Step | None = None
            for step in harmonizing.run_steps(scene, segmenter, methods, *numbers):
                yield self._step_updates(step, before, methods, picked)
                before = step

        def cancelled(run: Run | None) -> dict[Any, Any]:
            """Takes the tiles away that would wait forever."""
            done = run.outcomes if run else {}
            hidden = {results.tiles[m].column: gr.update(visible=False) for m in METHODS if m not in done}
            return {**idle, **hidden, card.status: note("Cancelled. What was done before is kept.")}

        tiles = [
            part
            for tile in results.tiles.values()
            for part in (tile.column, tile.picture, tile.pick, tile.note)
        ]
        running = card.start.click(
            readable(run),
            [self.scene, results.picked, card.segmenter, card.methods, *numbers],
            [
                *(self.run, card.start, card.cancel, card.status, card.map, card.map_caption),
                *(results.hint, results.stale, results.body, results.picked, *tiles),
            ],
            show_progress="hidden",
            **MODEL,
        )
        running.failure(lambda: {**idle, card.status: ""}, None, [*idle, card.status], **QUICK)
        self._show_pair(running.success)
        card.cancel.click(
            cancelled,
            self.run,
            [*idle, card.status, *[tile.column for tile in results.tiles.values()]],
            cancels=[running],
            **QUICK,
        )
        card.draw_map.click(
            readable(harmonizing.preview_map),
            [self.scene, card.segmenter, *numbers],
            [card.map, card.map_caption],
            show_progress_on=card.map,
            **MODEL,
        )

    def _step_updates(
        self, step: harmonizing.Step, before: harmonizing.Step | None, methods: list[str], picked: str | None
    ) -> dict[Any, Any]:
        card, results = self.harmonizing, self.comparing
        busy = step.run is None or step.running is not None
        updates: dict[Any, Any] = {
            card.status: note(step.status, "busy" if busy else ""),
            card.start: gr.update(interactive=not busy),
            card.cancel: gr.update(interactive=busy),
        }
        if step.run is None or before is None:
            return updates
        changed = [method for method in (before.running, step.running) if method]
        if before.run is None:
            updates |= {results.hint: gr.update(visible=False), results.stale: ""}
            updates |= {tile.column: gr.update(visible=False) for tile in results.tiles.values()}
            semantic_map = step.run.semantic_map(step.run.composite)
            updates[card.map], updates[card.map_caption] = harmonizing.map_views(
                semantic_map, step.run.composite
            )
            changed = methods
        for method in changed:
            updates |= comparing.tile_updates(results.tiles[method], method, step.run, method == step.running)
        updates[self.run] = step.run
        updates[results.picked] = comparing.choices(step.run, picked)
        updates[results.body] = gr.update(visible=bool(step.run.done))
        return updates

    def _show_pair(self, listener: Callable) -> None:
        card = self.comparing
        listener(comparing.show_pair, [self.run, card.picked, card.strength], card.pair, **QUICK)

    def _connect_comparing(self) -> None:
        card = self.comparing
        for method, tile in card.tiles.items():
            tile.pick.click(lambda method=method: method, None, card.picked, **QUICK)
        self._show_pair(card.picked.change)
        card.picked.change(
            comparing.mark_picked, card.picked, [tile.pick for tile in card.tiles.values()], **QUICK
        )
        card.strength.input(
            comparing.show_pair,
            [self.run, card.picked, card.strength],
            card.pair,
            trigger_mode="always_last",
            **QUICK,
        )
        for button, function, inputs in (
            (card.download, comparing.save_result, [self.run, card.picked, card.strength]),
            (card.download_mask, comparing.save_mask, [self.run]),
        ):
            saved = button.click(
                readable(function), inputs, [card.file, card.saved], show_progress_on=card.saved, **MODEL
            )
            saved.success(None, card.file, None, js=comparing.START_DOWNLOAD, **PRIVATE)
