"""The written report: Markdown for people, JSON for programs, CSV with every picture's scores."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from train.evaluation.data import EvaluationData
from train.evaluation.markdown import published, section, table
from train.evaluation.methods import Method
from train.evaluation.oracle import ORACLE
from train.evaluation.scoring import Scores
from train.evaluation.summary import METRICS, RESAMPLES, SIGNED

HEADINGS = {
    "psnr": "PSNR",
    "mse": "MSE",
    "fpsnr": "fPSNR",
    "fmse": "fMSE",
    "delta_e": "dE2000",
    "chroma": "chroma",
    "lightness": "lightness",
}
# Groups of pictures, in the order of the tables, and the labels of their rows.
GROUPS = {
    "all": "all",
    "objects": "{}",
    "class": "{} of the class",
    "plain": "{}",
    "rim": "rim {}",
    "family": "`{}`",
    "chroma": "true chroma {}",
}
OUTSIDE = {
    "composite": "outside the foreground the composite's own pixels count, with their JPEG noise",
    "gt-background": "outside the foreground the real picture's pixels take the composite's place",
}
SIGNED_MEANING = "Mean {} of the foreground minus the truth's: below zero it is {} than it should be."
# Where the paper contradicts itself (PSNR in dB, MSE and fMSE on the scale of 0 to 255).
SLIPS = (
    "As printed in the paper, over the whole test set of iHarmony4, by whatever protocol each source used. SRIN is not "
    "best everywhere: LEMaRT's average MSE is lower. The averages printed for RainNet, Intrinsic, SCS-Co, DCCF, SP-IC "
    "and LEMaRT don't follow from their sub-datasets."
)


@dataclass(frozen=True)
class Report:
    """The results of one evaluation.

    Attributes:
        protocol, size: as given to `train.evaluation.scoring.run`.
        reference: the method that others are compared with.
        stuff: sources that one group of pictures leaves out.
        summary: of `train.evaluation.summary.summarize`. pairs: of `compare` there, for the networks.
    """

    data: EvaluationData
    methods: list[Method]
    protocol: str
    size: int
    reference: str
    stuff: list[str]
    scores: Scores
    summary: pd.DataFrame
    pairs: pd.DataFrame

    def markdown(self) -> str:
        parts = [
            f"# Scores on {self.data.name}\n\n{self._how()}",
            self._overall(),
            self._gains(),
            self._by_group("fMSE", "fmse"),
            self._by_group("dE2000", "delta_e"),
            self._by_group("Signed error of chroma", "chroma", SIGNED_MEANING.format("C*ab", "greyer")),
            self._by_group("Signed error of lightness", "lightness", SIGNED_MEANING.format("L*", "darker")),
            self._drift(),
            self._pairs("fpsnr"),
            self._pairs("delta_e"),
            self._seeds(),
            self._differences(),
            self._columns("subset", "Sub-datasets (the paper's Table 1)", ("mse", "psnr", "fmse")),
            self._columns("ratio", "Share of the foreground (the paper's Table 2)", ("mse", "fmse")),
            self._networks(),
            self._published(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def json(self) -> str:
        """The same content and more as one JSON object; scores that are not finite are null."""
        content = {
            "data": self.data.name,
            "protocol": self.protocol,
            "size": self.size,
            "harmonized_at": "own size" if self.data.cache is None else self.size,
            "reference": self.reference,
            "segmenters": sorted(self.scores.segmenters),
            "methods": [
                {
                    "name": m.name,
                    "seeds": len(self._seeds_of(m.name)),
                    "parameters": m.parameters,
                    "map": m.map if m.harmonizer.needs_map else None,
                    "config": asdict(m.config) if m.config else None,
                }
                for m in self._first_seeds()
            ],
            "stuff": self.stuff,
            "left_out": [{"picture": name, "reason": reason} for name, reason in self.scores.left_out],
            "groups": _records(self.summary),
            "pairs": _records(self.pairs),
            "published": {name: published(name) for name in self._comparable()},
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def csv(self) -> str:
        """A line for every picture and method."""
        return self.scores.rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")

    def _how(self) -> str:
        sizing = (
            "Pictures are harmonized at their own size, and scored at this one."
            if self.data.cache is None
            else "Pictures are squeezed to this size before they are harmonized."
        )
        lines = [
            f"Protocol **{self.protocol}**: {OUTSIDE[self.protocol]}. {self.size} x {self.size} pixels, averaged over "
            "areas, rounded to uint8; peak 255; foreground where the mask is above 127; means over pictures. "
            f"{sizing} In brackets: 95 % bootstrap intervals over {self._drawn()} ({RESAMPLES} resamples). "
            f"{ORACLE[0].upper()}{ORACLE[1:]}: the foreground under the 3x4 colour transform that is closest to the "
            "truth, which no method knows."
        ]
        if self.stuff:
            lines.append(f"Without stuff: without the pictures from {', '.join(self.stuff)}.")
        if self.scores.segmenters:
            lines.append(f"Semantic maps: {', '.join(sorted(self.scores.segmenters))}.")
        if self.scores.left_out:
            count = f"{len(self.scores.left_out)} of {len(self.data.samples)}"
            listed = "\n".join(f"- {name}: {reason}" for name, reason in self.scores.left_out)
            lines.append(f"**{count} pictures are left out, for all methods:**\n\n{listed}")
        return "\n\n".join(lines)

    def _overall(self) -> str:
        chosen = self._chosen("all", "all")
        if not len(chosen):
            return ""
        rows = [[m, *(_bracketed(chosen.loc[m, metric]) for metric in METRICS)] for m in self._names()]
        title = "All pictures" + (" (the paper's Table 3)" if self.size == 1024 else "")
        return section(f"{title}, {_count(chosen)}", ["method", *HEADINGS.values()], rows)

    def _gains(self) -> str:
        """The main table: what every method gains over the reference, group by group."""
        names = [name for name in self._names() if name != self.reference]
        header = ["pictures", "number", f"{self.reference} fPSNR", *names]
        rows = []
        for label, chosen in self._grouped():
            cells = [_difference(chosen.loc[name, "fpsnr"]) for name in names]
            rows.append([label, _count(chosen), f"{chosen.loc[self.reference, 'fpsnr']['mean']:.2f}", *cells])
        return section(f"Gain in fPSNR over {self.reference}, dB", header, rows) if rows else ""

    def _by_group(self, title: str, metric: str, meaning: str = "") -> str:
        """A table with a row for every group of pictures; intervals where the metric's sign matters."""
        cell = _bracketed if metric in SIGNED else _mean
        rows = [
            [label, _count(chosen), *(cell(chosen.loc[name, metric]) for name in self._names())]
            for label, chosen in self._grouped()
        ]
        if not rows:
            return ""
        found = section(f"{title}, by groups", ["pictures", "number", *self._names()], rows)
        return f"{found}\n\n{meaning}" if meaning else found

    def _pairs(self, metric: str) -> str:
        """The difference between every two networks, for each group."""
        pairs = self.pairs[self.pairs["metric"] == metric]
        if not len(pairs):
            return ""
        columns = list(dict.fromkeys(zip(pairs["method"], pairs["other"], strict=True)))
        cells = pairs.set_index(["group", "value", "method", "other"])
        rows = []
        labels = [*self._group_labels(), *((g, v, f"nothing to do: {v}") for g, v in self._unchanged())]
        for group, value, label in labels:
            rows.append([label, *(_verdict(cells.loc[(group, value, method, other)]) for method, other in columns)])
        header = ["pictures", *(f"{method} - {other}" for method, other in columns)]
        found = section(f"Between networks: {HEADINGS[metric]}", header, rows)
        return f"{found}\n\nA tie is a difference whose interval contains zero."

    def _seeds(self) -> str:
        """The scores of each seed, for networks with several seeds."""
        rows = self.scores.rows[self.scores.rows["changed"]]
        means = rows.groupby(["method", "seed"])[list(METRICS)].mean()
        lines = []
        for name in self._names():
            for seed in self._seeds_of(name) if len(self._seeds_of(name)) > 1 and len(means) else ():
                run = means.loc[(name, seed)]
                gain = run["fpsnr"] - means.loc[(self.reference, slice(None)), "fpsnr"].mean()
                lines.append([name, str(seed), f"{gain:+.2f}", *(f"{run[metric]:.2f}" for metric in METRICS)])
        header = ["network", "seed", f"gain in fPSNR over {self.reference}", *HEADINGS.values()]
        return section("Seeds", header, lines) if lines else ""

    def _differences(self) -> str:
        chosen = self._chosen("all", "all")
        others = [name for name in self._names() if name != self.reference]
        if not len(chosen) or not others:
            return ""
        metrics = ("psnr", "fpsnr", "fmse", "delta_e")
        rows = [
            [
                name,
                *(_difference(chosen.loc[name, metric]) for metric in metrics),
                f"{100 * chosen.loc[name, 'fpsnr']['better']:.0f} %",
            ]
            for name in others
        ]
        header = ["method", *(HEADINGS[metric] for metric in metrics), "pictures with a better fPSNR"]
        return section(f"Paired differences from {self.reference}", header, rows)

    def _columns(self, group: str, title: str, metrics: Sequence[str]) -> str:
        """A table with one column for every value of a group and metric, and the average over all."""
        values = list(dict.fromkeys(self.summary[self.summary["group"] == group]["value"]))
        if not values:
            return ""
        columns = [(group, value) for value in values] + [("all", "all")]
        header = ["method"]
        for kind, value in columns:
            chosen = self._chosen(kind, value)
            name = "average" if kind == "all" else value
            header += [f"{name} ({_count(chosen)}) {HEADINGS[metrics[0]]}", *(HEADINGS[m] for m in metrics[1:])]
        rows = [
            [m, *(_mean(self._chosen(*column).loc[m, metric]) for column in columns for metric in metrics)]
            for m in self._names()
        ]
        return section(title, header, rows)

    def _drift(self) -> str:
        """How much each method changes composites that have nothing to harmonize."""
        tables = []
        metrics = ("delta_e", "fmse", "chroma", "lightness")
        names = [name for name in self._names() if name != ORACLE]
        for group, value in self._unchanged():
            chosen = self._chosen(group, value)
            rows = [[m, *(_bracketed(chosen.loc[m, metric]) for metric in metrics)] for m in names]
            header = [f"`{value}`, {_count(chosen)}", *(HEADINGS[metric] for metric in metrics)]
            tables.append(table(header, rows))
        return "\n\n".join(["## Drift where there is nothing to harmonize", *tables]) if tables else ""

    def _networks(self) -> str:
        """The networks' settings beside their scores."""
        chosen = self._chosen("all", "all")
        networks = [m for m in self._first_seeds() if m.config]
        if not networks or not len(chosen):
            return ""
        settings = [asdict(m.config) for m in networks if m.config]
        names = list(dict.fromkeys(name for values in settings for name in values))
        rows = []
        for m, values in zip(networks, settings, strict=True):
            cells = [str(values.get(name, "")) for name in names]
            cells += [f"{m.parameters / 1e6:.2f} M", m.map if m.harmonizer.needs_map else "none"]
            rows.append([m.name, *cells, *(_mean(chosen.loc[m.name, metric]) for metric in METRICS)])
        return section("Networks", ["network", *names, "parameters", "map", *HEADINGS.values()], rows)

    def _published(self) -> str:
        tables = []
        for name in self._comparable():
            header, *rows = published(name)
            tables.append(table(header, rows))
        return "\n\n".join(["## Published", SLIPS, *tables]) if tables else ""

    def _comparable(self) -> list[str]:
        """The published tables of the same pictures at the same size."""
        subsets = set(self.scores.rows["subset"])
        if self.size == 1024:
            return ["table3_hadobe5k_1024"] if subsets == {"HAdobe5k"} else []
        if self.size == 256 and subsets & {"HAdobe5k", "HFlickr", "HCOCO", "Hday2night"}:
            return ["table1_iharmony4", "table2_foreground_ratio"]
        return []

    def _names(self) -> list[str]:
        """The methods' names, in the order of the tables."""
        return [*dict.fromkeys(method.name for method in self.methods), ORACLE]

    def _first_seeds(self) -> list[Method]:
        return [method for method in self.methods if method.seed == 0]

    def _seeds_of(self, name: str) -> list[int]:
        return [method.seed for method in self.methods if method.name == name]

    def _drawn(self) -> str:
        """A description of what the bootstrap resamples."""
        chosen = self.scores.rows
        photos, series = chosen["photo"].nunique(), chosen["series"].nunique()
        drawn = f"{photos} photos" + (f" in {series} series" if series < photos else "")
        return drawn + (" and over seeds" if any(method.seed for method in self.methods) else "")

    def _group_labels(self) -> list[tuple[str, str, str]]:
        """Group, value and label of each row."""
        there = list(dict.fromkeys(zip(self.summary["group"], self.summary["value"], strict=True)))
        return [(g, v, name.format(v)) for group, name in GROUPS.items() for g, v in there if g == group]

    def _grouped(self) -> list[tuple[str, pd.DataFrame]]:
        return [(label, self._chosen(group, value)) for group, value, label in self._group_labels()]

    def _unchanged(self) -> list[tuple[str, str]]:
        values = dict.fromkeys(self.summary[self.summary["group"] == "unchanged"]["value"])
        return [("unchanged", value) for value in values]

    def _chosen(self, group: str, value: str) -> pd.DataFrame:
        """One group's part of the summary, by method and metric."""
        part = self.summary[(self.summary["group"] == group) & (self.summary["value"] == value)]
        return part.set_index(["method", "metric"])


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{key: _finite(value) for key, value in row.items()} for row in table.to_dict("records")]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(row: pd.Series) -> str:
    return f"{row['mean']:.2f}"


def _verdict(row: pd.Series) -> str:
    found = f"{row['difference']:+.2f}"
    if math.isfinite(row["low"]):
        found += f" [{row['low']:+.2f}, {row['high']:+.2f}]"
    return f"tie: {found}" if row["tie"] else found


def _difference(row: pd.Series) -> str:
    low, high = row["difference_low"], row["difference_high"]
    return f"{row['difference']:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else "")


def _bracketed(row: pd.Series) -> str:
    """The mean and its interval; a single picture has none."""
    return f"{row['mean']:.2f}" + (f" [{row['low']:.2f}, {row['high']:.2f}]" if math.isfinite(row["low"]) else "")


def _count(chosen: pd.DataFrame) -> str:
    return str(chosen["pictures"].iloc[0])
