"""Running the methods one after the other on the originals, in steps that the page can show."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from srin.compare import Result, run_methods
from srin.composite import Composite, Placement
from srin.errors import SrinError
from srin.harmonizer import METHODS, Harmonizer, unavailable
from srin.image_io import load_image
from srin.metrics import score
from srin.segmentation.semantic_map import SemanticMap
from srin.ui.visit import Run, Scene

LABELS = {
    "copy-paste": "Copy-paste",
    "reinhard": "Reinhard",
    "histogram": "Histogram",
    "poisson": "Poisson",
    "baseline": "Baseline (RAIN)",
    "bain": "BAIN",
    "srin": "SRIN",
}
MOST_DECIBELS = 99.0  # equal pictures have infinitely many, which JSON can't hold


@dataclass(frozen=True)
class Step:
    """run: results so far, or None while the composite is being prepared. running: the method at work, if any."""

    run: Run | None
    running: str | None
    status: str


def run_steps(
    scene: Scene, placement: Placement, segmenter: str, methods: Sequence[str], key: str
) -> Iterator[Step]:
    """Runs the methods on the composite of full size; a step for each change that is worth showing.

    key: see Run. Raises SrinError when there is nothing to run, or no composite or map.
    """
    if scene.missing:
        raise SrinError(scene.missing)
    if not methods:
        raise SrinError("Choose at least one method.")
    began = time.perf_counter()
    yield Step(None, None, "Preparing the composite and its semantic map")
    full = scene.composite(placement)
    run = Run.start(scene, placement, full, segmenter, key)
    semantic_map = run.semantic_map(full)
    for index, method in enumerate(methods, start=1):
        yield Step(run, method, f"{LABELS[method]} is running ({index} of {len(methods)})")
        result = _result(full, semantic_map, method)
        run = run.with_result(result, *_scores(scene, full, result))
    seconds = time.perf_counter() - began
    yield Step(
        run,
        None,
        f"{len(run.done)} of {len(methods)} methods done at {run.size[0]} x {run.size[1]} pixels in {seconds:.1f} s.",
    )


def _result(full: Composite, semantic_map: SemanticMap, method: str) -> Result:
    """One method's result. Whatever goes wrong in it stays in it."""
    try:
        return next(run_methods(full, semantic_map, [method]))
    except Exception:
        logging.getLogger(__name__).exception("%s failed", method)
        return Result(
            method, None, 0.0, "This method failed; the server's log says why. The others are not affected."
        )


def _scores(scene: Scene, full: Composite, result: Result) -> tuple[float | None, float | None]:
    """PSNR and fMSE by the protocol of srin.metrics, where the truth is known."""
    if scene.real is None or not scene.ready or result.harmonized is None:
        return None, None
    scores = score(result.harmonized, load_image(scene.real), full.mask)
    return min(scores["psnr"], MOST_DECIBELS), scores["fmse"]


def warm_up() -> None:
    """Imports torch and loads the weights, so that the first visitor's first run doesn't wait for them."""
    for method in METHODS:
        try:
            if unavailable(method) is None:
                Harmonizer.from_pretrained(method)
        except SrinError:
            logging.getLogger(__name__).exception("%s can't be loaded", method)
