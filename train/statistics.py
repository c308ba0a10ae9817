"""Collects the statistics of the units of many composites once, in shards on disk.

The encoder is frozen, so they never change, and slots and transforms can be fitted to them in minutes
(`train.side_by_side`). The loss needs no pixels either: the squared error of a colour transform on a set of pixels
follows from their second moments.
"""

import json
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import cv2
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from srin.models.config import FOREGROUND_REGIONS, ModelConfig
from srin.models.network import HarmonizationNet
from srin.models.units import WHOLES, Units, foreground_regions, measure, partition
from train.config import DataConfig
from train.data.composites import Composites, Maker
from train.data.photos import Photos, fingerprint, load_photos

SHARD = 2000  # composites in a file
BATCH = 10
CALIBRATION = 1000  # composites to whose late features the projection is fitted
UNIT_FIELDS = tuple(field.name for field in fields(Units))


@dataclass
class Collected:
    """Statistics of N composites.

    Attributes:
        units: stored as fp16, except for the areas.
        inputs: (N, R, 4, 4), for each foreground region the sum of x x^T over its pixels, divided by the number of all
            foreground pixels. x is (red, green, blue, 1) of the composite, in [-1, 1].
        products: (N, R, 4, 3), the same of x y^T, with y the truth's colours. truth: (N, R, 3, 3), the same of y y^T.
        kind: int64 (N,), see `train.data.composites.KINDS`.
    """

    units: Units
    inputs: Tensor
    products: Tensor
    truth: Tensor
    kind: Tensor

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, index: Tensor | slice) -> "Collected":
        """Some of the composites, in fp32."""
        units = Units(*(getattr(self.units, name)[index].float() for name in UNIT_FIELDS))
        return Collected(units, self.inputs[index], self.products[index], self.truth[index], self.kind[index])

    def to(self, device: torch.device) -> "Collected":
        units = Units(*(getattr(self.units, name).to(device) for name in UNIT_FIELDS))
        return Collected(units, *(x.to(device) for x in (self.inputs, self.products, self.truth, self.kind)))


def squared_error(transform: Tensor, collected: Collected) -> Tensor:
    """The mean squared error (N,), of colours in [0, 1] on the foreground, of transforms (N, 3, 4) or (N, R, 3, 4)."""
    inputs, products, truth = collected.inputs, collected.products, collected.truth
    if transform.ndim == 3 or transform.shape[1] == 1:
        transform = transform.view(len(transform), 1, 3, 4)
        inputs, products, truth = (x.sum(1, keepdim=True) for x in (inputs, products, truth))
    ours = ((transform @ inputs) * transform).sum((-1, -2))
    shared = (transform * products.mT).sum((-1, -2))
    total = (ours - 2 * shared + truth.diagonal(dim1=-2, dim2=-1).sum(-1)).sum(1)
    return total.clamp_min(0) / 3 / 4


def collect(config: DataConfig, part: str, seed: int, count: int, folder: Path, map_source: str = "colour") -> None:
    """Makes composites of a part's photos ("train" or "validation") and keeps their statistics in FOLDER.

    It continues where it stopped. Several processes make a shard each. The first run also fits the projection of late
    features to training photos, and keeps it in FOLDER/../projection.safetensors.

    Raises:
        ValueError: the folder holds statistics of other data, or as `load_photos`.
    """
    photos = load_photos(config, part)
    folder.mkdir(parents=True, exist_ok=True)
    places = ("root", "more", "found", "cache", "workers")  # the photos are known by their content
    shown = {name: str(value) for name, value in asdict(config).items() if name not in places}
    about = {"data": shown, "part": part, "seed": seed, "map": map_source, "photos": fingerprint(photos)}
    note = folder / "about.json"
    if note.exists() and json.loads(note.read_text()) != about:
        raise ValueError(f"{folder} holds statistics of other data or settings; choose another output_dir, or delete it")
    note.write_text(json.dumps(about))
    projection = folder.parent / "projection.safetensors"
    if not projection.exists():
        _fit_projection(photos if part == "train" else load_photos(config, "train"), config, seed, count, projection)
    missing = [first for first in range(0, count, SHARD) if not shard_path(folder, first).exists()]
    done = count - sum(min(SHARD, count - first) for first in missing)
    with (
        tqdm(total=count, initial=done, unit="composite", desc=f"{part} statistics", mininterval=1) as bar,
        # Not forked: that can hang once torch or OpenCV has started threads of its own.
        ProcessPoolExecutor(max(1, config.workers), get_context("spawn"), initializer=_end_with_parent) as pool,
    ):
        jobs = {
            pool.submit(_make_shard, config, part, seed, first, min(SHARD, count - first), folder, map_source): first
            for first in missing
        }
        for job in as_completed(jobs):
            bar.update(job.result())


