"""Batches for the training loop, from any step on, so that a resumed run gets the same ones as an uninterrupted run."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from srin.composite import Composite
from srin.image_io import load_labels
from srin.resizing import enlarged_labels
from srin.segmentation.semantic_map import build, draw, fitted
from train.config import TrainConfig
from train.data.composites import OBJECT, Batch, Composites, Maker
from train.data.iharmony4 import ResizedCache, Sample, samples
from train.data.maps import map_path
from train.data.photos import load_photos

HELD_OUT = 50  # one in 50 real photos of iHarmony4's training split, chosen by name, is held out for validation
VALIDATION_BATCHES, VALIDATION_BATCH, VALIDATION_SEED = 12, 16, 12345


class Feed(Protocol):
    """A source of batches. Every process gets its share of the same global batch, on its own device."""

    steps: int  # updates to train for

    def batches(self, start: int) -> Iterator[Batch]:
        """Batches from number `start` on, without end. A batch depends only on the seed and on its number."""

    def validation(self) -> Iterator[Batch]:
        """The same batches of held-out photos at every call; every process gets all of them whole."""


class PhotoFeed:
    """Composites made on the fly by `data.workers` processes. Each training process makes its own share."""

    def __init__(self, config: TrainConfig, device: torch.device, process: int, processes: int) -> None:
        if config.epochs:
            raise ValueError("composites made on the fly have no epochs: set steps instead")
        self.steps = config.steps
        self._config, self._device, self._share = config, device, (process, processes)
        self._training = Maker(load_photos(config.data, "train"), config.data, config.data.size)
        self._held_out = Maker(load_photos(config.data, "validation"), config.data, config.data.size)
        self._validation: list[Batch] = []

    def batches(self, start: int) -> Iterator[Batch]:
        config, (process, processes) = self._config, self._share
        size = config.batch // processes
        composites = Composites(self._training, config.seed, range(1 << 62))  # without end
        order = (list(range(first, first + size)) for first in count(start * config.batch + process * size, config.batch))
        return _load(composites, order, config.data.workers, self._device, config.batch)

    def validation(self) -> Iterator[Batch]:
        if not self._validation:
            composites = Composites(self._held_out, VALIDATION_SEED, range(VALIDATION_BATCHES * VALIDATION_BATCH))
            order = (
                list(range(first, first + VALIDATION_BATCH)) for first in range(0, len(composites), VALIDATION_BATCH)
            )
            self._validation = list(_load(composites, order, 0, self._device, VALIDATION_BATCH))
        return iter(self._validation)


class IHarmony4Feed:
    """iHarmony4 from disk, resized once, read by `data.workers` processes. There is no augmentation, as in the paper."""

    def __init__(self, config: TrainConfig, device: torch.device, process: int, processes: int) -> None:
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
        return self._load(self._training, order)

    def validation(self) -> Iterator[Batch]:
        chosen = range(0, len(self._held_out), max(1, len(self._held_out) // (VALIDATION_BATCHES * VALIDATION_BATCH)))
        indices = list(chosen)[: VALIDATION_BATCHES * VALIDATION_BATCH]
        parts = [indices[i : i + VALIDATION_BATCH] for i in range(0, len(indices), VALIDATION_BATCH)]
        return self._load(self._held_out, parts)

    def _load(self, pictures: "Pictures", order: "Order | list[list[int]]") -> Iterator[Batch]:
        return _load(pictures, order, self._config.data.workers, self._device, self._config.batch)


def _load(
    pictures: Dataset[tuple[Tensor, ...]], order: Iterable[list[int]], workers: int, device: torch.device, total: int
) -> Iterator[Batch]:
    """Loads the batches of these indices onto the device. total: composites of a whole batch, over all processes."""
    loader = DataLoader(
        pictures,
        batch_sampler=order,
        num_workers=workers,
        # Forked processes can hang once torch or OpenCV has started threads of its own.
        multiprocessing_context="forkserver" if workers else None,
        worker_init_fn=_one_thread if workers else None,
        pin_memory=device.type == "cuda",
    )
    for tensors in loader:
        yield Batch(*tensors, total=float(total)).to(device)  # type: ignore[misc]


class Order(Sampler[list[int]]):
    """Indices of the batches from `start` on, shuffled anew in each epoch; each process gets its part of each batch."""

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


class Pictures(Dataset[tuple[Tensor, ...]]):
    """Pictures of iHarmony4.

    An item is composite and real (3, S, S) in [-1, 1], mask (1, S, S) in [0, 1], regions int64 (S, S), and the kind,
    which is always OBJECT.
    """

    def __init__(self, chosen: list[Sample], config: TrainConfig) -> None:
        self._samples, self._size, self._maps = chosen, config.data.size, config.data.maps
        self._cache = ResizedCache(config.data.cache, config.data.size)
        self._needs_maps = config.model.slot == "srin"

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        sample = self._samples[index]
        composite, mask, real = self._cache.load(sample)
        regions = torch.zeros(mask.shape, dtype=torch.long)
        inside = np.count_nonzero(mask > 127)
        if self._needs_maps and 0 < inside < mask.size:
            pasted = Composite(composite, mask)
            if self._maps is None:
                made = fitted(pasted, draw(pasted, "colour"))
            else:
                labels = load_labels(map_path(self._maps, sample.composite), what="label map")
                made = build(pasted, enlarged_labels(labels, mask.shape), "precomputed")
            regions = torch.from_numpy(made.labels.astype(np.int64))
        pictures = (torch.from_numpy(x).permute(2, 0, 1).float() / 127.5 - 1 for x in (composite, real))
        return *pictures, torch.from_numpy(mask)[None].float() / 255, regions, torch.tensor(OBJECT)


def _one_thread(_: int) -> None:
    """Limits a worker to one thread, since the workers share the cores with the training itself."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
