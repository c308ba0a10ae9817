"""Trains baseline, BAIN and SRIN side by side: same composites, batches, budget and tuning, one pass over the encoder.

    python -m train.train shipped data.root=PHOTOS data.more=MORE
    python -m train.train shipped_further data.root=PHOTOS data.more=MORE    # goes on from it, with other composites

Statistics of the composites are collected first (`train.statistics`), then a head of each method is fitted to them, once
for every seed. When started again with the same output_dir, it continues where it stopped. Writes METHOD.safetensors with
the heads of all seeds, METHOD_seed_N.safetensors with one head each, and log.csv. The files of the controls,
uniform=true and map_source=voronoi, have the control in their names.
"""

import copy
import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from srin.models.checkpoint import load_weights, save_weights
from srin.models.config import ModelConfig
from srin.models.network import HarmonizationNet, Head
from train.config import DataConfig, command
from train.data.composites import KINDS, UNCHANGED
from train.runs import check_alone, notes_of
from train.schedule import follow
from train.state import append_row, load_state, save_state
from train.statistics import (
    Collected,
    collect,
    frozen_network,
    load_collected,
    save_projection,
    squared_error,
)

METHODS = {"baseline": "rain", "bain": "bain", "srin": "srin"}
FLOOR = 1e-5  # squared error, as a share of the squared range, below which nothing is left to learn
SCORE_FLOOR = 0.05 / 255**2
CALIBRATION = 4000  # composites by whose statistics a new head is calibrated
# Two orthonormal directions in RGB, both orthogonal to grey, which span the chroma plane.
OPPONENT = torch.tensor([[0.5**0.5, -(0.5**0.5), 0.0], [6**-0.5, 6**-0.5, -2 * 6**-0.5]])
LOG_COLUMNS = ("seed", "step", "method", "loss", "gain", *(f"gain: {kind}" for kind in KINDS[1:]), "seconds")


@dataclass(frozen=True)
class SideBySideConfig:
    """How the three are trained.

    Attributes:
        output_dir: folder for statistics, weights, the resumable state and the log.
        data: the photos to make composites from. working_size: of the weights, see `ModelConfig`. It is larger than
            `data.size`, because a composite shows only a part of a photo: whole photos need more pixels for that scale.
        start: the folder of a run's METHOD.safetensors, whose heads are trained further; None: fresh heads.
        composites, held_out: how many to train on, and to validate on. seed: of the composites.
        seeds: one head of each method is fitted for every one of them.
        passes: over all composites. batch: composites a step. lr: the highest. weight_decay: of AdamW. ema: decay of the
            averaged weights that are kept.
        chroma: weight of the penalty on a systematic loss or gain of chroma, see `chroma_bias`.
        kind_weights: weight of a composite of each kind in the loss, by the names in `train.data.composites.KINDS`; 1 for
            kinds not named.
        uniform: fit controls, whose lenders lend by area alone; they show what the slot contributes.
        map_source: "colour", or "voronoi", a control: see `train.data.composites.drawn_map`.
        licence: of the weights, stored in their files; depends on the photos'.
        minutes: stop (resumably) after this long.
    """

    output_dir: Path
    data: DataConfig
    start: Path | None = None
    working_size: int = 224
    composites: int = 300_000
    held_out: int = 2000
    seed: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)
    passes: int = 4
    batch: int = 384
    lr: float = 2e-3
    weight_decay: float = 0.02
    ema: float = 0.998
    chroma: float = 0.15
    kind_weights: dict[str, float] = field(default_factory=lambda: {"object": 1.5})
    uniform: bool = False
    map_source: str = "colour"
    licence: str = ""
    minutes: float = 1e9

    def __post_init__(self) -> None:
        unknown = set(self.kind_weights) - set(KINDS)
        if unknown:
            raise ValueError(f"kind_weights: there is no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")

    def weights(self) -> list[float]:
        """`kind_weights`, in the order of KINDS."""
        return [self.kind_weights.get(kind, 1.0) for kind in KINDS]


