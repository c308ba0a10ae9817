"""How much is decoded at the same time: threads that work on pictures share MAX_PIXELS.

The largest picture allowed takes gigabytes on its way through decoder, method and encoder; several at once took more than
machines have.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from srin.limits import MAX_PIXELS

LARGE = 10_000_000  # pixels from which it is worth asking for freed memory

_changed = threading.Condition()
_held: dict[int, int] = {}  # pixels by thread
_waiting: set[int] = set()
_jobs = threading.local()


@contextmanager
def job() -> Iterator[None]:
    """What this thread decodes inside the block counts until the block's end."""
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
    """Waits until this job may hold a picture of so many pixels; its pictures count as the largest of them.

    Outside of jobs it returns at once. Nobody waits for those who wait: where all that is held is theirs, one goes on.
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
    """Gives the system back what is freed: by itself glibc keeps gigabytes for threads that worked on large pictures."""
    if pixels < LARGE:
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        pass  # another C library
