"""Photos with object masks, resized once and kept in files that every process maps into memory.

A folder of photos has one of four forms:

    manifest.csv              with columns source, image, mask, and split where only rows of "train" are for training
    manifest.csv, SOURCE.zip  the same, with each source's files in a zip; a row without a mask is a photo without one
    NAME.jpg, NAME_mask.png   side by side (any picture format)
    images/NAME.jpg, masks/NAME.png   or masks/NAME__0.png, masks/NAME__1.png, ... for several objects
"""

import hashlib
import json
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from srin import budget
from srin.composite import Composite
from srin.errors import MaskError, SrinError
from srin.image_io import load_image, load_mask
from srin.pairing import Index, name_key, picture_files
from srin.remarks import collected
from train.config import DataConfig
from train.data.found import found_files, found_mask
from train.data.near_duplicates import is_near, small_copy
from train.data.tables import read_table

VERSION = 2  # of the cache's format
VALIDATION_SHARE = 24  # one in 24 photos of the first folder, chosen by name, is held out
MIN_SHARE, MAX_SHARE = 0.012, 0.75  # share of a photo that a usable mask covers


@dataclass(frozen=True)
class File:
    """A file on disk, or a member of a zip."""

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        return self.member or self.path.name

    def read(self) -> bytes:
        """The file's content. Raises OSError or KeyError if it isn't there."""
        if not self.member:
            return self.path.read_bytes()
        return _archive(self.path).read(self.member)

    def state(self) -> tuple[str, int, int]:
        """Name, size and time of change, which differ if the file changes."""
        status = self.path.stat()
        return str(self), status.st_size, status.st_mtime_ns

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)


@lru_cache(maxsize=64)
def _archive(path: Path) -> zipfile.ZipFile:
    """An open zip. It is kept open, because reading its list of members takes longer than reading a member."""
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class Photo:
    """One photo: its file, its objects' masks (maybe none), and the name of its source."""

    image: File
    masks: tuple[File, ...]
    source: str = ""


