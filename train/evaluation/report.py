"""The written report: Markdown for people, JSON for programs, CSV with every picture's scores."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from train.evaluation.data import EvaluationData
from train.evaluation.markdown import published, section, table
from train.evaluation.methods import Method
from train.evaluation.scoring import Scores
from train.evaluation.summary import METRICS, RESAMPLES

HEADINGS = {"psnr": "PSNR", "mse": "MSE", "fpsnr": "fPSNR", "fmse": "fMSE", "delta_e": "dE2000"}
OUTSIDE = {
    "composite": "outside the foreground the composite's own pixels count, with their JPEG noise",
    "gt-background": "outside the foreground the real picture's pixels take the composite's place",
}
# Where the paper contradicts itself (PSNR in dB, MSE and fMSE on the scale of 0 to 255).
SLIPS = (
    "As printed in the paper, over the whole test set of iHarmony4, by whatever protocol each source used. SRIN is not "
    "best everywhere: LEMaRT's average MSE is lower. The averages printed for RainNet, Intrinsic, SCS-Co, DCCF, SP-IC "
    "and LEMaRT don't follow from their sub-datasets."
)


@dataclass(frozen=True)
class Report:
    """Everything that one evaluation found.

    Attributes:
        protocol, size: as given to `train.evaluation.scoring.run`.
        reference: the method that others are compared with.
        summary: from `train.evaluation.summary.summarize`.
    """

    data: EvaluationData
    methods: list[Method]
    protocol: str
    size: int
    reference: str
    scores: Scores
    summary: pd.DataFrame

    def markdown(self) -> str:
        parts = [
            f"# Scores on {self.data.name}\n\n{self._how()}",
            self._overall(),
            self._differences(),
            self._groups("subset", "Sub-datasets (the paper's Table 1)", ("mse", "psnr", "fmse")),
            self._groups("ratio", "Share of the foreground (the paper's Table 2)", ("mse", "fmse")),
            self._groups("rim", "Rim of the foreground", ("fpsnr", "fmse", "delta_e")),
            self._groups("family", "Families of recolouring", ("fpsnr",)),
            self._unchanged(),
            self._networks(),
            self._published(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def json(self) -> str:
        """The same and more, as one object; scores that are not finite are null."""
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
                    "parameters": m.parameters,
                    "map": m.map if m.harmonizer.needs_map else None,
                    "config": asdict(m.config) if m.config else None,
                }
                for m in self.methods
            ],
            "left_out": [{"picture": name, "reason": reason} for name, reason in self.scores.left_out],
            "groups": [{key: _finite(value) for key, value in row.items()} for row in self.summary.to_dict("records")],
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
            f"{sizing} In brackets: 95 % bootstrap intervals over pictures ({RESAMPLES} resamples)."
        ]
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

    def _differences(self) -> str:
        chosen = self._chosen("all", "all")
        others = [name for name in self._names() if name != self.reference]
        if not len(chosen) or not others:
            return ""
        columns = [("all", "all", metric) for metric in ("psnr", "fpsnr", "fmse", "delta_e")]
        rims = dict.fromkeys(self.summary[self.summary["group"] == "rim"]["value"])
        columns += [("rim", rim, "fpsnr") for rim in rims]  # to see whether a method has learned to copy the rim
        rows = [
            [
                name,
                *(_difference(self._chosen(group, value).loc[name, metric]) for group, value, metric in columns),
                f"{100 * chosen.loc[name, 'fpsnr']['better']:.0f} %",
            ]
            for name in others
        ]
        header = [
            "method",
            *(HEADINGS[metric] + (f", rim={value}" if group == "rim" else "") for group, value, metric in columns),
            "pictures with a better fPSNR",
        ]
        return section(f"Paired differences from {self.reference}", header, rows)

    def _groups(self, group: str, title: str, metrics: Sequence[str]) -> str:
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
            [m, *(f"{self._chosen(*column).loc[m, metric]['mean']:.2f}" for column in columns for metric in metrics)]
            for m in self._names()
        ]
        return section(title, header, rows)

    def _unchanged(self) -> str:
        """How far each method drifts where nothing is wrong."""
        chosen = self._chosen("unchanged", "unchanged")
        if not len(chosen):
            return ""
        rows = [[m, *(_bracketed(chosen.loc[m, metric]) for metric in ("delta_e", "fmse"))] for m in self._names()]
        return section(f"Drift on pictures that were harmonious, {_count(chosen)}", ["method", "dE2000", "fMSE"], rows)

    def _networks(self) -> str:
        """What the networks are made of beside what they reach: the ablation."""
        chosen = self._chosen("all", "all")
        rows = []
        for m in self.methods:
            if m.config and len(chosen):
                network = [m.config.slot, m.config.preset, m.config.head, str(m.config.width)]
                sizes = [f"{m.parameters / 1e6:.2f} M", m.map if m.harmonizer.needs_map else "none"]
                means = [f"{chosen.loc[m.name, metric]['mean']:.2f}" for metric in METRICS]
                rows.append([m.name, *network, *sizes, *means])
        header = ["network", "slot", "preset", "head", "width", "parameters", "map", *HEADINGS.values()]
        return section("Networks", header, rows) if rows else ""

    def _published(self) -> str:
        tables = []
        for name in self._comparable():
            header, *rows = published(name)
            tables.append(table(header, rows))
        return "\n\n".join(["## Published", SLIPS, *tables]) if tables else ""

    def _comparable(self) -> list[str]:
        """The published tables that are about these pictures at this size."""
        subsets = set(self.scores.rows["subset"])
        if self.size == 1024:
            return ["table3_hadobe5k_1024"] if subsets == {"HAdobe5k"} else []
        if self.size == 256 and subsets & {"HAdobe5k", "HFlickr", "HCOCO", "Hday2night"}:
            return ["table1_iharmony4", "table2_foreground_ratio"]
        return []

    def _names(self) -> list[str]:
        return [method.name for method in self.methods]

    def _chosen(self, group: str, value: str) -> pd.DataFrame:
        """One group's part of the summary, by method and metric."""
        part = self.summary[(self.summary["group"] == group) & (self.summary["value"] == value)]
        return part.set_index(["method", "metric"])


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _difference(row: pd.Series) -> str:
    low, high = row["difference_low"], row["difference_high"]
    return f"{row['difference']:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else "")


def _bracketed(row: pd.Series) -> str:
    """The mean and its interval, which a single picture doesn't have."""
    return f"{row['mean']:.2f}" + (f" [{row['low']:.2f}, {row['high']:.2f}]" if math.isfinite(row["low"]) else "")


def _count(chosen: pd.DataFrame) -> str:
    return str(chosen["pictures"].iloc[0])
