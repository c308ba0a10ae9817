"""What is minimized, and the score that is watched."""

from torch import Tensor, nn

from train.config import TrainConfig
from train.data.composites import Batch

AREA_FLOOR = 0.02  # share of the picture below which a small foreground's loss is no longer scaled up


class Objective(nn.Module):
    """A network and its loss as one module, since the engine averages gradients over processes around a forward pass."""

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        super().__init__()
        self.network = network
        self._config = config

    def forward(self, batch: Batch) -> Tensor:
        """The L1 loss (equation 1) of one process's share of a batch: summed over its pictures, divided by the number
        of pictures of the whole batch."""
        output = self.network(batch.composite, batch.mask, batch.regions)
        # Outside the mask composite and truth agree, so the mask may be left to the sum.
        difference = ((output - batch.real).abs() * batch.mask).sum((1, 2, 3))
        pixels = batch.mask[0].numel()
        area = batch.mask.new_tensor(pixels)
        if self._config.loss == "foreground_l1":
            area = batch.mask.sum((1, 2, 3)).clamp_min(AREA_FLOOR * pixels)
        return (difference / (3 * area)).sum() / batch.total


def fpsnr(harmonized: Tensor, batch: Batch) -> Tensor:
    """Foreground PSNR in dB of each picture (B,), of values in [-1, 1] clipped to the range of a picture."""
    error = ((harmonized.clamp(-1, 1) - batch.real) / 2) ** 2 * batch.mask
    mse = error.sum((1, 2, 3)) / (3 * batch.mask.sum((1, 2, 3)).clamp_min(1))
    return -10 * mse.clamp_min(1e-6).log10()


def has_task(batch: Batch) -> Tensor:
    """Boolean (B,): composites that differ from their truth; the others have no finite score."""
    return (batch.composite - batch.real).abs().amax((1, 2, 3)) > 0
