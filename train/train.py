"""Trains harmonization networks on a CPU, a GPU, or several GPUs.

    python -m train.train smoke output_dir=runs/smoke                         # a minute: does everything work?
    python -m train.train photos data.root=PHOTOS output_dir=runs/mine        # photos with object masks
    python -m train.train paper data.root=IHARMONY4 output_dir=runs/paper     # the paper's recipe
    python -m train.train shipped data.root=PHOTOS data.more=MORE             # the weights that come with the app
    python -m train.train paper_trio data.root=PHOTOS data.more=MORE          # and those of the paper's own networks
    accelerate launch --num_processes 4 -m train.train paper ...              # several GPUs; add machines likewise

When started again with the same output_dir, it continues where it stopped. A config with a model trains that one network.
It writes weights.safetensors (the moving average), best.safetensors (the same at its best validation), state_STEP.pt (the
state to continue from), log.csv, and scalars and pictures for TensorBoard. "shipped" and "paper_trio" train three
networks side by side, see `train.side_by_side` and `train.paper_trio`.
"""

import copy
import hashlib
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from tqdm import tqdm

from srin.models import build
from srin.models.checkpoint import load_weights, save_weights
from srin.models.network import HarmonizationNet, filled_up
from srin.models.units import WHOLES, Units, measure, partition
from train.config import DataConfig, TrainConfig, command, command_line, convert, read_settings
from train.data.feed import IHarmony4Feed, PhotoFeed
from train.data.iharmony4 import samples
from train.data.photos import fingerprint, load_photos
from train.objective import Objective, validate
from train.paper_trio import PaperTrioConfig, load_trio, paper_trio
from train.runs import claim
from train.schedule import follow, learning_rate
from train.side_by_side import SideBySideConfig, side_by_side
from train.state import append_row, load_state, save_state

if TYPE_CHECKING:
    from srin.models import Network

CALIBRATION = 512  # pictures by whose statistics a fresh network is calibrated
LOG_COLUMNS = ("step", "images", "loss", "fpsnr", "copy_paste_fpsnr", "seconds")


def start(config: TrainConfig) -> "Network":
    """The network before its first step.

    It is fresh (preset "default" with a pretrained encoder), or has the weights of `config.init`. Layers of the slot that
    these lack start so that the slot acts as RAIN (preset "default"), or random (preset "paper").

    Raises:
        ValueError: `config.init` holds another architecture, or the pretrained encoder is not installed.
        WeightsError: `config.init` can't be read.
    """
    set_seed(config.seed)
    network = build(config.model)
    if config.init is None:
        if isinstance(network, HarmonizationNet):
            network.encoder.load_pretrained()
        return network
    try:
        missing, unexpected = network.load_state_dict(load_weights(config.init).state_dict(), strict=False)
    except RuntimeError as error:
        raise ValueError(f"{config.init} belongs to another architecture: its layers have other sizes") from error
    odd = unexpected + [key for key in missing if ".slot." not in key and not key.startswith("between.")]
    if odd:
        raise ValueError(f"{config.init} belongs to another architecture: {', '.join(odd[:3])} ...")
    return network


@torch.no_grad()
def calibrate(network: HarmonizationNet, pictures: list[tuple[Tensor, ...]]) -> None:
    """Calibrates a fresh network of preset "default": fits its projection, and the scales of its heads' statistics.

    pictures: batches of composites, masks and regions, as `HarmonizationNet.forward` takes them.
    """
    batches = [filled_up(*batch)[:3] for batch in pictures]
    wholes = [measure(network.encoder, x, mask, partition(mask, regions)[:, WHOLES]) for x, mask, regions in batches]
    network.calibrate_projection(torch.cat([units.meaning.flatten(0, 1) for units in wholes]))
    parts = zip(*(vars(network.units(*batch)).values() for batch in batches), strict=True)
    units = Units(*(torch.cat(part) for part in parts))
    for head in network.heads:
        head.calibrate(units)  # type: ignore[operator]


