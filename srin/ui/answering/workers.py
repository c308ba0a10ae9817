"""The workers, and their time limit: nobody waits for longer than MAX_SECONDS.

Python can't stop a computation from outside. When the time is up, the visitor gets an answer; the computation keeps its
worker until it ends, and its result is lost. Methods at the size that the page shows have one worker. Endpoints whose
pictures are large have another, of low priority. Downloads run in processes, see srin/full_size.py.
"""

import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeVar

from srin import limits
from srin.errors import TookTooLong

Value = TypeVar("Value")

NICENESS = 10


def _step_back() -> None:
    """Lowers the priority of this thread, on Linux alone: elsewhere a thread has no priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


models = futures.ThreadPoolExecutor(1, "model")
full = futures.ThreadPoolExecutor(1, "full", initializer=_step_back)
stage = futures.ThreadPoolExecutor(16, "stage")  # blocks.py lets in up to 18 at once; the rest wait here
_END = object()


def run(
    work: Callable[..., Value],
    *arguments: Any,
    on: futures.Executor = models,
    seconds: float | None = None,
    begun: bool = False,
) -> Value:
    """The work's result, or whatever it raises.

    seconds: how long to wait; None: MAX_SECONDS. begun: whether the request has been worked on before, so that it is not
    an earlier request that took the time.
    Raises TookTooLong after that time; the result is lost then.
    """
    # Gradio and ZeroGPU find out from the context whose request this is.
    future = on.submit(contextvars.copy_context().run, work, *arguments)
    done, _ = futures.wait([future], limits.MAX_SECONDS if seconds is None else seconds)
    if done:
        return future.result()
    if future.cancel() and not begun:
        raise TookTooLong("The machine is busy with an earlier request that takes very long. Try again in a few minutes.")
    raise TookTooLong(
        f"This took longer than the {limits.MAX_SECONDS} seconds that one request may take here, and was given up. "
        "Try a smaller picture, or fewer methods."
    )


def steps(iterator: Iterator[Value]) -> Iterator[Value]:
    """Yields the iterator's values, computed by the worker `models`. Raises TookTooLong if all take over MAX_SECONDS."""
    deadline, begun = time.monotonic() + limits.MAX_SECONDS, False
    while True:
        value = run(next, iterator, _END, seconds=max(0.0, deadline - time.monotonic()), begun=begun)
        begun = True
        if value is _END:
            return
        yield value
