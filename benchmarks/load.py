"""Measures the app under load: N clients harmonize at once, each with its own picture, until enough requests were made.

    python -m benchmarks.load [--clients 1 4 16 64] [--requests 500] [--method srin] [--large 0] [--keep 60] [--queue 40]
        [--json F]

Starts the app with a short queue and a short life of files, and prints a Markdown table: errors other than "Queue is
full" (should be none), answers whose background isn't the client's own to the bit (should be none), and the spread of
waiting times (no client's mean should be far from the others'). Also prints how the server's memory grows per request,
each of which counts as a new visitor's (should be near 0), and how much disk it uses, which should stop growing once
files reach their age limit. With --large, as many more clients have pictures of 48 megapixels; their waits are counted
apart. Linux only: it reads /proc.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from gradio_client import Client, handle_file

from benchmarks.measure import megabytes
from benchmarks.running_app import RunningApp, running_app

SIZE = (128, 128)  # height and width of the pictures
LARGE_SIZE = (6000, 8000)
WINDOW = 50  # successive answers, of which the lowest memory counts
WARM = 50  # first requests, while memory may grow by threads, and by visitors until they are forgotten
SWEEPS = 16  # how often old files are looked for in a file's life, see srin/ui/session/uploads.py
PATIENCE = 300  # seconds that a client waits for an answer
RETRY = 5.0  # seconds at the most until a client asks again that was told "busy"


def disk_of(app: RunningApp) -> float:
    """Megabytes of visitors' files."""
    total = 0
    for parent, _, names in os.walk(app.folder):
        for name in names:
            try:
                total += Path(parent, name).stat().st_size
            except FileNotFoundError:
                pass  # deleted meanwhile
    return total / 1e6


