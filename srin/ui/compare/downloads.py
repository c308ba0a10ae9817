"""What can be downloaded: the picture at full size, the mask, the cut-out, the comparison sheet, an animation."""

import base64
import json
import logging
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from srin import limits
from srin.compare import animation, labelled_sheet
from srin.composite import MAX_STRENGTH, Placement, mixed
from srin.errors import ImageError, SrinError
from srin.foreground import cut_out
from srin.full_size import Job, Progress, Rendering
from srin.harmonizer import METHODS, Harmonizer
from srin.image_io import save_image
from srin.offsets import Offsets
from srin.project import parts_of
from srin.ui.answering import workers
from srin.ui.answering.requests import UNEXPECTED, text
from srin.ui.session.previews import address, shrink
from srin.ui.session.run import LABELS, Run
from srin.ui.session.scene import Photo, Scene
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file
from srin.untrusted import Data, number

FORMATS = ("png", "jpg", "webp")
ANIMATION_SIDE = 900
WAIT = 0.5  # seconds between two messages to a visitor who waits

_large = threading.Semaphore(1)


@dataclass(frozen=True)
class Choice:
    """what: "picture", "background" (the picture, for another object), "mask" or "cutout"; of a comparison also "sheet"
    or "animation".
    feather: standard deviation in pixels of the preview. offsets: of a network's picture, see srin.offsets.
    """

    what: str
    method: str
    format: str
    strength: float
    feather: float
    offsets: Offsets = Offsets()


def saved(session: SessionState, data: Data, begun: Callable[[Choice], "Download"]) -> Iterator[Data]:
    """Yields what the page shows while a file is made, and last where the file is. begun: starts the download."""
    request = int(number(data, "request", 0, 1e9))
    try:
        choice = Choice(
            text(data, "what"),
            text(data, "method"),
            text(data, "format"),
            number(data, "strength", 0, MAX_STRENGTH, 1.0),
            number(data, "feather", 0, 100),
            Offsets.clipped(data.get("offsets")),
        )
        with closing(session.begin_download(request, begun(choice)).steps()) as steps:
            for step in steps:
                if isinstance(step, Path):
                    about: Data = {"url": address(step), "name": step.name, "bytes": step.stat().st_size}
                else:
                    about = asdict(step)
                yield {**about, "request": request}
    except SrinError as error:
        yield {"problem": str(error), "request": request}
    except Exception:
        logging.getLogger(__name__).exception("saving failed")
        yield {"problem": UNEXPECTED, "request": request}
    finally:
        session.end_download(request)


class Download:
    """A file that is being made. A process of its own makes files of full size, one large picture at a time."""

    def __init__(self, scene: Scene, placement: Placement, choice: Choice, run: Run | None = None) -> None:
        """run: the comparison's; None for a download from the Stage."""
        self._scene, self._placement, self._choice, self._run = scene, placement, choice, run
        self._rendering: Rendering | None = None
        self.stopped = False

    def stop(self) -> None:
        """Ends it at once; `steps` then ends without a path. May be called by another thread."""
        self.stopped = True
        if self._rendering:
            self._rendering.stop()

    def steps(self) -> Generator[Progress | Path, None, None]:
        """Makes the file. Yields the progress, and last the file's path. Raises SrinError."""
        if self._choice.what == "cutout":
            yield Progress("Cutting out", 0.0, None)
            yield workers.run(_cutout, self._scene)
            return
        if self._run and self._choice.what in ("sheet", "animation"):
            yield Progress("Drawing it", 0.0, None)
            yield workers.run(_drawn, self._run, self._choice)
            return
        yield Progress("Starting", 0.0, None)
        job = workers.run(_job, self._scene, self._placement, self._choice, self._run)
        if job.pixels <= limits.LARGE:
            yield from self._made(job)
            return
        while not _large.acquire(timeout=WAIT):
            yield Progress("Waiting for another large download to end", 0.0, None)
            if self.stopped:
                return
        try:
            yield from self._made(job)
        finally:
            _large.release()

    def _made(self, job: Job) -> Generator[Progress | Path, None, None]:
        yield from self._rendered(job)
        if self.stopped:
            return
        if self._choice.what == "background" and job.output.stat().st_size > limits.MAX_UPLOAD:
            # The browser keeps this file, and could not send it again.
            job.output.unlink()
            job = replace(job, output=job.output.with_suffix(".jpg"))
            yield from self._rendered(job)
        if not self.stopped:
            yield job.output

    def _rendered(self, job: Job) -> Generator[Progress, None, None]:
        if self.stopped:
            return
        finished = False
        try:
            self._rendering = Rendering(job, limits.MAX_SECONDS)
            if self.stopped:  # before there was a process to stop
                self._rendering.stop()
            yield from self._rendering
            finished = not self.stopped
        finally:
            if not finished:  # a stopped process leaves an unfinished file in this folder
                shutil.rmtree(job.output.parent, ignore_errors=True)