def load_collected(folder: Path, count: int) -> Collected:
    """The statistics of the first `count` composites of a folder. Raises OSError if a shard is missing."""
    tensors: dict[str, Tensor] = {}
    for first in range(0, count, SHARD):
        # Copied shard by shard: concatenating all shards at the end would need twice the memory.
        for name, values in load_file(shard_path(folder, first)).items():
            if first == 0:
                tensors[name] = values.new_empty(count, *values.shape[1:])
            tensors[name][first : first + len(values)] = values[: count - first]
    return _from_tensors(tensors)


def shard_path(folder: Path, first: int) -> Path:
    """The file with the statistics of the composites from number `first` on."""
    return folder / f"statistics_{first // SHARD:04d}.safetensors"


def load_projection(network: HarmonizationNet, path: Path) -> None:
    """Loads a fitted projection into a network."""
    network.project.load_state_dict(load_file(path))


def save_projection(network: HarmonizationNet, path: Path) -> None:
    """Saves a network's projection for `load_projection`."""
    _save({name: value.detach().contiguous() for name, value in network.project.state_dict().items()}, path)


def of_batch(network: HarmonizationNet, composite: Tensor, real: Tensor, mask: Tensor, regions: Tensor) -> Collected:
    """The statistics of a batch, with all `kind` 0; arguments as in `train.data.composites.Batch`."""
    units = network.units(composite, mask, regions)
    labels = foreground_regions(mask, regions)
    names = torch.arange(FOREGROUND_REGIONS, device=mask.device)[:, None, None]
    inside = ((labels[:, None] == names) * mask).flatten(2)
    inside = inside / mask.sum((1, 2, 3)).clamp_min(1)[:, None, None]
    x = torch.cat([composite, torch.ones_like(mask)], 1).flatten(2)
    y = real.flatten(2)

    def moments(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("brp,bip,bjp->brij", inside, a, b)

    kind = torch.zeros(len(mask), dtype=torch.int64)
    return Collected(units, moments(x, x), moments(x, y), moments(y, y), kind)


def frozen_network(projection: Path | None) -> HarmonizationNet:
    """A network with the pretrained encoder, and the projection if one is given, to measure units with."""
    network = HarmonizationNet(ModelConfig(slot="rain")).eval()
    network.encoder.load_pretrained()
    if projection is not None:
        load_projection(network, projection)
    return network.to(memory_format=torch.channels_last)


def _batches(config: DataConfig, photos: Photos, seed: int, numbers: range, map_source: str) -> DataLoader[Any]:
    return DataLoader(Composites(Maker(photos, config, config.size), seed, numbers, map_source), BATCH)


@torch.inference_mode()
def _fit_projection(photos: Photos, config: DataConfig, seed: int, count: int, path: Path) -> None:
    network = frozen_network(None)
    found = []
    for composite, _, mask, regions, _ in _batches(config, photos, seed, range(min(count, CALIBRATION)), "colour"):
        weights = partition(mask, regions)[:, WHOLES]
        found.append(measure(network.encoder, composite, mask, weights).meaning.flatten(0, 1))
    network.calibrate_projection(torch.cat(found))
    save_projection(network, path)


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed: it would finish its shard and then wait forever otherwise."""
    parent = parent_process()
    assert parent is not None  # called in a worker alone

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@torch.inference_mode()
def _make_shard(config: DataConfig, part: str, seed: int, first: int, count: int, folder: Path, map_source: str) -> int:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    photos = load_photos(config, part)
    network = frozen_network(folder.parent / "projection.safetensors")
    shard: dict[str, Tensor] = {}
    done = 0
    for *tensors, kind in _batches(config, photos, seed, range(first, first + count), map_source):
        collected = of_batch(network, *tensors)
        collected.kind = kind
        # Copied into one preallocated tensor: many small tensors between large temporaries would fragment the memory.
        for name, values in _to_tensors(collected).items():
            if not done:
                shard[name] = values.new_empty(count, *values.shape[1:])
            shard[name][done : done + len(values)] = values
        done += len(kind)
    _save(shard, shard_path(folder, first))
    return count


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(tensors, part)
    os.replace(part, path)


def _to_tensors(collected: Collected) -> dict[str, Tensor]:
    units = {name: getattr(collected.units, name) for name in UNIT_FIELDS}
    halves = {f"units.{name}": x if name == "area" else x.half() for name, x in units.items()}
    others = {name: getattr(collected, name) for name in ("inputs", "products", "truth", "kind")}
    return {**halves, **others}


def _from_tensors(tensors: dict[str, Tensor]) -> Collected:
    units = Units(*(tensors[f"units.{name}"] for name in UNIT_FIELDS))
    return Collected(units, *(tensors[name] for name in ("inputs", "products", "truth", "kind")))
