"""Shared by the benchmarks: pictures, times, and the peak of a call's memory."""

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from srin.composite import Composite

EXAMPLES = Path(__file__).resolve().parents[1] / "assets" / "examples"
REPEATS = 5


def seconds(*calls: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """The shortest of each call's times, after one that is not counted.

    The calls take turns. The shortest counts, since other work on the machine can only lengthen a time.
    """
    for call in calls:
        call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, taken in zip(calls, times, strict=True):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
    return [min(taken) for taken in times]


def peak_megabytes(call: Callable[[], object]) -> float:
    """How much a call adds to the process's resident memory at its peak. Linux only: it resets the kernel's peak."""
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    call()
    return megabytes("VmHWM") - before


def composite(side: int, foreground: float, name: str = "mountain_lake.jpg") -> Composite:
    """An example photo enlarged to `side` pixels on its longer side, with an ellipse that covers a share of it."""
    photo = np.asarray(Image.open(EXAMPLES / name).convert("RGB"))
    factor = side / max(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    height, width = photo.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    # The axes of an ellipse of that area, in the picture's own proportions.
    axes = [round(length * (foreground / np.pi) ** 0.5) for length in (width, height)]
    cv2.ellipse(mask, (width // 2, height // 2), axes, 0, 0, 360, 255, -1)
    return Composite(photo, mask)


def megabytes(name: str, process: int | None = None) -> float:
    """Resident memory of a process, or of this one: VmRSS, now; VmHWM, at its peak. Linux only.

    Raises OSError if the process is gone, StopIteration if it is about to end.
    """
    lines = Path(f"/proc/{process or 'self'}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
