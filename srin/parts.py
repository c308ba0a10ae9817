"""Writes files atomically, and deletes the unfinished files of killed processes."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PART_NAME = 38  # characters of an unfinished file's name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary file to write. It replaces `path` when the block ends, and is deleted if the block fails.

    It is locked while it is written, so that `sweep` can tell it from a file that a killed process left behind.
    """
    part, lock = new_part(path.parent)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # after success, it is already renamed
        os.close(lock)


def new_part(folder: Path) -> tuple[Path, int]:
    while True:
        # A short name of its own: the target's may already be as long as the file system allows.
        part = folder / f".{uuid.uuid4().hex}.part"
        lock = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # a file system without locks, or another process is in `sweep`
            if not os.fstat(lock).st_nlink:  # swept away between the two calls
                os.close(lock)
                continue
        return part, lock


def sweep(folder: Path) -> int:
    """Deletes the unfinished files that killed processes left in a folder. Returns how many."""
    swept = 0
    if fcntl is None or not folder.is_dir():
        return swept
    for part in folder.glob(".*.part"):
        if len(part.name) != PART_NAME or part.is_symlink() or not part.is_file():
            continue  # not made by `new_part`
        try:
            lock = os.open(part, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
            swept += 1
        except OSError:
            pass  # being written, or not ours to delete
        finally:
            os.close(lock)
    return swept
