"""Trains variants of the method under the same conditions, and reports how much each part contributes.

    python -m train.ablation ablation data.root=PHOTOS
    python -m train.ablation ablation data.root=PHOTOS groups.default=null seeds=[0]     # without a group; one seed

Besides training settings, a config has variants (the settings that each one changes), groups of variants that are
compared with each other and with the group's reference, and seeds. All variants have the same data, budget and tuning:
they may change only model and init.

Every variant is trained with every seed in output_dir/VARIANT/seed_N. When started again, it skips finished runs and
continues where it stopped; minutes= stops it after that long. When all are done, they are scored on the same composites
of held-out photos, and those with SRIN also with another picture's map and with a map of one region. Writes ablation.md
and ablation.json into output_dir.
"""

import json
import re
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from srin.errors import SrinError
from srin.image_io import write_whole
from srin.models.checkpoint import load_weights
from train.config import DataConfig, TrainConfig, command_line, convert, merged, read_settings
from train.data.composites import Batch, Composites, Maker
from train.data.feed import VALIDATION_BATCH, VALIDATION_SEED
from train.data.photos import load_photos
from train.evaluation.markdown import section
from train.evaluation.methods import MAP_KINDS, MapKind
from train.evaluation.summary import intervals
from train.objective import fpsnr, has_task
from train.runs import check_place, claim
from train.train import start, train

if TYPE_CHECKING:
    from srin.models import Network

FREE = ("model.", "init")  # settings that variants may change
BATCHES = 40  # of composites that variants are scored on
Gains = dict[MapKind, np.ndarray]  # (seeds, composites) in dB, by map


@dataclass(frozen=True)
class Group:
    """Variants by name, and the reference among them that the others are compared with."""

    reference: str
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Variants:
    """What a config holds besides training settings, see the module's docstring. A group set to null is left out."""

    variants: dict[str, dict[str, Any]]
    groups: dict[str, Group | None]
    seeds: tuple[int, ...] = (0, 1, 2)


@dataclass(frozen=True)
class Ablation:
    """A checked ablation.

    Attributes:
        base: the settings that all variants share; its output_dir holds all runs. groups: without those left out.
        runs: for each variant in a group, one config for every seed.
    """

    base: TrainConfig
    groups: dict[str, Group]
    runs: dict[str, list[TrainConfig]]


def load_ablation(name: str, changes: list[str]) -> Ablation:
    """Reads a config as `train.config.load_config` does, and checks all of it before the long training begins.

    Raises:
        ValueError: a setting is wrong, or a variant doesn't fit the weights that it starts from; the message names it.
    """
    values = read_settings(name, changes)
    own = [key for key in values if key in Variants.__dataclass_fields__]
    listed = convert(Variants, {key: values.pop(key) for key in own})
    base = convert(TrainConfig, values)
    if base.data.kind != "photos":
        raise ValueError("data.kind: variants are compared on composites made of photos")
    if not listed.seeds or len(set(listed.seeds)) < len(listed.seeds):
        raise ValueError(f"seeds must be different numbers, not {list(listed.seeds)}")
    configs = {}
    for variant, change in listed.variants.items():
        if not re.fullmatch(r"[\w-]+", variant):
            raise ValueError(f"variants.{variant}: a name of letters, digits, - and _ is needed, it becomes a folder's")
        try:
            configs[variant] = _changed(values, change)
        except ValueError as error:
            raise ValueError(f"variants.{variant}: {error}") from error
    groups = {name: group for name, group in listed.groups.items() if group is not None}
    for name, group in groups.items():
        unknown = [variant for variant in group.variants if variant not in configs]
        if unknown:
            known = ", ".join(configs)
            raise ValueError(f"groups.{name}.variants: there is no variant {', '.join(unknown)}; there are {known}")
        if group.reference not in group.variants:
            raise ValueError(f"groups.{name}.reference: {group.reference!r} is none of the group's variants")
    wanted = dict.fromkeys(variant for group in groups.values() for variant in group.variants)
    if not wanted:
        raise ValueError("groups: there is no variant to train")
    runs = {}
    for variant in wanted:
        try:
            start(configs[variant])
        except (ValueError, SrinError) as error:
            raise ValueError(f"variants.{variant}: {error}") from error
        folder = base.output_dir / variant
        runs[variant] = [replace(configs[variant], seed=s, output_dir=folder / f"seed_{s}") for s in listed.seeds]
    return Ablation(base, groups, runs)


