"""Detects changed files by their sizes and times of change."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from train.config import DataConfig


def files_digest(paths: Iterable[Path | None], root: Path | None = None) -> str:
    """A hash of the files' names (below `root`), sizes and times of change, in their order. Files may be missing."""
    total = hashlib.sha256()
    for path in paths:
        if path is None:
            total.update(b"-\n")
            continue
        name = path.relative_to(root) if root is not None and root in path.parents else path
        try:
            status = path.stat()
            total.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
        except OSError:
            total.update(f"{name} missing\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()[:16]


def data_files(config: DataConfig) -> list[Path]:
    """All files that a run would be trained on. Raises ValueError and SrinError as the functions that find them do."""
    if config.kind == "photos":
        from train.data.found import found_files
        from train.data.photos import find_photos

        photos = find_photos(config.root, config.leave_out)
        if config.more is not None:
            photos += find_photos(config.more, config.leave_out)
        masks = found_files(config.found) if config.found else []
        return [*(file.path for photo in photos for file in (photo.image, *photo.masks)), *masks]
    from train.data.iharmony4 import samples

    found = samples(config.root, "train", list(config.subsets))
    return [file for sample in found for file in (sample.composite, sample.mask, sample.real)]
