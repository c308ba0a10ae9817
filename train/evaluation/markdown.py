"""Writes Markdown tables, and reads the paper's published tables."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

PUBLISHED = Path(__file__).resolve().parents[1] / "published"


def section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A heading of the second level and a table under it."""
    return f"## {title}\n\n{table(header, rows)}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def published(name: str) -> list[list[str]]:
    """The cells of one of the paper's tables, its header first. name: of a file in train/published, without ".csv"."""
    with open(PUBLISHED / f"{name}.csv", newline="") as stream:
        return list(csv.reader(stream))
