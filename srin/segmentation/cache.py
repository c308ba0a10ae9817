"""A cache of arrays computed for pictures: in memory, and on disk if a folder is configured."""

import logging
import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
from cachetools import LRUCache
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

Arrays = dict[str, np.ndarray]
DISK_BYTES = 4 << 30


class ArrayCache:
    """A cache of named arrays by key, shared by all users. Above the limit, the least recently used are dropped first.

    Args:
        limit: bytes in memory.
    """

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._entries: LRUCache[str, Arrays] = LRUCache(limit, getsizeof=_bytes)

    def get(self, key: str) -> Arrays | None:
        """The arrays of a key, which must not be changed. None if neither memory nor the folder has them."""
        with self._lock:
            arrays = self._entries.get(key)
        if arrays is not None:
            return arrays
        arrays = _read(key)
        if arrays is not None:
            self._keep(key, arrays)
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Keeps contiguous arrays. key: may hold only characters that are allowed in file names."""
        self._keep(key, arrays)
        _write(key, arrays)

    def clear(self) -> None:
        """Empties the memory; files stay."""
        with self._lock:
            self._entries.clear()

    def _keep(self, key: str, arrays: Arrays) -> None:
        # It raises ValueError for what is larger than the limit by itself.
        with self._lock, suppress(ValueError):
            self._entries[key] = arrays


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def _folder() -> Path | None:
    """The folder named by SRIN_SEGMENT_CACHE. None by default, because the files reveal something about the photos."""
    name = os.environ.get("SRIN_SEGMENT_CACHE")
    return Path(name).expanduser() if name else None


def _read(key: str) -> Arrays | None:
    folder = _folder()
    if folder is None:
        return None
    path = folder / f"{key}.safetensors"
    try:
        arrays = load_file(path)
        os.utime(path)  # `_tidy` deletes the least recently used files
        return arrays
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        logging.warning("%s can't be read (%s); it is computed again.", path, error)
        return None


def _write(key: str, arrays: Arrays) -> None:
    """Writes the file atomically. If the folder can't be written, a warning is logged: only time is lost."""
    folder = _folder()
    if folder is None:
        return
    unfinished = folder / f".{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(arrays, unfinished)
            os.replace(unfinished, folder / f"{key}.safetensors")
        finally:
            unfinished.unlink(missing_ok=True)
        _tidy(folder)
    except (OSError, SafetensorError) as error:
        logging.warning("Nothing can be kept in %s (%s).", folder, error)


def _tidy(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
    excess = sum(path.stat().st_size for path in files) - DISK_BYTES
    for path in files:
        if excess <= 0:
            break
        excess -= path.stat().st_size
        path.unlink(missing_ok=True)
