"""Harmonize and Compare: the grid of results and the picture that is looked at closely."""

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from srin.composite import MAX_STRENGTH, mixed
from srin.difference import distances, lab_sample, signed
from srin.errors import SrinError
from srin.harmonizer import METHODS, NETWORKS, PAPER_NETWORKS, training_notes, unavailable
from srin.ui.answering import workers
from srin.ui.answering.requests import UNEXPECTED, answer, data_of, text
from srin.ui.compare import downloads
from srin.ui.compare.harmonizing import Step, run_steps
from srin.ui.page.component import component
from srin.ui.session.framing import middle
from srin.ui.session.previews import inline_lossless
from srin.ui.session.run import LABELS, PASTED, PASTED_LABEL, Outcome, Run
from srin.ui.session.session_state import SessionState
from srin.untrusted import Data, number, placement

SEGMENTERS = ("auto", "colour", "sam")


def layout() -> gr.HTML:
    methods = [
        {
            "name": method,
            "label": LABELS[method],
            "problem": unavailable(method),
            "network": method in NETWORKS,
            "paper": method in PAPER_NETWORKS,
        }
        for method in METHODS
    ]
    trained = _trained(training_notes(PAPER_NETWORKS[0]))
    events = ("start", "cancel", "save", "difference", "explain")
    props = ("run", "saved", "difference", "why")
    return component("compare", events, {"methods": methods, "trained": trained, **dict.fromkeys(props)})


def _trained(notes: dict[str, str]) -> str:
    """How the paper's networks were trained, as a sentence; "" where their file doesn't say."""
    if "images" not in notes or "seconds" not in notes:
        return ""
    minutes = float(notes["seconds"]) / 60
    return (
        "The paper's U-Net and its layers, as the equations have them. The three were trained side by side on "
        f"{int(notes['images']):,} composites, for {minutes:.0f} minutes on a CPU with two cores."
    )


def start(session: SessionState, event: gr.EventData) -> Iterator[dict[str, Any]]:
    """Runs the chosen methods. Yields an update of the page for each step, until another run or Cancel ends it."""
    data = data_of(event)
    chosen = data.get("methods")
    methods = [method for method in METHODS if isinstance(chosen, list) and method in chosen]
    first = text(data, "first")
    order = sorted(methods, key=lambda method: method != first)  # first the one that is looked at closely
    segmenter = data.get("segmenter")
    steps = run_steps(
        session.scene,
        placement(data.get("placement")),
        segmenter if segmenter in SEGMENTERS else "auto",
        order,
        text(data, "key"),
    )
    run_number = int(number(data, "run", 0, 1e9))
    session.runs.begin(run_number)
    try:
        for step in workers.steps(steps):
            if not session.runs.goes_on(run_number):
                return
            if step.run is not None:
                session.run = step.run
            yield _update(step, methods, run_number)
    except SrinError as error:
        yield _problem(str(error), run_number)
    except Exception:
        logging.getLogger(__name__).exception("a run failed")
        yield _problem(UNEXPECTED, run_number)


def cancel(session: SessionState, event: gr.EventData) -> None:
    """Ends a run after the method at work, a question after a few regions, or a download at once. The page shows that
    already, and ignores what still comes."""
    data = data_of(event)
    session.runs.cancel(int(number(data, "run", 0, 1e9)))
    session.questions.cancel(int(number(data, "why", 0, 1e9)))
    if "save" in data:
        session.stop_download(int(number(data, "save", 0, 1e9)))


def _update(step: Step, methods: list[str], number: int) -> dict[str, Any]:
    busy = step.run is None or step.running is not None
    state = "busy" if busy else "done"
    view = _view(step.run, methods, step.running)
    return gr.update(run={**view, "number": number, "state": state, "text": step.status})


def _problem(said: str, number: int) -> dict[str, Any]:
    return gr.update(run={**_view(None, [], None), "number": number, "state": "error", "text": said})


def _view(run: Run | None, methods: list[str], running: str | None) -> dict[str, Any]:
    """What the page shows of a run; tiles that wait if there is none yet."""
    if run is None:
        return {"tiles": [_tile(None, method, False) for method in methods]}
    return {
        "key": run.key,
        "size": list(run.size),
        "stem": run.scene.stem,
        "composite": run.address,
        "mask": run.mask_address,
        "window": _shares(run),
        "middle": middle(run.composite.mask),
        "marked": run.scene.mark is not None,
        "map": {"url": run.map_address, "count": int(run.labels.max()) + 1, "segmenter": run.segmenter},
        "tiles": [_tile(run, method, method == running) for method in methods],
    }


def _shares(run: Run) -> list[float]:
    """The box around the object: x, y, width, height in fractions of the picture."""
    height, width = run.composite.mask.shape
    rows, columns = run.window
    sides = columns.start / width, rows.start / height
    return [*sides, (columns.stop - columns.start) / width, (rows.stop - rows.start) / height]


def _tile(run: Run | None, method: str, running: bool) -> dict[str, Any]:
    tile: dict[str, Any] = {"method": method, "label": LABELS[method]}
    outcome: Outcome | None = run.outcomes.get(method) if run else None
    if run is None or outcome is None:
        return {**tile, "state": "running" if running else "waiting"}
    if outcome.patch is None:
        return {**tile, "state": "failed", "problem": outcome.problem}
    return {
        **tile,
        "state": "done",
        "url": outcome.address,
        "ms": round(outcome.milliseconds),
        "alike": run.same_as(method),
        "psnr": outcome.psnr,
        "fmse": outcome.fmse,
    }


def difference(session: SessionState, event: gr.EventData) -> dict[str, Any]:
    """The difference of a result, at this strength and feather, from another result or from the composite."""
    data = data_of(event)
    sliders = number(data, "strength", 0, MAX_STRENGTH, 1.0), number(data, "feather", 0, 100)
    methods = text(data, "method"), text(data, "other") or PASTED
    return gr.update(difference=answer(data, workers.stage, _difference, session.run, *methods, *sliders))


def _difference(run: Run | None, method: str, other: str, strength: float, feather: float) -> Data:
    if run is None or method not in run.done or other not in (PASTED, *run.done):
        raise SrinError("Pick a method that has a result first.")
    mask = run.composite.mask[run.window]
    after = mixed(run.picture(method), run.composite, strength, feather)[run.window]
    before = run.picture(other)[run.window]
    picture, factor = signed(before, after, mask)
    mean = distances(lab_sample(before, mask), lab_sample(after, mask)).mean()
    return {
        "url": inline_lossless(np.dstack([picture, np.full_like(mask, 255)])),
        "factor": factor,
        "mean": float(mean),
        "other": PASTED_LABEL if other == PASTED else LABELS[other],
    }


def save(session: SessionState, event: gr.EventData) -> Iterator[dict[str, Any]]:
    """Makes the file that the page asks for, saying how far it is."""
    run = session.run

    def begun(choice: downloads.Choice) -> downloads.Download:
        if run is None:
            raise SrinError("Harmonize first.")
        return downloads.Download(run.scene, run.placement, choice, run)

    for said in downloads.saved(session, data_of(event), begun):
        yield gr.update(saved=said)
