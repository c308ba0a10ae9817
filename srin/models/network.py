"""The harmonization network: encoder, units, slot, transform. Baseline, BAIN and SRIN differ in the slot alone."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.models.config import FOREGROUND_REGIONS, ModelConfig
from srin.models.encoder import MEANINGS, STRIDE, TEXTURES, Encoder
from srin.models.slot import Slot
from srin.models.transform import MEANING, Transform
from srin.models.units import (
    CELLS,
    COLOURS,
    GRID,
    WHOLE_BACKGROUND,
    WHOLE_FOREGROUND,
    Units,
    foreground_regions,
    measure,
    mixture,
    partition,
)

CELL = 4  # pixels of the working size a side, for each cell of the coefficients' grid
SMOOTH = 5  # cells over which one region's transform blends into its neighbour's
SIZES = [COLOURS, TEXTURES, TEXTURES, MEANING]  # sizes of a unit's statistics, in the order in which they are scaled
FAR = 8.0  # standard deviations at which a statistic is clipped


@dataclass
class Decision:
    """What a network decided for a batch.

    Attributes:
        whole: (B, 3, 4), the object's colour transform, rows of [A | b], for colours in [-1, 1].
        regions: (B, I, 3, 4), the transforms of its I units: one, or FOREGROUND_REGIONS.
        weights: (B, I, J), how much each unit borrowed from each lender. share: (B, I), each unit's share in `whole`.
    """

    whole: Tensor
    regions: Tensor
    weights: Tensor
    share: Tensor


class Head(nn.Module):
    """One slot with its transform."""

    usual: Tensor
    spread: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.slot = Slot(config.slot)
        self.transform = Transform()
        # Mean and standard deviation of the statistics over many composites: their scales differ by orders of magnitude.
        self.register_buffer("usual", torch.zeros(sum(SIZES)))
        self.register_buffer("spread", torch.ones(sum(SIZES)))

    def forward(self, units: Units, uniform: bool = False) -> Decision:
        """The decision from the units' statistics; uniform: see `Slot.forward`."""
        slot = self.slot
        borrowers, lenders = units[slot.borrowers], units[slot.lenders]
        weights = slot(borrowers, lenders, self.characters(borrowers), self.characters(lenders), uniform)
        count = borrowers.area.shape[1]

        def for_each(whole: slice) -> Units:
            scaled = self.scaled(units[whole])
            return Units(*(x.expand(-1, count, *x.shape[2:]) for x in vars(scaled).values()))

        sources = [
            self.scaled(borrowers),
            self.scaled(mixture(weights, lenders)),
            for_each(WHOLE_FOREGROUND),
            for_each(WHOLE_BACKGROUND),
        ]
        whole, regions, share = self.transform(sources, borrowers.area, units.colour[:, 0, :3])
        return Decision(whole, regions, weights, share)

    def scaled(self, units: Units) -> Units:
        """The units with colour, texture and meaning standardized, and clipped at FAR standard deviations."""
        usual, spread = self.usual.split(SIZES), self.spread.split(SIZES)

        def scale(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
            return ((x - mean) / std).clamp(-FAR, FAR)

        return Units(
            units.area,
            scale(units.colour, usual[0], spread[0]),
            scale(units.texture, torch.stack(usual[1:3]), torch.stack(spread[1:3])),
            scale(units.meaning, usual[3], spread[3]),
            units.near,
            units.place,
        )

    def characters(self, units: Units) -> tuple[Tensor, Tensor]:
        """Unit vectors for what a unit is, (B, U, MEANING), and for how its surface looks, (B, U, 80)."""
        usual, spread = self.usual.split(SIZES), self.spread.split(SIZES)
        meaning = (units.meaning - usual[3]) / spread[3]
        texture = (units.texture[:, :, 0] - usual[1]) / spread[1]
        return F.normalize(meaning, dim=-1), F.normalize(texture, dim=-1)

    def calibrate(self, units: Units) -> None:
        """Sets `usual` and `spread` to mean and standard deviation over the units of many composites."""
        full = units.full
        parts = [units.colour, units.texture.flatten(2), units.meaning]
        values = torch.cat([x[full].float() for x in parts], -1)
        self.usual.copy_(values.mean(0))
        self.spread.copy_(values.std(0).clamp_min(1e-3))


class HarmonizationNet(nn.Module):
    """I_h = G(I_c, M) * M + I_c * (1 - M) (the paper's section 2.1), where G is a colour transform of I_c.

    The decision is the mean over `config.members` heads, each trained by itself. Outside training it is also the mean
    over the picture and its mirror image: light doesn't tell left from right, but the encoder's filters do.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder()
        self.project = nn.Linear(MEANINGS, MEANING)
        self.heads = nn.ModuleList(Head(config) for _ in range(config.members))

    @property
    def slot(self) -> Slot:
        """The first head's slot. Its `borrowers` and `lenders` are the same in all heads."""
        head = self.heads[0]
        assert isinstance(head, Head)  # for the type checker
        return head.slot

    def forward(self, composite: Tensor, mask: Tensor, regions: Tensor | None = None) -> Tensor:
        """The harmonized image.

        Args:
            composite: (B, 3, H, W) in [-1, 1]. mask: (B, 1, H, W) in [0, 1], 1 = foreground.
            regions: int64 (B, H, W), the semantic map's region ids; None means one region on each side of the mask.

        Returns:
            (B, 3, H, W); about [-1, 1] on the foreground (not clipped), equal to the composite where the mask is 0.
        """
        output = apply_affine(self.coefficients(composite, mask, regions), composite)
        return output * mask + composite * (1 - mask)

    def coefficients(
        self, composite: Tensor, mask: Tensor, regions: Tensor | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """Colour transforms on a grid, (B, 12, H / CELL, W / CELL), rows of 3x4 matrices [A | b].

        Arguments as in `decide`; H and W are rounded up to multiples of the encoder's stride first.
        """
        composite, mask, regions, allowed = filled_up(composite, mask, regions, allowed)
        return self.spread_out(self.decide(composite, mask, regions, allowed), mask, regions)

    def decide(
        self,
        composite: Tensor,
        mask: Tensor,
        regions: Tensor | None = None,
        allowed: Tensor | None = None,
        uniform: bool = False,
    ) -> Decision:
        """The mean decision of all heads.

        Args:
            composite, mask, regions: as in `forward`; H and W multiples of the encoder's stride.
            allowed: (B, 1, H, W) in [0, 1], where the background may lend; None: everywhere. The other pixels still pass
                through the encoder, so a caller that excludes them must paint over them first (`srin.reference.filled`).
            uniform: see `Slot.forward`.
        """
        decisions = [self._decide(self.units(composite, mask, regions, allowed), uniform)]
        if not self.training:
            flipped = [None if x is None else x.flip(-1) for x in (mask, regions, allowed)]
            mirrored = self._decide(self.units(composite.flip(-1), *flipped), uniform)  # type: ignore[arg-type]
            mirrored.weights = _mirrored(mirrored.weights)
            decisions.append(mirrored)
        return mean_decision(decisions)

    def units(
        self, composite: Tensor, mask: Tensor, regions: Tensor | None = None, allowed: Tensor | None = None
    ) -> Units:
        """The units' statistics, `meaning` projected to MEANING channels; arguments as in `decide`."""
        units = measure(self.encoder, composite, mask, partition(mask, regions, allowed))
        with torch.autocast(composite.device.type, enabled=False):
            units.meaning = self.project(units.meaning) * units.full[..., None]
        return units

    def _decide(self, units: Units, uniform: bool) -> Decision:
        with torch.autocast(units.area.device.type, enabled=False):
            return mean_decision([head(units, uniform) for head in self.heads])

    def spread_out(self, decision: Decision, mask: Tensor, regions: Tensor | None) -> Tensor:
        """A decision's transforms on a grid, (B, 12, H / CELL, W / CELL), blended smoothly from region to region."""
        batch, _, height, width = mask.shape
        size = (height // CELL, width // CELL)
        whole = decision.whole.flatten(1)[..., None, None]
        if decision.regions.shape[1] == 1:
            return whole.expand(-1, -1, *size)
        labels = foreground_regions(mask, regions)
        names = torch.arange(FOREGROUND_REGIONS, device=mask.device)[:, None, None]
        belongs = (labels[:, None] == names) * (mask > 0).float()
        belongs = F.avg_pool2d(belongs, CELL)
        for _ in range(2):
            belongs = F.avg_pool2d(belongs, SMOOTH, 1, SMOOTH // 2)
        share = belongs / belongs.sum(1, keepdim=True).clamp_min(1e-6)
        rest = 1 - share.sum(1, keepdim=True)  # cells far from the foreground get the object's transform
        own = torch.einsum("bihw,bic->bchw", share, decision.regions.flatten(2))
        return own + rest * whole

    def calibrate_projection(self, meanings: Tensor) -> None:
        """Sets the projection to the principal components of late features (N, MEANINGS), each of unit variance.

        If the features have fewer than MEANING components, the others are 0.
        """
        mean = meanings.mean(0)
        _, values, directions = torch.linalg.svd(meanings - mean, full_matrices=False)
        spread = values[:MEANING, None] / len(meanings) ** 0.5
        scaled = torch.where(spread > 1e-3 * spread[0], directions[:MEANING] / spread, 0)
        matrix = F.pad(scaled, (0, 0, 0, MEANING - len(scaled)))
        with torch.no_grad():
            self.project.weight.copy_(matrix)
            self.project.bias.copy_(-matrix @ mean)


def mean_decision(decisions: list[Decision]) -> Decision:
    """The mean of several decisions on the same units."""
    if len(decisions) == 1:
        return decisions[0]
    parts = zip(*(vars(decision).values() for decision in decisions), strict=True)
    return Decision(*(torch.stack(part).mean(0) for part in parts))


def _mirrored(weights: Tensor) -> Tensor:
    """Reorders weights (B, I, J) of a mirrored picture's lenders to those of the picture: cells change sides."""
    if weights.shape[2] < CELLS.stop - CELLS.start:
        return weights
    cells, rest = weights[..., : GRID**2], weights[..., GRID**2 :]
    return torch.cat([cells.unflatten(-1, (GRID, GRID)).flip(-1).flatten(-2), rest], -1)


def filled_up(
    composite: Tensor, mask: Tensor, regions: Tensor | None, allowed: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The arguments with height and width padded to multiples of the encoder's stride, by repeating the border."""
    for dim in (-2, -1):
        size = composite.shape[dim]
        filled = (size + STRIDE - 1) // STRIDE * STRIDE
        if filled != size:
            place = torch.arange(filled, device=composite.device).clamp_max(size - 1)
            composite, mask = composite.index_select(dim, place), mask.index_select(dim, place)
            regions = None if regions is None else regions.index_select(dim, place)
            allowed = None if allowed is None else allowed.index_select(dim, place)
    return composite, mask, regions, allowed


def apply_affine(coefficients: Tensor, image: Tensor) -> Tensor:
    """Applies colour transforms (B, 12, h, w), upsampled bilinearly, to (B, 3, H, W) -> (B, 3, H, W).

    The coefficients may cover a padded picture (see `filled_up`).
    """
    height, width = image.shape[2:]
    size = (coefficients.shape[2] * CELL, coefficients.shape[3] * CELL)
    matrix = F.interpolate(coefficients, size=size, mode="bilinear", align_corners=False)
    matrix = matrix[:, :, :height, :width].unflatten(1, (3, 4))
    return (matrix[:, :, :3] * image[:, None]).sum(2) + matrix[:, :, 3]