def _changed(values: dict[str, Any], change: dict[str, Any]) -> TrainConfig:
    config = convert(TrainConfig, merged(values, change))
    for key in _keys(change):
        if not key.startswith(FREE):
            raise ValueError(f"{key} may not change: all variants have the same data, budget and tuning")
    return config


def _keys(change: dict[str, Any], prefix: str = "") -> list[str]:
    """Names of all changed settings, such as model.slot."""
    names: list[str] = []
    for key, value in change.items():
        names += _keys(value, f"{prefix}{key}.") if value and isinstance(value, dict) else [prefix + key]
    return names


def train_all(ablation: Ablation) -> bool:
    """Trains all unfinished runs, for at most `minutes` in total. Returns whether all runs are finished.

    Raises as `train.train.train`, and ValueError if a folder holds a run with other settings.
    """
    end = time.monotonic() + 60 * ablation.base.minutes
    # Seed by seed, so that stopping early leaves complete comparisons.
    seeds = len(next(iter(ablation.runs.values())))
    runs = [(name, configs[i]) for i in range(seeds) for name, configs in ablation.runs.items()]
    check_place(ablation.base.output_dir, ablation.base.data)
    for _, config in runs:
        claim(config)
    for number, (name, config) in enumerate(runs):
        if _finished(config):
            continue
        left = (end - time.monotonic()) / 60
        if left > 0:
            print(f"{name}, seed {config.seed} ({number + 1} of {len(runs)})", file=sys.stderr)
            train(replace(config, minutes=left))
        if not _finished(config):
            print(f"Stopped; {number} of {len(runs)} runs are finished. The same command goes on.")
            return False
    return True


def _finished(config: TrainConfig) -> bool:
    path = config.output_dir / "weights.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata().get("steps") == f"{config.steps} of {config.steps}"
    except (OSError, SafetensorError):  # none, or one that is cut
        return False


@torch.inference_mode()
def score(ablation: Ablation) -> tuple[dict[str, Gains], dict[str, int]]:
    """Gains in fPSNR over copy-paste for each composite, and numbers of parameters, both by variant."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batches = held_out(ablation.base.data, device)
    gains: dict[str, Gains] = {}
    parameters = {}
    for name, configs in tqdm(ablation.runs.items(), unit="variant"):
        networks = [load_weights(config.output_dir / "weights.safetensors", device) for config in configs]
        parameters[name] = sum(parameter.numel() for parameter in networks[0].parameters())
        gains[name] = {
            kind: np.stack([_gains(network, batches, kind) for network in networks])
            for kind in (MAP_KINDS if configs[0].model.slot == "srin" else MAP_KINDS[:1])
        }
    return gains, parameters


def held_out(config: DataConfig, device: torch.device) -> list[Batch]:
    """The composites of held-out photos that variants are scored on."""
    maker = Maker(load_photos(config, "validation"), config, config.size)
    composites = Composites(maker, VALIDATION_SEED, range(BATCHES * VALIDATION_BATCH))
    return [
        Batch(composite, real, mask, regions, kind, VALIDATION_BATCH).to(device)
        for composite, real, mask, regions, kind in DataLoader(composites, VALIDATION_BATCH)
    ]


def _gains(network: "Network", batches: list[Batch], kind: MapKind) -> np.ndarray:
    found = []
    for batch in batches:
        output = network(batch.composite, batch.mask, _regions(batch, kind))
        found.append((fpsnr(output, batch) - fpsnr(batch.composite, batch))[has_task(batch)])
    return torch.cat(found).double().cpu().numpy()


def _regions(batch: Batch, kind: MapKind) -> Tensor:
    """The batch's own maps; those of other composites, split at its own masks; or one region on each side."""
    inside = (batch.mask[:, 0] > 0.5).long()
    if kind == "shuffled":
        cut = 2 * batch.regions.roll(1, 0) + inside
        return torch.stack([labels.unique(return_inverse=True)[1] for labels in cut])
    return inside if kind == "one-region" else batch.regions


