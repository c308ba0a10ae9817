"""The files of visitors: uploads, what the page shows, and results. After a while they are deleted."""

import asyncio
import logging
import os
import time
import uuid
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder, is_in_or_equal
from gradio_client.utils import strip_invalid_filename_characters

from srin import limits
from srin.batch import make_folder
from srin.errors import ImageError

KEPT = "kept"  # subfolder of files that all visitors see, which are not swept
MOST_NAME = 120  # bytes of a file's name without its extension


def new_file(name: str) -> Path:
    """Where to write a visitor's result: a path that nobody can guess, in a folder that exists.

    name: visitors choose parts of it, so it is made harmless. Raises OutputError when the disk is full or read-only.
    """
    stem, dot, extension = name.rpartition(".")
    folder = Path(get_upload_folder(), uuid.uuid4().hex)
    make_folder(folder)
    return folder / (strip_invalid_filename_characters(stem, MOST_NAME) + dot + extension)


def is_visitors(path: str) -> bool:
    """Whether a path that a request names is an upload or a result, and not some other file of the server."""
    try:
        return is_in_or_equal(path, get_upload_folder()) and Path(path).is_file()
    except (OSError, ValueError):  # too long a name, or one that no file can have
        return False


def uploaded(data: dict[str, Any]) -> Path:
    """The file whose path the page sends. Raises ImageError where it is none of the visitors' files."""
    path = data.get("path")
    if not isinstance(path, str) or not is_visitors(path):
        raise ImageError("The file did not arrive. Choose it again.")
    return Path(path)


async def sweep_regularly() -> None:
    """Sweeps for ever: Gradio's own deletion knows only files that passed through its components."""
    while True:
        await asyncio.to_thread(sweep, Path(get_upload_folder()), limits.KEEP_SECONDS)
        await asyncio.sleep(max(1.0, limits.KEEP_SECONDS / 16))


def sweep(folder: Path, age: float) -> None:
    """Deletes files that were written more than `age` seconds ago, and folders that were left empty as long ago."""
    oldest = time.time() - age
    for parent, _, names in os.walk(folder, topdown=False):
        path = Path(parent)
        if KEPT in path.relative_to(folder).parts:
            continue
        try:
            for file in (path / name for name in names):
                if file.lstat().st_mtime < oldest:
                    file.unlink()
            if path != folder and path.stat().st_mtime < oldest and not any(path.iterdir()):
                path.rmdir()
        except FileNotFoundError:
            pass  # gone already
        except OSError as error:
            logging.getLogger(__name__).warning("%s can't be swept: %s", path, error)
