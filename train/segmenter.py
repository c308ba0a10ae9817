"""Trains the embedded segmenter: masks from clicks, boxes, and from no prompt at all.

    python -m train.segmenter segmenter data.root=PHOTOS data.more=MORE
    python -m train.segmenter segmenter_further data.root=PHOTOS data.more=MORE    # goes on from it, with more boxes

When started again with the same output_dir, it continues where it stopped. It writes weights.safetensors (the moving
average), state_STEP.pt (the state to continue from) and log.csv. Each takes an hour or two on one core of a CPU.
"""

import contextlib
import copy
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from srin.models.checkpoint import save_weights
from srin.segmentation.candidate import overlap
from srin.segmentation.embedded import picture_tensor
from srin.segmentation.network import ANSWERS, Features, Prompts, SegmenterConfig, SegmenterNet, load_segmenter
from train.config import DataConfig, command, command_line, convert, read_settings
from train.data.photos import Photos, fingerprint, load_photos
from train.data.prompts import CELL, Clicks, Crops, correction, kinds, place
from train.runs import check_place, notes_of
from train.schedule import follow
from train.state import append_row, load_state, save_state

VALIDATION_SIDE = 384  # pixels of the longer side
DATA_SETTINGS = ("photo_side", "source_weights", "part_weights", "leave_out")  # settings under data that are used here
LOG_COLUMNS = ("step", "loss", "one_click", "three_clicks", "box", "subject", "seconds")


