"""Computes the foreground's colour transform from its own statistics and the borrowed ones."""

import torch
from torch import Tensor, nn

from srin.models.encoder import TEXTURES
from srin.models.units import COLOURS, EMPTY, Units

MEANING = 64  # channels that the late features are projected to
WIDTH = 320
OUTPUTS = 14
STEP = 0.5  # change of a coefficient for an output of 1


class Transform(nn.Module):
    """Colour transforms of the foreground and of each of its units.

    For each unit, the unit's own and borrowed statistics, and those of the whole foreground and background, give a 3x4
    colour transform and two confidences. The transform acts around the foreground's mean colour and starts at the
    identity. The object's transform is the mean of its units', weighted by area and the first confidence. A unit's
    deviation from it is multiplied by the second confidence, because light may vary over an object.
    """

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        # Four sets of statistics: the unit's own, what it borrowed, the whole foreground, the whole background.
        self.colour = nn.Sequential(nn.Linear(4 * COLOURS, 192), nn.GELU())
        self.texture = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * 2 * TEXTURES, 192), nn.GELU())
        self.meaning = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * MEANING, 128), nn.GELU())
        self.joint = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(512, WIDTH), nn.GELU(), nn.Dropout(dropout), nn.Linear(WIDTH, OUTPUTS)
        )
        nn.init.zeros_(self.joint[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.joint[-1].bias)  # type: ignore[arg-type]

    def forward(self, sources: list[Units], area: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The transforms of the object and of its I units.

        Args:
            sources: own, borrowed, whole foreground, whole background: I units each, on a common scale.
            area: (B, I), of the units. mean: (B, 3), the foreground's mean colour in [-1, 1].

        Returns:
            (B, 3, 4) of the object and (B, I, 3, 4) of its units, rows of [A | b], for colours in [-1, 1]; and (B, I),
            each unit's share in the object's transform.
        """
        empty = area <= EMPTY
        if self.training:  # skip empty units, about half of all, which would cost as much as the others
            found = area.new_zeros(*area.shape, OUTPUTS)
            found[~empty] = self._found([source.where(~empty) for source in sources])
        else:
            found = self._found(sources)
        change = STEP * found[..., :12].unflatten(-1, (3, 4))
        share = (area.clamp_min(EMPTY).log() + found[..., 12]).masked_fill(empty, -1e4).softmax(-1)
        whole = torch.einsum("bi,bijk->bjk", share, change)
        kept = (found[..., 13] - 2).sigmoid().masked_fill(empty, 0)
        change = whole[:, None] + kept[..., None, None] * (change - whole[:, None])
        return around(whole, mean), around(change, mean[:, None]), share

    def _found(self, sources: list[Units]) -> Tensor:
        """(..., OUTPUTS): a change of contrast and shift, 3x4, and two confidences."""
        seen = [
            self.colour(torch.cat([source.colour for source in sources], -1)),
            self.texture(torch.cat([source.texture.flatten(-2) for source in sources], -1)),
            self.meaning(torch.cat([source.meaning for source in sources], -1)),
        ]
        return self.joint(torch.cat(seen, -1))


def around(change: Tensor, mean: Tensor) -> Tensor:
    """Turns changes of contrast and shift (..., 3, 4) into transforms [A | b] that act around a colour (..., 3)."""
    matrix, shift = change[..., :3], change[..., 3]
    shift = shift - (matrix @ mean[..., None])[..., 0]
    return torch.cat([matrix + torch.eye(3, device=change.device), shift[..., None]], -1)
