"""Running the methods one after the other, at the size that the page shows, in steps that it can show."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from srin.compare import Result, run_methods
from srin.composite import Placement
from srin.errors import SrinError
from srin.harmonizer import METHODS, Harmonizer, unavailable
from srin.image_io import load_image
from srin.metrics import score
from srin.ui.session.previews import shrink
from srin.ui.session.run import LABELS, Run
from srin.ui.session.scene import Scene

MOST_DECIBELS = 99.0  # instead of infinity, which equal pictures have and JSON can't hold


@dataclass(frozen=True)
class Step:
    """run: results so far, or None while the composite is being prepared. running: the method at work, if any."""

    run: Run | None
    running: str | None
    status: str


def run_steps(scene: Scene, placement: Placement, segmenter: str, methods: Sequence[str], key: str) -> Iterator[Step]:
    """Runs the methods in this order. Yields a step for each change to be shown.

    key: see Run. Raises SrinError when there is nothing to run, or no composite or map.
    """
    if scene.missing:
        raise SrinError(scene.missing)
    scene.check_arrived()
    if not methods:
        raise SrinError("Choose at least one method.")
    began = time.perf_counter()
    yield Step(None, None, "Preparing the composite and its semantic map")
    run = Run.start(scene, placement, segmenter, key)
    for index, method in enumerate(methods, start=1):
        yield Step(run, method, f"{LABELS[method]} is running ({index} of {len(methods)})")
        result = _result(run, method)
        run = run.with_result(result, *_scores(run, result))
    seconds = time.perf_counter() - began
    yield Step(
        run,
        None,
        f"{len(run.done)} of {len(methods)} methods done in {seconds:.1f} s, at the size shown here. "
        f"Downloads have {run.size[0]} x {run.size[1]} pixels.",
    )


def _result(run: Run, method: str) -> Result:
    """One method's result. An error becomes the result's problem, so that the other methods go on."""
    try:
        reference = run.scene.allowed(run.composite)
        return next(run_methods(run.composite, run.map_for(method), [method], reference=reference))
    except Exception:
        logging.getLogger(__name__).exception("%s failed", method)
        return Result(method, None, 0.0, "This method failed; the server's log says why. The others are not affected.")


def _scores(run: Run, result: Result) -> tuple[float | None, float | None]:
    """PSNR and fMSE by the protocol of srin.metrics, where the truth is known."""
    if run.scene.real is None or not run.scene.ready or result.harmonized is None:
        return None, None
    scores = score(result.harmonized, shrink(load_image(run.scene.real)), run.composite.mask)
    return min(scores["psnr"], MOST_DECIBELS), scores["fmse"]


def warm_up() -> None:
    """Imports torch and loads the weights, so that the first visitor's first run doesn't wait for them."""
    for method in METHODS:
        try:
            if unavailable(method) is None:
                Harmonizer.from_pretrained(method)
        except SrinError:
            logging.getLogger(__name__).exception("%s can't be loaded", method)
