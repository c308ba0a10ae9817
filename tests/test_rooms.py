"""The modules are as CONTRIBUTING.md says: each is listed under its folder, and imports go one way."""

import ast
import re
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

ROOMS = (ROOT / "CONTRIBUTING.md").read_text().partition("```\n")[2].partition("```")[0]
MODULES = sorted(path for part in ("srin", "train") for path in (ROOT / part).rglob("*.py") if path.stem[:2] != "__")


def imported(module):
    """Names of all that a parsed module imports, with their modules."""
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are written in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path):
    """The lines of the list that describe a file's folder."""
    folder = path.parent.relative_to(ROOT).parts
    if folder[-1] == "paper":
        folder = folder[:-1]
    start = re.search(rf"^{folder[0]}/ .*\n(?:(?: .*)\n)*", ROOMS, re.MULTILINE)[0]
    if len(folder) > 1:
        start = re.search(rf"^  {folder[1]}/ .*\n(?:    .*\n)*", start, re.MULTILINE)[0]
        if len(folder) > 2:
            return re.search(rf"^    {folder[2]}/ .*\n(?:     .*\n)*", start, re.MULTILINE)[0]
        return re.sub(r"^    \w+/ .*\n(?:     .*\n)*", "", start, flags=re.MULTILINE)
    return re.sub(r"^  \w+/ .*\n(?:    .*\n)*", "", start, flags=re.MULTILINE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_has_its_place(path):
    assert re.search(rf"\b{path.stem}\b", room(path)), f"{path.name} is not where CONTRIBUTING.md lists its folder"


def test_every_place_that_is_named_is_there():
    named, inside = [], []
    for indent, name in re.findall(r"^( *)([\w./]+)/ ", ROOMS, re.MULTILINE):
        inside[len(indent) // 2 :] = [name]
        named.append("/".join(inside))
    assert len(named) > 15 and all((ROOT / name).is_dir() for name in named)
    for line in re.findall(r"^  ([a-z_0-9, ]+?)(?:  .*)?$", ROOMS, re.MULTILINE):
        if "," in line or (ROOT / "srin" / f"{line}.py").exists():
            assert all((ROOT / "srin" / f"{name}.py").is_file() for name in line.split(", ")), line


# The page's folders: each imports only those after it.
DOWN = ("server", "", "stage", "compare", "gallery study", "page session", "answering")


def floor(name):
    """The index of a module's folder in DOWN; blocks and api are in no folder."""
    folder = name.split(".")[2] if (ROOT / "srin" / "ui" / name.split(".")[2]).is_dir() else ""
    return next(number for number, names in enumerate(DOWN) if folder in (names.split() or [""]))


@pytest.mark.parametrize("path", [path for path in MODULES if "ui" in path.parts], ids=lambda path: path.stem)
def test_the_pages_imports_go_down(path):
    mine = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    text = re.sub(r"^if TYPE_CHECKING:\n(?:    .*\n)+", "", path.read_text(), flags=re.MULTILINE)
    for name in imported(ast.parse(text)):
        if name.startswith("srin.ui.") and name.split(".")[2] != mine.split(".")[2]:
            assert floor(name) > floor(mine) or floor(name) == floor(mine) == 1, name


def test_imports_have_no_circles():
    """Imports between modules, also those within functions and for types alone."""
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    sorter = TopologicalSorter()
    for name, path in named.items():
        found = imported(ast.parse(path.read_text()))
        sorter.add(name, *({one for one in named if one in found or any(x.rpartition(".")[0] == one for x in found)}))
    sorter.prepare()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    names = imported(ast.parse(path.read_text()))
    folders = path.relative_to(ROOT).parts
    forbidden = ["tests", "benchmarks", "app"]
    if folders[0] == "srin":
        forbidden += ["train"]
        if folders[1] != "ui":
            forbidden += ["gradio", "srin.ui"]
        if folders[1] == "models":
            forbidden += ["srin.harmonizer", "srin.segmentation", "srin.composite", "srin.study", "srin.cli"]
    else:
        forbidden += ["gradio", "srin.ui"]
    wrong = {name for name in names for start in forbidden if name == start or name.startswith(f"{start}.")}
    assert not wrong