class Photos:
    """All photos of one part (training or validation), read from the cache in `folder`.

    Attributes:
        sources, sizes, masks, found: for each photo, its source, its (height, width), how many masks it has, and whether
            a segmenter found these.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        self.sources: list[str] = index["sources"]
        self.sizes: list[tuple[int, int]] = [tuple(size) for size in index["sizes"]]
        self.masks: list[int] = index["masks"]
        self.found: list[bool] = index["found"]
        areas = [height * width for height, width in self.sizes]
        self._pixels_from = np.concatenate([[0], np.cumsum([3 * area for area in areas])])
        packed = [count * -(-area // 8) for count, area in zip(self.masks, areas, strict=True)]
        self._masks_from = np.concatenate([[0], np.cumsum(packed)])
        self._pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")
        self._bits = np.memmap(folder / "masks.bin", np.uint8, "r") if sum(packed) else np.zeros(0, np.uint8)

    def __len__(self) -> int:
        return len(self.sizes)

    def image(self, photo: int) -> np.ndarray:
        """uint8 (h, w, 3), sRGB."""
        first, last = self._pixels_from[photo : photo + 2]
        return np.asarray(self._pixels[first:last]).reshape(*self.sizes[photo], 3)

    def mask(self, photo: int, number: int) -> np.ndarray:
        """bool (h, w), the photo's mask of this number."""
        height, width = self.sizes[photo]
        length = -(-height * width // 8)
        first = self._masks_from[photo] + number * length
        return np.unpackbits(self._bits[first : first + length], count=height * width).reshape(height, width) > 0


def find_photos(root: Path, leave_out: tuple[str, ...] = ()) -> list[Photo]:
    """The training photos of a folder, in one of the forms above, in the folder's order.

    Raises:
        ValueError: there are none, or a mask has no photo or a file is missing; the message lists them.
    """
    if (root / "manifest.csv").is_file():
        found = _from_manifest(root, leave_out)
    elif (root / "images").is_dir():
        found = _from_folders(root / "images", root / "masks")
    else:
        found = _side_by_side(root)
    if not found:
        raise ValueError(
            f"there are no photos with masks in {root}: it holds neither manifest.csv, nor images/ and masks/, nor "
            "pairs such as NAME.jpg and NAME_mask.png"
        )
    missing = [file.path for photo in found for file in (photo.image, *photo.masks) if not file.path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} files are missing in {root}: {_listed(missing)}")
    return found


def split_photos(found: list[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Splits photos into training and held-out ones (the development split), by name, independent of their order.

    Raises ValueError if no photo with masks is left to train on.
    """
    numbers = {photo: zlib.crc32(photo.image.name.encode()) for photo in found}
    with_masks = [photo for photo in found if photo.masks]
    held_out = [photo for photo in with_masks if numbers[photo] % VALIDATION_SHARE == 0]
    if not held_out and with_masks:  # a small folder
        held_out = [min(with_masks, key=lambda photo: numbers[photo])]
    training = [photo for photo in found if photo not in set(held_out)]
    if not any(photo.masks for photo in training):
        raise ValueError("training needs two photos with masks at least, one of them to validate on")
    return training, held_out


def load_photos(config: DataConfig, part: str) -> Photos:
    """Reads the photos of `config.root` and `config.more`, through a cache that is made on first use.

    Held-out photos come from `config.root` alone, and have masks that people drew. Training leaves out photos that are
    nearly the same as a held-out photo, or as one that the manifest keeps for testing. The cache is made again when a
    file changes.

    Args:
        part: "train" or "validation".

    Raises:
        ValueError: as `find_photos`; or pictures that can't be read, listed.
    """
    training, held_out = split_photos(find_photos(config.root, config.leave_out))
    chosen = held_out if part == "validation" else training
    apart: list[File] = []
    if part == "train":
        apart = [photo.image for photo in held_out] + _for_testing(config.root)
        if config.more is not None:
            chosen = chosen + find_photos(config.more, config.leave_out)
    states = [[file.state() for file in (photo.image, *photo.masks)] for photo in chosen]
    states += [[file.state()] for file in apart]
    states.append([File(path).state() for path in found_files(config.found)] if config.found else [])
    key = hashlib.sha256(repr((VERSION, config.photo_side, states)).encode()).hexdigest()[:12]
    folder = config.cache / f"photos_{part}_{key}"
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        unfinished.mkdir(parents=True)
        try:
            _write(chosen, apart, config, part, unfinished)
            os.replace(unfinished, folder)
        except OSError:
            if not folder.exists():  # else another process was quicker, with the same photos
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return Photos(folder)


def fingerprint(photos: Photos) -> str:
    """A hash of a set of photos' pixels and masks, in twelve hexadecimal digits."""
    digest = hashlib.sha256()
    for data in (photos._pixels, photos._bits):
        for start in range(0, len(data), 1 << 26):
            digest.update(data[start : start + (1 << 26)].tobytes())
    if any(photos.found):
        digest.update(bytes(photos.found))
    return digest.hexdigest()[:12]


def _from_manifest(root: Path, leave_out: tuple[str, ...]) -> list[Photo]:
    table = read_table(root / "manifest.csv", ("image", "mask"), ("source", "split"))
    rows = [row for row in table if _for_training(row) and row["source"] not in leave_out]
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((row["source"], row["image"]), []).extend([row["mask"]] if row["mask"] else [])

    def file(source: str, name: str) -> File:
        archive = root / f"{source}.zip"
        return File(archive, name) if source and archive.is_file() else File(_on_disk(root, name))

    return [
        Photo(file(source, image), tuple(file(source, mask) for mask in masks), source)
        for (source, image), masks in groups.items()
    ]


def _for_training(row: dict[str, str]) -> bool:
    return row["split"] in ("train", "")


def _for_testing(root: Path) -> list[File]:
    """The photos that a folder's manifest keeps for testing."""
    if not (root / "manifest.csv").is_file():
        return []
    table = read_table(root / "manifest.csv", ("image",), ("split",))
    names = dict.fromkeys(row["image"] for row in table if not _for_training(row))
    return [File(path) for path in (_on_disk(root, name) for name in names) if path.is_file()]


def _on_disk(root: Path, name: str) -> Path:
    """The path of a file that a table names, with / or \\ between folders, and accents composed or decomposed."""
    path = root / name
    if path.is_file():
        return path
    path = root / name.replace("\\", "/")
    if not path.is_file() and path.parent.is_dir():
        alike = [file for file in path.parent.iterdir() if name_key(file.name) == name_key(path.name)]
        return alike[0] if len(alike) == 1 else path
    return path


def _from_folders(images: Path, masks: Path) -> list[Photo]:
    if not masks.is_dir():
        raise ValueError(f"there is no folder {masks} beside {images}")
    index = Index.build(images, "photo", picture_files(images))
    groups: dict[str, list[Path]] = {}
    for mask in picture_files(masks):
        groups.setdefault(_photo_stem(name_key(mask.stem), index), []).append(mask)
    return _grouped(index, groups, masks)


def _photo_stem(stem: str, index: Index) -> str:
    """The stem of the photo that a mask belongs to: the mask's own, or the part before a "__"."""
    if stem in index.files:
        return stem
    at = stem.rfind("__")
    while at > 0:
        if stem[:at] in index.files:
            return stem[:at]
        at = stem.rfind("__", 0, at)
    return stem


def _side_by_side(root: Path) -> list[Photo]:
    files = picture_files(root)
    index = Index.build(root, "photo", (file for file in files if not file.stem.endswith("_mask")))
    groups: dict[str, list[Path]] = {}
    for file in files:
        if file.stem.endswith("_mask"):
            groups.setdefault(name_key(file.stem.removesuffix("_mask")), []).append(file)
    return _grouped(index, groups, root)


def _grouped(index: Index, groups: dict[str, list[Path]], masks: Path) -> list[Photo]:
    """Photos with their masks. Raises ValueError, which lists all files that can't be paired."""
    orphans = [f"{group[0]}{index.nearly(stem)}" for stem, group in groups.items() if stem not in index.files]
    if orphans:
        raise ValueError(f"{len(orphans)} masks have no photo of their name in {index.folder}: {_listed(orphans)}")
    problems, found = [], []
    for stem, group in groups.items():
        names = [name_key(mask.stem) for mask in group]
        twice = sorted({mask.name for mask, name in zip(group, names, strict=True) if names.count(name) > 1})
        if twice:
            problems.append(f"there are several masks named {stem} in {masks}: {' and '.join(twice)}")
        try:
            found.append(Photo(File(index.find(stem)), tuple(map(File, group))))
        except MaskError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(_listed(problems))
    return found


def _write(photos: list[Photo], apart: list[File], config: DataConfig, part: str, folder: Path) -> None:
    """Writes pixels.bin, masks.bin (a bit for each pixel) and index.json, without photos nearly the same as `apart`."""
    remarks: list[str] = []

    def job(photo: Photo) -> tuple[np.ndarray, list[np.ndarray], bool, bool] | str:
        try:
            with budget.job(), collected() as said:
                image, masks = _read_photo(photo, config)
            remarks.extend(f"{photo.image.name}: {remark}" for remark in said)
            return image, masks, bool(masks and not photo.masks), is_near(small_copy(image), others)
        except (SrinError, OSError, KeyError) as error:
            return f"{photo.image}: {error}"

    index: dict[str, list[Any]] = {"sources": [], "sizes": [], "masks": [], "found": []}
    problems, left_out = [], []
    # Threads: forked processes can hang once torch or OpenCV has started threads of its own.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        open(folder / "pixels.bin", "wb") as pixels,
        open(folder / "masks.bin", "wb") as bits,
    ):
        others = np.array([copy for copy in pool.map(_small_copy, apart) if copy is not None], np.float32)
        results = tqdm(pool.map(job, photos), total=len(photos), desc=f"reading {part} photos", mininterval=1)
        for photo, result in zip(photos, results, strict=True):
            if isinstance(result, str):
                problems.append(result)
                continue
            image, masks, found, near = result
            if near:
                left_out.append(photo.image)
                continue
            pixels.write(image.tobytes())
            for mask in masks:
                bits.write(np.packbits(mask).tobytes())
            index["sources"].append(photo.source)
            index["sizes"].append(image.shape[:2])
            index["masks"].append(len(masks))
            index["found"].append(found)
    if remarks:
        print(f"{len(remarks)} remarks on {part} photos: {_listed(sorted(remarks))}", file=sys.stderr)
    if left_out:
        why = "nearly the same as a photo that is held out or for testing"
        print(f"{len(left_out)} photos are left out of training, {why}: {_listed(left_out)}", file=sys.stderr)
        if not index["sources"]:
            raise ValueError("nothing is left to train on")
    if problems:
        raise ValueError(f"{len(problems)} photos can't be used: {_listed(problems)}")
    (folder / "index.json").write_text(json.dumps(index))


def _small_copy(file: File) -> np.ndarray | None:
    try:
        with budget.job():
            return small_copy(load_image(file.read()))
    except (SrinError, OSError):
        return None  # no photo can be compared with it; code that needs this photo reports the error


def _read_photo(photo: Photo, config: DataConfig) -> tuple[np.ndarray, list[np.ndarray]]:
    """Reads a photo, uint8 (h, w, 3), and its masks, bool (h, w), that cover neither too little nor too much."""
    content = photo.image.read()
    # Loaded and checked as in inference: rotated upright, sizes must agree, and a mask must select something.
    composites = [Composite.load(content, file.read()) for file in photo.masks]
    image = composites[0].image if composites else load_image(content)
    if not photo.masks and config.found and (found := found_mask(config.found, content)):
        mask = cv2.resize(load_mask(found), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        composites = [Composite.of(image, mask, None)]
    shrink = min(1.0, config.photo_side / min(image.shape[:2]))
    size = (round(image.shape[1] * shrink), round(image.shape[0] * shrink))
    resized = (cv2.resize(composite.mask, size, interpolation=cv2.INTER_AREA) > 127 for composite in composites)
    masks = [mask for mask in resized if MIN_SHARE < mask.mean() < MAX_SHARE]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), masks


def _listed(items: Sequence[object]) -> str:
    shown = ", ".join(str(item) for item in items[:10])
    return shown + (f" and {len(items) - 10} more" if len(items) > 10 else "")