def data_fingerprint(data: DataConfig) -> str:
    """A hash of the training pictures, in twelve hexadecimal digits: of the photos' pixels and masks, or of the names and
    sizes of iHarmony4's composites. Raises as the feeds do."""
    if data.kind == "photos":
        return fingerprint(load_photos(data, "train"))
    found = samples(data.root, "train", list(data.subsets))
    lines = sorted(f"{s.composite.relative_to(data.root).as_posix()} {s.composite.stat().st_size}" for s in found)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def train(config: TrainConfig) -> None:
    """Trains until the last step or for `config.minutes`, whichever is shorter; continues what output_dir holds.

    Raises:
        ValueError: data, weights or a state don't fit; the message says which.
        FloatingPointError: the loss or a gradient is not finite; the last saved state is kept.
        OSError: output_dir can't be written.
    """
    config.output_dir.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        mixed_precision=config.precision,
        gradient_accumulation_steps=config.accumulate,
        log_with="tensorboard",
        project_dir=config.output_dir,
    )
    device, processes, main = accelerator.device, accelerator.num_processes, accelerator.is_main_process
    if config.batch % processes:
        raise ValueError(f"a batch of {config.batch} can't be divided over {processes} processes")
    feeds: dict[str, type[PhotoFeed] | type[IHarmony4Feed]] = {"photos": PhotoFeed, "iharmony4": IHarmony4Feed}
    with accelerator.main_process_first():  # the main process fills the cache
        feed = feeds[config.data.kind](config, device, accelerator.process_index, processes)

    # Channels last is faster on a GPU; on a CPU, it costs transposed convolutions a third of their speed.
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network = start(config).to(device).to(memory_format=layout).train()
    state = load_state(config.output_dir, device)
    if state is None and config.init is None and isinstance(network, HarmonizationNet):
        # Every process gathers whole batches, so that the number of processes doesn't change the result.
        first = itertools.islice(feed.batches(0), -(-CALIBRATION // config.batch))
        calibrate(network, [accelerator.gather((batch.composite, batch.mask, batch.regions)) for batch in first])
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay)
    step, best = 0, float("-inf")
    if state is not None:
        try:
            network.load_state_dict(state["network"])
            average.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{config.output_dir} holds a run of another architecture; choose another folder") from error
        step, best = state["step"], state["best"]
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
    objective, optimizer = accelerator.prepare(Objective(network, config), optimizer)
    accelerator.init_trackers("tensorboard")
    about = {"command": command(), "data": data_fingerprint(config.data)} if main else {}
    if main:
        print(f"step {step} of {feed.steps}, device={device}, processes={processes}", file=sys.stderr)

    def save(name: str) -> None:
        notes = {**about, "steps": f"{step} of {feed.steps}", "images": str(step * config.batch * config.accumulate)}
        kept = average if config.ema else network
        save_weights(config.output_dir / name, config.model, kept.state_dict(), torch.float16, notes)

    def save_all() -> None:
        parts: dict[str, Any] = {"network": network.state_dict(), "average": average.state_dict()}
        parts["optimizer"] = optimizer.state_dict()
        if accelerator.scaler is not None:
            parts["scaler"] = accelerator.scaler.state_dict()
        parts |= {"step": step, "best": best, "seconds": seconds_before + time.monotonic() - began}
        save_state(config.output_dir, step, parts, config.keep)
        save("weights.safetensors")

    began, seconds_before = time.monotonic(), 0.0 if state is None else state["seconds"]
    batches = feed.batches(step * config.accumulate)
    running = None
    images = config.batch * config.accumulate
    bar = tqdm(total=feed.steps * images, initial=step * images, unit="image", mininterval=1, disable=not main)
    while step < feed.steps:
        if time.monotonic() - began >= config.minutes * 60:
            accelerator.set_trigger()  # all processes stop at the same step
        if accelerator.check_trigger():
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, feed.steps, config)
        for number in range(step * config.accumulate, (step + 1) * config.accumulate):
            batch = next(batches)
            # Seeds dropout by the batch's number, so that a resumed run draws the same as an uninterrupted one.
            torch.manual_seed((config.seed << 40) + number * processes + accelerator.process_index)
            with accelerator.accumulate(objective):
                with accelerator.autocast():
                    loss = objective(batch)
                # accelerate averages gradients over processes, but each process's loss is a part of a sum.
                accelerator.backward(loss * processes)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(network.parameters(), config.clip or float("inf"))
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        loss = accelerator.reduce(loss.detach())
        # Under fp16 the scaler skips steps whose gradients overflow.
        if not (torch.isfinite(loss) and (config.precision == "fp16" or torch.isfinite(norm))):
            raise FloatingPointError(
                f"the loss or its gradient is not finite at step {step}; the last saved state is kept. "
                "Try a lower lr, or precision=no."
            )
        step += 1
        if config.ema:
            follow(average, network, min(config.ema, (1 + step) / (10 + step)))
        running = float(loss) if running is None else 0.98 * running + 0.02 * float(loss)
        bar.update(images)
        bar.set_postfix(loss=f"{running:.4f}")
        last = step == feed.steps
        if main and (step % config.evaluate_every == 0 or last):
            ours, nothing, grid = validate(average if config.ema else network, feed)
            seconds = seconds_before + time.monotonic() - began
            append_row(config.output_dir / "log.csv", LOG_COLUMNS, (step, step * images, running, ours, nothing, seconds))
            rate = step * images / seconds if seconds else 0.0
            scores = {"loss": running, "fpsnr": ours, "fpsnr_gain": ours - nothing, "images_per_second": rate}
            accelerator.log({**scores, "lr": learning_rate(step, feed.steps, config)}, step=step)
            board = accelerator.get_tracker("tensorboard")
            board.log_images({"composite, harmonized, real": grid.numpy()}, step=step, dataformats="NHWC")
            if ours > best:
                best = ours
                save("best.safetensors")
        if main and step % config.save_every == 0 and not last:
            save_all()
    if main:
        save_all()
    accelerator.end_training()


def load(name: str, changes: list[str]) -> TrainConfig | SideBySideConfig | PaperTrioConfig:
    """Reads a config of any kind, as `load_config` does."""
    values = read_settings(name, changes)
    if "stages" in values:
        return load_trio(values)
    return convert(SideBySideConfig, values) if "composites" in values else convert(TrainConfig, values)


def run(config: TrainConfig | SideBySideConfig | PaperTrioConfig) -> None:
    """Trains as the config says. Raises as `train`, `side_by_side` and `paper_trio`."""
    if isinstance(config, SideBySideConfig):
        side_by_side(config)
    elif isinstance(config, PaperTrioConfig):
        paper_trio(config)
    else:
        claim(config)
        train(config)


def main() -> None:
    command_line("train.train", __doc__, run, load)


if __name__ == "__main__":
    main()
