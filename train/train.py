"""Trains one harmonization network; the same code for a CPU and a GPU.

    python -m train.train trunk   corpus=PHOTOS output_dir=runs/trunk
    python -m train.train srin    corpus=PHOTOS output_dir=runs/srin init=runs/trunk/weights.safetensors

Started again with the same output_dir, it goes on where it stopped. Photos live in the device's memory as uint8 and
composites are made there, so there is no loader to keep up with. Writes weights.safetensors (the moving average, fp16),
state.pt (everything needed to resume) and log.csv.
"""

import argparse
import csv
import os
import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from srin.models.checkpoint import load_weights, save_weights
from srin.models.heads import apply_affine
from srin.models.unet import HarmonizationNet
from train.config import TrainConfig, load_config
from train.data.composites import Batch, make_batch
from train.data.photos import Photos, load_photos

AREA_FLOOR = 0.02  # share of the picture below which a small foreground's loss is no longer scaled up
VALIDATION_BATCHES = 12
SAVE_SECONDS = 120
WARM_UP = 100  # steps


def foreground_l1(harmonized: Tensor, batch: Batch) -> Tensor:
    """Equation 1's L1 over the foreground, per picture, with a floor on the area; mean over accepted composites."""
    area = batch.mask.sum((1, 2, 3)).clamp_min(AREA_FLOOR * batch.mask[0].numel())
    each = ((harmonized - batch.real).abs() * batch.mask).sum((1, 2, 3)) / (3 * area)
    return (each * batch.weight).sum() / batch.weight.sum().clamp_min(1)


def fpsnr(harmonized: Tensor, batch: Batch) -> Tensor:
    """Foreground PSNR in dB of each picture (B,), of values in [-1, 1] clipped to the range of a picture."""
    error = ((harmonized.clamp(-1, 1) - batch.real) / 2) ** 2 * batch.mask
    mse = error.sum((1, 2, 3)) / (3 * batch.mask.sum((1, 2, 3)).clamp_min(1))
    return -10 * mse.clamp_min(1e-6).log10()


def step_loss(network: HarmonizationNet, batch: Batch, config: TrainConfig) -> Tensor:
    """The loss of one batch: L1, and for the affine head a penalty that keeps its transform smooth."""
    if config.model.head == "rgb":
        return foreground_l1(network(batch.composite, batch.mask, batch.regions), batch)
    if config.first_guess:
        coefficients = network.first_guess(batch.composite, batch.mask)
        return foreground_l1(apply_affine(coefficients, batch.composite), batch)
    coefficients = network.coefficients(batch.composite, batch.mask, batch.regions)
    slope = coefficients.diff(dim=2).square().mean() + coefficients.diff(dim=3).square().mean()
    return foreground_l1(apply_affine(coefficients, batch.composite), batch) + config.smoothness * slope


@torch.inference_mode()
def validate(network: HarmonizationNet, photos: Photos, config: TrainConfig) -> tuple[float, float]:
    """Mean fPSNR in dB over fixed composites of held-out photos: of the network, and of doing nothing."""
    generator = torch.Generator(photos.images.device).manual_seed(12345)
    ours, nothing = [], []
    for _ in range(VALIDATION_BATCHES):
        batch = make_batch(photos, 16, config.size, generator)
        # Composites that were left unchanged have no finite score.
        counted = (batch.weight > 0) & ((batch.composite - batch.real).abs().amax((1, 2, 3)) > 0)
        ours.append(fpsnr(network(batch.composite, batch.mask, batch.regions), batch)[counted])
        nothing.append(fpsnr(batch.composite, batch)[counted])
    return float(torch.cat(ours).mean()), float(torch.cat(nothing).mean())


def start(config: TrainConfig) -> HarmonizationNet:
    """The network before its first step: fresh, or from `config.init` with the slots it lacks left at RAIN."""
    torch.manual_seed(config.seed)
    network = HarmonizationNet(config.model)
    if config.init is not None:
        try:
            missing, unexpected = network.load_state_dict(load_weights(config.init).state_dict(), strict=False)
        except RuntimeError as error:
            raise ValueError(f"{config.init} belongs to another architecture: its layers have other sizes") from error
        odd = unexpected + [key for key in missing if ".attention." not in key]
        if odd:
            raise ValueError(f"{config.init} belongs to another architecture: {', '.join(odd[:3])} ...")
    return network


def learning_rate(step: int, config: TrainConfig) -> float:
    """The factor on `config.lr`: a short warm-up, a plateau, and a linear descent to 0 at the end."""
    return min(1.0, (step + 1) / WARM_UP, (config.steps - step) / max(1, config.descent * config.steps))


def train(config: TrainConfig) -> None:
    """Trains until `config.steps` or `config.minutes`, whichever comes first; resumes from output_dir."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    photos, held_out = (
        load_photos(config.corpus, config.cache, config.cached_size, part).to(device) for part in ("train", "validation")
    )
    # On a GPU convolutions like channels last; on a CPU the transposed ones lose a third of their speed by it.
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network = start(config).to(device, memory_format=layout).train()
    average = start(config).to(device, memory_format=layout).eval()
    trained = network.guessing_parameters() if config.first_guess else list(network.parameters())
    optimizer = torch.optim.AdamW(trained, config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, config))
    generator = torch.Generator(device).manual_seed(config.seed)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    state_file = config.output_dir / "state.pt"
    step = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"].cpu())
        step = state["step"]

    def save() -> None:
        part = state_file.with_suffix(".part")
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "generator": generator.get_state(),
                "step": step,
            },
            part,
        )
        os.replace(part, state_file)
        notes = {"steps": f"{step} of {config.steps}", "samples": str(step * config.batch), **config.model_notes}
        save_weights(
            config.output_dir / "weights.safetensors", config.model, average.state_dict(), torch.float16, notes
        )

    began = saved = time.monotonic()
    running = 0.0
    bar = tqdm(total=config.steps, initial=step, unit="step", mininterval=10)
    while step < config.steps and time.monotonic() - began < config.minutes * 60:
        batch = make_batch(photos, config.batch, config.size, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = step_loss(network, batch, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, config.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at step {step}; the last saved state is kept")
        optimizer.step()
        schedule.step()
        step += 1
        decay = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        running = 0.98 * running + 0.02 * float(loss.detach()) if step > 1 else float(loss.detach())
        bar.update()
        bar.set_postfix(loss=f"{running:.4f}")
        if step % config.evaluate_every == 0 or step == config.steps:
            ours, nothing = validate(average, held_out, config)
            with open(config.output_dir / "log.csv", "a", newline="") as stream:
                row = (step, step * config.batch, running, ours, nothing, time.monotonic() - began)
                csv.writer(stream).writerow([f"{value:.5g}" for value in row])
        if time.monotonic() - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a name in train/configs, or a YAML file")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="such as size=128 or model.width=24")
    arguments = parser.parse_args()
    try:
        config = load_config(arguments.config, arguments.changes)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if not (Path(config.corpus) / "manifest.csv").is_file():
        parser.error(f"no manifest.csv in the corpus folder {config.corpus}")
    train(config)


if __name__ == "__main__":
    main()
