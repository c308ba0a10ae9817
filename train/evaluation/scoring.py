"""Runs every method on every composite and scores the results."""

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from srin.composite import Composite
from srin.errors import SrinError
from srin.metrics import score
from srin.remarks import collected
from srin.segmentation.semantic_map import SemanticMap, build, draw
from train.data.iharmony4 import Sample
from train.evaluation.data import LABELS, UNALTERED, EvaluationData
from train.evaluation.methods import Method
from train.evaluation.oracle import ORACLE, affine_oracle

SEED = 7404  # of the order in which maps are shuffled and example pictures are drawn


@dataclass(frozen=True)
class Scores:
    """The scores of one evaluation.

    Attributes:
        rows: a row for every picture, method and seed, with ORACLE last: id, subset, those of `data.LABELS` that are
            known for any picture, changed (whether there is anything to harmonize), method, seed, and what
            `srin.metrics.score` returns. The columns family, photo and series are always there: unless the labels say
            otherwise, composites of one real picture have the same photo, and each photo is a series.
        left_out: pictures without rows, and why. A picture on which one method fails is left out for all methods, so
            that all are compared on the same pictures.
        segmenters: what drew the maps.
        examples: for some pictures "composite", "mask", each method's result, and "real": uint8 (H, W, 3), the mask
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
        segmenter: what draws the semantic maps, see `srin.segmentation.semantic_map.segment`.
        examples: how many pictures to keep, chosen at random among those that need harmonization, by the first seed.

    Raises:
        SrinError: no picture could be scored; the message gives the reason for the first.
    """
    # A picture's map is used twice, for itself and as another picture's: in this order, one right after the other.
    order = [data.samples[i] for i in np.random.default_rng(SEED).permutation(len(data.samples))]
    maps = _Maps(data, order, segmenter)
    rows: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = []
    kept: dict[str, dict[str, np.ndarray]] = {}
    known = [label for label in LABELS if any(label in values for values in data.labels.values())]
    for place, sample in enumerate(tqdm(order, unit="picture")):
        name = f"{sample.subset}/{sample.name}".lstrip("/")
        try:
            with collected() as remarks:
                composite, real = data.load(sample)
            for remark in remarks:
                tqdm.write(f"{name}: {remark}", file=sys.stderr)
            results: dict[str, np.ndarray] = {}
            scores = []
            for method in methods:
                harmonized = method.harmonizer.harmonize_composite(composite, maps.of(method, place, composite))
                results.setdefault(method.name, harmonized)
                values = score(harmonized, real, composite.mask, protocol, composite.image, size)
                scores.append({"method": method.name, "seed": method.seed, **values})
            best = affine_oracle(composite.image, real, composite.mask)
            values = score(best, real, composite.mask, protocol, composite.image, size)
            scores.append({"method": ORACLE, "seed": 0, **values})
        except SrinError as error:
            left_out.append((name, str(error)))
            continue
        labels = data.labels.get(sample.name, {})
        photo = labels.get("photo", f"{sample.subset}/{sample.real.stem}")
        differs = bool((composite.image != real)[composite.mask > 127].any())
        changed = differs and labels.get("family") not in UNALTERED
        about = {
            "id": sample.name,
            "subset": sample.subset,
            **{label: labels.get(label, "") for label in known},
            "family": labels.get("family", ""),
            "photo": photo,
            "series": labels.get("series", photo),
            "changed": changed,
        }
        rows += [{**about, **values} for values in scores]
        if changed and len(kept) < examples:
            results.pop("copy-paste", None)  # it is the composite
            kept[name] = {"composite": composite.image, "mask": composite.mask, **results, "real": real}
    if not rows:
        name, reason = left_out[0]
        raise SrinError(f"No picture could be scored. The first, {name}: {reason}")
    # Sorts rows by the order of the data set; the sort is stable, so the methods keep their order.
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
        drawn = draw(self.data.load(self.order[place])[0], self.segmenter)
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
