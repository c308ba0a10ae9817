"""Makes pictures at full size, each in a process of its own (full_size_worker.py), which can be stopped at any time.

The process decodes, pastes, applies what a network has decided on a small copy, and encodes. The server holds no pixel of
the picture, and goes on with short work meanwhile.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srin.composite import Placement
from srin.errors import SrinError, TookTooLong

PACKAGE = Path(__file__).resolve().parents[1]
FAILED = "The picture could not be made at full size; perhaps there was not enough memory. Use smaller photos."


@dataclass(frozen=True)
class Job:
    """What to make.

    what: "picture", or "mask" for the composite's mask. output: file to write; its extension sets the format. mask: bytes
    of a mask file, of the object or of the finished composite. pixels: of the composite, to estimate the time.
    background, object, placement, pure: see srin.foreground.cut_out and srin.composite.place. picture: a finished
    composite, instead of these four. method: its name. label: its name on the page.
    coefficients: float32 (1, 12, h, w) from `Harmonizer.coefficients`, or None. strength, feather: see
    srin.composite.mixed; feather as a share of the composite's longer side. comment: for the EXIF data.
    """

    what: str
    output: Path
    mask: bytes
    pixels: int
    background: Path | None = None
    object: Path | None = None
    picture: Path | None = None
    placement: Placement = Placement()
    pure: bool = False
    method: str = "copy-paste"
    label: str = ""
    coefficients: np.ndarray | None = None
    strength: float = 1.0
    feather: float = 0.0
    comment: str = ""

    def packed(self) -> bytes:
        """The job as bytes, as full_size_worker.main reads it."""
        paths = {name: getattr(self, name) and str(getattr(self, name)) for name in ("background", "object", "picture")}
        about: dict[str, Any] = {
            **paths,
            "output": str(self.output),
            "mask": len(self.mask),
            "coefficients": None if self.coefficients is None else self.coefficients.shape,
            "placement": asdict(self.placement),
        }
        for name in ("what", "pixels", "pure", "method", "label", "strength", "feather", "comment"):
            about[name] = getattr(self, name)
        header = json.dumps(about).encode()
        numbers = b"" if self.coefficients is None else self.coefficients.astype(np.float32).tobytes()
        return len(header).to_bytes(8, "little") + header + self.mask + numbers


@dataclass(frozen=True)
class Progress:
    """text: the current step. share: of the work that is done, 0 to 1. left: seconds, or None while unknown."""

    text: str
    share: float
    left: float | None


class Rendering:
    """A running job. Iterate over it for its progress; the iteration ends when the file is written."""

    def __init__(self, job: Job, seconds: float) -> None:
        """Starts the process. seconds: time limit, from the beginning of the iteration."""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGE), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "srin.full_size_worker"], env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._job, self._seconds, self._is_late = job, seconds, False
        self.stopped = False

    def __iter__(self) -> Iterator[Progress]:
        """Raises SrinError when the picture can't be made, TookTooLong when the time is over. Ends early after `stop`."""
        timer = threading.Timer(self._seconds, self._give_up)
        timer.daemon = True
        timer.start()
        assert self._process.stdin and self._process.stdout
        finished = False
        try:
            try:
                self._process.stdin.write(self._job.packed())
                self._process.stdin.close()
            except OSError:
                pass  # it has ended already; its last line says why
            for line in self._process.stdout:
                said = json.loads(line)
                if "problem" in said:
                    raise SrinError(said["problem"])
                finished = "done" in said
                if not finished:
                    yield Progress(said["text"], said["share"], said["left"])
            if self._is_late:
                raise TookTooLong(f"This took longer than the {self._seconds:g} seconds that a download may take here.")
            if not finished and not self.stopped:
                raise SrinError(FAILED)
        finally:
            timer.cancel()
            self._end()

    def stop(self) -> None:
        """Ends the process at once. May be called by another thread."""
        self.stopped = True
        self._end()

    def _give_up(self) -> None:
        self._is_late = True
        self._end()

    def _end(self) -> None:
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)  # with the decoder that it may have started
            except (ProcessLookupError, PermissionError):
                self._process.kill()
        self._process.wait()
