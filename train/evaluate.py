"""Scores methods on a folder of composites with known truth, such as a frozen test recipe writes.

    python -m train.evaluate FOLDER -o REPORT.md

FOLDER holds composite/ID.png, mask/ID.png, real/ID.png and, optionally, index.csv (id, family, rim). Writes a table of
means by family and by rim, and REPORT.csv with a row for every picture and method. The protocol is "composite":
256x256, rounded to uint8, peak 255, hard mask (srin.metrics).
"""

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srin.compare import run_methods
from srin.composite import Composite
from srin.errors import SrinError
from srin.harmonizer import METHODS, unavailable
from srin.image_io import load_image
from srin.metrics import score
from srin.segmentation.semantic_map import segment

METRICS = ("fpsnr", "fmse", "psnr", "mse", "delta_e")
HEADINGS = {"fpsnr": "fPSNR", "fmse": "fMSE", "psnr": "PSNR", "mse": "MSE", "delta_e": "dE2000"}
Row = dict[str, str | float]


def evaluate(folder: Path, methods: Iterable[str], segmenter: str) -> list[Row]:
    """Scores every method on every composite of the folder; rows with id, family, rim, method and METRICS."""
    known = {}
    if (folder / "index.csv").is_file():
        with open(folder / "index.csv", newline="") as stream:
            known = {row["id"]: row for row in csv.DictReader(stream)}
    methods = tuple(methods)
    rows: list[Row] = []
    for path in tqdm(sorted((folder / "composite").glob("*.png")), unit="picture"):
        composite = Composite.load(path, folder / "mask" / path.name)
        real = load_image(folder / "real" / path.name)
        about = known.get(path.stem, {})
        for result in run_methods(composite, segment(composite, segmenter), methods):
            if result.harmonized is None:
                raise SrinError(f"{result.method} failed on {path.name}: {result.problem}")
            row: Row = {"id": path.stem, "family": about.get("family", ""), "rim": about.get("rim", "")}
            row |= {"method": result.method, **score(result.harmonized, real, composite.mask)}
            rows.append(row)
    return rows


def means(rows: list[Row], method: str, **where: str) -> dict[str, float]:
    """Means of METRICS over one method's rows that match `where`; infinite scores (nothing changed) are left out."""
    chosen = [r for r in rows if r["method"] == method and all(r[key] == value for key, value in where.items())]
    result = {}
    for metric in METRICS:
        values = np.array([float(r[metric]) for r in chosen])
        values = values[np.isfinite(values)]
        result[metric] = float(values.mean()) if len(values) else float("nan")
    return result


def report(rows: list[Row]) -> str:
    """Markdown: all metrics overall and by rim, then fPSNR by family. Pictures left unchanged are reported apart.

    The score of a picture that equals its truth is infinite, so `identity` composites stand in a table of their own.
    """
    methods = list(dict.fromkeys(str(r["method"]) for r in rows))
    changed = [r for r in rows if r["family"] != "identity"]
    unchanged = [r for r in rows if r["family"] == "identity"]
    parts = []
    rims = sorted({str(r["rim"]) for r in changed})
    for title, where in [("all", {})] + [(f"rim={rim}", {"rim": rim}) for rim in rims if rim]:
        count = len({r["id"] for r in changed if all(r[k] == v for k, v in where.items())})
        lines = [_row([f"{title} ({count})", *HEADINGS.values()]), _row(["---"] * (1 + len(METRICS)))]
        for method in methods:
            scores = means(changed, method, **where)
            lines.append(_row([method, *(f"{scores[m]:.2f}" for m in METRICS)]))
        parts.append("\n".join(lines))
    families = sorted({str(r["family"]) for r in changed if r["family"]})
    if families:
        lines = [_row(["fPSNR by family", *families]), _row(["---"] * (1 + len(families)))]
        for method in methods:
            lines.append(_row([method, *(f"{means(changed, method, family=f)['fpsnr']:.2f}" for f in families)]))
        parts.append("\n".join(lines))
    if unchanged:
        count = len({r["id"] for r in unchanged})
        lines = [_row([f"left unchanged ({count})", "dE2000 drift", "fMSE"]), _row(["---"] * 3)]
        for method in methods:
            scores = means(unchanged, method)
            lines.append(_row([method, f"{scores['delta_e']:.2f}", f"{scores['fmse']:.1f}"]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="REPORT.md")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: all that are available")
    parser.add_argument("--segmenter", choices=["auto", "sam", "colour"], default="colour")
    arguments = parser.parse_args()
    if not (arguments.folder / "composite").is_dir():
        parser.error(f"there is no folder {arguments.folder / 'composite'}")
    methods = arguments.methods or [m for m in METHODS if unavailable(m) is None]
    rows = evaluate(arguments.folder, methods, arguments.segmenter)
    text = report(rows)
    arguments.output.write_text(text)
    with open(arguments.output.with_suffix(".csv"), "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(text)


if __name__ == "__main__":
    main()
