"""What the training loop draws from: batches for any step, so that a resumed run sees what an uninterrupted one would."""

import zlib
from collections.abc import Iterator
from itertools import count
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from srin.image_io import load_labels
from srin.segmentation.regions import colour_regions
from train.config import DataConfig, TrainConfig
from train.data.composites import Batch, consecutive, make_batch
from train.data.iharmony4 import ResizedCache, Sample, samples
from train.data.maps import map_path
from train.data.photos import Photos, few_regions, load_photos, nearest

HELD_OUT = 50  # every 50th real photo of iHarmony4's training part, by its name, is kept for validation
VALIDATION_BATCHES, VALIDATION_BATCH, VALIDATION_SEED = 12, 16, 12345


class Feed(Protocol):
    """A source of batches. Every process gets its share of the same global batch, on its own device."""

    steps: int  # updates to train for

    def batches(self, start: int) -> Iterator[Batch]:
        """Batches from the one numbered `start` on, without end; they depend on the seed and on their number alone."""

    def validation(self) -> Iterator[Batch]:
        """The same batches of held-out photos at every call; whole on every process."""


class PhotoFeed:
    """Composites made on the device that trains. Every process makes the whole batch, which costs little, and keeps
    its share: so the number of processes changes nothing."""

    def __init__(self, config: TrainConfig, device: torch.device, process: int, processes: int) -> None:
        if config.epochs:
            raise ValueError("composites made on the fly have no epochs: set steps instead")
        self.steps = config.steps
        self._config, self._device, self._share = config, device, (process, processes)
        self._photos = load_photos(config.data, "train").to(device)
        self._held_out = load_photos(config.data, "validation").to(device)

    def batches(self, start: int) -> Iterator[Batch]:
        config = self._config
        for number in count(start):
            generator = torch.Generator(self._device).manual_seed((config.seed << 40) + number)
            batch = make_batch(self._photos, config.batch, config.data.size, generator, config.data.region_source)
            yield batch.share(*self._share)

    def validation(self) -> Iterator[Batch]:
        return held_out_batches(self._held_out, self._config.data, VALIDATION_BATCHES)


def held_out_batches(photos: Photos, config: DataConfig, count: int) -> Iterator[Batch]:
    """The first `count` batches for validation, made of held-out photos on the device where these are."""
    generator = torch.Generator(photos.images.device).manual_seed(VALIDATION_SEED)
    for _ in range(count):
        yield make_batch(photos, VALIDATION_BATCH, config.size, generator, config.region_source)


class IHarmony4Feed:
    """iHarmony4 as it is on disk, resized once, read by `data.workers` processes. No augmentation, as in the paper."""

    def __init__(self, config: TrainConfig, device: torch.device, process: int, processes: int) -> None:
        if config.data.region_source != "mixed":
            raise ValueError("data.region_source is for composites made of photos; iHarmony4's maps come from data.maps")
        found = samples(config.data.root, "train", list(config.data.subsets))
        held_out = [s for s in found if zlib.crc32(s.real.name.encode()) % HELD_OUT == 0]
        training = [s for s in found if zlib.crc32(s.real.name.encode()) % HELD_OUT]
        if len(training) < config.batch or not held_out:
            raise ValueError(f"{config.data.root} has {len(found)} training pictures, too few to train and to validate")
        updates = len(training) // (config.batch * config.accumulate)
        self.steps = config.epochs * updates if config.epochs else config.steps
        self._config, self._device = config, device
        self._training, self._held_out = Pictures(training, config), Pictures(held_out, config)
        self._share = (process, processes)

    def batches(self, start: int) -> Iterator[Batch]:
        order = Order(len(self._training), self._config.batch, self._config.seed, start, self._share)
        return self._load(self._training, order, self._share[1])

    def validation(self) -> Iterator[Batch]:
        chosen = range(0, len(self._held_out), max(1, len(self._held_out) // (VALIDATION_BATCHES * VALIDATION_BATCH)))
        indices = list(chosen)[: VALIDATION_BATCHES * VALIDATION_BATCH]
        parts = [indices[i : i + VALIDATION_BATCH] for i in range(0, len(indices), VALIDATION_BATCH)]
        return self._load(self._held_out, parts, 1)

    def _load(self, pictures: "Pictures", order: "Order | list[list[int]]", processes: int) -> Iterator[Batch]:
        workers = self._config.data.workers
        loader = DataLoader(
            pictures,
            batch_sampler=order,
            num_workers=workers,
            # Forked processes can hang once torch or OpenCV has started threads of its own.
            multiprocessing_context="forkserver" if workers else None,
            worker_init_fn=_one_thread if workers else None,
            pin_memory=self._device.type == "cuda",
        )
        for composite, real, mask, regions in loader:
            weight = torch.ones(len(mask))
            yield Batch(composite, real, mask, regions, weight, float(len(mask) * processes)).to(self._device)


class Order(Sampler[list[int]]):
    """Indices of the batches from `start` on, a new shuffle each epoch; each process sees its part of each batch."""

    def __init__(self, pictures: int, batch: int, seed: int, start: int, share: tuple[int, int]) -> None:
        self._pictures, self._batch, self._seed, self._start, self._share = pictures, batch, seed, start, share

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = self._pictures // self._batch
        process, processes = self._share
        size = self._batch // processes
        epoch, order = -1, []
        for number in count(self._start):
            if number // per_epoch != epoch:
                epoch = number // per_epoch
                generator = torch.Generator().manual_seed((self._seed << 20) + epoch)
                order = torch.randperm(self._pictures, generator=generator).tolist()
            first = number % per_epoch * self._batch + process * size
            yield order[first : first + size]


class Pictures(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """composite and real (3, S, S) in [-1, 1], mask (1, S, S) in [0, 1], regions int64 (S, S)."""

    def __init__(self, chosen: list[Sample], config: TrainConfig) -> None:
        self._samples, self._size, self._maps = chosen, config.data.size, config.data.maps
        self._cache = ResizedCache(config.data.cache, config.data.size)
        self._needs_maps = config.model.slot == "srin"

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sample = self._samples[index]
        composite, mask, real = self._cache.load(sample)
        regions = torch.zeros(mask.shape, dtype=torch.long)
        if self._needs_maps:
            if self._maps is None:
                labels = colour_regions(composite)
            else:
                labels = nearest(load_labels(map_path(self._maps, sample.composite), what="label map"), self._size)
            few = few_regions(labels, composite).astype(np.int64)
            # The foreground's regions are its own.
            regions = consecutive(torch.from_numpy(2 * few + (mask > 127))[None])[0]
        pictures = (torch.from_numpy(x).permute(2, 0, 1).float() / 127.5 - 1 for x in (composite, real))
        return *pictures, torch.from_numpy(mask)[None].float() / 255, regions  # type: ignore[return-value]


def _one_thread(_: int) -> None:
    """Workers share the cores with the training itself."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
