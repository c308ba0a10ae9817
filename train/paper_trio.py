"""Trains the paper's baseline, BAIN and SRIN to the letter, side by side: same composites, batches, budget and tuning.

    python -m train.train paper_trio data.root=PHOTOS data.more=MORE

It trains in stages, with pictures that get larger. When started again with the same output_dir, it continues where it
stopped. Writes METHOD.safetensors (the moving averages), log.csv with the gain on held-out photos, and state_STEP.pt.
"""

import copy
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from srin.models.checkpoint import save_weights
from srin.models.config import ModelConfig, Slot
from srin.models.paper.unet import PaperNet
from train.config import TrainConfig, command, convert
from train.data.composites import Batch
from train.data.feed import PhotoFeed
from train.data.photos import fingerprint, load_photos
from train.objective import Objective, validate
from train.runs import check_alone, claim
from train.schedule import follow, learning_rate
from train.state import append_row, load_state, save_state

METHODS: dict[str, Slot] = {"paper-baseline": "rain", "paper-bain": "bain", "paper-srin": "srin"}
LOG_COLUMNS = ("size", "step", "composites", "method", "loss", "gain", "seconds")


@dataclass(frozen=True)
class Stage:
    """size: pixels of the square pictures. steps: updates. lr: the highest learning rate. descent: see `TrainConfig`."""

    size: int
    steps: int
    lr: float
    descent: float


@dataclass(frozen=True)
class PaperTrioConfig:
    """How the paper's three networks are trained.

    Attributes:
        base: the settings that all networks and stages share; its slot, data.size, steps, lr and descent are not used.
        stages: trained one after the other. licence: of the weights, stored in their files; depends on the photos'.
    """

    base: TrainConfig
    stages: tuple[Stage, ...]
    licence: str = ""

    def of_stage(self, number: int) -> TrainConfig:
        stage = self.stages[number]
        data = replace(self.base.data, size=stage.size)
        return replace(self.base, data=data, steps=stage.steps, lr=stage.lr, descent=stage.descent)

    def model(self, slot: Slot) -> ModelConfig:
        return replace(self.base.model, slot=slot)


@dataclass(frozen=True)
class _Own:
    """The settings of a config that `TrainConfig` doesn't have."""

    stages: tuple[Stage, ...]
    licence: str = ""


def load_trio(values: dict[str, Any]) -> PaperTrioConfig:
    """Converts and checks settings given as plain values. Raises ValueError as `train.config.convert`."""
    own = convert(_Own, {key: value for key, value in values.items() if key in _Own.__dataclass_fields__})
    base = convert(TrainConfig, {key: value for key, value in values.items() if key not in _Own.__dataclass_fields__})
    if base.model.preset != "paper" or base.data.kind != "photos" or not own.stages:
        raise ValueError("the trio is of preset paper, learns from photos with masks, and needs a stage at least")
    if base.accumulate != 1 or base.precision == "fp16" or not base.ema:
        raise ValueError("the trio is trained with accumulate=1, precision no or bf16, and a moving average")
    return PaperTrioConfig(base, own.stages, own.licence)


