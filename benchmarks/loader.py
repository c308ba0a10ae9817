"""Checks whether the loader keeps up: the training loop fed from disk, compared with one batch kept in memory.

    python -m benchmarks.loader [--size 256] [--width 32] [--workers 2] [--slot rain] [--steps 12] [--json FILE]

The data is a small iHarmony4 made from the example photos; its cache of resized pictures is filled before measuring,
as in all epochs but the first. SRIN's maps are drawn by the workers here, since no precomputed ones are given.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.measure import EXAMPLES
from train.config import TrainConfig, load_config
from train.data.composites import Batch
from train.data.feed import IHarmony4Feed
from train.make_composites import make_composites
from train.objective import Objective
from train.train import start

PICTURES = 96
BATCH = 4
WARM_UP = 3  # steps that are not counted: the workers start, and the loader fills its queue


def images_a_second(config: TrainConfig, batches: Iterator[Batch], steps: int) -> float:
    """Images a second, with forward pass, backward pass and Adam's step."""
    network = start(config).train()
    objective, optimizer = Objective(network, config), torch.optim.AdamW(network.parameters(), config.lr)
    began = 0.0
    for step, batch in enumerate(itertools.islice(batches, WARM_UP + steps)):
        if step == WARM_UP:
            began = time.perf_counter()
        objective(batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return steps * config.batch / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slot", choices=("rain", "bain", "srin"), default="rain")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = [f"data.root={EXAMPLES}", f"data.cache={folder}/photos", f"data.size={arguments.size}"]
        source.append(f"data.photo_side={arguments.size}")
        make_composites(load_config("smoke", source), folder / "iharmony4", PICTURES)
        changes = [f"data.root={folder}/iharmony4", f"data.cache={folder}/cache", f"data.size={arguments.size}"]
        changes += ["data.subsets=[photos]", f"data.workers={arguments.workers}", f"batch={BATCH}"]
        changes += [f"model.width={arguments.width}", f"model.slot={arguments.slot}"]
        config = load_config("paper", changes)
        feed = IHarmony4Feed(config, torch.device("cpu"), 0, 1)
        for _ in itertools.islice(feed.batches(0), PICTURES // BATCH):
            pass  # fills the cache
        first = next(feed.batches(0))
        # The loops take turns and the best of each counts: other work on the machine can only slow a loop down.
        rates = {"cached": 0.0, "loader": 0.0}
        for _ in range(2):
            rates["cached"] = max(rates["cached"], images_a_second(config, itertools.repeat(first), arguments.steps))
            rates["loader"] = max(rates["loader"], images_a_second(config, feed.batches(0), arguments.steps))
    ratio = rates["loader"] / rates["cached"]
    print(f"one batch in memory {rates['cached']:6.2f} images a second")
    print(f"loader, {arguments.workers} workers   {rates['loader']:6.2f} images a second: {ratio:.2f} of it")
    if arguments.json:
        arguments.json.write_text(json.dumps({"ratios": {"loader_over_cached_batch": ratio}}, indent=1))


if __name__ == "__main__":
    main()