@dataclass(frozen=True)
class SegmenterTrainConfig:
    """How the embedded segmenter is trained.

    Attributes:
        output_dir: folder for weights, the resumable state and the log.
        data: photos with masks; its `size`, `free_masks`, `loose_masks` and `workers` are not used here.
        subjects: sources whose photos have one main object.
        shapes: height and width of a batch's crops, drawn anew for each batch; multiples of 32.
        start: a weights file that training begins with; None: the pretrained encoder and a fresh decoder.
        batch: crops a step. prompts: for each crop. boxes: share of the prompts with a box. rounds: corrections without
            gradients between the first prompt and the last one; one of these numbers is drawn for each step.
        steps: updates. lr: of the decoder, AdamW; warmed up, then falling to 0 along a cosine. encoder_lr: of the
            encoder's stages from `first_stage` on; those before are frozen.
        ema: decay of the averaged weights that are saved. clip: largest norm of the gradient.
        precision: "bf16" or "no" (fp32). seed: of everything random. minutes: stop (resumably) after this long.
        evaluate_every, save_every: steps. keep: states that are kept. licence: noted in the weights.
    """

    output_dir: Path
    data: DataConfig
    network: SegmenterConfig = SegmenterConfig()
    subjects: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ((256, 256), (224, 320), (320, 224))
    start: Path | None = None
    batch: int = 8
    prompts: int = 6
    boxes: float = 0.28
    rounds: tuple[int, ...] = (0, 0, 1, 1, 3)
    steps: int = 3000
    lr: float = 1.5e-3
    encoder_lr: float = 1.5e-4
    first_stage: int = 3
    weight_decay: float = 1e-2
    warm_up: int = 100
    ema: float = 0.998
    clip: float = 1.0
    precision: str = "bf16"
    seed: int = 0
    minutes: float = 1e9
    evaluate_every: int = 500
    save_every: int = 100
    keep: int = 2
    licence: str = ""


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """(N,): normalized focal loss (Sofiiuk et al., 2019) and a soft Dice. logits, truth: (N, h, w)."""
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    weight = (p - truth).detach() ** 2
    focal = (weight * entropy).sum((1, 2)) / (weight.sum((1, 2)) + 1e-3)
    dice = 1 - (2 * (p * truth).sum((1, 2)) + 1) / (p.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return focal + dice


def answers_loss(logits: Tensor, quality: Tensor, truth: Tensor, single: Tensor) -> Tensor:
    """The loss over N prompts: of the first answer, of the best other answer for single clicks, and of the quality.

    logits (N, ANSWERS, h, w), quality (N, ANSWERS), truth (N, h, w), single: bool (N,).
    """
    loss = mask_loss(logits[:, 0], truth).mean()
    if single.any():
        clicked, wanted = logits[single, 1:], truth[single]
        others = torch.stack([mask_loss(clicked[:, k], wanted) for k in range(ANSWERS - 1)], 1)
        loss = loss + (0.5 * others.amin(1) + 0.02 * others.mean(1)).mean() * single.float().mean()
    with torch.no_grad():
        found, meant = logits > 0, (truth > 0.5)[:, None]
        overlap = (found & meant).sum((2, 3)) / (found | meant).sum((2, 3)).clamp(min=1)
    counts = torch.ones_like(quality)
    counts[~single, 1:] = 0
    return loss + ((quality.sigmoid() - overlap) ** 2 * counts).sum() / counts.sum()


def prompts_of(clicks: Clicks, previous: Tensor) -> Prompts:
    # torch.tensor copies, since more clicks are added before the backward pass.
    return Prompts(torch.tensor(clicks.points), torch.tensor(clicks.labels), torch.tensor(clicks.boxes), previous)


def step_loss(network: SegmenterNet, crops: Crops, config: SegmenterTrainConfig, step: int) -> Tensor:
    """The loss of one step. Its data depend only on the step and the seed."""
    rng = np.random.default_rng((config.seed, step))
    shape = config.shapes[rng.integers(len(config.shapes))]
    drawn = [crops.draw(rng, (shape[0], shape[1])) for _ in range(config.batch)]
    wanted = [[*kinds(crop, rng, config.prompts, config.boxes)] for crop in drawn]
    truth = np.stack([crop.masks[number] for crop, some in zip(drawn, wanted, strict=True) for number, _ in some])
    clicks = Clicks(truth, rng)
    for number, (_, kind) in enumerate(one for some in wanted for one in some):
        clicks.begin(number, kind)
    target = torch.from_numpy(truth)
    owners = torch.arange(config.batch).repeat_interleave(config.prompts)
    with _precision(config):
        features = network.encode(picture_tensor(np.stack([crop.picture for crop in drawn]))).of(owners)
        previous = torch.zeros(len(truth), 1, *truth.shape[1:])
        logits, quality = network(features, prompts_of(clicks, previous))
    total = answers_loss(logits, quality, target, torch.tensor(clicks.single))
    rounds = int(rng.choice(config.rounds))
    for number in range(rounds + 1):
        # A person is shown the answer with the highest quality for a single click, else the first.
        shown = quality.argmax(1) if number == 0 else torch.zeros(len(truth), dtype=torch.int64)
        shown[~torch.tensor(clicks.single)] = 0
        chosen = logits.detach()[torch.arange(len(truth)), shown]
        clicks.correct((chosen > 0).numpy())
        prompts = prompts_of(clicks, chosen.sigmoid()[:, None])
        learnt = number == rounds
        with torch.set_grad_enabled(learnt), _precision(config):
            now = features if learnt else Features(*(level.detach() for level in features))
            logits, quality = network(now, prompts)
    return total + answers_loss(logits, quality, target, torch.tensor(clicks.single))


def _precision(config: SegmenterTrainConfig) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if config.precision == "bf16" else contextlib.nullcontext()


@torch.inference_mode()
def validate(network: SegmenterNet, photos: Photos, config: SegmenterTrainConfig) -> dict[str, float]:
    """Mean IoU on held-out photos, averaged within sources first: for one click, three clicks, a box, and the subject."""
    crops = Crops(photos, {}, {}, config.subjects)
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in LOG_COLUMNS[2:6]}
    for photo in range(len(photos)):
        height, width = photos.sizes[photo]
        scale = VALIDATION_SIDE / max(height, width)
        size = tuple(max(32, round(length * scale / 32) * 32) for length in (height, width))
        picture = cv2.resize(photos.image(photo), size[::-1], interpolation=cv2.INTER_LINEAR)
        masks = [photos.mask(photo, k) for k in range(photos.masks[photo]) if crops.is_one_thing(photo, k)]
        if not masks:
            continue
        with _precision(config):
            features = network.encode(picture_tensor(picture[None]))
        for number, mask in enumerate(masks):
            small = cv2.resize(mask.astype(np.float32), (size[1] // CELL, size[0] // CELL), interpolation=cv2.INTER_AREA)
            if (small > 0.5).sum() < 4:
                continue
            for name, iou in _asked(network, features, small, crops.has_subject(photo, masks, number), config):
                scores[name].setdefault(photos.sources[photo], []).append(iou)
    return {name: float(np.mean([np.mean(s) for s in some.values()])) if some else 0.0 for name, some in scores.items()}


def _asked(
    network: SegmenterNet, features: Features, truth: np.ndarray, subject: bool, config: SegmenterTrainConfig
) -> list[tuple[str, float]]:
    inside = truth > 0.5
    found = []
    for kind in ("click", "box", *(["none"] if subject else [])):
        clicks = Clicks(truth[None], np.random.default_rng(0))
        if kind == "box":
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            height, width = inside.shape
            clicks.boxes[0] = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
        if kind == "click":
            clicks.add(0, place(inside), 1)
        previous = torch.zeros(1, 1, *inside.shape)
        for number in range(3 if kind == "click" else 1):
            with _precision(config):
                logits, quality = network(features, prompts_of(clicks, previous))
            chosen = logits[0, int(quality.argmax()) if kind == "click" and number == 0 else 0]
            answer = (chosen > 0).numpy()
            if kind != "click" or number != 1:
                name = {"box": "box", "none": "subject"}.get(kind, ("one_click", "", "three_clicks")[number])
                found.append((name, overlap(answer, inside)))
            following = correction(inside, answer)
            if following is not None:
                clicks.add(0, *following)
            previous = chosen.sigmoid()[None, None]
    return found


def train(config: SegmenterTrainConfig) -> None:
    """Trains until the last step or for `config.minutes`; continues what output_dir holds.

    Raises:
        ValueError: photos or a state don't fit. FloatingPointError: the gradient is not finite. OSError: output_dir can't
            be written.
    """
    check_place(config.output_dir, config.data)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    photos, held_out = load_photos(config.data, "train"), load_photos(config.data, "validation")
    crops = Crops(photos, config.data.source_weights, config.data.part_weights, config.subjects)
    torch.manual_seed(config.seed)
    network = SegmenterNet(config.network)
    state = load_state(config.output_dir, torch.device("cpu"))
    if state is None and config.start is not None:
        network = load_segmenter(config.start).requires_grad_(True)
        if network.config != config.network:
            raise ValueError(f"{config.start} has other channels: {network.config}, not {config.network}")
    elif state is None:
        network.encoder.load_pretrained()
    network.to(memory_format=torch.channels_last)
    network.encoder.requires_grad_(False)
    late = network.encoder.stages[config.first_stage :].requires_grad_(True)
    average = copy.deepcopy(network).requires_grad_(False)
    of_encoder = list(late.parameters())
    others = [p for name, p in network.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": others, "rate": config.lr}, {"params": of_encoder, "rate": config.encoder_lr}]
    optimizer = torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay)
    step, seconds_before = 0, 0.0
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds_before = state["step"], state["seconds"]
    about = {"command": command(), "data": fingerprint(photos), "licence": config.licence}
    if config.start is not None:
        about["start"] = json.dumps(notes_of(config.start))
    began = time.monotonic()

    def seconds() -> float:
        return seconds_before + time.monotonic() - began

    def save() -> None:
        parts = {"network": network.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
        save_state(config.output_dir, step, {**parts, "step": step, "seconds": seconds()}, config.keep)
        notes = {**about, "steps": f"{step} of {config.steps}", "settings": json.dumps(settings_of(config))}
        save_weights(
            config.output_dir / "weights.safetensors", config.network, average.state_dict(), torch.float16, notes
        )

    running = None
    print(f"step {step} of {config.steps}, {len(photos)} photos", file=sys.stderr)
    with tqdm(total=config.steps, initial=step, unit="step", mininterval=5) as bar:
        while step < config.steps and time.monotonic() - began < config.minutes * 60:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * learning_rate(step, config)
            loss = step_loss(network, crops, config, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            if not torch.isfinite(norm):
                raise FloatingPointError(f"the loss or its gradient is not finite at step {step}; try a lower lr")
            optimizer.step()
            step += 1
            follow(average, network, min(config.ema, (1 + step) / (10 + step)))
            value = float(loss.detach())
            running = value if running is None else 0.98 * running + 0.02 * value
            bar.update()
            bar.set_postfix(loss=f"{running:.4f}")
            if step % config.evaluate_every == 0 or step == config.steps:
                scores = validate(average, held_out, config)
                append_row(config.output_dir / "log.csv", LOG_COLUMNS, (step, running, *scores.values(), seconds()))
            if step % config.save_every == 0:
                save()
        save()


def settings_of(config: SegmenterTrainConfig) -> dict[str, Any]:
    """The settings that the weights depend on, as plain values: without paths, time limit, licence and intervals."""
    settings = json.loads(json.dumps(asdict(config), default=str))
    for name in ("output_dir", "start", "minutes", "evaluate_every", "save_every", "keep", "licence"):
        del settings[name]
    settings["data"] = {name: settings["data"][name] for name in DATA_SETTINGS}
    return settings


def learning_rate(step: int, config: SegmenterTrainConfig) -> float:
    """The learning rate at a step as a share of the largest: a warm-up, then a cosine down to 0."""
    return min(1.0, (step + 1) / max(1, config.warm_up)) * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def load(name: str, changes: list[str]) -> SegmenterTrainConfig:
    """Reads a config, as `train.config.load_config` does."""
    return convert(SegmenterTrainConfig, read_settings(name, changes))


if __name__ == "__main__":
    command_line("train.segmenter", __doc__, train, load)
