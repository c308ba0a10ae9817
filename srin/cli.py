"""The command line: `srin harmonize`, `compare`, `segment`, `cut` and `export`; also `python -m srin`.

Heavy imports wait until a command runs, so that `srin --help` answers at once.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srin import __version__
from srin.errors import ImageError, MaskError, OutputError, SegmentationError, SrinError

if TYPE_CHECKING:
    from srin.batch import Job, Processes
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
    """The text without unprintable characters: a file's name may hold control codes for the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="srin", description="Make a pasted object belong to its new photo.")
    parser.add_argument("--version", action="version", version=f"srin {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    harmonize = commands.add_parser("harmonize", help="harmonize one composite, or a folder of them")
    _add_composite(harmonize, "the composite, a folder of composites, or a project that the page has saved", "?")
    harmonize.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="picture, or folder")
    harmonize.add_argument("--method", help="see `srin compare` for all; default: the project's, else srin")
    harmonize.add_argument("--strength", type=float, help="0 to 2; above 1 extrapolates; default: the project's, else 1")
    harmonize.add_argument(
        "--reference", type=Path, metavar="MASK", help="of one picture: white where the background may lend its light"
    )
    harmonize.add_argument("--report", type=Path, metavar="FILE.json", help="of one picture: what was done, as numbers")
    harmonize.add_argument("--working-size", type=int, metavar="PIXELS", help="the side at which the network sees it")
    harmonize.add_argument("--resume", action="store_true", help="in a folder, skip results that were made like this")
    harmonize.add_argument("--overwrite", action="store_true", help="in a folder, replace files that srin didn't make")
    _add_map(harmonize)
    harmonize.set_defaults(run=_harmonize)

    compare = commands.add_parser("compare", help="all methods side by side, in one picture")
    _add_composite(compare, "the composite")
    compare.add_argument("-o", "--output", required=True, type=Path, metavar="SHEET", help="picture to write")
    _add_map(compare)
    compare.set_defaults(run=_compare)

    segment = commands.add_parser(
        "segment",
        help="the semantic map of a photo, or of a folder of them",
        description="Writes the regions' labels as MAP.png, which `harmonize --map` takes, and a picture of them as "
        "MAP_painted.png. In a folder, maps that were drawn like this are kept, so that a second call continues.",
    )
    segment.add_argument("image", type=Path, metavar="IMAGE", help="a photo, or a folder of photos")
    segment.add_argument("-o", "--output", required=True, type=Path, metavar="MAP.png", help="label picture, or folder")
    segment.add_argument("--mask", type=Path, help="the pasted object, or a folder: its regions are kept apart")
    segment.add_argument("--invert-mask", action="store_true", help="the mask is black on the object, not white")
    segment.add_argument("--overwrite", action="store_true", help="in a folder, replace files that srin didn't make")
    _add_segmenter(segment)
    segment.add_argument("--checkpoint", metavar="NAME|FILE", help="vit_b, vit_l, vit_h, or any checkpoint file")
    segment.add_argument("--download", action="store_true", help="fetch a named checkpoint that is not here yet")
    segment.set_defaults(run=_segment)

    cut = commands.add_parser(
        "cut",
        help="the object of a photo, or of each in a folder, on transparency",
        description="Without a prompt, the photo's subject. In a folder, cut-outs that were made like this are kept.",
    )
    cut.add_argument("image", type=Path, metavar="PHOTO", help="a photo, or a folder of photos")
    cut.add_argument("-o", "--output", required=True, type=Path, metavar="CUTOUT.png", help="picture, or folder")
    cut.add_argument(
        "--point", type=_numbers(2), action="append", default=[], metavar="X,Y", help="a pixel of the object; repeatable"
    )
    cut.add_argument("--box", type=_numbers(4), metavar="X0,Y0,X1,Y1", help="around the object, in pixels")
    cut.add_argument(
        "--segmenter",
        default="auto",
        choices=["auto", "sam", "embedded"],
        help="who answers points and a box; auto: Segment Anything where it has a checkpoint, else the embedded network",
    )
    cut.add_argument("--overwrite", action="store_true", help="in a folder, replace files that srin didn't make")
    cut.set_defaults(run=_cut)

    export = commands.add_parser("export", help="a network for other programs, as an ONNX file")
    export.add_argument("--method", required=True, help="baseline, bain or srin")
    export.add_argument("--format", default="onnx", choices=["onnx"], help="default: onnx")
    export.add_argument("-o", "--output", required=True, type=Path, metavar="NETWORK.onnx")
    export.set_defaults(run=_export)
    return parser


