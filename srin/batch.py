"""Folders of composites: paired by stem, harmonized by a pool of threads, divided between processes.

Decoding, networks and encoding all release Python's lock. So threads that each process a whole picture keep every core
busy, and on a GPU some threads decode and encode while one computes.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from srin import budget, outputs
from srin.errors import ImageError, MaskError, OutputError, SrinError
from srin.pairing import Index, name_key, picture_files

LONGEST_WAIT = timedelta(days=7)  # for which a process that has finished its share waits for the others


@dataclass(frozen=True)
class Job:
    """One picture's files. mask: None if there is none. labels: the map, None if none is provided for this picture.
    problem: why the picture can't be processed, as a sentence, or None.
    """

    image: Path
    mask: Path | None
    labels: Path | None
    output: Path
    problem: str | None = None

    @property
    def inputs(self) -> tuple[Path | None, ...]:
        return (self.image, self.mask, self.labels)


@dataclass(frozen=True)
class Processes:
    """This process among those that `accelerate launch` started: its index, their count, and its device."""

    index: int = 0
    count: int = 1
    on_this_machine: int = 1
    device: str | None = None

    @classmethod
    def launched(cls) -> "Processes":
        """This process's place, as the launcher's environment variables give it; without a launcher, the only one."""
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls()
        import torch
        from accelerate import PartialState

        # Without cpu=True on a machine without a GPU, it takes every process for the only one.
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        return cls(state.process_index, state.num_processes, local, str(state.device))

    def share(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """This process's part of the jobs. Every process must pass the same jobs."""
        return jobs[self.index :: self.count]

    def wait(self) -> None:
        """Returns when all processes have called it: a launcher ends the others once one exits with a failure."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def jobs(images: Path, masks: Path, maps: Path | None, output: Path) -> list[Job]:
    """Pairs the pictures of folders by stem, in the order of their names.

    Raises:
        MaskError, ImageError: a folder that isn't there, or holds no pictures.
        OutputError: results would take the place of pictures that are read.
    """
    mask_of = Index.of(masks, "mask")
    map_of = Index.of(maps, "semantic map") if maps else None
    result = []
    for job in _unpaired(images, output):
        problem, mask, labels = job.problem, None, None
        try:
            mask = mask_of.find(job.image.stem)
            labels = map_of.find(job.image.stem) if map_of else None
        except MaskError as error:
            problem = problem or str(error)
        result.append(Job(job.image, mask, labels, job.output, problem))
    done = [job for job in result if job.problem is None]
    outputs.check_inputs((job.output for job in done), (path for job in done for path in job.inputs))
    return result


def single_jobs(images: Path, masks: Path | None, output: Path) -> list[Job]:
    """Like `jobs`, for work that needs no maps, and masks only where a folder of them is given."""
    if masks is not None:
        return jobs(images, masks, None, output)
    return _unpaired(images, output)


def _unpaired(images: Path, output: Path) -> list[Job]:
    """A job for each picture. A picture whose result would overwrite that of an earlier one gets a problem."""
    found: dict[str, Path] = {}
    result = []
    for image in pictures(images):
        first = found.setdefault(name_key(image.stem), image)
        problem = None if first is image else f"{first.name} has the same name, and its result would be overwritten."
        result.append(Job(image, None, None, output / f"{image.stem}.png", problem))
    return result


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name. Raises ImageError when there are none, or when it can't be read."""
    found = picture_files(folder)
    if not found:
        raise ImageError(f"There are no pictures in {folder}.")
    return found


def make_folder(folder: Path) -> None:
    """Makes a folder, with its parents, unless it is there. Raises OutputError when it can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {folder} can't be made: {error.strerror}.") from error


def run(work: Callable[[Job], None], todo: Sequence[Job], workers: int) -> Iterator[tuple[Job, str | None]]:
    """Does the jobs, several at a time, and yields each with its problem or None, in their order.

    An error in one job becomes its problem; the others go on.
    """

    def attempt(job: Job) -> str | None:
        try:
            if job.problem is None:
                with budget.job():
                    work(job)
            return job.problem
        except SrinError as error:
            return str(error)
        except Exception as error:
            logging.getLogger(__name__).exception("%s failed", job.image)
            return f"It failed unexpectedly ({type(error).__name__}: {error})."

    if workers == 1:
        yield from ((job, attempt(job)) for job in todo)
        return
    pool = ThreadPoolExecutor(workers, initializer=_one_core)
    try:
        yield from zip(todo, pool.map(attempt, todo), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def cores(processes: int) -> int:
    """How many cores each of `processes` processes on this machine gets, at least 1."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // processes)


def _one_core() -> None:
    """Limits OpenCV and torch to one thread each: the pool's own threads already use every core."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
