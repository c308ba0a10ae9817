"""Where label maps and masks made ahead of training are kept: by a picture's content, so that names don't matter."""

import hashlib
from pathlib import Path


def content_path(folder: Path, content: bytes) -> Path:
    """The PNG that belongs to a picture file's content, whether or not it is there."""
    digest = hashlib.sha256(content).hexdigest()
    return folder / digest[:2] / f"{digest}.png"


def map_path(folder: Path, picture: Path) -> Path:
    """`content_path` of a file. Raises OSError."""
    return content_path(folder, picture.read_bytes())
