"""Photos with object masks, resized once and held in memory as uint8: on the GPU where there is one.

A folder of photos has one of three forms:

    manifest.csv            with columns source, image, mask, segments, split: rows whose split is "train" are used
    NAME.jpg, NAME_mask.png   side by side (any picture format)
    images/NAME.jpg, masks/NAME.png   or masks/NAME__0.png, masks/NAME__1.png, ... for several objects
"""

import hashlib
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from srin import budget
from srin.composite import Composite
from srin.errors import MaskError, SrinError
from srin.image_io import load_labels
from srin.pairing import Index, name_key, picture_files
from srin.parts import replacing, sweep
from srin.remarks import collected
from srin.segmentation.regions import colour_regions
from train.config import DataConfig
from train.data.identity import files_digest
from train.data.maps import map_path
from train.data.tables import read_table

MAX_REGIONS = 32  # of one photo; the smallest join the one nearest in colour
VALIDATION_SHARE = 32  # every 32nd training photo, chosen by its name, is held out
REGION_PROXY = 256  # pixels of the longer side on which colour regions are found
COLOUR, PEOPLE = 0, 1  # kinds of region maps, see `Photos`
VOID = (0, 255)  # labels of people's segmentations that are no region


@dataclass(frozen=True)
class Photo:
    """One photo of a folder: its file, its objects' masks, people's label map if there is one, and where it is from."""

    image: Path
    masks: tuple[Path, ...]
    segments: Path | None = None
    source: str = ""


