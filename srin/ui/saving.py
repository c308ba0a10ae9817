"""What can be taken away: the picture at full size, the mask, the comparison sheet, a before-and-after animation."""

import json
import threading
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from srin import limits
from srin.compare import animation, labelled_sheet
from srin.composite import mixed
from srin.errors import ImageError, SrinError
from srin.full_size import Job, Progress, Rendering
from srin.harmonizer import Harmonizer
from srin.image_io import save_image
from srin.ui import deadline
from srin.ui.files import new_file
from srin.ui.harmonizing import LABELS, Run
from srin.ui.pictures import shrink

FORMATS = ("png", "jpg", "webp")
ANIMATION_SIDE = 900
LARGE = 12_000_000  # pixels, of which more are made one at a time
WAIT = 0.5  # seconds between two words to those who wait

_large = threading.Semaphore(1)


@dataclass(frozen=True)
class Choice:
    """what: "picture", "mask", "sheet" or "animation". feather: standard deviation in pixels of the preview."""

    what: str
    method: str
    format: str
    strength: float
    feather: float


class Saving:
    """A file that is being made. What has full size is made by a process of its own, one large picture at a time."""

    def __init__(self, run: Run, choice: Choice) -> None:
        self._run, self._choice = run, choice
        self._rendering: Rendering | None = None
        self.stopped = False

    def stop(self) -> None:
        """Ends it at once; `steps` then ends without a path. May be called by another thread."""
        self.stopped = True
        if self._rendering:
            self._rendering.stop()

    def steps(self) -> Generator[Progress | Path, None, None]:
        """How far it is, and last the file's path. Raises SrinError."""
        if self._choice.what in ("sheet", "animation"):
            yield Progress("Drawing it", 0.0, None)
            yield deadline.run(_drawn, self._run, self._choice)
            return
        yield Progress("Starting", 0.0, None)
        job = deadline.run(_job, self._run, self._choice)
        if job.pixels <= LARGE:
            yield from self._rendered(job)
            return
        while not _large.acquire(timeout=WAIT):
            yield Progress("Waiting for another large download to end", 0.0, None)
            if self.stopped:
                return
        try:
            yield from self._rendered(job)
        finally:
            _large.release()

    def _rendered(self, job: Job) -> Generator[Progress | Path, None, None]:
        if self.stopped:
            return
        self._rendering = Rendering(job, limits.MAX_SECONDS)
        if self.stopped:  # meanwhile
            self._rendering.stop()
        yield from self._rendering
        if not self.stopped:
            yield job.output


def _drawn(run: Run, choice: Choice) -> Path:
    """A sheet or an animation, of what the page shows."""
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


def _job(run: Run, choice: Choice) -> Job:
    """What the process is to make. A network decides here, on what the page shows."""
    scene = run.scene
    selection = scene.mask
    assert selection is not None  # there is a run
    photos = (scene.picture,) if scene.ready else (scene.background, scene.object)
    for photo in photos:
        if photo is not None and not photo.path.is_file():
            raise ImageError(f"The file of {photo.name} has expired here. Choose it again.")
    paths = [photo.path for photo in photos if photo is not None]
    job = Job(
        "mask",
        new_file(f"{scene.stem}-mask.png"),
        selection.png,
        run.size[0] * run.size[1],
        background=None if scene.ready else paths[0],
        object=None if scene.ready else paths[1],
        picture=paths[0] if scene.ready else None,
        placement=run.placement,
        pure=selection.pure,
    )
    if choice.what == "mask":
        return job
    _check_picked(run, choice)
    if choice.format not in FORMATS:
        raise SrinError(f"Pictures are saved as {', '.join(FORMATS)}.")
    harmonizer = Harmonizer.from_pretrained(choice.method)
    return replace(
        job,
        what="picture",
        output=new_file(f"{scene.stem}-{choice.method}.{choice.format}"),
        method=choice.method,
        label=LABELS[choice.method],
        coefficients=harmonizer.coefficients(run.composite, run.semantic_map),
        strength=choice.strength,
        feather=choice.feather / max(run.composite.mask.shape),
        comment=json.dumps(_settings(run, choice)),
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


def _settings(run: Run, choice: Choice) -> dict:
    """Enough to make the picture again."""
    settings: dict = {"method": choice.method, "strength": choice.strength, "feather": choice.feather}
    settings["semantic map"] = run.segmenter
    if not run.scene.ready:
        place = run.placement
        settings["placement"] = {
            "x": place.x, "y": place.y, "scale": place.scale, "rotation": place.rotation, "flip": place.flip,
        }  # fmt: skip
    return settings
