"""Fits the affine head's first guess, the first stage of the shipped weights; on a CPU, most of what there is to learn.

    python -m train.first_guess guess data.root=PHOTOS output_dir=runs/guess

It sees statistics of frozen features, which don't change while it learns. So they are collected once, of as many
composites as `steps` batches hold, and then gone through several times: minutes instead of hours. Started again with the
same output_dir, it goes on collecting where it stopped. Writes statistics_*.pt and weights.safetensors: a network with
RAIN, its decoder fresh, for `train.train` to go on from (init=).
"""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from srin.models.checkpoint import save_weights
from srin.models.heads import AffineHead, FirstGuess, apply_affine, around, foreground_mean
from srin.models.unet import HarmonizationNet
from train.config import TrainConfig, command_line
from train.data.composites import Batch
from train.data.feed import PhotoFeed
from train.objective import has_task
from train.state import write_whole
from train.train import start

SHARD = 200  # batches in a file
PIXELS = 192  # of a foreground that are kept of it, drawn at random
PASSES = 6
BATCH = 64
DROPOUT = 0.1  # while fitting
FLOOR = 2.5e-5  # squared error, as a share of the squared range, under which nothing is left to learn

Statistics = tuple[Tensor, ...]  # colours, textures, and the kept pixels before and after, (N, 3, P) each


def first_guess(config: TrainConfig) -> float:
    """Collects, fits, and writes the weights; returns the gain in fPSNR over doing nothing on held-out photos, in dB.

    Raises:
        ValueError: data or settings that don't fit. OSError: output_dir can't be written.
    """
    if config.model.head != "affine" or config.data.kind != "photos":
        raise ValueError("the first guess belongs to the affine head, and is fitted to composites made of photos")
    config.output_dir.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = start(config).to(device)
    assert isinstance(network.head, AffineHead)
    feed = PhotoFeed(config, device, 0, 1)
    collected = _collect(network, feed, config)
    _fit(network.head.guess, collected, config, device)
    gain = _gain(network.head.guess, _held_out(network, feed, device))
    notes = {"steps": str(config.steps), "images": str(len(collected[0])), "held_out_gain": f"{gain:.3f}"}
    save_weights(config.output_dir / "weights.safetensors", config.model, network.state_dict(), torch.float16, notes)
    return gain


@torch.inference_mode()
def statistics(network: HarmonizationNet, batch: Batch, generator: torch.Generator) -> Statistics:
    """What is kept of a batch's composites, in half precision; those that were rejected are left out."""
    colours, textures = network.statistics(batch.composite, batch.mask)
    fine = (batch.weight > 0) & (batch.mask.sum((1, 2, 3)) > 0)
    kept = torch.multinomial(batch.mask[fine].flatten(1), PIXELS, replacement=True, generator=generator)
    kept = kept[:, None].expand(-1, 3, -1)
    before, after = (x[fine].flatten(2).gather(2, kept) for x in (batch.composite, batch.real))
    return tuple(x.half().cpu() for x in (colours[fine], textures[fine], before, after))


def _collect(network: HarmonizationNet, feed: PhotoFeed, config: TrainConfig) -> Statistics:
    shards = []
    with tqdm(total=config.steps * config.batch, unit="image", mininterval=1) as bar:
        for first in range(0, config.steps, SHARD):
            numbers = range(first, min(first + SHARD, config.steps))
            path = config.output_dir / f"statistics_{first:07d}_{len(numbers)}.pt"
            if not path.exists():
                write_whole(list(_joined(_of_batches(network, feed, numbers, config.seed))), path)
            shards.append(tuple(torch.load(path, weights_only=True)))
            bar.update(len(numbers) * config.batch)
    return _joined(iter(shards))


def _of_batches(network: HarmonizationNet, feed: PhotoFeed, numbers: range, seed: int) -> Iterator[Statistics]:
    batches = feed.batches(numbers.start)
    for number in numbers:
        batch = next(batches)
        generator = torch.Generator(batch.mask.device).manual_seed((seed << 40) + number)
        yield statistics(network, batch, generator)


def _joined(parts: Iterator[Statistics]) -> Statistics:
    return tuple(torch.cat(x) for x in zip(*parts, strict=True))


def _fit(guess: FirstGuess, collected: Statistics, config: TrainConfig, device: torch.device) -> None:
    """Every member by itself, in an order of its own, so that their errors differ."""
    guess.calibrate(*(x.float().to(device) for x in collected[:2]))
    size = min(BATCH, len(collected[0]))
    updates = PASSES * (len(collected[0]) // size)
    with tqdm(total=len(guess.members) * updates, unit="update", mininterval=1) as bar:
        for number, member in enumerate(guess.members):
            order = torch.Generator().manual_seed((config.seed << 8) + number)
            loader = DataLoader(TensorDataset(*collected), size, True, drop_last=True, generator=order)
            optimizer = torch.optim.AdamW(member.parameters(), config.lr, weight_decay=config.weight_decay)
            schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, updates)
            hidden = [layer for layer in member.modules() if isinstance(layer, nn.GELU)]
            hooks = [layer.register_forward_hook(lambda *call: F.dropout(call[2], DROPOUT)) for layer in hidden]
            for samples in itertools.chain.from_iterable(loader for _ in range(PASSES)):
                optimizer.zero_grad(set_to_none=True)
                _loss(guess, member, [x.float().to(device) for x in samples]).backward()
                optimizer.step()
                schedule.step()
                bar.update()
            for hook in hooks:
                hook.remove()


def _loss(guess: FirstGuess, member: nn.Module, samples: list[Tensor]) -> Tensor:
    """Of one member. The root for each composite, as the score takes it: an easy one counts as much as a hard one."""
    change = member(*guess.standardized(*samples[:2]))
    loss = (_squared_error(_corrected(change, samples), samples[3]) + FLOOR).sqrt().mean()
    if not torch.isfinite(loss):
        raise FloatingPointError("the loss is not finite; try a lower lr")
    return loss


def _corrected(change: Tensor, samples: list[Tensor]) -> Tensor:
    """(N, 3, P), the kept pixels after a change (N, 12) that the guess or a member suggests."""
    transform = around(change[..., None, None], foreground_mean(samples[0]))
    return apply_affine(transform, samples[2][..., None])[..., 0]


def _squared_error(pixels: Tensor, real: Tensor) -> Tensor:
    """(N, 3, P) in [-1, 1] -> (N,), as a share of the squared range."""
    return ((pixels - real) / 2).square().mean((1, 2))


def _held_out(network: HarmonizationNet, feed: PhotoFeed, device: torch.device) -> list[Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    parts = []
    for batch in feed.validation():
        batch.weight = batch.weight * has_task(batch)
        parts.append(statistics(network, batch, generator))
    return [x.float().to(device) for x in _joined(iter(parts))]


@torch.inference_mode()
def _gain(guess: FirstGuess, samples: list[Tensor]) -> float:
    before, after = samples[2], samples[3]
    corrected = _corrected(guess(*samples[:2]), samples).clamp(-1, 1)
    ours, nothing = (_squared_error(x, after).clamp_min(1e-6) for x in (corrected, before))
    return float(10 * (nothing / ours).log10().mean())


def main() -> None:
    def run(config: TrainConfig) -> None:
        print(f"Gain over doing nothing on held-out photos: {first_guess(config):.2f} dB in fPSNR.")

    command_line("train.first_guess", __doc__, run)


if __name__ == "__main__":
    main()