def side_by_side(config: SideBySideConfig) -> None:
    """Collects the statistics, fits the heads, and writes the weights.

    Raises:
        SrinError: it is one of several processes. ValueError: data or settings don't fit. FloatingPointError: a loss is
            not finite. OSError: output_dir can't be written.
    """
    check_alone()
    began = time.monotonic()
    config.output_dir.mkdir(parents=True, exist_ok=True)
    begun = _begun(config)
    folders = {part: config.output_dir / f"{part}{_maps(config)}" for part in ("validation", "train")}
    collect(config.data, "validation", config.seed + 1, config.held_out, folders["validation"], config.map_source)
    collect(config.data, "train", config.seed, config.composites, folders["train"], config.map_source)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = load_collected(folders["train"], config.composites)
    held_out = load_collected(folders["validation"], config.held_out).to(device)
    heads: dict[str, list[Head]] = {method: [] for method in METHODS}
    for seed in config.seeds:
        fitted = _fit(config, seed, begun, training, held_out, device, began + 60 * config.minutes)
        if fitted is None:
            print("Stopped; the same command goes on.", file=sys.stderr)
            return
        for method, head in fitted.items():
            heads[method].append(head)
    notes = {
        "command": command(),
        "data": json.loads((folders["train"] / "about.json").read_text())["photos"],
        "licence": config.licence,
        "settings": json.dumps(shared_settings(config)),
    }
    if begun is not None:
        notes["start"] = begun.about
    for method, found in heads.items():
        name = f"{method}{control(config)}"
        for seed, head in zip(config.seeds, found, strict=True):
            _write(config, f"{name}_seed_{seed}", method, [head], notes)
        _write(config, name, method, found, notes)


def control(config: SideBySideConfig) -> str:
    """The suffix of a control's file names; "" if the run is no control."""
    return _maps(config) + ("_uniform" if config.uniform else "")


def _maps(config: SideBySideConfig) -> str:
    return "" if config.map_source == "colour" else f"_{config.map_source}"


def shared_settings(config: SideBySideConfig) -> dict[str, object]:
    """The settings that the weights depend on, as plain values: without paths, workers and the time limit."""
    values = json.loads(json.dumps(asdict(config), default=str))
    for name in ("output_dir", "start", "minutes"):
        values.pop(name)
    for name in ("root", "more", "found", "cache", "workers"):
        values["data"].pop(name)
    return values


@dataclass(frozen=True)
class _Begun:
    """The run in `SideBySideConfig.start`. heads: for each method, in the order of the seeds. about: the notes of its
    files, as JSON. digest: a hash of their content.
    """

    heads: dict[str, list[Head]]
    about: str
    digest: str


def _begun(config: SideBySideConfig) -> _Begun | None:
    """Reads `config.start`, and copies its projection of late features. Raises ValueError, WeightsError."""
    if config.start is None:
        return None
    files = {method: config.start / f"{method}{control(config)}.safetensors" for method in METHODS}
    networks = {}
    for method, path in files.items():
        network = load_weights(path).requires_grad_(True)
        if not isinstance(network, HarmonizationNet) or network.config.slot != METHODS[method]:
            raise ValueError(f"{path} doesn't hold the heads of {method}")
        if len(network.heads) != len(config.seeds):
            raise ValueError(f"{path} has {len(network.heads)} heads; {len(config.seeds)} seeds can't go on from them")
        networks[method] = network
    about = notes_of(files["srin"])
    if json.loads(about.get("settings", "{}")).get("seed") == config.seed:
        raise ValueError(f"{config.start} has learnt from the composites of seed {config.seed}; choose another seed")
    projections = [network.project.state_dict() for network in networks.values()]
    if any(not torch.equal(one[name], projections[0][name]) for one in projections for name in one):
        raise ValueError(f"the files in {config.start} were not trained side by side: their projections differ")
    path = config.output_dir / "projection.safetensors"
    if not path.exists():
        save_projection(networks["srin"], path)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files.values())).hexdigest()
    heads = {method: list(network.heads) for method, network in networks.items()}
    return _Begun(heads, json.dumps(about), digest)  # type: ignore[arg-type]


