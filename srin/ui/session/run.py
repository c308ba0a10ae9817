"""The results of one press of Harmonize."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from srin.classical import CLASSICAL
from srin.compare import Result
from srin.composite import Composite, Placement
from srin.difference import lab_sample, looks_alike
from srin.harmonizer import PAPER_NETWORKS
from srin.segmentation.semantic_map import SemanticMap, build
from srin.ui.session.previews import shown, shown_mask
from srin.ui.session.scene import Scene

LABELS = {name: method.label for name, method in CLASSICAL.items()} | {
    "baseline": "Baseline (RAIN)",
    "bain": "BAIN",
    "srin": "SRIN",
    "paper-baseline": "Paper: baseline",
    "paper-bain": "Paper: BAIN",
    "paper-srin": "Paper: SRIN",
}
COPY = "copy-paste"
PASTED = "pasted"  # names the composite where a method is expected
PASTED_LABEL = "the pasted picture"


@dataclass(frozen=True, eq=False)
class Outcome:
    """One method's result. patch: uint8, the preview inside the run's window, or None where it failed.

    lab: of the patch, see difference.lab_sample. address: where the browser finds the whole preview. psnr, fmse: against
    the truth, where it is known.
    """

    patch: np.ndarray | None
    lab: np.ndarray | None
    address: str | None
    milliseconds: float
    problem: str | None
    psnr: float | None = None
    fmse: float | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Results of one press of Harmonize, with all that it takes to compute any of them again at full size.

    composite: of preview size, as all pictures here. window: its rows and columns that methods may change; results are
    kept for these alone. labels: uint8 (h, w), the semantic map's regions. segmenter: who drew the map, to be shown to
    people; asked: the segmenter that was chosen. size: width and height of the original.
    key: the page's name for the inputs, by which it tells results that no longer match. address, mask_address,
    map_address: where the browser finds the composite, its mask, and the painted map. alike: pairs of methods (or PASTED,
    the composite itself) whose results nobody can tell apart.
    """

    scene: Scene
    placement: Placement
    composite: Composite
    window: tuple[slice, slice]
    labels: np.ndarray
    segmenter: str
    asked: str
    size: tuple[int, int]
    key: str
    address: str
    mask_address: str
    map_address: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    alike: frozenset[frozenset[str]] = frozenset()

    @classmethod
    def start(cls, scene: Scene, placement: Placement, segmenter: str, key: str) -> Run:
        """segmenter: see Scene.semantic_map. Raises SrinError."""
        composite = scene.preview(placement)
        semantic_map = scene.semantic_map(composite, placement, segmenter)
        x, y, width, height = cv2.boundingRect(composite.mask)
        window = (slice(y, y + height), slice(x, x + width))
        labels = semantic_map.labels.astype(np.uint8)
        return cls(
            scene, placement, composite, window, labels, semantic_map.segmenter, segmenter, scene.size, key,
            shown(composite.image), shown_mask(composite.mask), shown(semantic_map.paint(composite.image)),
        )  # fmt: skip

    @property
    def done(self) -> list[str]:
        """The methods that have a picture, in their order."""
        return [method for method, outcome in self.outcomes.items() if outcome.patch is not None]

    @cached_property
    def semantic_map(self) -> SemanticMap:
        """The map of the run's composite."""
        return build(self.composite, self.labels.astype(np.int32), self.segmenter)

    def map_for(self, method: str) -> SemanticMap:
        """The map for a method. The paper's networks take no mark, so theirs leaves nothing out. Raises SrinError."""
        if method in PAPER_NETWORKS and self.scene.mark is not None:
            return self.scene.semantic_map(self.composite, self.placement, self.asked, lending=False)
        return self.semantic_map

    def with_result(self, result: Result, psnr: float | None, fmse: float | None) -> Run:
        """A copy that also holds `result`."""
        patch = address = lab = None
        alike = self.alike
        if result.harmonized is not None:
            patch, address = np.array(result.harmonized[self.window]), shown(result.harmonized)
            lab = lab_sample(patch, self.composite.mask[self.window])
            same = (name for name, other in self._labs() if looks_alike(lab, other))
            alike = alike.union(frozenset({result.method, name}) for name in same)
        outcome = Outcome(patch, lab, address, result.milliseconds, result.problem, psnr, fmse)
        return replace(self, outcomes={**self.outcomes, result.method: outcome}, alike=alike)

    def _labs(self) -> Iterator[tuple[str, np.ndarray]]:
        """Samples of the composite and of the results so far, by name."""
        yield PASTED, lab_sample(self.composite.image[self.window], self.composite.mask[self.window])
        for method, outcome in self.outcomes.items():
            if outcome.lab is not None:
                yield method, outcome.lab

    def same_as(self, method: str) -> list[str]:
        """Labels of what nobody can tell apart from a method's result, to be shown to people."""
        names = [name for name in self.done if frozenset({method, name}) in self.alike and name != method]
        # Copy-paste gives the pasted picture: where it was run, its label is enough.
        if not {method, *names} & {COPY} and frozenset({method, PASTED}) in self.alike:
            return [PASTED_LABEL, *(LABELS[name] for name in names)]
        return [LABELS[name] for name in names]

    def picture(self, method: str) -> np.ndarray:
        """uint8 (h, w, 3): a result that is there, or with PASTED the composite."""
        image = self.composite.image.copy()
        if method == PASTED:
            return image
        image[self.window] = self.outcomes[method].patch
        return image
