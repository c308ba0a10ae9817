"""Finds the pictures of a folder, and pairs files by their names."""

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from srin.errors import ImageError, MaskError
from srin.formats import EXTENSIONS, HEAD, UNREAD, signature

JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store"}
APPLE_DOUBLE = b"\0\5\x16\7"


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, by extension or content, sorted by name.

    Formats that can't be read are included, so that messages can name them. Subfolders and files that operating systems
    leave behind (`._x.jpg`, `Thumbs.db`) are not. Raises ImageError when the folder can't be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if is_picture(path))
    except OSError as error:
        raise ImageError(f"The folder {folder} can't be read: {error.strerror}.") from error


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its extension, or else by its first bytes; see `picture_files`."""
    if path.name.lower() in JUNK or path.suffix == ".part" or path.is_dir():
        return False
    suffix = path.suffix.lower()
    named = suffix in EXTENSIONS or suffix in UNREAD
    if named and not path.name.startswith("._"):
        return True
    head = _head(path)
    if path.name.startswith("._") and head.startswith(APPLE_DOUBLE):
        return False
    return signature(head) not in (None, "PDF", "PPM")  # PPM's signature of three bytes is too short to rely on


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def name_key(name: str) -> str:
    """A name in the form that is compared: systems store accents composed (NFC) or decomposed (NFD)."""
    return unicodedata.normalize("NFC", name)


@dataclass
class Index:
    """Files by stem. what: how messages call one, such as "mask"."""

    folder: Path
    what: str
    files: dict[str, list[Path]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, what: str) -> "Index":
        """Raises MaskError when there is no such folder."""
        if not folder.is_dir():
            raise MaskError(f"The pictures are a folder, so the {what}s must be a folder too; {folder} is not.")
        return cls.build(folder, what, picture_files(folder))

    @classmethod
    def build(cls, folder: Path, what: str, paths: Iterable[Path]) -> "Index":
        index = cls(folder, what)
        for path in paths:
            index.files.setdefault(name_key(path.stem), []).append(path)
        return index

    def find(self, stem: str) -> Path:
        """The file of a stem. Raises MaskError, naming the candidates, if there are several or only a similar name."""
        found = self.files.get(name_key(stem), [])
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(path.name for path in found)
            raise MaskError(f"There are several {self.what}s named {stem} in {self.folder}: {names}. Keep one.")
        raise MaskError(f"There is no {self.what} named {stem} in {self.folder}.{self.nearly(stem)}")

    def nearly(self, stem: str) -> str:
        """A sentence about a file with a similar name, or "" if there is none."""
        key = name_key(stem).casefold()
        folded = {name.casefold(): name for name in self.files}
        close = [key] if key in folded else difflib.get_close_matches(key, list(folded), 1, 0.8)
        return f" {self.files[folded[close[0]]][0].name} is nearly alike: rename it if it belongs to it." if close else ""
