"""Reads iHarmony4 (Cong et al., "DoveNet", CVPR 2020) from disk, and resizes its pictures once.

ROOT/IHD_train.txt, ROOT/IHD_test.txt   lines such as HCOCO/composite_images/c35030_434421_1.jpg
ROOT/HCOCO/HCOCO_test.txt               c35030_434421_1.jpg: bare names, all that some mirrors have
ROOT/HCOCO/composite_images/X_m_k.jpg   its mask is masks/X_m.png, its truth real_images/X.jpg
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from srin.errors import ImageError, OutputError, SrinError
from srin.image_io import load_mask, save_image
from srin.metrics import resized

Split = Literal["train", "test"]
SHOWN = 12  # missing files that a message names


@dataclass(frozen=True)
class Sample:
    """One composite with its mask and its truth.

    Attributes:
        name: the composite's file name without extension, unique within its subset.
        subset: the folder that it lies in, such as "HCOCO".
        composite, mask, real: files of equal height and width.
    """

    name: str
    subset: str
    composite: Path
    mask: Path
    real: Path


def samples(root: Path, split: Split, subsets: Sequence[str] | None = None) -> list[Sample]:
    """Lists a split, in the order of its list files, and checks that every file is there.

    Args:
        root: the dataset's folder.
        subsets: folders to choose, such as ["HCOCO", "Hday2night"]; None takes all that the lists name.

    Raises:
        SrinError: no such folder, no list for a subset, empty lists, a line without a folder, a name that is not X_m_k,
            or missing files, which are named together.
    """
    if not root.is_dir():
        raise SrinError(f"There is no folder {root}.")
    found = [_sample(root / subset, name) for subset, name in _listed(root, split, subsets)]
    found = list(dict.fromkeys(found))  # a repeated line must not count twice
    if not found:
        raise SrinError(f"The lists of the {split} split in {root} are empty.")
    folders: dict[Path, set[str]] = {}
    missing = []
    for path in dict.fromkeys(path for s in found for path in (s.composite, s.mask, s.real)):
        if path.parent not in folders:
            folders[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in folders[path.parent]:
            missing.append(path.relative_to(root).as_posix())
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise SrinError(
            f"{len(missing)} files of the {split} split are missing in {root}: {', '.join(missing[:SHOWN])}{more}."
        )
    return found


class ResizedCache:
    """Caches pictures, squeezed to a square, as PNG, since those of HAdobe5k have up to 6048 px.

    Files lie at FOLDER/SIZE/SUBSET/KIND/STEM.KEY.png, where KEY depends on the source's path, size and time of change:
    a source that changes gets a new file. Files are written atomically, so that several processes may fill one cache,
    and an interrupted process can continue.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder / str(size)
        self.size = size

    def load(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Composite (S, S, 3), mask (S, S) and real (S, S, 3), uint8. Averaging makes the mask's edges soft.

        Raises:
            ImageError: a file can't be read, or the three differ in size.
            OutputError: the cache can't be written.
        """
        sources = (sample.composite, sample.mask, sample.real)
        cached = [self._file(sample.subset, source) for source in sources]
        if not all(path.exists() for path in cached):
            _check_sizes(sample)
        composite, mask, real = (
            self._load(path, source, mode)
            for path, source, mode in zip(cached, sources, ("RGB", "L", "RGB"), strict=True)
        )
        return composite, mask, real

    def _file(self, subset: str, source: Path) -> Path:
        try:
            status = source.stat()
        except OSError as error:
            raise ImageError(f"{source} can't be read: {error.strerror}.") from error
        key = hashlib.blake2b(f"{source.resolve()} {status.st_size} {status.st_mtime_ns}".encode(), digest_size=6)
        return self.folder / subset / source.parent.name / f"{source.stem}.{key.hexdigest()}.png"

    def _load(self, path: Path, source: Path, mode: str) -> np.ndarray:
        if path.exists():
            return _decode(path, mode)
        # load_mask, because a mask may hold labels or a palette. It applies EXIF orientations, but these sets have none.
        array = resized(load_mask(source) if mode == "L" else _decode(source, mode), self.size)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The cache can't be made at {path.parent}: {error.strerror}.") from error
        save_image(array, path)
        return array


def _listed(root: Path, split: Split, subsets: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """(subset, file name) of every composite: from the common list, or else from the subset's own."""
    common: dict[str, list[str]] = {}
    for line in _lines(root / f"IHD_{split}.txt"):
        subset, _, name = line.partition("/")
        if not name:
            raise SrinError(f"IHD_{split}.txt in {root} has a line without a folder: {line!r}.")
        common.setdefault(subset, []).append(name)
    if subsets is None:
        subsets = list(common) or sorted(f.parent.name for f in root.glob(f"*/*_{split}.txt") if _is_own_list(f, split))
        if not subsets:
            raise SrinError(f"{root} has neither IHD_{split}.txt nor lists such as HCOCO/HCOCO_{split}.txt.")
    for subset in subsets:
        names: Iterable[str] = common.get(subset, []) or _lines(root / subset / f"{subset}_{split}.txt")
        if not names:
            raise SrinError(
                f"Nothing lists the {split} split of {subset}: neither IHD_{split}.txt nor {subset}/{subset}_{split}.txt "
                f"in {root}."
            )
        yield from ((subset, name.rpartition("/")[2]) for name in names)


def _is_own_list(path: Path, split: Split) -> bool:
    return path.name == f"{path.parent.name}_{split}.txt"


def _lines(path: Path) -> list[str]:
    """The lines of a list, cleaned of what Windows leaves; none if there is no such file."""
    if not path.is_file():
        return []
    lines = (line.strip().replace("\\", "/") for line in path.read_text(encoding="utf-8-sig").splitlines())
    return [line for line in lines if line]


def _sample(folder: Path, name: str) -> Sample:
    stem, extension = os.path.splitext(name)
    # From the right: X may itself hold underscores, as in d21901-20130410-181833_1_9.
    parts = stem.rsplit("_", 2)
    if len(parts) < 3 or not all(parts):
        raise SrinError(f"{name} in {folder} is not named X_m_k, so its mask and its real picture can't be told.")
    photo, mask, _ = parts
    return Sample(
        stem,
        folder.name,
        folder / "composite_images" / name,
        folder / "masks" / f"{photo}_{mask}.png",
        folder / "real_images" / f"{photo}{extension}",
    )


def _check_sizes(sample: Sample) -> None:
    """Raises ImageError if the pictures differ in size, which can't be seen once they are squeezed to a square."""
    sizes = {}
    for path in (sample.composite, sample.mask, sample.real):
        try:
            with Image.open(path) as image:
                sizes[path] = image.size
        except Exception as error:  # on damaged files Pillow raises nearly anything
            raise ImageError(f"{path} can't be read: {error}.") from error
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{path.parent.name}/{path.name} {w} x {h}" for path, (w, h) in sizes.items())
        raise ImageError(f"The pictures of {sample.subset}/{sample.name} differ in size: {listed}.")


def _decode(path: Path, mode: str) -> np.ndarray:
    """The stored pixels, uint8. Orientation and colour profile are ignored: applied to one picture of a pair alone, they
    could make the two differ."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert(mode))
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise ImageError(f"{path} can't be read: {error}.") from error
