"""Measures start-up times: of `srin --help`, and of the page after `import gradio`.

    python -m benchmarks.startup [--json FILE]

For `srin --help`: CPU seconds beyond Python's own start (the aim is 0.5). For the page: seconds from the end of `import
gradio` to its answer (the aim is 1.5; torch and the weights load after that). The shortest of five counts.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

REPEATS = 5
ROOT = Path(__file__).resolve().parents[1]


def answer_once() -> None:
    """Starts the page in this process, prints the seconds until it answered, and ends the process."""
    import gradio  # noqa: F401 - imported first, so that its time is not counted

    began = time.perf_counter()
    from srin.ui.blocks import build, launch_settings

    demo = build()
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_port=None, **launch_settings(demo))
    with urllib.request.urlopen(url) as answer:
        answer.read()
    print(time.perf_counter() - began, flush=True)
    os._exit(0)


def cpu_seconds(*arguments: str) -> float:
    """CPU time of a Python process of its own."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(REPEATS))


def page_seconds() -> float:
    def once() -> float:
        command = [sys.executable, "-c", "from benchmarks.startup import answer_once; answer_once()"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return float(done.stdout.split()[-1])

    return min(once() for _ in range(REPEATS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    figures = {
        "help_cpu_seconds_beyond_python": cpu_seconds("-m", "srin", "--help") - cpu_seconds("-c", "pass"),
        "page_seconds_after_import_gradio": page_seconds(),
    }
    for name, value in figures.items():
        print(f"{name:34} {value:6.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