class Learner:
    """One network with its optimizer and its moving average."""

    def __init__(self, config: PaperTrioConfig, slot: Slot, device: torch.device) -> None:
        self._base = config.base
        torch.manual_seed(config.base.seed)
        # All three U-Nets start with the baseline's weights, however many random numbers the slot's layers take.
        unet = PaperNet(config.model("rain")).state_dict()
        network = PaperNet(config.model(slot))
        network.load_state_dict(unet, strict=False)
        self.network = network.to(device).train()
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.base.lr, weight_decay=config.base.weight_decay, fused=True
        )
        self._objective = Objective(self.network, config.base)
        self.loss = 0.0  # smoothed

    def step(self, batch: Batch, lr: float, number: int) -> None:
        """Makes one update. number: how many updates came before. Raises FloatingPointError."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(batch.mask.device.type, torch.bfloat16, enabled=self._base.precision == "bf16"):
            loss = self._objective(batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._base.clip or float("inf"))
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise FloatingPointError(
                f"the loss of {self.network.config.slot} or its gradient is not finite at step {number}; "
                "the last saved state is kept. Try a lower lr, or precision=no."
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        follow(self.average, self.network, min(self._base.ema, (1 + number) / (10 + number)))
        value = float(loss.detach())
        self.loss = value if number == 0 else 0.98 * self.loss + 0.02 * value

    def state(self) -> dict[str, Any]:
        network, average = self.network.state_dict(), self.average.state_dict()
        return {"network": network, "average": average, "optimizer": self.optimizer.state_dict(), "loss": self.loss}

    def load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss = state["loss"]


def paper_trio(config: PaperTrioConfig) -> None:
    """Trains until the end of the last stage or for `minutes`, whichever is shorter; continues what output_dir holds.

    Raises:
        SrinError: it is one of several processes. ValueError: data, settings or a state don't fit.
        FloatingPointError: a loss or a gradient is not finite. OSError: output_dir can't be written.
    """
    check_alone()
    base = config.base
    folder = base.output_dir
    claim(base, {"stages": [asdict(stage) for stage in config.stages]})
    began = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learners = {method: Learner(config, slot, device) for method, slot in METHODS.items()}
    state = load_state(folder, device)
    step, seconds = 0, 0.0
    if state is not None:
        for method, learner in learners.items():
            learner.load(state[method])
        step, seconds = state["step"], state["seconds"]
    notes = {
        "command": command(),
        "data": fingerprint(load_photos(base.data, "train")),
        "licence": config.licence,
        "settings": json.dumps(shared_settings(config)),
    }

    def elapsed() -> float:
        return seconds + time.monotonic() - began

    def save() -> None:
        values: dict[str, Any] = {method: learner.state() for method, learner in learners.items()}
        save_state(folder, step, values | {"step": step, "seconds": elapsed()}, base.keep)
        about = notes | {"steps": f"{step} of {total}", "images": str(step * base.batch), "seconds": f"{elapsed():.0f}"}
        for method, learner in learners.items():
            model, weights = learner.network.config, learner.average.state_dict()
            save_weights(folder / f"{method}.safetensors", model, weights, torch.float16, about)

    total = sum(stage.steps for stage in config.stages)
    bar = tqdm(total=total * base.batch, initial=step * base.batch, unit="composite", mininterval=1)
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(len(learners)) as pool:
        # The three are updated in parallel, which uses the cores better than one after the other.
        torch.set_num_threads(max(1, threads // len(learners)))
        try:
            first = 0
            for number, stage in enumerate(config.stages):
                if step >= first + stage.steps:
                    first += stage.steps
                    continue
                settings = config.of_stage(number)
                feed = PhotoFeed(settings, device, 0, 1)
                batches = feed.batches(step)
                while step < first + stage.steps:
                    if time.monotonic() - began >= 60 * base.minutes:
                        save()
                        print("Stopped; the same command goes on.", file=sys.stderr)
                        return
                    batch, lr = next(batches), learning_rate(step - first, stage.steps, settings)
                    list(pool.map(lambda learner: learner.step(batch, lr, step), learners.values()))  # noqa: B023
                    step += 1
                    bar.update(base.batch)
                    last = step == first + stage.steps
                    if step % base.evaluate_every == 0 or last:
                        gains = {}
                        for method, learner in learners.items():
                            ours, nothing, _ = validate(learner.average, feed)
                            gains[method] = f"{ours - nothing:+.2f} dB"
                            row = (stage.size, step, step * base.batch, method, learner.loss, ours - nothing, elapsed())
                            append_row(folder / "log.csv", LOG_COLUMNS, row)
                        bar.set_postfix(gains)
                    if step % base.save_every == 0 or last:
                        save()
                first += stage.steps
        finally:
            torch.set_num_threads(threads)
            bar.close()


def shared_settings(config: PaperTrioConfig) -> dict[str, object]:
    """The settings that the weights depend on, as plain values: without paths, limits, intervals and unused ones."""
    values = json.loads(json.dumps(asdict(config), default=str))
    for name in ("output_dir", "minutes", "init", "evaluate_every", "save_every", "keep", "steps", "lr", "descent"):
        values["base"].pop(name)
    for name in ("root", "more", "found", "cache", "workers", "size", "maps", "subsets"):
        values["base"]["data"].pop(name)
    return values
