"""Photos with object masks, resized once and held in memory as uint8: on the GPU where there is one."""

import csv
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from srin.segmentation.regions import colour_regions

MAX_REGIONS = 32  # of one photo; the smallest join the one nearest in colour
VALIDATION_SHARE = 32  # every 32nd training photo, chosen by its name, is held out
# No licence, or gathered from the web: never in weights that are given away.
LEFT_OUT = {"human290", "feral_cats"}
# Chance of a source per sample. Stuff (sky, road, building) and parts of objects stay under 15 % together.
SOURCE_WEIGHTS = {
    "voc_animals": 0.44,
    "ccp": 0.27,
    "bsds500": 0.12,
    "balloon": 0.02,
    "camvid": 0.02,
    "labelmefacade": 0.06,
    "lalonde_real": 0.06,
    "building_facades": 0.01,
}
# In `ccp` the first mask of a photo is the person, the others are garments.
GARMENT_WEIGHT = 0.03
REGION_PROXY = 256  # pixels of the longer side on which colour regions are found


@dataclass
class Photos:
    """All photos of one part (training or validation) on one device.

    Attributes:
        images: uint8 (P, 3, S, S). masks: uint8 (M, S, S), 0 or 1.
        people, colour: uint8 (P, S, S), region maps by people (colour regions where they left void) and by colour.
        photo_of: int64 (M,), the photo of each mask. chance: float (M,), sampling weights of the masks.
    """

    images: torch.Tensor
    masks: torch.Tensor
    people: torch.Tensor
    colour: torch.Tensor
    photo_of: torch.Tensor
    chance: torch.Tensor

    def to(self, device: torch.device) -> "Photos":
        return Photos(**{name: value.to(device) for name, value in vars(self).items()})


def load_photos(corpus: Path, cache: Path, size: int, part: str) -> Photos:
    """Reads the training split of a corpus, through a cache file that is made on first use.

    Args:
        corpus: folder with manifest.csv (source, image, mask, segments, split).
        cache: folder for the cache. size: S, pixels of the square that photos are resized to.
        part: "train" or "validation".
    """
    file = cache / f"photos_{size}_{part}.safetensors"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        tensors = _read(corpus, size, part)
        unfinished = file.with_suffix(".part")
        save_file(tensors, unfinished)
        os.replace(unfinished, file)
    return Photos(**load_file(file))


def _read(corpus: Path, size: int, part: str) -> dict[str, torch.Tensor]:
    with open(corpus / "manifest.csv", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["split"] == "train" and r["source"] not in LEFT_OUT]
    held_out = part == "validation"
    rows = [r for r in rows if (zlib.crc32(r["image"].encode()) % VALIDATION_SHARE == 0) == held_out]
    photos: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        photos.setdefault(row["image"], []).append(row)
    # Threads: forked processes can hang once torch or OpenCV has started threads of its own.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = pool.map(_read_photo, [(corpus, group, size) for group in photos.values()])
        read = list(tqdm(jobs, total=len(photos), desc=f"reading {part} photos"))
    masks_of = [len(group) for group in photos.values()]
    ordered = [row for group in photos.values() for row in group]
    weights = [GARMENT_WEIGHT if r["source"] == "ccp" and not r["mask"].endswith("__0.png") else 1 for r in ordered]
    totals: dict[str, float] = {}
    for row, weight in zip(ordered, weights, strict=True):
        totals[row["source"]] = totals.get(row["source"], 0) + weight
    return {
        "images": torch.from_numpy(np.stack([r[0] for r in read])),
        "people": torch.from_numpy(np.stack([r[1] for r in read])),
        "colour": torch.from_numpy(np.stack([r[2] for r in read])),
        "masks": torch.from_numpy(np.concatenate([r[3] for r in read])),
        "photo_of": torch.arange(len(photos)).repeat_interleave(torch.tensor(masks_of)),
        "chance": torch.tensor(
            [
                SOURCE_WEIGHTS[row["source"]] * weight / totals[row["source"]]
                for row, weight in zip(ordered, weights, strict=True)
            ]
        ),
    }


def _read_photo(job: tuple[Path, list[dict[str, str]], int]) -> tuple[np.ndarray, ...]:
    corpus, rows, size = job
    image = cv2.cvtColor(cv2.imread(str(corpus / rows[0]["image"])), cv2.COLOR_BGR2RGB)
    shrink = min(1.0, REGION_PROXY / max(image.shape[:2]))
    proxy = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    colour = _nearest(colour_regions(proxy), size)
    people = colour
    if rows[0]["segments"]:
        segments = cv2.imread(str(corpus / rows[0]["segments"]), cv2.IMREAD_UNCHANGED).astype(np.int32)
        segments = _nearest(segments, size)
        void = (segments == 0) | (segments == 255)
        people = np.where(void, colour + 256, segments)
    masks = [cv2.imread(str(corpus / row["mask"]), cv2.IMREAD_GRAYSCALE) > 127 for row in rows]
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return (
        np.ascontiguousarray(small.transpose(2, 0, 1)),
        _few(people, small),
        _few(colour, small),
        np.stack([cv2.resize(m.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.5 for m in masks])
        .astype(np.uint8),
    )


def _nearest(labels: np.ndarray, size: int) -> np.ndarray:
    rows, columns = (np.arange(size) * side // size for side in labels.shape)
    return labels[rows[:, None], columns[None]]


def _few(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
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
