"""Masks that `train.find_objects` found in photos without masks: a file for each photo, empty if nothing was found."""

from pathlib import Path

from train.data.maps import content_path


def found_mask(folder: Path, content: bytes) -> bytes | None:
    """The PNG of the mask that was found in a photo file, or None."""
    path = content_path(folder, content)
    return path.read_bytes() or None if path.is_file() else None


def found_files(folder: Path) -> list[Path]:
    """All files of a folder of such masks, sorted. Raises ValueError if there are none."""
    files = sorted(folder.glob("*/*.png"))
    if not files:
        raise ValueError(f"there are no masks of train.find_objects in {folder}")
    return files