@dataclass
class Photos:
    """All photos of one part (training or validation) on one device.

    Attributes:
        images: uint8 (P, 3, S, S). masks: uint8 (M, S, S), 0 or 1.
        maps: uint8 (K, P, S, S), region maps of K kinds: colour regions (COLOUR), people's (PEOPLE), a segmenter's.
        photo_of: int64 (M,), the photo of each mask. chance: float (M,), sampling weights of the masks.
    """

    images: torch.Tensor
    masks: torch.Tensor
    maps: torch.Tensor
    photo_of: torch.Tensor
    chance: torch.Tensor

    def to(self, device: torch.device) -> "Photos":
        return Photos(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def find_photos(root: Path, leave_out: tuple[str, ...] = ()) -> list[Photo]:
    """The training photos of a folder, in one of the forms above, ordered by file name.

    Raises:
        ValueError: there are none, or a mask has no photo or a photo's mask is missing; the message lists them.
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
    missing = [file for photo in found for file in (photo.image, *photo.masks) if not file.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} files are missing in {root}: {_listed(missing)}")
    return sorted(found, key=lambda photo: photo.image)


def split_photos(found: list[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Training and validation photos, by the name alone, so that no photo is ever on both sides."""
    numbers = {photo: zlib.crc32(photo.image.name.encode()) for photo in found}
    held_out = [photo for photo in found if numbers[photo] % VALIDATION_SHARE == 0]
    if not held_out:  # a small folder
        held_out = [min(found, key=lambda photo: numbers[photo])]
    training = [photo for photo in found if photo not in set(held_out)]
    if not training:
        raise ValueError("training needs two photos at least, one of them to validate on")
    return training, held_out


def load_photos(config: DataConfig, part: str) -> Photos:
    """Reads a folder's photos, through a cache file that is made on first use.

    Args:
        config: `root`, `cache` and `cached_size` (S) and what else says which photos.
        part: "train" or "validation".

    Raises:
        ValueError: as `find_photos`; pictures that can't be read, listed; a source without a weight; or label maps
            that are missing.
    """
    training, held_out = split_photos(find_photos(config.root, config.leave_out))
    chosen = training if part == "train" else held_out
    chance = _chances(chosen, config)
    files = [file for photo in chosen for file in (photo.image, *photo.masks, photo.segments)]
    if config.maps is not None:
        files += sorted(config.maps.rglob("*.png"))
    # What the files hold counts, not only where they lie: masks get corrected in place.
    what = (config.cached_size, config.maps, chosen, files_digest(files))
    key = hashlib.sha256(repr(what).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    file = config.cache / f"photos_{config.cached_size}_{part}_{key}.safetensors"
    if not file.exists():
        config.cache.mkdir(parents=True, exist_ok=True)
        tensors = _read(chosen, config, part)
        sweep(config.cache)
        with replacing(file) as unfinished:
            save_file(tensors, unfinished)
    return Photos(**load_file(file), chance=chance)


def _from_manifest(root: Path, leave_out: tuple[str, ...]) -> list[Photo]:
    table = read_table(root / "manifest.csv", ("image", "mask"), ("source", "segments", "split"))
    rows = [row for row in table if row["split"] in ("train", "") and row["source"] not in leave_out]
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row["image"], []).append(row)
    return [
        Photo(
            _on_disk(root, name),
            tuple(_on_disk(root, row["mask"]) for row in group),
            _on_disk(root, group[0]["segments"]) if group[0]["segments"] else None,
            group[0]["source"],
        )
        for name, group in groups.items()
    ]


def _on_disk(root: Path, name: str) -> Path:
    """A file that a table names: with / or \\ between folders, accents joined or apart."""
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
    """The stem of the photo that a mask belongs to: its own, or what stands before a "__"."""
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
    """Photos with their masks. Raises ValueError, naming all that don't belong together."""
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
            found.append(Photo(index.find(stem), tuple(group)))
        except MaskError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(_listed(problems))
    return found


def _chances(photos: list[Photo], config: DataConfig) -> torch.Tensor:
    """Sampling weights of all masks, in order."""
    weights = [
        (photo.source, 1.0 if i == 0 else config.part_weights.get(photo.source, 1.0))
        for photo in photos
        for i in range(len(photo.masks))
    ]
    if config.source_weights:
        unknown = sorted({source for source, _ in weights} - set(config.source_weights))
        if unknown:
            raise ValueError(f"data.source_weights has no weight for {', '.join(unknown)}")
        totals: dict[str, float] = {}
        for source, weight in weights:
            totals[source] = totals.get(source, 0) + weight
        return torch.tensor([config.source_weights[source] * weight / totals[source] for source, weight in weights])
    return torch.tensor([weight for _, weight in weights])


def _read(photos: list[Photo], config: DataConfig, part: str) -> dict[str, torch.Tensor]:
    def job(photo: Photo) -> tuple[np.ndarray, np.ndarray, np.ndarray] | str:
        try:
            with budget.job(), collected() as said:
                read = _read_photo(photo, config)
            remarks.extend(f"{photo.image.name}: {remark}" for remark in said)
            return read
        except SrinError as error:
            return f"{photo.image.name}: {error}"

    remarks: list[str] = []

    # Threads: forked processes can hang once torch or OpenCV has started threads of its own.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(tqdm(pool.map(job, photos), total=len(photos), desc=f"reading {part} photos"))
    if remarks:
        print(f"{len(remarks)} remarks on {part} photos: {_listed(sorted(remarks))}", file=sys.stderr)
    problems = [result for result in read if isinstance(result, str)]
    if problems:
        raise ValueError(f"{len(problems)} photos can't be used: {_listed(problems)}")
    done = [result for result in read if not isinstance(result, str)]
    return {
        "images": torch.from_numpy(np.stack([image for image, _, _ in done])),
        "maps": torch.from_numpy(np.ascontiguousarray(np.stack([maps for _, maps, _ in done], axis=1))),
        "masks": torch.from_numpy(np.concatenate([masks for _, _, masks in done])),
        "photo_of": torch.arange(len(photos)).repeat_interleave(torch.tensor([len(p.masks) for p in photos])),
    }


def _read_photo(photo: Photo, config: DataConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """image (3, S, S), region maps (K, S, S) and masks (N, S, S), all uint8."""
    # One loader and one check for training and inference: sizes must agree, upright.
    composites = [Composite.load(photo.image, mask) for mask in photo.masks]
    image = composites[0].image
    size = config.cached_size
    shrink = min(1.0, REGION_PROXY / max(image.shape[:2]))
    proxy = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    colour = nearest(colour_regions(proxy), size)
    people = colour
    if photo.segments is not None:
        segments = nearest(load_labels(photo.segments, what="segmentation").astype(np.int64), size)
        people = np.where(np.isin(segments, VOID), colour + 256, segments)
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    maps = [colour, people]
    if config.maps is not None:
        maps.append(nearest(load_labels(map_path(config.maps, photo.image), what="label map").astype(np.int64), size))
    masks = [cv2.resize(c.mask, (size, size), interpolation=cv2.INTER_AREA) > 127 for c in composites]
    return (
        np.ascontiguousarray(small.transpose(2, 0, 1)),
        np.stack([few_regions(labels, small) for labels in maps]),
        np.stack(masks).astype(np.uint8),
    )


def nearest(labels: np.ndarray, size: int) -> np.ndarray:
    """Labels (H, W) resized to (size, size) by nearest neighbour; integers of any depth, which OpenCV can't do."""
    rows, columns = (np.arange(size) * side // size for side in labels.shape)
    return labels[rows[:, None], columns[None]]


def few_regions(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """uint8 labels below MAX_REGIONS, largest first; smaller regions join the kept one of the nearest mean colour."""
    _, labels, areas = np.unique(labels, return_inverse=True, return_counts=True)
    labels = np.argsort(np.argsort(-areas))[labels].reshape(image.shape[:2])
    count = len(areas)
    areas = np.bincount(labels.ravel())
    colours = np.stack([np.bincount(labels.ravel(), image[..., c].ravel()) / areas for c in range(3)], 1)
    kept = min(count, MAX_REGIONS)
    distance = ((colours[:, None] - colours[None, :kept]) ** 2).sum(-1)
    target = np.where(np.arange(count) < kept, np.arange(count), distance.argmin(1))
    return target[labels].astype(np.uint8)


def _listed(items: list) -> str:
    shown = ", ".join(str(item) for item in items[:10])
    return shown + (f" and {len(items) - 10} more" if len(items) > 10 else "")
