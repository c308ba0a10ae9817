"""The learning rate of each step, and the moving average of the weights."""

import torch
from torch import nn

from train.config import TrainConfig


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """The learning rate: a warm-up, a plateau, drops to a tenth at `config.drops`, and a linear descent to 0."""
    warm_up = min(1.0, (step + 1) / max(1, config.warm_up))
    descent = min(1.0, (steps - step) / (config.descent * steps)) if config.descent else 1.0
    drops = sum(step * (config.epochs or steps) >= drop * steps for drop in config.drops)
    return config.lr * warm_up * descent * 0.1**drops


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves the weights of `average` towards the network's, by 1 - decay of the way."""
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
