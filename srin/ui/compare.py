"""Harmonize and Compare: the grid of results and the picture that is looked at closely. Browser side: web/compare/."""

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from srin.composite import MAX_STRENGTH
from srin.difference import distances, lab_sample, signed
from srin.errors import SrinError
from srin.harmonizer import METHODS, NETWORKS, unavailable
from srin.ui import deadline, saving
from srin.ui.framing import middle
from srin.ui.harmonizing import LABELS, PASTED, PASTED_LABEL, Outcome, Run, Step, run_steps
from srin.ui.island import island
from srin.ui.pictures import LOSSLESS, inline
from srin.ui.requests import UNEXPECTED, Data, answer, data_of, number, placement, text
from srin.ui.visit import Visit

SCRIPTS = ("zoom", "grid", "viewer", "difference", "controls", "why", "main")
SEGMENTERS = ("auto", "colour", "sam")


def layout() -> gr.HTML:
    methods = [
        {"name": method, "label": LABELS[method], "problem": unavailable(method), "network": method in NETWORKS}
        for method in METHODS
    ]
    return island("compare", SCRIPTS, methods=methods, run=None, saved=None, difference=None, why=None)


def start(visit: Visit, event: gr.EventData) -> Iterator[dict[str, Any]]:
    """Runs the chosen methods; an update of the page for every step, until another run or Cancel takes over."""
    data = data_of(event)
    chosen = data.get("methods")
    methods = [method for method in METHODS if isinstance(chosen, list) and method in chosen]
    segmenter = data.get("segmenter")
    steps = run_steps(
        visit.scene,
        placement(data.get("placement")),
        segmenter if segmenter in SEGMENTERS else "auto",
        methods,
        text(data, "key"),
    )
    run_number = int(number(data, "run", 0, 1e9))
    visit.begin_run(run_number)
    try:
        for step in deadline.steps(steps):
            if not visit.is_running(run_number):
                return
            if step.run is not None:
                visit.run = step.run
            yield _update(step, methods)
    except SrinError as error:
        yield _problem(str(error))
    except Exception:
        logging.getLogger(__name__).exception("a run failed")
        yield _problem(UNEXPECTED)


def cancel(visit: Visit, event: gr.EventData) -> dict[str, Any]:
    """Ends the run: what is done stays, the method at work finishes unseen."""
    data = data_of(event)
    visit.cancel_run(int(number(data, "run", 0, 1e9)))
    run = visit.run
    said = "Cancelled. What was done before is kept." if run and run.done else "Cancelled."
    return gr.update(run={**_view(run, run.done if run else [], None), "state": "cancelled", "text": said})


def _update(step: Step, methods: list[str]) -> dict[str, Any]:
    busy = step.run is None or step.running is not None
    return gr.update(
        run={**_view(step.run, methods, step.running), "state": "busy" if busy else "done", "text": step.status}
    )


def _problem(said: str) -> dict[str, Any]:
    return gr.update(run={**_view(None, [], None), "state": "error", "text": said})


def _view(run: Run | None, methods: list[str], running: str | None) -> dict[str, Any]:
    """What the page shows of a run: without one, tiles that wait."""
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


def difference(visit: Visit, event: gr.EventData) -> dict[str, Any]:
    """What a result, as strength and feather make it, changes on another one or on the composite."""
    data = data_of(event)
    sliders = number(data, "strength", 0, MAX_STRENGTH, 1.0), number(data, "feather", 0, 100)
    methods = text(data, "method"), text(data, "other") or PASTED
    return gr.update(difference=answer(data, deadline.stage, _difference, visit.run, *methods, *sliders))


def _difference(run: Run | None, method: str, other: str, strength: float, feather: float) -> Data:
    if run is None or method not in run.done or other not in (PASTED, *run.done):
        raise SrinError("Pick a method that has a result first.")
    mask = run.composite.mask[run.window]
    after = saving.mixed(run.picture(method), run.composite, strength, feather)[run.window]
    before = run.picture(other)[run.window]
    picture, factor = signed(before, after, mask)
    mean = distances(lab_sample(before, mask), lab_sample(after, mask)).mean()
    return {
        "url": inline(np.dstack([picture, np.full_like(mask, 255)]), LOSSLESS),
        "factor": factor,
        "mean": float(mean),
        "other": PASTED_LABEL if other == PASTED else LABELS[other],
    }


def save(visit: Visit, event: gr.EventData) -> Iterator[dict[str, Any]]:
    """Makes the file that the page asks for, saying how far it is."""
    for said in saving.saved(data_of(event), lambda choice: saving.steps(_finished(visit.run), choice)):
        yield gr.update(saved=said)


def _finished(run: Run | None) -> Run:
    if run is None:
        raise SrinError("Harmonize first.")
    return run
