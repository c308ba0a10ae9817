"""The training loss, and the validation score."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from train.config import TrainConfig
from train.data.composites import Batch
from train.data.feed import Feed

if TYPE_CHECKING:
    from srin.models import Network

PICTURES = 4  # of the grid that TensorBoard shows
AREA_FLOOR = 0.02  # share of the picture below which a small foreground's loss is no longer scaled up


class Objective(nn.Module):
    """A network and its loss as one module, since accelerate averages gradients of a module's forward pass."""

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        super().__init__()
        self.network = network
        self._config = config

    def forward(self, batch: Batch) -> Tensor:
        """The L1 loss (equation 1, or see `TrainConfig.loss`) of one process's share of a batch: summed over its
        pictures, and divided by the number of pictures of the whole batch."""
        output = self.network(batch.composite, batch.mask, batch.regions)
        # Composite and truth agree outside the mask, so summing over the foreground is enough.
        difference = ((output - batch.real).abs() * batch.mask).sum((1, 2, 3))
        pixels = batch.mask[0].numel()
        area = batch.mask.new_tensor(pixels)
        if self._config.loss == "foreground_l1":
            area = batch.mask.sum((1, 2, 3)).clamp_min(AREA_FLOOR * pixels)
        return (difference / (3 * area)).sum() / batch.total


def fpsnr(harmonized: Tensor, batch: Batch) -> Tensor:
    """Foreground PSNR in dB of each picture (B,); values are clipped to [-1, 1] first."""
    error = ((harmonized.clamp(-1, 1) - batch.real) / 2) ** 2 * batch.mask
    mse = error.sum((1, 2, 3)) / (3 * batch.mask.sum((1, 2, 3)).clamp_min(1))
    return -10 * mse.clamp_min(1e-6).log10()


def has_task(batch: Batch) -> Tensor:
    """Boolean (B,): whether composites differ from their truth; the others have no finite score."""
    return (batch.composite - batch.real).abs().amax((1, 2, 3)) > 0


@torch.inference_mode()
def validate(network: "Network", feed: Feed) -> tuple[float, float, Tensor]:
    """Mean fPSNR in dB on held-out photos, of the network and of the unchanged composites; and a grid of pictures.

    The grid is uint8 (N, S, 3 S, 3): composite, harmonized, real.
    """
    ours, nothing, grid = [], [], torch.empty(0)
    for number, batch in enumerate(feed.validation()):
        output = network(batch.composite, batch.mask, batch.regions)
        counted = has_task(batch)
        ours.append(fpsnr(output, batch)[counted])
        nothing.append(fpsnr(batch.composite, batch)[counted])
        if number == 0:
            grid = torch.cat([x[:PICTURES] for x in (batch.composite, output, batch.real)], 3)
            grid = ((grid.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu()
    return float(torch.cat(ours).mean()), float(torch.cat(nothing).mean()), grid
