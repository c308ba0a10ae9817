"""Scores methods on composites with known truth, and writes a report.

    python -m train.evaluate DATA -o REPORT                           the classical methods and the shipped networks
    python -m train.evaluate DATA -o REPORT --weights mine=runs/srin/weights.safetensors other=SEED0,SEED1,SEED2
    python -m train.evaluate iHarmony4 -o REPORT --subsets HAdobe5k --size 1024
    python -m train.evaluate DATA -o REPORT --maps true shuffled one-region

DATA is iHarmony4's folder, whose test split is scored, or a folder with composite/ID.png, mask/ID.png and real/ID.png
and, optionally, index.csv (id, family, rim, ...) and labels.csv (see train.evaluation.data.from_folder).
REPORT is a folder that will hold

    report.md      tables: gains by groups of pictures, signed errors, drift, differences between networks, ...
    report.json    the same for programs
    pictures.csv   the scores of every picture
    parameters.png parameters against PSNR, if there are networks
    grid.png       some results side by side
"""

import argparse
import io
import re
import sys
from pathlib import Path

from matplotlib.figure import Figure

from srin.errors import OutputError, SrinError
from srin.harmonizer import METHODS
from srin.image_io import write_whole
from srin.metrics import PROTOCOLS, SIZE
from srin.outputs import check_folder, check_inputs
from srin.remarks import collected
from srin.segmentation.checkpoints import cache_folder
from srin.segmentation.semantic_map import SEGMENTERS
from train.evaluation.data import open_data
from train.evaluation.figures import parameters_against_psnr, picture_grid
from train.evaluation.methods import MAP_KINDS, gather
from train.evaluation.report import Report
from train.evaluation.scoring import run
from train.evaluation.summary import compare, summarize
from train.runs import check_alone

REPORTS = ("report.md", "report.json", "pictures.csv", "parameters.png", "grid.png")


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits with a message if an input is wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        print(evaluate(options))
    except SrinError as error:
        parser.exit(2, f"{error}\n")


def evaluate(options: argparse.Namespace) -> str:
    """Scores all methods, writes the report's files, and returns the report in Markdown. Raises SrinError."""
    check_alone()
    subfolders = [path for path in options.data.rglob("*") if path.is_dir()] if options.data.is_dir() else []
    check_folder(options.output, [options.data, *subfolders])
    check_inputs((options.output / name for name in REPORTS), (path for _, paths in options.weights for path in paths))
    with collected() as remarks:
        data = open_data(options.data, options.subsets, options.cache, options.size)
    for remark in remarks:
        print(remark, file=sys.stderr)
    methods = gather(options.methods, options.weights, options.maps, options.reference)
    try:
        options.output.mkdir(parents=True, exist_ok=True)  # now, not after an hour's work
    except OSError as error:
        raise OutputError(f"The report can't be written to {options.output}: {error.strerror}.") from error
    scores = run(data, methods, options.protocol, options.size, options.segmenter, options.grid)
    summary = summarize(scores.rows, options.reference, options.stuff)
    networks = dict.fromkeys(method.name for method in methods if method.config is not None)
    pairs = compare(scores.rows, list(networks), options.stuff)
    report = Report(
        data, methods, options.protocol, options.size, options.reference, options.stuff, scores, summary, pairs
    )
    text = report.markdown()
    files = {"report.md": text.encode(), "report.json": report.json().encode(), "pictures.csv": report.csv().encode()}
    chart = parameters_against_psnr(summary, methods, options.protocol)
    if chart is not None:
        files["parameters.png"] = _png(chart)
    if scores.examples:
        files["grid.png"] = _png(picture_grid(scores.examples))
    for name, content in files.items():
        write_whole(content, options.output / name)
    return text


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def _named_files(text: str) -> tuple[str, list[Path]]:
    name, separator, files = text.partition("=")
    if not separator or not re.fullmatch(r"[\w .+-]+", name):
        raise argparse.ArgumentTypeError(f"write NAME=FILE or NAME=FILE,FILE, not {text!r}")
    for file in files.split(","):
        if not Path(file).is_file():
            raise argparse.ArgumentTypeError(f"there is no weights file {file}")
    return name, [Path(file) for file in files.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m train.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", type=Path, metavar="DATA")
    add("-o", "--output", type=Path, required=True, metavar="REPORT")
    add("--methods", nargs="+", choices=METHODS, metavar="METHOD", help="default: all whose weights are there")
    add(
        "--weights",
        nargs="+",
        action="extend",
        type=_named_files,
        default=[],
        metavar="NAME=FILE[,FILE]",
        help="more networks; several files are seeds of one",
    )
    add("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="whose pixels count outside the foreground")
    add("--size", type=_size, default=SIZE, metavar="PIXELS", help=f"of the square that is scored, default {SIZE}")
    add("--subsets", nargs="+", metavar="NAME", help="sub-datasets of iHarmony4, default: all")
    add("--maps", nargs="+", choices=MAP_KINDS, default=["true"], help="score SRIN with these semantic maps")
    add("--segmenter", choices=SEGMENTERS, default="colour", help="who draws the maps")
    add("--stuff", nargs="+", default=[], metavar="SOURCE", help="sources that the group without stuff leaves out")
    add("--reference", default="copy-paste", metavar="NAME", help="of paired differences, default copy-paste")
    add("--grid", type=int, default=6, metavar="ROWS", help="of example pictures, default 6")
    add("--cache", type=Path, default=cache_folder() / "iharmony4", help="resized pictures, default %(default)s")
    return parser


def _size(text: str) -> int:
    if not text.isdigit() or not 32 <= int(text) <= 4096:
        raise argparse.ArgumentTypeError(f"the size is a number of pixels from 32 to 4096, not {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