def _numbers(count: int) -> "Callable[[str], tuple[float, ...]]":
    """A type for argparse that reads `count` numbers with commas between them."""

    def read(text: str) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} numbers with commas between them, as in 40,60")
        return numbers

    return read


def _add_composite(parser: argparse.ArgumentParser, image: str, masks: str | None = None) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help=image)
    what = "white on the pasted object; or a folder, by stem"
    parser.add_argument("mask", type=Path, metavar="MASK", nargs=masks, help=what)
    parser.add_argument("--invert-mask", action="store_true", help="the mask is black on the object, not white")


def _add_map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", type=Path, help="a label picture (or a folder), instead of drawing the map")
    _add_segmenter(parser)
    parser.add_argument("--device", help="cpu, cuda or mps; chosen automatically")


def _add_segmenter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--segmenter",
        default="auto",
        choices=["auto", "sam", "embedded", "colour"],
        help="who draws the semantic map; auto: Segment Anything where there is a checkpoint, else colour regions",
    )


def _check_files(options: argparse.Namespace, **paths: Path | None) -> None:
    """Raises ImageError where IMAGE is no file, or a folder is given beside it."""
    if options.image.is_dir():
        raise ImageError(f"{options.image} is a folder, and a comparison is made of one picture. Name a file.")
    if not options.image.exists():
        raise ImageError(f"There is no file or folder {options.image}.")
    for what, path in paths.items():
        if path is not None and path.is_dir():
            raise ImageError(f"{options.image} is a file, so the {what} must be one too; {path} is a folder.")


def _tell(name: str, remarks: list[str]) -> None:
    for remark in remarks:
        print(_printable(f"srin: {name}: {remark}"), file=sys.stderr)


def _harmonize(options: argparse.Namespace) -> int:
    from srin import batch, outputs
    from srin.harmonizer import Harmonizer
    from srin.image_io import SAVE_OPTIONS
    from srin.project import is_project

    inputs = (options.image, options.mask, options.map, options.reference)
    if is_project(options.image):
        return _harmonize_project(options)
    if options.mask is None:
        raise MaskError(f"{options.image} needs a mask: white on the pasted object, black elsewhere.")
    options.method = options.method or "srin"
    options.strength = 1.0 if options.strength is None else options.strength
    if not options.image.is_dir():
        _check_files(options, mask=options.mask, map=options.map, reference=options.reference)
        outputs.check_file(options.output, SAVE_OPTIONS, inputs)
        if options.report:
            outputs.check_file(options.report, (".json",), inputs)
        processes = batch.Processes.launched()
        harmonizer = Harmonizer.from_pretrained(options.method, options.device or processes.device)
        job = batch.Job(options.image, options.mask, options.map, options.output)
        _harmonize_file(options, harmonizer, job, {}, set())
        return 0
    if options.reference or options.report:
        raise SrinError("--reference and --report go with one picture, and not with a folder of them.")
    outputs.check_folder(options.output, inputs[:3])
    jobs = batch.jobs(*inputs[:3], options.output)
    processes = batch.Processes.launched()
    harmonizer = Harmonizer.from_pretrained(options.method, options.device or processes.device)
    batch.make_folder(options.output)
    return _harmonize_folder(options, harmonizer, processes, jobs)


def _harmonize_file(
    options: argparse.Namespace, harmonizer: "Harmonizer", job: "Job", settings: dict[str, Any], said: set[str]
) -> None:
    """Harmonizes one picture and writes the result. settings: from `_settings`; if empty, they are worked out here.
    said: segmenters that were printed already."""
    from srin.composite import Composite
    from srin.remarks import collected
    from srin.report import report, write_report
    from srin.results import save_result

    assert job.mask is not None  # a job without a mask has a problem, and no work
    settings = settings or _settings(options, harmonizer, job)
    with collected() as remarks:
        composite = Composite.load(job.image, job.mask, options.invert_mask)
        reference = harmonizer.allowed(composite, options.reference)
        _tell(job.image.name, remarks)
    semantic_map = harmonizer.map_for(composite, job.labels, options.segmenter, reference)
    if semantic_map is not None and semantic_map.segmenter not in said:
        said.add(semantic_map.segmenter)
        print(f"semantic map: {semantic_map.segmenter}", file=sys.stderr)
    how = (options.strength, options.working_size, reference)
    began = time.perf_counter()
    harmonized = harmonizer.harmonize_composite(composite, semantic_map, *how)
    milliseconds = 1000 * (time.perf_counter() - began)
    save_result(harmonized, composite, job.output, job.image, settings)
    if options.report:
        write_report(options.report, report(harmonizer, harmonized, semantic_map, *how[:2], milliseconds))


