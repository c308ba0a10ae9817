"""Makes one picture at full size. Reads a job from standard input, and writes lines of JSON to standard output.

    python -m srin.full_size_worker < job

srin/full_size.py runs it in a process of its own, without torch. It can be ended at any time, even while it decodes or
encodes, and then frees all its memory. A line is `{"text", "share", "left"}`: the current step, the share of the work
that is done, and the seconds left. The last line is `{"problem"}` or `{"done": true}`.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from srin.classical import CLASSICAL
from srin.composite import Composite, Placement, blend, mixed, place
from srin.errors import SrinError
from srin.foreground import cut_out
from srin.full_resolution import apply_coefficients
from srin.image_io import Original, load_mask, save_image, save_photo
from srin.remarks import collected

# Work for a million pixels, in seconds of one core of a small machine. Only the ratios matter: the time left is estimated
# from how long the earlier steps took.
READING, PASTING = 0.04, 0.12
NETWORK, MIXING = 0.03, 0.01
WRITING = {".png": 0.6, ".jpg": 0.02, ".webp": 0.45}
NICENESS = 10  # gives way to the page's own work, which people wait for
TICK = 0.5  # seconds between two lines


class Told:
    """Reports progress, at each step and every TICK seconds in between."""

    def __init__(self, plan: list[tuple[str, float]]) -> None:
        """plan: the text of each step and how much work it is."""
        self._plan, self._step, self._inside = plan, -1, 0.0
        self._total = sum(work for _, work in plan) or 1.0
        self._began = self._began_step = time.monotonic()
        self._lock = threading.Lock()
        threading.Thread(target=self._tick, daemon=True).start()

    def next(self) -> None:
        """Begins the next step of the plan."""
        with self._lock:
            self._step, self._inside, self._began_step = self._step + 1, 0.0, time.monotonic()
            self.tell()

    def inside(self, share: float) -> None:
        """Sets the share of the current step that is done, 0 to 1."""
        self._inside = share

    def tell(self) -> None:
        now = time.monotonic()
        before = sum(work for _, work in self._plan[: self._step])
        text, work = self._plan[self._step]
        pace = (self._began_step - self._began) / before if before else 1.0  # seconds for a unit of work, or a guess
        # A step that doesn't call `inside` is estimated from the time that has passed.
        inside = self._inside or min(0.95, (now - self._began_step) / max(pace * work, 1e-3))
        done = before + inside * work
        if before or self._inside:
            pace = (now - self._began) / done
        left = pace * (self._total - done)
        say({"text": text, "share": round(done / self._total, 3), "left": round(left, 1)})

    def _tick(self) -> None:
        while True:
            time.sleep(TICK)
            with self._lock:
                if self._step >= 0:
                    self.tell()


_saying = threading.Lock()


def say(line: dict[str, Any]) -> None:
    """Writes a line of JSON. Ends the process if standard output is closed: then the server is gone."""
    with _saying:
        try:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        except OSError:
            os._exit(1)


def work(job: dict[str, Any], mask_file: bytes, coefficients: np.ndarray | None) -> None:
    output, method = Path(job["output"]), job["method"]
    ready = job["picture"] is not None
    megapixels = job["pixels"] / 1e6
    kind = output.suffix.lower()
    plan = [("Reading the originals", megapixels * READING), ("Pasting", megapixels * PASTING)]
    if job["what"] == "picture":
        how = NETWORK if coefficients is not None else CLASSICAL[method].work
        plan += [(f"{job['label']} at full size", megapixels * how), ("Mixing", megapixels * MIXING)]
    plan.append((f"Writing the {kind[1:].upper()}", megapixels * WRITING[kind]))
    told = Told(plan)
    told.next()
    mask = load_mask(mask_file)
    if ready:
        original = Original(job["picture"], "composite")
        rgb, alpha = original.rgba()
        told.next()
        composite = Composite.of(rgb, mask, alpha)
    else:
        cut = [part.copy() for part in cut_out(Original(job["object"], "object's photo").rgba()[0], mask, job["pure"])]
        del mask  # only the cut-out is needed from here on
        original = Original(job["background"], "background")
        background = original.rgba()[0]
        told.next()
        composite = place(background, cut[0], cut[1], Placement(**job["placement"]))
        del background, cut
    if job["what"] == "mask":
        told.next()
        save_image(composite.mask, output)
        return
    told.next()
    if coefficients is not None:
        harmonized = apply_coefficients(coefficients, composite, proceed=told.inside)
    else:
        harmonized = blend(CLASSICAL[method].apply(composite.image, composite.mask), composite)
    told.next()
    result = mixed(harmonized, composite, job["strength"], job["feather"] * max(composite.mask.shape))
    del harmonized
    told.next()
    save_photo(composite.with_alpha(result), output, original, job["comment"], composite.mask)


def main(read: Callable[[int], bytes]) -> None:
    """Does one job. read(n): returns the next n bytes of the job, as `srin.full_size.Rendering` sends it."""
    job = json.loads(read(int.from_bytes(read(8), "little")))
    mask_file = read(job["mask"])
    coefficients = None
    if job["coefficients"]:
        count = int(np.prod(job["coefficients"]))
        coefficients = np.frombuffer(read(4 * count), np.float32).reshape(job["coefficients"])
    try:
        with collected():  # remarks on the files were shown when they were uploaded
            work(job, mask_file, coefficients)
    except SrinError as error:
        say({"problem": str(error)})
    except MemoryError:
        say({"problem": "There is not enough memory for this picture here. Use smaller photos."})
    else:
        say({"done": True})


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    cv2.setNumThreads(1)
    main(sys.stdin.buffer.read)
