"""Checks where results may be written (never over an input), and reads their notes of what they were made from."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from srin.errors import ImageError, OutputError
from srin.image_io import SOFTWARE, load_image, read_file
from srin.parts import new_part

SETTINGS = "Settings"  # key of the note in a PNG without EXIF data, such as a label map


def check_file(path: Path, suffixes: Iterable[str], inputs: Iterable[Path | None]) -> None:
    """Raises OutputError unless a result can be written to `path` without replacing an input."""
    suffixes = tuple(suffixes)
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"Can't save {path}: its name must end in one of {', '.join(suffixes)}.")
    if path.is_dir():
        raise OutputError(f"Can't save {path}: it is a folder. Name a file.")
    if not path.parent.is_dir():
        raise OutputError(f"Can't save {path}: the folder {path.parent} does not exist. Create it first.")
    check_inputs([path], inputs)
    check_writable(path.parent)


def check_folder(folder: Path, inputs: Iterable[Path | None], deep: bool = False) -> None:
    """Raises OutputError unless results can be written into a folder that is none of the inputs. The folder is not made.

    deep: inputs are read with their subfolders, so the folder may not lie inside an input either.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"Results need a folder, and {folder} is a file.")
    own = folder.resolve()
    for given in inputs:
        source = given.resolve() if given is not None else None
        if source is not None and (own == source or (deep and source in own.parents) or _same(folder, given)):
            raise OutputError(f"Results would go into {given}, among the pictures that are read. Choose another folder.")
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"The folder {folder} can't be made: {existing} is a file.")
    check_writable(existing)


def check_inputs(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Raises OutputError if an output would replace an input, even through a link."""
    taken: dict[object, Path] = {}
    for given in inputs:
        if given is not None:
            taken |= {identity: given for identity in _identities(given)}
    for output in outputs:
        for identity in _identities(output):
            if identity in taken:
                raise OutputError(f"{output} would replace {taken[identity]}, which is read. Choose another place.")


def _identities(path: Path) -> list[object]:
    """Keys by which two paths are the same file: the path in its resolved folder, the resolved path, and the inode."""
    found: list[object] = [os.path.join(os.path.realpath(path.parent), path.name), os.path.realpath(path)]
    try:
        status = path.stat()
        found.append((status.st_dev, status.st_ino))
    except OSError:
        pass
    return found


def _same(first: Path, second: Path | None) -> bool:
    try:
        return second is not None and os.path.samefile(first, second)
    except OSError:
        return False


def check_writable(folder: Path) -> None:
    """Raises OutputError if no file can be made in a folder."""
    try:
        part, lock = new_part(folder)
        os.close(lock)
        part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"Nothing can be written into {folder}: {error.strerror}.") from error


def digest(paths: Iterable[Path | None]) -> str:
    """A hash of the contents of files, in their order: 32 hexadecimal digits. Raises ImageError if one can't be read."""
    total = hashlib.sha256()
    for path in paths:
        total.update(b"-" if path is None else hashlib.sha256(read_file(path, f"file {path.name}")).digest())
    return total.hexdigest()[:32]


def note(path: Path) -> dict[str, Any] | None:
    """The settings that a picture of ours was made with; None if it is not ours, or can't be read."""
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            text = image.info.get(SETTINGS)
            # getexif reads the whole file if no EXIF data stand before the pixels, so maps, which have none, skip it.
            exif = image.getexif() if text is None else Image.Exif()
            if exif.get(ExifTags.Base.Software) == SOFTWARE:
                comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
                text = comment[8:].decode("ascii") if isinstance(comment, bytes) else str(comment)
        if text is None:
            return None
        content = json.loads(text)
        return content if isinstance(content, dict) else {}
    except Exception:  # on what is no picture Pillow raises nearly anything
        return None


def is_whole(path: Path) -> bool:
    """Whether a picture can be read to its end."""
    try:
        content = path.read_bytes()
        load_image(content)
    except (OSError, ImageError):
        return False
    return not content.startswith(b"\x89PNG") or content[-8:-4] == b"IEND"  # which decoders don't wait for


def state(path: Path, settings: dict[str, Any], sources: Iterable[Path | None]) -> str:
    """What is at a result's path: "nothing", "done", "ours" (to be made again), or "another's" (to be kept).

    A file is done if it is whole, its note equals `settings`, and it is no older than its sources. A link counts as
    nothing: it is replaced, not its target. So do empty files and those that hold only the beginning of a picture.
    """
    if path.is_symlink() or not path.exists():
        return "nothing"
    found = note(path)
    if found is None:
        return "another's" if path.is_dir() or not _is_remnant(path) else "nothing"
    changed = max((source.stat().st_mtime_ns for source in sources if source is not None), default=0)
    if found == settings and changed <= path.stat().st_mtime_ns and is_whole(path):
        return "done"
    return "ours"


def _is_remnant(path: Path) -> bool:
    """Whether a file is empty, or a PNG that was cut before its first pixels."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            if head and head != b"\x89PNG\r\n\x1a\n"[: len(head)]:
                return False
            return b"IDAT" not in head + file.read(1 << 20) and path.stat().st_size < 1 << 20
    except OSError:
        return False