def _harmonize_project(options: argparse.Namespace) -> int:
    """Harmonizes a project with its own method, strength, offsets, feather and light, unless options say otherwise."""
    from srin import outputs
    from srin.composite import check_strength, mixed
    from srin.harmonizer import Harmonizer
    from srin.image_io import SAVE_OPTIONS, save_photo
    from srin.offsets import Offsets
    from srin.project import Project

    if options.mask or options.invert_mask:
        raise MaskError(f"{options.image} is a project, which has its own mask. Leave the mask away.")
    if options.reference or options.report:
        raise SrinError("--reference and --report go with one picture, and not with a project.")
    outputs.check_file(options.output, SAVE_OPTIONS, (options.image, options.map))
    project = Project.open(options.image)
    settings = dict(project.settings)
    settings["method"] = options.method or settings.get("method", "srin")
    settings["strength"] = settings.get("strength", 1.0) if options.strength is None else options.strength
    check_strength(settings["strength"])
    harmonizer = Harmonizer.from_pretrained(settings["method"], options.device)
    composite = project.composite()
    reference = project.allowed(composite) if harmonizer.decides else None
    semantic_map = harmonizer.map_for(composite, options.map, options.segmenter, reference)
    if not harmonizer.decides:
        settings.pop("offsets", None)
    offsets = Offsets(**settings.get("offsets", {}))
    harmonized = harmonizer.harmonize_composite(
        composite, semantic_map, working_size=options.working_size, reference=reference, offsets=offsets
    )
    feather = settings.get("feather", 0.0) * max(composite.mask.shape)
    result = mixed(harmonized, composite, settings["strength"], feather)
    photo = project.photos["picture" if project.ready else "background"]
    save_photo(composite.with_alpha(result), options.output, photo.content, json.dumps(settings), composite.mask)
    return 0


def _settings(options: argparse.Namespace, harmonizer: "Harmonizer", job: "Job") -> dict[str, Any]:
    from srin.results import settings_of

    how = (options.strength, options.working_size, options.invert_mask, options.segmenter)
    return settings_of(harmonizer, (*job.inputs, options.reference), *how)


def _harmonize_folder(
    options: argparse.Namespace, harmonizer: "Harmonizer", processes: "Processes", jobs: "list[Job]"
) -> int:
    """Harmonizes this process's share of a folder. A bad picture is reported, the rest goes on. Returns the failures."""
    from tqdm import tqdm

    from srin import batch, outputs
    from srin.parts import sweep
    from srin.segmentation.checkpoints import find_checkpoint

    sweep(options.output)
    mine = processes.share(jobs)
    # Segment Anything takes gigabytes and all cores for one picture.
    draws_with_sam = harmonizer.needs_map and not options.map and options.segmenter != "colour" and find_checkpoint()
    workers = 1 if draws_with_sam else batch.cores(processes.on_this_machine)
    said: set[str] = set()
    finished: set[Path] = set()
    settings: dict[Path, dict[str, Any]] = {}

    def look(job: batch.Job) -> None:
        settings[job.image] = _settings(options, harmonizer, job)
        found = outputs.state(job.output, settings[job.image], job.inputs)
        if found == "another's" and not options.overwrite:
            raise OutputError(f"{job.output} was not made by srin and is kept. Add --overwrite to replace it.")
        if found == "done" and options.resume:
            finished.add(job.image)

    def work(job: batch.Job) -> None:
        _harmonize_file(options, harmonizer, job, settings[job.image], said)

    todo = []
    for job, problem in batch.run(look, mine, workers):
        if job.image not in finished:
            todo.append(replace(job, problem=problem))
    failed = 0
    with tqdm(total=len(todo), unit="picture", disable=not sys.stderr.isatty(), position=processes.index) as bar:
        for job, problem in batch.run(work, todo, workers):
            bar.update()
            if problem:
                failed += 1
                tqdm.write(_printable(f"srin: {job.image.name}: {problem}"), file=sys.stderr)
    who = f"process {processes.index + 1} of {processes.count}: " if processes.count > 1 else ""
    skipped = f", {len(finished)} were finished before" if finished else ""
    done = f"{len(todo) - failed} of {len(todo)} pictures harmonized into {options.output}"
    print(f"{who}{done}{skipped}, {failed} failed", file=sys.stderr)
    processes.wait()
    return failed


