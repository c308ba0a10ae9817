"""Runs every method on every composite and scores the results."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from srin.composite import Composite
from srin.errors import SrinError
from srin.metrics import score
from srin.segmentation.semantic_map import SemanticMap, build, segment
from train.data.iharmony4 import Sample
from train.evaluation.data import EvaluationData
from train.evaluation.methods import Method

SEED = 7404  # of the order in which maps are shuffled and example pictures are drawn


@dataclass(frozen=True)
class Scores:
    """Attributes:
    rows: a row for every picture and method: id, subset, family, rim, changed (whether the composite differs from its
        truth), method, and the metrics of `srin.metrics.score`.
    left_out: pictures that are in no row, and why. A picture that one method can't do is left out for all of them, so
        that all are compared on the same ones.
    segmenters: who drew the maps.
    examples: for some pictures "composite", "mask", what each method made of them, and "real": uint8 (H, W, 3), the mask
        (H, W).
    """

    rows: pd.DataFrame
    left_out: list[tuple[str, str]]
    segmenters: set[str]
    examples: dict[str, dict[str, np.ndarray]]


def run(
    data: EvaluationData, methods: list[Method], protocol: str, size: int, segmenter: str, examples: int = 0
) -> Scores:
    """Scores `methods` at size x size pixels.

    Args:
        protocol: "composite" or "gt-background", see `srin.metrics.score`.
        segmenter: who draws the semantic maps, see `srin.segmentation.semantic_map.segment`.
        examples: how many pictures to keep, drawn by chance among those that need harmonization.

    Raises:
        SrinError: no picture could be scored; the message says why for the first.
    """
    # Each picture's map is needed twice, for itself and shuffled: in this order the two uses are next to each other.
    order = [data.samples[i] for i in np.random.default_rng(SEED).permutation(len(data.samples))]
    maps = _Maps(data, order, segmenter)
    rows: list[dict] = []
    left_out: list[tuple[str, str]] = []
    kept: dict[str, dict[str, np.ndarray]] = {}
    for place, sample in enumerate(tqdm(order, unit="picture")):
        name = f"{sample.subset}/{sample.name}".lstrip("/")
        try:
            composite, real = data.load(sample)
            changed = bool((composite.image != real)[composite.mask > 127].any())
            results = {}
            scores = []
            for method in methods:
                harmonized = method.harmonizer.harmonize_composite(composite, maps.of(method, place, composite))
                results[method.name] = harmonized
                scores.append(score(harmonized, real, composite.mask, protocol, composite.image, size))
        except SrinError as error:
            left_out.append((name, str(error)))
            continue
        labels = data.labels.get(sample.name, {})
        about = {
            "id": sample.name,
            "subset": sample.subset,
            "family": labels.get("family", ""),
            "rim": labels.get("rim", ""),
            "changed": changed,
        }
        rows += [{**about, "method": m.name, **values} for m, values in zip(methods, scores, strict=True)]
        if changed and len(kept) < examples:
            results.pop("copy-paste", None)  # it is the composite
            kept[name] = {"composite": composite.image, "mask": composite.mask, **results, "real": real}
    if not rows:
        name, reason = left_out[0]
        raise SrinError(f"No picture could be scored. The first, {name}: {reason}")
    # Back to the order of the data set; the sort is stable, so methods keep theirs.
    position = {(s.subset, s.name): i for i, s in enumerate(data.samples)}
    rows.sort(key=lambda row: position[row["subset"], row["id"]])
    return Scores(pd.DataFrame(rows), sorted(left_out), maps.segmenters, kept)


class _Maps:
    """Semantic maps of each kind, drawn when a method first asks for one."""

    def __init__(self, data: EvaluationData, order: list[Sample], segmenter: str) -> None:
        self.data = data
        self.order = order
        self.segmenter = segmenter
        self.segmenters: set[str] = set()
        self._own = lru_cache(maxsize=4)(self._drawn)

    def of(self, method: Method, place: int, composite: Composite) -> SemanticMap | None:
        if not method.harmonizer.needs_map:
            return None
        if method.map == "one-region":
            return build(composite, np.zeros(composite.mask.shape, np.int32), "one region")
        if method.map == "true":
            return self._own(place)
        labels = self._another(place).labels.astype(np.uint8)  # a map has at most 64 regions
        size = composite.mask.shape[::-1]
        return build(composite, cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), "shuffled")

    def _drawn(self, place: int) -> SemanticMap:
        drawn = segment(self.data.load(self.order[place])[0], self.segmenter)
        self.segmenters.add(drawn.segmenter)
        return drawn

    def _another(self, place: int) -> SemanticMap:
        """The map of the next picture that can be read."""
        for step in range(1, len(self.order)):
            try:
                return self._own((place + step) % len(self.order))
            except SrinError:
                continue
        raise SrinError("A shuffled map needs a second picture.")
