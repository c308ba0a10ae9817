"""The command line: `srin harmonize`, `srin compare`, `srin segment`, `srin export`; also `python -m srin`.

Heavy imports wait until a command runs, so that `srin --help` answers at once.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srin.errors import SegmentationError, SrinError

if TYPE_CHECKING:
    from srin.batch import Processes
    from srin.harmonizer import Harmonizer


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0, or 1 when anything failed (usage errors exit with 2, as argparse does)."""
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore", module="PIL")  # about odd metadata, one for each picture of a folder
    try:
        failed = options.run(options)
    except SrinError as error:
        print(f"srin: {_printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if failed else 0


def _printable(text: str) -> str:
    """Without what a file's name could tell a terminal to do."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="srin", description="Make a pasted object belong to its new photo.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    harmonize = commands.add_parser("harmonize", help="harmonize one composite, or a folder of them")
    _add_composite(harmonize)
    harmonize.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="picture, or folder")
    harmonize.add_argument("--method", default="srin", help="see `srin compare` for all; default: srin")
    harmonize.add_argument("--strength", type=float, default=1.0, help="0 to 2; above 1 extrapolates; default: 1")
    harmonize.add_argument(
        "--reference", type=Path, metavar="MASK", help="of one picture: white where the background may lend its light"
    )
    harmonize.add_argument("--report", type=Path, metavar="FILE.json", help="of one picture: what was done, as numbers")
    harmonize.add_argument("--working-size", type=int, metavar="PIXELS", help="the side at which the network sees it")
    harmonize.add_argument("--resume", action="store_true", help="in a folder, skip pictures whose result is there")
    _add_map(harmonize)
    harmonize.set_defaults(run=_harmonize)

    compare = commands.add_parser("compare", help="all methods side by side, in one picture")
    _add_composite(compare)
    compare.add_argument("-o", "--output", required=True, type=Path, metavar="SHEET", help="picture to write")
    _add_map(compare)
    compare.set_defaults(run=_compare)

    segment = commands.add_parser(
        "segment",
        help="the semantic map of a photo, or of a folder of them",
        description="Writes the regions' labels as MAP.png, which `harmonize --map` takes, and a picture of them as "
        "MAP_painted.png. In a folder, maps that are there already are kept, so that a second call continues.",
    )
    segment.add_argument("image", type=Path, metavar="IMAGE", help="a photo, or a folder of photos")
    segment.add_argument("-o", "--output", required=True, type=Path, metavar="MAP.png", help="label picture, or folder")
    segment.add_argument("--mask", type=Path, help="the pasted object, or a folder: its regions are kept apart")
    _add_segmenter(segment)
    segment.add_argument("--checkpoint", metavar="NAME|FILE", help="vit_b, vit_l, vit_h, or any checkpoint file")
    segment.add_argument("--download", action="store_true", help="fetch a named checkpoint that is not here yet")
    segment.set_defaults(run=_segment)

    export = commands.add_parser("export", help="a network for other programs, as an ONNX file")
    export.add_argument("--method", required=True, help="baseline, bain or srin")
    export.add_argument("--format", default="onnx", choices=["onnx"], help="default: onnx")
    export.add_argument("-o", "--output", required=True, type=Path, metavar="NETWORK.onnx")
    export.set_defaults(run=_export)
    return parser


def _add_composite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the composite, or a folder of composites")
    parser.add_argument("mask", type=Path, metavar="MASK", help="white on the pasted object; or a folder, by stem")


def _add_map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", type=Path, help="a label picture (or a folder), instead of drawing the map")
    _add_segmenter(parser)
    parser.add_argument("--device", help="cpu, cuda or mps; chosen automatically")


def _add_segmenter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--segmenter",
        default="auto",
        choices=["auto", "sam", "colour"],
        help="who draws the semantic map; auto: Segment Anything where there is a checkpoint, else colour regions",
    )


def _harmonize(options: argparse.Namespace) -> int:
    from srin.batch import Processes
    from srin.harmonizer import Harmonizer

    if options.image.is_dir() and (options.reference or options.report):
        raise SrinError("--reference and --report go with one picture, and not with a folder of them.")
    processes = Processes.launched()
    harmonizer = Harmonizer.from_pretrained(options.method, options.device or processes.device)
    if options.image.is_dir():
        return _harmonize_folder(options, harmonizer, processes)
    _harmonize_file(options, harmonizer, options.image, options.mask, options.map, options.output, set())
    return 0


def _harmonize_file(
    options: argparse.Namespace,
    harmonizer: "Harmonizer",
    image: Path,
    mask: Path,
    labels: Path | None,
    output: Path,
    said: set[str],
) -> None:
    """said: segmenters that have been mentioned already."""
    from srin.composite import Composite
    from srin.image_io import save_image
    from srin.report import report, write_report

    composite = Composite.load(image, mask)
    reference = harmonizer.allowed(composite, options.reference)
    semantic_map = harmonizer.map_for(composite, labels, options.segmenter, reference)
    if semantic_map is not None and semantic_map.segmenter not in said:
        said.add(semantic_map.segmenter)
        print(f"semantic map: {semantic_map.segmenter}", file=sys.stderr)
    how = (options.strength, options.working_size, reference)
    began = time.perf_counter()
    harmonized = harmonizer.harmonize_composite(composite, semantic_map, *how)
    milliseconds = 1000 * (time.perf_counter() - began)
    save_image(harmonized, output)
    if options.report:
        write_report(options.report, report(harmonizer, harmonized, semantic_map, *how[:2], milliseconds))


def _harmonize_folder(options: argparse.Namespace, harmonizer: "Harmonizer", processes: "Processes") -> int:
    """This process's share of a folder. A bad picture is reported and the rest goes on. Returns the failures."""
    from tqdm import tqdm

    from srin import batch
    from srin.segmentation.checkpoints import find_checkpoint

    mine = processes.share(batch.jobs(options.image, options.mask, options.map, options.output))
    todo = [job for job in mine if not (options.resume and job.finished)]
    # Segment Anything takes gigabytes and all cores for one picture.
    draws_with_sam = harmonizer.needs_map and not options.map and options.segmenter != "colour" and find_checkpoint()
    workers = 1 if draws_with_sam else batch.cores(processes.on_this_machine)
    said: set[str] = set()

    def work(job: batch.Job) -> None:
        assert job.mask is not None  # a job without a mask has a problem, and no work
        _harmonize_file(options, harmonizer, job.image, job.mask, job.labels, job.output, said)

    failed = 0
    with tqdm(total=len(todo), unit="picture", disable=not sys.stderr.isatty(), position=processes.index) as bar:
        for job, problem in batch.run(work, todo, workers):
            bar.update()
            if problem:
                failed += 1
                tqdm.write(_printable(f"srin: {job.image.name}: {problem}"), file=sys.stderr)
    who = f"process {processes.index + 1} of {processes.count}: " if processes.count > 1 else ""
    skipped = f", {len(mine) - len(todo)} were finished before" if len(mine) > len(todo) else ""
    done = f"{len(todo) - failed} of {len(todo)} pictures harmonized into {options.output}"
    print(f"{who}{done}{skipped}, {failed} failed", file=sys.stderr)
    processes.wait()
    return failed


def _compare(options: argparse.Namespace) -> int:
    from srin.compare import comparison_sheet, run_methods
    from srin.composite import Composite
    from srin.image_io import save_image
    from srin.segmentation.semantic_map import fitted, read_or_draw

    composite = Composite.load(options.image, options.mask)
    semantic_map = fitted(composite, read_or_draw(composite, options.map, options.segmenter))
    results = run_methods(composite, semantic_map, device=options.device)
    save_image(comparison_sheet(composite, semantic_map, results), options.output)
    return 0


def _segment(options: argparse.Namespace) -> int:
    from srin.composite import Composite
    from srin.image_io import load_image
    from srin.segmentation.semantic_map import painted_path, segment, segmenter_name

    checkpoint = _checkpoint(options)
    name = segmenter_name(options.segmenter, checkpoint)

    def one(image: Path, mask: Path | None, output: Path) -> str:
        composite = Composite.load(image, mask) if mask else None
        picture = composite.image if composite else load_image(image)
        semantic_map = segment(composite or picture, options.segmenter, checkpoint)
        semantic_map.save_painted(picture, painted_path(output))
        semantic_map.save(output)  # last: a folder's second run takes it for the sign that both are there
        return f"{int(semantic_map.labels.max()) + 1} regions by {semantic_map.segmenter}"

    if options.image.is_dir():
        return _segment_folder(options, name, one)
    print(one(options.image, options.mask, options.output), file=sys.stderr)
    return 0


def _checkpoint(options: argparse.Namespace) -> str | None:
    """The checkpoint that --checkpoint names, fetched if --download allows it."""
    from tqdm import tqdm

    from srin.segmentation.checkpoints import CHECKPOINTS, download, offer

    name = options.checkpoint
    if name is None or options.segmenter == "colour":
        return None
    known = CHECKPOINTS.get(name)
    if known is not None and not known.is_complete:
        if not options.download:
            raise SegmentationError(f"{name} is not here yet. Add --download to fetch it: {offer(known)}")
        print(offer(known), file=sys.stderr)
        with tqdm(total=known.size, unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:

            def show(done: int, total: int) -> None:
                bar.update(done - bar.n)

            download(known, show)
    return name


def _segment_folder(options: argparse.Namespace, name: str, one: Callable[[Path, Path | None, Path], str]) -> int:
    """Runs `one` over the pictures that have no map by this segmenter yet. Returns how many failed."""
    from tqdm import tqdm

    from srin import batch
    from srin.segmentation.semantic_map import SemanticMap

    images = batch.pictures(options.image)
    masks = batch.by_stem(options.mask, "masks") if options.mask else {}
    batch.make_folder(options.output)
    todo, kept = [], 0
    for image in images:
        output = options.output / f"{image.stem}.png"
        if SemanticMap.saved_by(output) == name:
            kept += 1
            continue
        mask = masks.get(image.stem)
        problem = f"There is no mask named {image.stem} in {options.mask}." if options.mask and not mask else None
        todo.append(batch.Job(image, mask, None, output, problem))

    def work(job: batch.Job) -> None:
        one(job.image, job.mask, job.output)

    failed = 0
    with tqdm(total=len(todo), unit="picture", disable=not sys.stderr.isatty()) as bar:
        for job, problem in batch.run(work, todo, workers=1):
            bar.update()
            if problem:
                failed += 1
                tqdm.write(_printable(f"srin: {job.image.name}: {problem}"), file=sys.stderr)
    done = len(todo) - failed
    print(f"{done} of {len(images)} maps drawn by {name}, {kept} were there, {failed} failed", file=sys.stderr)
    return failed


def _export(options: argparse.Namespace) -> int:
    from srin.export import export_onnx
    from srin.harmonizer import load_network

    difference = export_onnx(load_network(options.method, "cpu"), options.output)
    print(f"{options.output}: differs from PyTorch by at most {difference * 255:.4f} of 255", file=sys.stderr)
    return 0
