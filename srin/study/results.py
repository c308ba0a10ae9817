"""Reads the results that a study compares: a folder with a subfolder for every method."""

from dataclasses import dataclass
from pathlib import Path

from srin.batch import pictures
from srin.errors import SrinError
from srin.study.scoring import TIE


@dataclass(frozen=True)
class Results:
    """methods, items: their names, sorted. pictures: the file of every (method, item)."""

    methods: list[str]
    items: list[str]
    pictures: dict[tuple[str, str], Path]

    @property
    def questions(self) -> int:
        """How many pairs there are to judge."""
        return len(self.items) * len(self.methods) * (len(self.methods) - 1) // 2


def read_results(folder: Path) -> Results:
    """Finds FOLDER/METHOD/ITEM.png (or another picture format). Hidden folders, and files beside folders, are ignored.

    Raises:
        SrinError: no such folder, fewer than two methods, a method without pictures, or one that lacks an item.
    """
    if not folder.is_dir():
        raise SrinError(f"There is no folder {folder}.")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        raise SrinError(f"{folder} must hold a folder of results for each method, of two methods at least.")
    found: dict[tuple[str, str], Path] = {}
    for method in folders:
        if method.name == TIE or method.name != method.name.strip():
            raise SrinError(f"A method can't be named {method.name!r}.")
        for picture in pictures(method):
            if (method.name, picture.stem) in found:
                raise SrinError(f"{method} holds two pictures named {picture.stem}.")
            found[method.name, picture.stem] = picture
    methods = [method.name for method in folders]
    items = sorted({item for _, item in found})
    lacking = [f"{method}/{item}" for item in items for method in methods if (method, item) not in found]
    if lacking:
        shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        raise SrinError(f"Every method needs a result of the same name for every composite. {folder} lacks {shown}.")
    return Results(methods, items, found)