def _compare(options: argparse.Namespace) -> int:
    from srin import outputs
    from srin.compare import comparison_sheet, run_methods
    from srin.composite import Composite
    from srin.image_io import SAVE_OPTIONS, save_image
    from srin.remarks import collected
    from srin.segmentation.semantic_map import fitted, read_or_draw

    _check_files(options, mask=options.mask, map=options.map)
    outputs.check_file(options.output, SAVE_OPTIONS, (options.image, options.mask, options.map))
    with collected() as remarks:
        composite = Composite.load(options.image, options.mask, options.invert_mask)
        _tell(options.image.name, remarks)
    semantic_map = fitted(composite, read_or_draw(composite, options.map, options.segmenter))
    results = run_methods(composite, semantic_map, device=options.device)
    save_image(comparison_sheet(composite, semantic_map, results), options.output)
    return 0


def _segment(options: argparse.Namespace) -> int:
    from srin import outputs
    from srin.composite import Composite
    from srin.image_io import load_image
    from srin.remarks import collected
    from srin.segmentation.semantic_map import MAP_SUFFIXES, painted_path, segment, segmenter_name

    if options.image.is_dir():
        outputs.check_folder(options.output, (options.image, options.mask))
    else:
        _check_files(options, mask=options.mask)
        outputs.check_file(options.output, MAP_SUFFIXES, (options.image, options.mask))
        outputs.check_inputs([painted_path(options.output)], (options.image, options.mask))
    checkpoint = _checkpoint(options)
    name = segmenter_name(options.segmenter, checkpoint)

    def one(job: "Job", settings: dict[str, Any]) -> str:
        with collected() as remarks:
            composite = Composite.load(job.image, job.mask, options.invert_mask) if job.mask else None
            picture = composite.image if composite else load_image(job.image)
            _tell(job.image.name, remarks)
        semantic_map = segment(composite or picture, options.segmenter, checkpoint)
        semantic_map.save_painted(picture, painted_path(job.output))
        # The map is written last: when a folder is run again, it shows that both files are there.
        semantic_map.save(job.output, settings)
        return f"{int(semantic_map.labels.max()) + 1} regions by {semantic_map.segmenter}"

    if options.image.is_dir():
        return _segment_folder(options, name, one)
    from srin.batch import Job

    print(one(Job(options.image, options.mask, None, options.output), {}), file=sys.stderr)
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


def _segment_folder(options: argparse.Namespace, name: str, one: "Callable[[Job, dict[str, Any]], str]") -> int:
    """Runs `one` over the pictures that have no map drawn like this yet. Returns how many failed."""
    from srin import batch, outputs
    from srin.parts import sweep
    from srin.segmentation.semantic_map import painted_path

    listed = batch.single_jobs(options.image, options.mask, options.output)
    targets = [path for job in listed for path in (job.output, painted_path(job.output))]
    outputs.check_inputs(targets, (path for job in listed for path in job.inputs))
    batch.make_folder(options.output)
    sweep(options.output)
    settings: dict[Path, dict[str, Any]] = {}

    def look(job: batch.Job) -> bool:
        made_from = outputs.digest(job.inputs)
        settings[job.image] = {"segmenter": name, "mask inverted": options.invert_mask, "made from": made_from}
        found = outputs.state(job.output, settings[job.image], job.inputs)
        painted = painted_path(job.output)
        if painted in results:
            raise OutputError(f"The picture of its map, {painted.name}, would replace another photo's map.")
        others = [job.output] if found == "another's" else []
        others += [painted] if outputs.state(painted, {}, ()) == "another's" else []
        if others and not options.overwrite:
            raise OutputError(f"{others[0]} was not made by srin and is kept. Add --overwrite to replace it.")
        return found == "done" and outputs.is_whole(painted)

    def work(job: batch.Job) -> None:
        one(job, settings[job.image])

    results = {job.output for job in listed}
    kept, failed = _run_folder(listed, look, work)
    done = len(listed) - kept - failed
    print(f"{done} of {len(listed)} maps drawn by {name}, {kept} were there, {failed} failed", file=sys.stderr)
    return failed


