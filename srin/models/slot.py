"""The slot decides from which part of the background each part of the foreground borrows its statistics.

The paper's three methods differ in this alone, and so do the three networks here:

    slot    borrowers                 lenders
    rain    the whole foreground      the whole background                            (the paper's baseline)
    bain    the whole foreground      positions: the cells of a grid
    srin    the foreground's regions  positions, and the background's regions of the semantic map

Borrower i takes from lender j the share p_ij = softmax_j(log area_j + s(relation_ij)). The score s is a perceptron whose
last layer starts at zero, so at the start every method borrows by area alone, as RAIN does. The paper's attention
R = softmax(Q K^T) (equation 3) scores positions by a product of features. Here, the score's inputs are how near the
lender is, how alike the two look, and what they are; a few thousand photos are enough to learn it. Equations 4 to 6
normalize by what was attended to; here `srin.models.transform` uses moments mixed by p (`srin.models.units.mixture`).
"""

import torch
from torch import Tensor, nn

from srin.models.config import Slot as SlotName
from srin.models.units import (
    BORROWING,
    CELLS,
    EMPTY,
    LENDING,
    WHOLE_BACKGROUND,
    WHOLE_FOREGROUND,
    Units,
)

RELATIONS = 14
HIDDEN = 24
Characters = tuple[Tensor, Tensor]  # as `srin.models.network.Head.characters` returns them
BORROWERS = {"rain": WHOLE_FOREGROUND, "bain": WHOLE_FOREGROUND, "srin": BORROWING}
LENDERS = {"rain": WHOLE_BACKGROUND, "bain": CELLS, "srin": slice(CELLS.start, LENDING.stop)}


class Slot(nn.Module):
    """Computes how much each borrower takes from each lender.

    Attributes:
        borrowers, lenders: which units borrow and lend, as slices of the units.
    """

    def __init__(self, name: SlotName) -> None:
        super().__init__()
        self.borrowers, self.lenders = BORROWERS[name], LENDERS[name]
        self.score: nn.Sequential | None = None
        if name != "rain":  # one lender: nothing to choose
            self.score = nn.Sequential(nn.Linear(RELATIONS, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))
            nn.init.zeros_(self.score[-1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.score[-1].bias)  # type: ignore[arg-type]

    def forward(
        self, borrowers: Units, lenders: Units, seeking: Characters, offering: Characters, uniform: bool = False
    ) -> Tensor:
        """Shares p (B, I, J) of the J lenders for the I borrowers; they sum to 1 over J, and are 0 for empty lenders.

        Args:
            borrowers, lenders: statistics of those units. seeking, offering: the characters of the borrowers and of the
                lenders.
            uniform: shares by area alone, without the learnt score; a control that shows what the score contributes.
        """
        area = lenders.area
        logits = area.clamp_min(EMPTY).log()[:, None].expand(-1, borrowers.area.shape[1], -1)
        if self.score is not None and not uniform:
            logits = logits + self.score(relations(borrowers, lenders, seeking, offering))[..., 0]
        return logits.masked_fill(area[:, None] <= EMPTY, -1e4).softmax(-1)


def relations(borrowers: Units, lenders: Units, seeking: Characters, offering: Characters) -> Tensor:
    """The score's inputs for each borrower and lender: (B, I, J, RELATIONS), each of about unit size.

    They are: the share of the lender within three distances of the mask (3); the cosine of the two meanings, and of the
    two textures (2); the absolute differences of mean L*, a* and b* (3), and the signed one of L* (1); how much lower the
    borrower lies, and how far they are apart sideways (2); the lender's spread, area and chroma (3).
    """
    count = borrowers.area.shape[1]

    def each_pair(x: Tensor) -> Tensor:
        """Repeats the lenders' values (B, J, C) for every borrower: (B, I, J, C)."""
        return x[:, None].expand(-1, count, -1, -1)

    apart = borrowers.colour[:, :, None, 9:12] - lenders.colour[:, None, :, 9:12]
    offset = borrowers.place[:, :, None, :2] - lenders.place[:, None, :, :2]
    return torch.cat(
        [
            each_pair(lenders.near) * 2 - 1,
            (seeking[0] @ offering[0].mT)[..., None] * 3,
            (seeking[1] @ offering[1].mT)[..., None] * 2,
            apart.abs() * 3 - 1,
            apart[..., :1] * 2,
            offset[..., :1] * 3,
            offset[..., 1:].abs() * 4 - 1,
            each_pair(lenders.place[..., 2:]) * 5 - 1,
            (each_pair(lenders.area[..., None]).clamp_min(EMPTY).log() + 4) / 1.5,
            each_pair(lenders.colour[..., 15:16]) * 2 - 1,
        ],
        -1,
    )
