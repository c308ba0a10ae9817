"""Plants faults in a copy of the code, one by one, and shows which test notices each.

    python -m tests.planted_faults [NUMBER ...]        # prints a Markdown table; fails if a fault goes unnoticed

A fault is a small edit that might be made in a hurry. The tests that are named with it ought to fail.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("app.py", "srin", "train", "tests", "benchmarks", "assets", "docs", "pyproject.toml", "README.md")


class Fault(NamedTuple):
    """A fault: `new` in place of `old`, which stands in `file` exactly once. tests: the file that ought to notice."""

    what: str
    file: str
    old: str
    new: str
    tests: str


FAULTS = (
    Fault(
        "foreground and background swapped",
        "srin/models/units.py",
        "= foreground.flatten(2), background.flatten(2)",
        "= background.flatten(2), foreground.flatten(2)",
        "test_units",
    ),
    Fault(
        "the map ignored",
        "srin/models/network.py",
        "partition(mask, regions, allowed)",
        "partition(mask, None, allowed)",
        "test_networks",
    ),
    Fault(
        "a background that has the foreground in it",
        "srin/models/units.py",
        "background = 1 - F.max_pool2d(mask, 3, 1, 1)",
        "background = torch.ones_like(mask)",
        "test_units",
    ),
    Fault(
        "deviations mixed instead of moments",
        "srin/models/units.py",
        ' + torch.einsum("bnu,bnuc->bnc", weights, apart**2)',
        "",
        "test_units",
    ),
    Fault(
        "what may not lend lends all the same",
        "srin/models/units.py",
        "background * allowed, outside * allowed",
        "background, outside",
        "test_units",
    ),
    Fault(
        "the slot switched off",
        "srin/models/slot.py",
        "if self.score is not None and not uniform:",
        "if False:",
        "test_networks",
    ),
    Fault(
        "lenders that count alike, whatever their area",
        "srin/models/slot.py",
        "area.clamp_min(EMPTY).log()[:, None]",
        "(0 * area)[:, None]",
        "test_networks",
    ),
    Fault(
        "a region's own light forgotten",
        "srin/models/transform.py",
        "kept[..., None, None] * (change - whole[:, None])",
        "0 * change",
        "test_networks",
    ),
    Fault(
        "the mirror image's cells not turned back",
        "srin/models/network.py",
        "flip(-1).flatten(-2), rest]",
        "flatten(-2), rest]",
        "test_networks",
    ),
    Fault(
        "a mask that is not shrunk",
        "train/data/composites.py",
        "cv2.erode(cv2.erode(binary, np.ones((3, 3), np.uint8), borderValue=1), disk(shrink - 1), borderValue=1)",
        "binary",
        "test_composites_made",
    ),
    Fault(
        "an object relit with its scene",
        "train/data/composites.py",
        "            real = self._lit(photo, mild, rng)\n            if",
        "            real = pasted = self._lit(photo, mild, rng)\n            if",
        "test_composites_made",
    ),
    Fault(
        "a map of the photo instead of the composite",
        "train/data/composites.py",
        "composite = Composite(sample.composite,",
        "composite = Composite(sample.real,",
        "test_composites_made",
    ),
    Fault(
        "the loss of the wrong regions",
        "train/statistics.py",
        "((labels[:, None] == names) * mask)",
        "((labels[:, None] == names.flip(0)) * mask)",
        "test_side_by_side",
    ),
    Fault(
        "RAIN of the paper that keeps the foreground's own statistics",
        "srin/models/paper/rain.py",
        "bg_scale = bg_std / fg_std * fg_gain, bg_gain / bg_std",
        "bg_scale = fg_gain, bg_gain / bg_std",
        "test_paper_networks",
    ),
    Fault(
        "BAIN of the paper that sees the foreground as background",
        "srin/models/paper/bain.py",
        "lent**2, level.background.flatten(1)[:, outside])",
        "lent**2, torch.ones_like(lent[..., 0]))",
        "test_paper_networks",
    ),
    Fault(
        "SRIN of the paper that gets no map",
        "srin/models/paper/unet.py",
        'regions if self.config.slot == "srin" else None',
        "None",
        "test_paper_properties",
    ),
    Fault(
        "the mask inverted",
        "srin/image_io.py",
        "mask = array[..., 3] if has_alpha else gray",
        "mask = array[..., 3] if has_alpha else 255 - gray",
        "test_image_io",
    ),
    Fault(
        "a transform off by a pixel",
        "srin/composite.py",
        ".sum(axis=1) / 2 - 0.5 -",
        ".sum(axis=1) / 2 + 0.5 -",
        "test_composite",
    ),
    Fault(
        "a turn the wrong way",
        "srin/composite.py",
        "math.radians(placement.rotation",
        "-math.radians(placement.rotation",
        "test_composite",
    ),
    Fault(
        "soft edges made hard",
        "srin/composite.py",
        "weight = mask[rows, :, None] * np",
        "weight = (mask[rows, :, None] > 127) * 255 * np",
        "test_composite",
    ),
    Fault(
        "the wrong PSNR peak",
        "srin/metrics.py",
        "math.log10(PEAK**2",
        "math.log10((PEAK + 1) ** 2",
        "test_metrics",
    ),
    Fault(
        "fMSE over the whole picture",
        "srin/metrics.py",
        "squared[inside].mean()",
        "squared.mean()",
        "test_metrics",
    ),
    Fault(
        "truncated instead of rounded",
        "srin/full_resolution.py",
        "np.rint(change, out=change).clip(",
        "change.clip(",
        "test_full_resolution",
    ),
    Fault(
        "colours between cells weighed without the mask",
        "srin/full_resolution.py",
        "weight = share[None].astype(np.float32) / 255 + np.float32(FAINT)",
        "weight = np.ones_like(share[None], np.float32)",
        "test_full_resolution",
    ),
    Fault(
        "a photo's rotation ignored",
        "srin/image_io.py",
        "upright = image if straight else ImageOps.exif_transpose(image)",
        "upright = image.copy()",
        "test_image_io",
    ),
    Fault(
        "the place kept in a saved photo",
        "srin/image_io.py",
        "exif.pop(GPS_IFD, None)",
        "pass",
        "test_saving",
    ),
    Fault(
        "written in place instead of renamed",
        "srin/image_io.py",
        'open(part, "wb")',
        'open(path, "wb")',
        "test_faults",
    ),
    Fault(
        "a download's hash not compared",
        "srin/segmentation/checkpoints.py",
        "digest.hexdigest() != checkpoint.sha256",
        "False",
        "test_downloads",
    ),
    Fault(
        "a test photo trained on",
        "train/data/photos.py",
        'return row["split"] in ("train", "")',
        "return True",
        "test_photos",
    ),
    Fault(
        "an unaltered composite scored",
        "train/objective.py",
        ".amax((1, 2, 3)) > 0",
        ".amax((1, 2, 3)) >= 0",
        "test_train",
    ),
    Fault(
        "a process's loss divided by its own pictures",
        "train/objective.py",
        "/ batch.total",
        "/ len(batch.mask)",
        "test_train",
    ),
    Fault(
        "the optimizer forgotten on resume",
        "train/train.py",
        '            optimizer.load_state_dict(state["optimizer"])\n',
        "",
        "test_train",
    ),
    Fault(
        "a composite trained on that is no task",
        "train/data/composites.py",
        "error > MAX_ERROR or (error < MIN_ERROR and not mild) or error == 0",
        "error > MAX_ERROR",
        "test_composites_made",
    ),
    Fault(
        "a vote counted twice",
        "srin/study/storage.py",
        "if number != count or not looking:",
        "if not looking:",
        "test_study",
    ),
    Fault(
        "any file of the server taken for an upload",
        "srin/ui/session/uploads.py",
        "is_in_or_equal(path, get_upload_folder()) and ",
        "",
        "test_hostile",
    ),
    Fault(
        "other web pages answered",
        "srin/ui/server/guard.py",
        "if _foreign(headers):",
        "if False:",
        "test_requests",
    ),
    Fault(
        "bodies of any size read",
        "srin/ui/server/guard.py",
        "if self.taken > MAX_BODY:",
        "if False:",
        "test_requests",
    ),
    Fault(
        "files fetched from any address",
        "srin/ui/api.py",
        "for parameter in function.inputs if function.fn in ENDPOINTS else ():",
        "for parameter in ():",
        "test_requests",
    ),
    Fault(
        "no wall before the login",
        "srin/ui/server/serving.py",
        'if scope["type"] == "lifespan" or self._logged_in(scope):',
        "if True:",
        "test_clients",
    ),
    Fault(
        "a thread for every request that waits",
        "srin/ui/answering/request_queue.py",
        "            if self._at_work:",
        "            if False:",
        "test_session_state",
    ),
    Fault(
        "open pages forgotten",
        "srin/ui/server/gradio_sessions.py",
        "if not session.state_data and not unread",
        "if not unread",
        "test_limits",
    ),
    Fault(
        "a result that replaces an input",
        "srin/outputs.py",
        "            if identity in taken:",
        "            if False:",
        "test_outputs",
    ),
    Fault(
        "done whatever it was made with",
        "srin/outputs.py",
        "if found == settings and ",
        "if ",
        "test_outputs",
    ),
    Fault(
        "hidden colours taken for background",
        "srin/composite.py",
        "out[hidden] =",
        "_ =",
        "test_inputs",
    ),
    Fault(
        "another mask than the cached one ignored",
        "train/data/photos.py",
        "repr((VERSION, config.photo_side, states))",
        "repr((VERSION, config.photo_side, chosen))",
        "test_photos",
    ),
    Fault(
        "where one clicks makes no difference",
        "srin/segmentation/network.py",
        "of_kind = distance.masked_fill(labels != kind, torch.inf)",
        "of_kind = distance.masked_fill(labels >= -1, torch.inf)",
        "test_segmenter_training",
    ),
    Fault(
        "the worst candidate first",
        "srin/segmentation/embedded.py",
        "for k in np.argsort(-scores",
        "for k in np.argsort(scores",
        "test_embedded",
    ),
    Fault(
        "a former mask forgotten",
        "srin/segmentation/embedded.py",
        "before = None if previous is None else _probability(previous, view.cells)",
        "before = None",
        "test_embedded",
    ),
    Fault(
        "small objects never looked at again",
        "srin/segmentation/embedded.py",
        "if inside.mean() >= SMALL or corrected:",
        "if True:",
        "test_embedded",
    ),
    Fault(
        "examples shown twice",
        "srin/ui/gallery/gallery.css",
        '.column:has(.stage[data-empty="true"]) .gallery {\n  display: none;',
        '.column:has(.stage[data-empty="true"]) .gallery {\n  display: grid;',
        "test_page_first",
    ),
    Fault(
        "another object without the first",
        "srin/ui/stage/stage.py",
        "replace(gone, background=background, ",
        "replace(gone, ",
        "test_page_another",
    ),
    Fault(
        "a picture out of date as the background",
        "srin/ui/stage/result.js",
        "if (JSON.stringify(wholeLook()) !== JSON.stringify(look)) {",
        "if (false) {",
        "test_page_another",
    ),
    Fault(
        "a background that the browser could not send again",
        "srin/ui/compare/downloads.py",
        "job.output.stat().st_size > limits.MAX_UPLOAD",
        "False",
        "test_page_another",
    ),
    Fault(
        "a small copy saved in place of its photo",
        "srin/ui/session/scene.py",
        "            if photo and photo.travels:\n                raise",
        "            if False:\n                raise",
        "test_transfers",
    ),
    Fault(
        "a cut-out of the small copy kept",
        "srin/ui/session/scene.py",
        "            scene = replace(scene, cutout=cutout)\n        return scene",
        "        return scene",
        "test_transfers",
    ),
    Fault(
        "photos that were set aside never arrive",
        "srin/ui/session/session_state.py",
        "self.scene.with_original(path, original), scenes",
        "self.scene.with_original(path, original), self.scenes",
        "test_transfers",
    ),
    Fault(
        "nothing sent again",
        "srin/ui/stage/transfer.js",
        "again?.();",
        "again;",
        "test_page_transfers",
    ),
    Fault(
        "the small copy kept by the browser",
        "srin/ui/stage/files.js",
        "keepFile(path, file);",
        "keepFile(path, small?.file ?? file);",
        "test_page_transfers",
    ),
    Fault(
        "a download that one visitor stops for all",
        "srin/segmentation/shared_download.py",
        "            if self._askers:\n                return False\n",
        "",
        "test_shared_download",
    ),
    Fault(
        "open photos left without Segment Anything",
        "srin/segmentation/photo_segmenter.py",
        'if self._state == "unavailable" and is_here():',
        "if False:",
        "test_photo_segmenter",
    ),
    Fault(
        "light taken from where it never should be",
        "srin/reference.py",
        "(inside if only else ~inside)",
        "inside",
        "test_light",
    ),
    Fault(
        "a download that takes its light from everywhere",
        "srin/ui/compare/downloads.py",
        "scene.allowed(composite) if harmonizer.decides else None",
        "None",
        "test_light",
    ),
    Fault(
        "a mark that ends where the object hides the background",
        "srin/ui/stage/light.py",
        "return np.isin(labels, np.unique(labels[region]))",
        "return region",
        "test_light",
    ),
    Fault(
        "a project that forgets where the light comes from",
        "srin/ui/stage/work.py",
        "lights = {role: project.Light(light.png, light.only) for role, light in _lights(scene).items()}",
        "lights = {}",
        "test_light",
    ),
    Fault(
        "effects with the regions that they are without",
        "srin/explain.py",
        "lenders & (small_labels != name) | (small.mask > 0)",
        "lenders & (small_labels == name) | (small.mask > 0)",
        "test_explain",
    ),
    Fault(
        "a question that goes on when it is cancelled",
        "srin/ui/compare/explaining.py",
        "if not session.questions.goes_on(question):",
        "if False:",
        "test_page_cancel",
    ),
    Fault(
        "an undo that forgets the mark",
        "srin/ui/stage/actions.js",
        "entry.light !== light || ",
        "",
        "test_page_light",
    ),
    Fault(
        "the canvas pasted at its own size",
        "srin/ui/stage/live_preview.py",
        "FINER = 2 ",
        "FINER = 1 ",
        "test_canvas",
    ),
    Fault(
        "a finished composite's canvas without its regions",
        "srin/ui/stage/live_preview.py",
        "    if scene.has_regions or",
        "    if (scene.has_regions and not scene.ready) or",
        "test_canvas",
    ),
    Fault(
        "a cancelled download's unfinished file left",
        "srin/ui/compare/downloads.py",
        "shutil.rmtree(job.output.parent, ignore_errors=True)",
        "pass",
        "test_page_lost",
    ),
    Fault(
        "attention of the paper's layers that is scaled",
        "srin/models/paper/attention.py",
        'query / query.shape[-1] ** 0.5 if logits == "scaled" else query',
        "query / query.shape[-1] ** 0.5",
        "test_paper_networks",
    ),
    Fault(
        "the paper's shift with its sign",
        "srin/models/paper/srin.py",
        'if self._shift == "relu":',
        "if False:",
        "test_paper_networks",
    ),
    Fault(
        "the paper's trio begun at three places",
        "train/paper_trio.py",
        "network.load_state_dict(unet, strict=False)",
        "network.norms[0].foreground_beta.data.add_(0)",
        "test_paper_trio",
    ),
    Fault(
        "the trio's second stage on the composites of the first",
        "train/paper_trio.py",
        "batches = feed.batches(step)",
        "batches = feed.batches(0)",
        "test_paper_trio",
    ),
    Fault(
        "the paper's networks chosen at first",
        "srin/ui/compare/compare.py",
        '"paper": method in PAPER_NETWORKS,',
        '"paper": False,',
        "test_page",
    ),
    Fault(
        "an object at rest left as rough as it was",
        "srin/ui/stage/background.js",
        "if (isRough) sendLive(FINE_MS, true);",
        "",
        "test_page_first",
    ),
    Fault(
        "masks that a segmenter found trusted like drawn ones",
        "train/data/composites.py",
        " or self._photos.found[photo]",
        "",
        "test_find_objects",
    ),
    Fault(
        "a found mask without a look at the mirror image",
        "train/find_objects.py",
        "if overlap(masks[0], masks[1][:, ::-1]) >= SAME else None",
        "",
        "test_find_objects",
    ),
    Fault(
        "regions that show the shapes of what may not lend",
        "srin/ui/session/scene.py",
        "        if allowed is not None:",
        "        if False:",
        "test_light",
    ),
    Fault(
        "a first look that nothing follows",
        "srin/ui/stage/actions.js",
        "(isBack && stage.live.awaits)",
        "false",
        "test_page_lost",
    ),
    Fault(
        "a stream of answers closed before everything is answered",
        "srin/ui/page/queue.js",
        "if (!end || !unanswered.size) break;",
        "break;",
        "test_study",
    ),
    Fault(
        "a visitor told that others took the time",
        "srin/ui/answering/workers.py",
        "if future.cancel() and not begun:",
        "if future.cancel():",
        "test_limits",
    ),
    Fault(
        "hair left to the mask alone",
        "srin/segmentation/refine.py",
        "trust = apart / (apart + DOUBT)",
        "trust = 0 * apart",
        "test_semantic_map",
    ),
    Fault(
        "specks of the object's colours taken for hair",
        "srin/segmentation/refine.py",
        "_connected(alpha, inside)",
        "alpha",
        "test_semantic_map",
    ),
    Fault(
        "regions joined by their colours alone",
        "srin/segmentation/regions.py",
        "unlike + COLOUR_WEIGHT * apart",
        "COLOUR_WEIGHT * apart",
        "test_embedded",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="rows of the table; default: all")
    chosen = parser.parse_args().numbers or range(1, len(FAULTS) + 1)
    print("| | planted fault | noticed by |\n| --- | --- | --- |")
    unnoticed = 0
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, "checkout")
        copy.mkdir()
        for part in COPIED:
            source = ROOT / part
            ignored = shutil.ignore_patterns("__pycache__", "*.pyi")
            shutil.copytree(source, copy / part, ignore=ignored) if source.is_dir() else shutil.copy(source, copy)
        if (ROOT.parent / "shared").is_dir():
            (copy.parent / "shared").symlink_to(ROOT.parent / "shared")
        for number in chosen:
            noticed = _plant(copy, FAULTS[number - 1])
            unnoticed += noticed is None
            print(f"| {number} | {FAULTS[number - 1].what} | {noticed or '**nothing**'} |", flush=True)
    if unnoticed:
        sys.exit(f"{unnoticed} faults went unnoticed.")


def _plant(copy: Path, fault: Fault) -> str | None:
    """Runs the tests with the fault in place. Returns the first that fails, or None."""
    file = copy / fault.file
    sound = file.read_text()
    assert sound.count(fault.old) == 1, f"{fault.old!r} stands {sound.count(fault.old)} times in {fault.file}"
    file.write_text(sound.replace(fault.old, fault.new))
    try:
        command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider", "-m", "not hostile"]
        command.append(f"tests/{fault.tests}.py")
        output = subprocess.run(command, cwd=copy, capture_output=True, text=True).stdout
    finally:
        file.write_text(sound)
    failed = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", output, re.MULTILINE)
    return failed and f"`{failed[1]}`"


if __name__ == "__main__":
    main()