@dataclass
class Log:
    """What all clients' threads recorded. waits: seconds from asking to the answer, by client. large: those of clients
    with large pictures.
    """

    waits: dict[int, list[float]] = field(default_factory=dict)
    large: list[float] = field(default_factory=list)
    busy: int = 0
    errors: list[str] = field(default_factory=list)
    mixed_up: int = 0
    memory: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def client(
    number: int, running: RunningApp, left: Iterator[int], log: Log, folder: Path, method: str, size: tuple[int, int]
) -> None:
    """One client with its own picture and mask of this size. Sends one request after the other until none is left."""
    rng = np.random.default_rng(number)
    height, width = size
    interpolation = cv2.INTER_LINEAR if size == SIZE else cv2.INTER_NEAREST  # makes large files that are sent quickly
    image = cv2.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (width, height), interpolation=interpolation)
    mask = np.zeros(size, np.uint8)
    x, y = (int(corner) for corner in rng.integers(height // 16, height // 2, 2))
    mask[y : y + height // 3, x : x + height // 3] = 255
    paths = [str(folder / f"{kind}-{number}.png") for kind in ("image", "mask")]
    for path, array in zip(paths, (image, mask), strict=True):
        cv2.imwrite(path, array)
    results = str(folder / f"results-{number}")
    try:
        # httpx gives up after 5 seconds. A small machine needs longer to describe its endpoints to many clients at once.
        caller = Client(running.address, verbose=False, download_files=results, httpx_kwargs={"timeout": PATIENCE})
    except Exception as error:
        with log.lock:
            log.errors.append(f"no connection: {type(error).__name__}: {error}")
        return
    waits = log.waits.setdefault(number, []) if size == SIZE else log.large
    for _ in left:
        caller.reset_session()
        while True:
            began = time.perf_counter()
            try:
                result, _ = caller.predict(*map(handle_file, paths), method, api_name="/harmonize")
            except Exception as error:
                with log.lock:
                    if "queue is full" not in str(error).lower():
                        log.errors.append(f"{type(error).__name__}: {error}")
                        break
                    log.busy += 1
                time.sleep(random.uniform(RETRY / 5, RETRY))
                continue
            waits.append(time.perf_counter() - began)
            answer = cv2.imread(result)
            own = answer is not None and np.array_equal(answer[mask == 0], image[mask == 0])
            with log.lock:
                log.mixed_up += not own
                log.memory.append(megabytes("VmRSS", running.process.pid))
            break


def crowd(clients: int, requests: int, running: RunningApp, folder: Path, method: str, large: int) -> Log:
    """Runs clients that share a number of requests, and others with large pictures until these requests are used up."""
    folder.mkdir()
    left, log, guard = iter(range(requests)), Log(), threading.Lock()
    over = threading.Event()

    def shared() -> Iterator[int]:
        while True:
            with guard:
                number = next(left, None)
            if number is None:
                over.set()
                return
            yield number

    def meanwhile() -> Iterator[int]:
        while not over.is_set():
            yield 0

    threads = [
        threading.Thread(target=client, args=(number, running, shared(), log, folder, method, SIZE))
        for number in range(clients)
    ] + [
        threading.Thread(target=client, args=(clients + number, running, meanwhile(), log, folder, method, LARGE_SIZE))
        for number in range(large)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return log


def row(clients: int, log: Log, seconds: float) -> dict[str, float]:
    waits = np.array([wait for mine in log.waits.values() for wait in mine])
    means = [np.mean(mine) for mine in log.waits.values() if len(mine) > 1]
    median = float(np.median(waits)) if len(waits) else float("nan")
    return {
        "clients": clients,
        "answers": len(waits),
        "seconds": round(seconds, 1),
        "busy": log.busy,
        "errors": len(log.errors),
        "mixed up": log.mixed_up,
        "median wait": round(median, 2),
        "p95 / median": round(float(np.percentile(waits, 95)) / median, 2) if len(waits) else float("nan"),
        "slowest / quickest client": round(float(max(means) / min(means)), 2) if means else float("nan"),
        "large: answers": len(log.large),
        "large: median wait": round(float(np.median(log.large)), 1) if log.large else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--requests", type=int, default=500, help="of all clients of all rounds together")
    parser.add_argument("--method", default="srin", help="a classical one shows memory without PyTorch's own noise")
    parser.add_argument("--large", type=int, default=0, help="clients besides whose pictures have 48 megapixels")
    parser.add_argument("--keep", type=int, default=60, help="seconds after which the app deletes files")
    parser.add_argument("--queue", type=int, default=40, help="requests that may wait; more clients get to hear of it")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()

    rows: list[dict[str, float]] = []
    memory: list[float] = []  # megabytes, at every answer
    disk: list[tuple[float, float]] = []  # seconds, megabytes
    errors: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"SRIN_KEEP_SECONDS": options.keep, "SRIN_MAX_QUEUE": options.queue}
        with running_app(folder / "server", **settings) as running:
            stop = threading.Event()

            def watch() -> None:
                began = time.monotonic()
                while not stop.wait(1):
                    disk.append((time.monotonic() - began, disk_of(running)))

            watching = threading.Thread(target=watch)
            watching.start()
            for clients in options.clients:
                began = time.perf_counter()
                requests = options.requests // len(options.clients)
                log = crowd(clients, requests, running, folder / str(clients), options.method, options.large)
                rows.append(row(clients, log, time.perf_counter() - began))
                memory += log.memory
                errors += log.errors
            busy_until = disk[-1][0]
            time.sleep(options.keep * (1 + 2 / SWEEPS))
            rest = disk_of(running)
            at_rest = megabytes("VmRSS", running.process.pid)
            stop.set()
            watching.join()

    print("| " + " | ".join(rows[0]) + " |")
    print("| " + " | ".join("---" for _ in rows[0]) + " |")
    for figures in rows:
        print("| " + " | ".join(str(value) for value in figures.values()) + " |")
    for error in sorted(set(errors)):
        print("error:", error)
    if not memory:
        sys.exit("not one request was answered")

    warm = memory[min(WARM, len(memory) // 2) :]
    # The lowest of WINDOW successive answers, without the memory of work in progress, such as on a large picture.
    low = [min(warm[start : start + WINDOW]) for start in range(0, len(warm), WINDOW)]
    slope = float(np.polyfit(WINDOW * np.arange(len(low)), low, 1)[0]) * 1024 if len(low) > 1 else float("nan")
    print(f"\nMemory: {slope:+.1f} KiB a request, over {len(warm)} after the first {len(memory) - len(warm)}.")
    lows = ", ".join(f"{value:.0f}" for value in low)
    print(f"The lowest of {WINDOW} answers in a row, MB: {lows}; at rest {at_rest:.0f}.")
    lives = [
        max((size for at, size in disk if part * options.keep <= at < (part + 1) * options.keep), default=0.0)
        for part in range(int(busy_until // options.keep) + 1)
    ]
    peaks = ", ".join(f"{size:.2f}" for size in lives)
    print(f"Disk: at most {peaks} MB in each {options.keep} s under load; {rest:.2f} MB {options.keep} s after it.")
    if options.json:
        found = {"rows": rows, "memory_kib_a_request": slope, "memory_mb": memory}
        found |= {"disk_peaks_mb": lives, "disk_at_rest_mb": rest}
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