def _write(config: SideBySideConfig, name: str, method: str, heads: list[Head], notes: dict[str, str]) -> None:
    model = ModelConfig(slot=METHODS[method], members=len(heads), working_size=config.working_size)  # type: ignore[arg-type]
    network = HarmonizationNet(model)
    measured = frozen_network(config.output_dir / "projection.safetensors")
    network.encoder.load_state_dict(measured.encoder.state_dict())
    network.project.load_state_dict(measured.project.state_dict())
    for mine, fitted in zip(network.heads, heads, strict=True):
        mine.load_state_dict(fitted.state_dict())
    save_weights(config.output_dir / f"{name}.safetensors", model, network.state_dict(), torch.float16, notes)


def _fit(
    config: SideBySideConfig,
    seed: int,
    begun: _Begun | None,
    training: Collected,
    held_out: Collected,
    device: torch.device,
    until: float,
) -> dict[str, Head] | None:
    """Fits one head of each method; None if the time was up and the state was saved."""
    folder = config.output_dir / f"fit_{_digest(config, begun)}_{seed}"
    folder.mkdir(exist_ok=True)
    heads = {}
    usual = training.take(slice(0, CALIBRATION)).units
    for method, slot in METHODS.items():
        if begun is None:
            torch.manual_seed(seed)
            heads[method] = Head(ModelConfig(slot=slot)).to(device)  # type: ignore[arg-type]
            heads[method].calibrate(usual)
        else:
            heads[method] = copy.deepcopy(begun.heads[method][config.seeds.index(seed)]).to(device)
    averages = copy.deepcopy(heads)
    steps_a_pass = len(training) // config.batch
    steps = config.passes * steps_a_pass
    optimizers = {
        m: torch.optim.AdamW(h.parameters(), config.lr, weight_decay=config.weight_decay) for m, h in heads.items()
    }
    parts: dict[str, Any] = {"head": heads, "average": averages, "optimizer": optimizers}
    step, seconds = 0, 0.0
    state = load_state(folder, device)
    if state is not None:
        for method in METHODS:
            for part, kept in parts.items():
                kept[method].load_state_dict(state[method][part])
        step, seconds = state["step"], state["seconds"]
        torch.set_rng_state(state["random"].cpu())
    else:
        torch.manual_seed(seed)
    began = time.monotonic()

    def save() -> None:
        state = {method: {part: kept[method].state_dict() for part, kept in parts.items()} for method in METHODS}
        values = {**state, "step": step, "seconds": seconds + time.monotonic() - began, "random": torch.get_rng_state()}
        save_state(folder, step, values, 1)

    losses = dict.fromkeys(METHODS, 0.0)
    order = torch.empty(0)
    gains: dict[str, float] = {}
    with tqdm(total=steps, initial=step, unit="step", desc=f"seed {seed}", mininterval=1) as bar:
        while step < steps:
            if step % steps_a_pass == 0 or not len(order):
                generator = torch.Generator().manual_seed((seed << 20) + step // steps_a_pass)
                order = torch.randperm(len(training), generator=generator)
            place = step % steps_a_pass * config.batch
            batch = training.take(order[place : place + config.batch]).to(device)
            decay = min(config.ema, (1 + step) / (20 + step))
            for method, head in heads.items():
                for group in optimizers[method].param_groups:
                    group["lr"] = config.lr * learning_rate_share(step, steps)
                optimizers[method].zero_grad(set_to_none=True)
                transforms = head.train()(batch.units, config.uniform).regions
                loss = objective(transforms, batch, config.chroma, config.weights())
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"the loss of {method} is not finite at step {step}; try a lower lr")
                loss.backward()
                nn.utils.clip_grad_norm_(head.parameters(), 1.0)
                optimizers[method].step()
                losses[method] = 0.98 * losses[method] + 0.02 * float(loss.detach())
                follow(averages[method], head, decay)
            step += 1
            bar.update()
            if step % steps_a_pass == 0:
                for method, head in averages.items():
                    found = gain_by_kind(head.eval(), held_out, config.uniform)
                    gains[method] = found[0]
                    row = (seed, step, method, losses[method], *found, seconds + time.monotonic() - began)
                    append_row(config.output_dir / f"log{control(config)}.csv", LOG_COLUMNS, row)
                save()
            bar.set_postfix({method: f"{gain:+.2f} dB" for method, gain in gains.items()})
            if time.monotonic() > until and step < steps:
                save()
                return None
    return {method: head.eval() for method, head in averages.items()}


