"""Estimates what training takes: measures one step here, and derives the hours of a run from an assumed speed.

    python -m benchmarks.training_step paper [key=value ...] [--images 65742] [--tflops 10 40] [--json FILE]

For a config that trains one network, prints the seconds of a step on this machine, its floating-point operations, its
memory (what is kept for the backward pass, weights, gradients and Adam's moments), and the hours of the whole run if a
GPU reaches the speeds of --tflops. The step is measured; the speeds, and with them the hours, are assumptions.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from srin.models import build
from train.config import TrainConfig, load_config
from train.data.composites import Batch
from train.objective import Objective

IHARMONY4 = 65_742  # pictures of iHarmony4's training part
REPEATS = 2
ADAM = 4  # numbers kept for each weight: itself, its gradient and two moments


def made_up(config: TrainConfig) -> Batch:
    """A batch of noise, a quarter of each picture foreground, a map of 22 regions: a step costs the same as on photos."""
    size, count = config.data.size, config.batch
    mask = torch.zeros(count, 1, size, size)
    mask[..., : size // 2, : size // 2] = 1
    composite, real = (torch.rand(count, 3, size, size) * 2 - 1 for _ in range(2))
    regions = (torch.arange(size) * 22 // size).expand(count, size, size)
    return Batch(composite, real, mask, regions, torch.zeros(count, dtype=torch.long), count)


def measure(config: TrainConfig) -> dict[str, float]:
    """Seconds, floating-point operations and bytes of one step."""
    network = build(config.model).train()
    objective, optimizer = Objective(network, config), torch.optim.AdamW(network.parameters(), config.lr)
    batch = made_up(config)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            loss = objective(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    weights = sum(parameter.numel() for parameter in network.parameters())
    return {"seconds": min(times), "flop": counter.get_total_flops(), "bytes": sum(kept.values()) + 4 * ADAM * weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("changes", nargs="*", metavar="key=value")
    parser.add_argument("--images", type=int, default=IHARMONY4, help="of a pass, where the config counts passes")
    parser.add_argument("--tflops", type=float, nargs="+", default=[10, 40])
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.changes)
    steps = config.epochs * arguments.images // config.batch if config.epochs else config.steps
    found = measure(config) | {"steps": steps}
    print(f"a step of {config.batch} pictures of {config.data.size} px: {found['seconds']:.2f} s on this machine,")
    print(f"{found['flop'] / 1e12:.3f} TFLOP, {found['bytes'] / 2**30:.2f} GiB kept; {steps:,} steps")
    for tflops in arguments.tflops:
        print(f"at {tflops:g} TFLOP/s: {steps * found['flop'] / tflops / 1e12 / 3600:.1f} hours")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