def summary(ablation: Ablation, gains: dict[str, Gains], parameters: dict[str, int]) -> dict[str, Any]:
    """The content of ablation.json: means, intervals and each seed's means, of gains and paired differences, in dB."""
    base = ablation.base
    true = {name: by_map["true"] for name, by_map in gains.items()}
    return {
        "composites": next(iter(true.values())).shape[1],
        "size": base.data.size,
        "steps": base.steps,
        "batch": base.batch * base.accumulate,
        "seeds": [config.seed for config in next(iter(ablation.runs.values()))],
        "groups": {
            group_name: {
                "reference": group.reference,
                "variants": {
                    name: {
                        "parameters": parameters[name],
                        "gain": _statistics(true[name]),
                        "difference": _statistics(true[name] - true[group.reference]),
                    }
                    for name in group.variants
                },
            }
            for group_name, group in ablation.groups.items()
        },
        "maps": {
            name: {kind: _statistics(by_map[kind] - by_map["true"]) for kind in MAP_KINDS[1:]}
            for name, by_map in gains.items()
            if len(by_map) > 1
        },
    }


def _statistics(values: np.ndarray) -> dict[str, Any]:
    """Mean, interval, and the means by seed, of values (seeds, composites)."""
    low, high = intervals(values.mean(0)[:, None])
    return {"mean": values.mean(), "low": low[0], "high": high[0], "seeds": values.mean(1).tolist()}


def report(found: dict[str, Any]) -> str:
    """A summary as Markdown."""
    seeds = ", ".join(map(str, found["seeds"]))
    parts = [
        f"# Ablations\n\nGain in fPSNR over copy-paste, in dB, on {found['composites']} composites of held-out photos at "
        f"{found['size']} px. Every network: {found['steps']} steps of {found['batch']} composites, the same ones for "
        f"the same seed. Means over seeds {seeds}, in brackets their 95 % bootstrap interval over composites, which says "
        "nothing about seeds: the last columns show those. Differences are paired, composite by composite."
    ]
    for name, group in found["groups"].items():
        reference = group["reference"]
        rows = [
            [
                variant,
                f"{entry['parameters'] / 1e6:.2f} M",
                _bracketed(entry["gain"], ".2f"),
                "" if variant == reference else _bracketed(entry["difference"], "+.3f"),
                ", ".join(f"{value:.2f}" for value in entry["gain"]["seeds"]),
                "" if variant == reference else ", ".join(f"{value:+.3f}" for value in entry["difference"]["seeds"]),
            ]
            for variant, entry in group["variants"].items()
        ]
        header = ["variant", "parameters", "gain", f"difference from {reference}", "gain by seed", "difference by seed"]
        parts.append(section(name, header, rows))
    if found["maps"]:
        rows = [
            [variant, *(_bracketed(by_map[kind], "+.3f") for kind in MAP_KINDS[1:])]
            for variant, by_map in found["maps"].items()
        ]
        header = ["variant", "another picture's map", "one region"]
        parts.append(section("What the map does: difference from the true one", header, rows))
    return "\n\n".join(parts) + "\n"


def _bracketed(statistics: dict[str, Any], form: str) -> str:
    mean, low, high = (format(statistics[key], form) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def ablate(ablation: Ablation) -> None:
    """Trains; when all runs are finished, scores them, and writes and prints the report.

    Raises as `train_all`, and OutputError.
    """
    if not train_all(ablation):
        return
    found = summary(ablation, *score(ablation))
    text = report(found)
    write_whole(text.encode(), ablation.base.output_dir / "ablation.md")
    write_whole((json.dumps(found, indent=1) + "\n").encode(), ablation.base.output_dir / "ablation.json")
    print(text)


def main() -> None:
    command_line("train.ablation", __doc__, ablate, load_ablation)


if __name__ == "__main__":
    main()