def learning_rate_share(step: int, steps: int) -> float:
    """The share of the highest learning rate: a linear rise over the first tenth, then a cosine down to 0."""
    rise = 0.1 * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (step - rise) / (steps - rise)))))


def objective(transforms: Tensor, collected: Collected, chroma: float, weights: list[float]) -> Tensor:
    """The loss: the mean over composites of the root of the squared error, plus the weighted bias of chroma.

    With the root, easy composites count as much as hard ones, as they do in the score.

    Args:
        transforms: (N, R, 3, 4), or (N, 1, 3, 4) of the whole foreground.
        chroma: see `SideBySideConfig`. weights: the weight of a composite of each of KINDS.
    """
    error = (squared_error(transforms, collected) + FLOOR).sqrt()
    weight = error.new_tensor(weights)[collected.kind]
    return (weight * error).mean() + chroma * chroma_bias(transforms, collected)


def chroma_bias(transforms: Tensor, collected: Collected) -> Tensor:
    """The mean absolute bias of the harmonized foregrounds' chroma, over thirds of the composites by true chroma.

    A mean of likely answers is greyer than any of them. This term asks for the right amount of colour, on average, among
    grey, coloured and saturated foregrounds. Chroma is the root mean square distance from grey, in [0, 1].
    """
    inputs, truth = collected.inputs, collected.truth.sum(1)
    if transforms.shape[1] == 1:
        inputs = inputs.sum(1, keepdim=True)
    ours = (transforms @ inputs @ transforms.mT).sum(1)
    opponent = OPPONENT.to(ours.device)

    def rms(moments: Tensor) -> Tensor:
        return ((opponent @ moments) * opponent).sum((-1, -2)).clamp_min(1e-8).sqrt() / 2

    true = rms(truth)
    off = rms(ours) - true
    third = torch.argsort(true).argsort() * 3 // len(true)
    return torch.stack([off[third == i].mean().abs() for i in range(3)]).mean()


@torch.inference_mode()
def gain_by_kind(head: Head, collected: Collected, uniform: bool = False) -> list[float]:
    """Gain in fPSNR over the composites, in dB: over all composites except unchanged ones, then for each other kind."""
    ours, nothing = scores(head, collected, uniform)
    gain = ours - nothing
    kinds = [kind for kind in range(len(KINDS)) if kind != UNCHANGED]
    return [float(gain[collected.kind != UNCHANGED].mean()), *(float(gain[collected.kind == k].mean()) for k in kinds)]


@torch.inference_mode()
def scores(head: Head, collected: Collected, uniform: bool = False) -> tuple[Tensor, Tensor]:
    """fPSNR (N,) in dB, of a head's results and of the composites themselves."""
    found = []
    for first in range(0, len(collected), 500):
        part = collected.take(slice(first, first + 500))
        found.append(squared_error(head(part.units, uniform).regions, part))
    identity = torch.eye(3, 4, device=collected.kind.device).expand(len(collected), 3, 4)
    errors = torch.cat(found), squared_error(identity, collected.take(slice(None)))
    ours, nothing = (-10 * error.clamp_min(SCORE_FLOOR).log10() for error in errors)
    return ours, nothing


def _digest(config: SideBySideConfig, begun: _Begun | None) -> str:
    settings = {name: value for name, value in shared_settings(config).items() if name != "seeds"}
    text = json.dumps(settings, sort_keys=True) + ("" if begun is None else begun.digest)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
