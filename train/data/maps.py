"""Where label maps made ahead of training are kept: by the content of the picture, so that names don't matter."""

import hashlib
from pathlib import Path


def map_path(folder: Path, picture: Path) -> Path:
    """The label PNG that belongs to a picture file's content, whether or not it is there. Raises OSError."""
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    return folder / digest[:2] / f"{digest}.png"