def _run_folder(listed: "Sequence[Job]", look: "Callable[[Job], bool]", work: "Callable[[Job], None]") -> tuple[int, int]:
    """Runs `work` over the pictures of a folder, with a progress bar. look: returns whether a result is there already.

    A bad picture is reported, and the rest goes on. Returns how many results were there already, and how many failed.
    """
    from tqdm import tqdm

    from srin import batch

    finished: set[Path] = set()

    def check(job: "Job") -> None:
        if look(job):
            finished.add(job.image)

    found = batch.run(check, listed, workers=1)
    todo = [replace(job, problem=problem) for job, problem in found if job.image not in finished]
    failed = 0
    with tqdm(total=len(todo), unit="picture", disable=not sys.stderr.isatty()) as bar:
        for job, problem in batch.run(work, todo, workers=1):
            bar.update()
            if problem:
                failed += 1
                tqdm.write(_printable(f"srin: {job.image.name}: {problem}"), file=sys.stderr)
    return len(finished), failed


def _cut(options: argparse.Namespace) -> int:
    from srin import outputs
    from srin.image_io import load_image, save_image
    from srin.remarks import collected
    from srin.segmentation.cutting import SUFFIXES, cutout_of

    def one(job: "Job", settings: dict[str, Any]) -> str:
        with collected() as remarks:
            picture = load_image(job.image)
            _tell(job.image.name, remarks)
        cutout, name = cutout_of(picture, options.point, options.box, options.segmenter)
        save_image(cutout, job.output, {outputs.SETTINGS: json.dumps(settings or {"cut out by": name})})
        return f"{(cutout[..., 3] > 127).mean():.0%} of the photo, cut out by {name}"

    if options.image.is_dir():
        return _cut_folder(options, one)
    from srin.batch import Job

    _check_files(options)
    outputs.check_file(options.output, SUFFIXES, [options.image])
    print(one(Job(options.image, None, None, options.output), {}), file=sys.stderr)
    return 0


def _cut_folder(options: argparse.Namespace, one: "Callable[[Job, dict[str, Any]], str]") -> int:
    """Cuts the subject out of each photo of a folder. Returns how many failed."""
    from srin import batch, outputs
    from srin.parts import sweep
    from srin.segmentation.cutting import weights_digest

    if options.point or options.box:
        raise SrinError("--point and --box go with one photo, and not with a folder of them.")
    outputs.check_folder(options.output, [options.image])
    listed = batch.single_jobs(options.image, None, options.output)
    outputs.check_inputs((job.output for job in listed), (job.image for job in listed))
    batch.make_folder(options.output)
    sweep(options.output)
    settings: dict[Path, dict[str, Any]] = {}

    def look(job: batch.Job) -> bool:
        settings[job.image] = {"cut out": "subject", "weights": weights_digest(), "made from": outputs.digest(job.inputs)}
        found = outputs.state(job.output, settings[job.image], job.inputs)
        if found == "another's" and not options.overwrite:
            raise OutputError(f"{job.output} was not made by srin and is kept. Add --overwrite to replace it.")
        return found == "done"

    def work(job: batch.Job) -> None:
        one(job, settings[job.image])

    kept, failed = _run_folder(listed, look, work)
    done = len(listed) - kept - failed
    print(f"{done} of {len(listed)} photos cut out, {kept} were there, {failed} failed", file=sys.stderr)
    return failed


def _export(options: argparse.Namespace) -> int:
    from srin.export import export_onnx
    from srin.harmonizer import load_network
    from srin.outputs import check_file

    check_file(options.output, [".onnx"], [])
    difference = export_onnx(load_network(options.method, "cpu"), options.output)
    print(f"{options.output}: differs from PyTorch by at most {difference * 255:.4f} of 255", file=sys.stderr)
    return 0
