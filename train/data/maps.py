"""Paths of label maps and masks made ahead of training. They depend on a picture's content, so names don't matter."""

import hashlib
from pathlib import Path


def content_path(folder: Path, content: bytes) -> Path:
    """The path of the PNG that belongs to a picture file's content, whether or not it exists."""
    digest = hashlib.sha256(content).hexdigest()
    return folder / digest[:2] / f"{digest}.png"


def map_path(folder: Path, picture: Path) -> Path:
    """`content_path` of a file. Raises OSError."""
    return content_path(folder, picture.read_bytes())