def _drawn(run: Run, choice: Choice) -> Path:
    """A sheet or an animation, from pictures of preview size."""
    if choice.what == "sheet":
        path = new_file(f"{run.scene.stem}-comparison.png")
        save_image(labelled_sheet(_tiles(run)), path)
        return path
    _check_picked(run, choice)
    path = new_file(f"{run.scene.stem}-{choice.method}-before-after.webp")
    before = run.composite
    after = mixed(run.picture(choice.method), before, choice.strength, choice.feather)
    animation(shrink(before.image, ANIMATION_SIDE), shrink(after, ANIMATION_SIDE), path)
    return path


def _cutout(scene: Scene) -> Path:
    """The object alone, at its photo's resolution, on transparency."""
    photo, selection = scene.masked_photo, scene.mask
    if photo is None or selection is None:
        raise SrinError("Cut out the object first.")
    scene.check_arrived()
    path = new_file(f"{Path(photo.name).stem}-cut-out.png")
    save_image(np.dstack(cut_out(photo.original(), selection.mask(), selection.pure)), path)
    return path


def _job(scene: Scene, placement: Placement, choice: Choice, run: Run | None) -> Job:
    """The job for the process. A network's decision is made here, on the picture of preview size."""
    if scene.missing:
        raise SrinError(scene.missing)
    scene.check_arrived()
    selection = scene.mask
    assert selection is not None  # nothing is missing
    width, height = scene.size
    photos: dict[str, Photo] = {role: getattr(scene, role) for role in parts_of(scene.ready)}
    for photo in photos.values():
        if not photo.path.is_file():
            raise ImageError(f"The file of {photo.name} has expired here. Choose it again.")
    paths: dict[str, Any] = {role: photo.path for role, photo in photos.items()}
    job = Job(
        "mask",
        new_file(f"{scene.stem}-mask.png"),
        selection.png,
        width * height,
        placement=placement,
        pure=selection.pure,
        **paths,
    )
    if choice.what == "mask":
        return job
    if run:
        _check_picked(run, choice)
        composite, semantic_map = run.composite, run.map_for(choice.method)
    else:
        if choice.method not in METHODS:
            raise SrinError("No network is here that could harmonize: their weights files are missing.")
        composite = scene.preview(placement)
        lending = Harmonizer.from_pretrained(choice.method).decides
        semantic_map = scene.semantic_map(composite, placement, lending=lending)
    kind = "png" if choice.what == "background" else choice.format  # lossless: more is pasted on it
    if kind not in FORMATS:
        raise SrinError(f"Pictures are saved as {', '.join(FORMATS)}.")
    harmonizer = Harmonizer.from_pretrained(choice.method)
    return replace(
        job,
        what="picture",
        output=new_file(f"{scene.stem}-{choice.method}.{kind}"),
        method=choice.method,
        label=LABELS[choice.method],
        coefficients=harmonizer.coefficients(
            composite, semantic_map, choice.offsets, scene.allowed(composite) if harmonizer.decides else None
        ),
        strength=choice.strength,
        feather=choice.feather / max(composite.mask.shape),
        comment=json.dumps(_settings(scene, placement, semantic_map.segmenter, choice, harmonizer.decides)),
    )


def _tiles(run: Run) -> list[tuple[str, np.ndarray]]:
    tiles = []
    for method in run.done:
        outcome = run.outcomes[method]
        caption = f"{LABELS[method]}, {outcome.milliseconds:.0f} ms"
        if outcome.psnr is not None:
            caption += f", {outcome.psnr:.1f} dB"
        tiles.append((caption, run.picture(method)))
    if not tiles:
        raise SrinError("There is no result yet to compare.")
    return tiles


def _check_picked(run: Run, choice: Choice) -> None:
    if choice.method not in run.done:
        raise SrinError("Pick a method that has a result first.")


def _settings(scene: Scene, place: Placement, segmenter: str, choice: Choice, decides: bool) -> dict[str, Any]:
    """Enough to make the picture again. decides: see `Harmonizer.decides`."""
    settings: dict[str, Any] = {"method": choice.method, "strength": choice.strength, "feather": choice.feather}
    if not choice.offsets.change_nothing:
        settings["offsets"] = choice.offsets.to_dict()
    settings["semantic map"] = segmenter
    if scene.mark and decides:
        settings["light"] = {"only": scene.mark.only, "mark": base64.b64encode(scene.mark.png).decode()}
    if not scene.ready:
        settings["placement"] = asdict(place)
    return settings
