"""Limits how much is decoded at the same time: the jobs of all threads share MAX_PIXELS.

The largest picture allowed takes gigabytes in decoder, method and encoder, and several at once can take more memory than
a machine has.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from srin.limits import MAX_PIXELS

LARGE = 10_000_000  # pixels from which it is worth returning freed memory to the system

_changed = threading.Condition()
_held: dict[int, int] = {}  # pixels by thread
_waiting: set[int] = set()
_jobs = threading.local()


@contextmanager
def job() -> Iterator[None]:
    """The pictures that this thread decodes inside the block count until the block ends."""
    if getattr(_jobs, "open", False):
        yield
        return
    _jobs.open = True
    try:
        yield
    finally:
        _jobs.open = False
        _return_memory(_held.get(threading.get_ident(), 0))
        with _changed:
            _held.pop(threading.get_ident(), None)
            _changed.notify_all()


def reserve(pixels: int) -> None:
    """Waits until this job may hold a picture of so many pixels. A job counts as its largest picture.

    Outside of a job it returns at once. If every other job that holds pixels is waiting too, this one goes on, so that
    jobs never block each other forever.
    """
    me = threading.get_ident()
    if not getattr(_jobs, "open", False) or pixels <= _held.get(me, 0):
        return
    with _changed:
        _waiting.add(me)
        try:
            while True:
                others = {thread: held for thread, held in _held.items() if thread != me}
                if sum(others.values()) + pixels <= MAX_PIXELS or all(thread in _waiting for thread in others):
                    break
                _changed.wait()
        finally:
            _waiting.discard(me)
        _held[me] = pixels
    _return_memory(pixels)


def _return_memory(pixels: int) -> None:
    """Returns freed memory to the system: glibc would keep gigabytes for threads that worked on large pictures."""
    if pixels < LARGE:
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        pass  # another C library
