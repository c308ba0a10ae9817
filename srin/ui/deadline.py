"""The models' one worker, and the end of its patience: no request holds the machine for longer than MAX_SECONDS.

Python can't stop a computation from outside. So who waits too long gets an answer, the computation ends unseen, and
until then nobody else's begins: the machine never does more than one at a time.
"""

import contextvars
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeVar

from srin import limits
from srin.errors import SrinError

Value = TypeVar("Value")

_worker = futures.ThreadPoolExecutor(1, "model")
_END = object()


def run(work: Callable[..., Value], *arguments: Any, seconds: float | None = None) -> Value:
    """The work's result, or whatever it raises.

    seconds: to wait for it; None takes MAX_SECONDS.
    Raises SrinError when that has passed: then the result is lost.
    """
    # Gradio, and ZeroGPU, know by the context whose request this is.
    future = _worker.submit(contextvars.copy_context().run, work, *arguments)
    done, _ = futures.wait([future], limits.MAX_SECONDS if seconds is None else seconds)
    if done:
        return future.result()
    if future.cancel():
        raise SrinError("The machine is busy with an earlier request that takes very long. Try again in a few minutes.")
    raise SrinError(
        f"This took longer than the {limits.MAX_SECONDS} seconds that one request may take here, and was given up. "
        "Try a smaller picture, or fewer methods."
    )


def steps(iterator: Iterator[Value]) -> Iterator[Value]:
    """The iterator's values, each computed by the worker; SrinError as in `run`, when all together take too long."""
    deadline = time.monotonic() + limits.MAX_SECONDS
    while True:
        value = run(next, iterator, _END, seconds=max(0.0, deadline - time.monotonic()))
        if value is _END:
            return
        yield value
