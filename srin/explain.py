"""Where a network looked: the attention of a part of the foreground, as a map over the background."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from srin.composite import Composite
from srin.errors import SrinError
from srin.models.bain import BAIN
from srin.models.scene import Level
from srin.models.srin import SRIN
from srin.models.unet import HarmonizationNet
from srin.segmentation.semantic_map import SemanticMap

PLACES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))
EVEN = 1.15  # a heat below this everywhere is as good as no preference
MOST_TIMES = 10  # the average; beside the object's edge, where next to nothing is background, a quotient means little


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a network took the background's statistics from, for one part of the foreground.

    Attributes:
        heat: float32 (H, W), how many times the background's average a place was attended to: 1 everywhere is what the
            baseline does. 0 on the foreground.
        part: bool (H, W), the part of the foreground that was asked about: the map's region at the point.
        outlines: bool (H, W), the borders of the map's regions.
        sentence: for people, what the heat says.
    """

    heat: np.ndarray
    part: np.ndarray
    outlines: np.ndarray
    sentence: str


def explain_network(
    network: HarmonizationNet,
    inputs: tuple[Tensor, Tensor, Tensor | None],
    composite: Composite,
    semantic_map: SemanticMap,
    point: tuple[float, float],
) -> Explanation:
    """See `Harmonizer.explain`. inputs: image, mask and regions as the network takes them; point: x, y in pixels.

    Raises SrinError when the point isn't on the foreground, or the network has no attention of the preset "default".
    """
    labels, inside = semantic_map.labels, composite.mask > 127
    x, y = int(point[0]), int(point[1])
    if not (0 <= x < labels.shape[1] and 0 <= y < labels.shape[0] and inside[y, x]):
        raise SrinError("Point at the pasted object: the question is where it borrowed its light from.")
    part = inside & (labels == labels[y, x])
    records = _record(network, inputs)
    if not records:
        raise SrinError("This network doesn't look around: it takes the whole background's average everywhere.")
    heat = np.mean([_heat(record, part, labels) for record in records], axis=0).astype(np.float32)
    heat[inside] = 0
    return Explanation(heat, part, _outlines(labels), _sentence(heat, labels, inside, network.config.slot))


@dataclass
class _Record:
    """What one slot computed: queries (N, D) at level.inside, keys (K, D), and the weight (K,) of each key's part."""

    slot: BAIN | SRIN
    level: Level
    query: Tensor
    key: Tensor
    weight: Tensor


def _record(network: HarmonizationNet, inputs: tuple[Tensor, Tensor, Tensor | None]) -> list[_Record]:
    """Runs a copy of the network, whose slots note what they ask and what answers."""
    records = []
    watched = copy.deepcopy(network)
    for slot in watched.norms:
        if not isinstance(slot, BAIN | SRIN):
            continue
        noted: dict[str, Any] = {"slot": slot}
        slot.register_forward_pre_hook(lambda module, args, noted=noted: noted.update(level=args[1]))
        for name in ("query", "key"):
            setattr(slot.attention, name, _noting(getattr(slot.attention, name), noted, name))
        records.append(noted)
    with torch.inference_mode():
        watched(*inputs)
        return [_Record(weight=_weights(noted), **noted) for noted in records if "query" in noted]


def _noting(function: Callable[..., Tensor], noted: dict[str, Any], name: str) -> Callable[..., Tensor]:
    def call(*arguments: Tensor) -> Tensor:
        noted[name] = function(*arguments)[0]
        noted[name] = noted[name].clone()
        return noted[name][None]

    return call


def _weights(noted: dict[str, Any]) -> Tensor:
    level: Level = noted["level"]
    if isinstance(noted["slot"], SRIN):
        lending = noted["slot"].lending(level)
        assert lending is not None
        return lending.sum((2, 3))[0]
    return level.background.flatten(1)[0, level.outside]


def _heat(record: _Record, part: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float (H, W): attention per area, relative to that of uniform attention."""
    level, size = record.level, labels.shape
    h, w = level.mask.shape[2:]
    share = cv2.resize(part.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA).ravel()
    belongs = torch.from_numpy(share)[level.inside.cpu()]
    if not belongs.any():  # a part too small for this resolution: the whole foreground speaks for it
        belongs = torch.ones_like(belongs)
    logits = record.query.cpu() @ record.key.cpu().T + record.weight.cpu().log()
    attention = (logits.softmax(-1) * belongs[:, None]).sum(0) / belongs.sum()
    weight = record.weight.cpu()
    density = torch.where(weight > 0, attention / weight * weight.sum(), torch.zeros_like(weight)).numpy()
    if isinstance(record.slot, SRIN):
        return np.append(density, np.zeros(max(0, labels.max() + 1 - len(density))))[labels]
    positions = np.zeros(h * w, np.float32)
    positions[level.outside.cpu().numpy()] = density
    return cv2.resize(positions.reshape(h, w), size[::-1], interpolation=cv2.INTER_LINEAR)


def _outlines(labels: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels whose right or lower neighbour is of another region."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    return edge


def _sentence(heat: np.ndarray, labels: np.ndarray, inside: np.ndarray, slot: str) -> str:
    name, outside = slot.upper(), ~inside
    if heat.max() < EVEN:
        return f"{name} looked at the whole background alike for this part: no place was preferred."
    height, width = labels.shape
    # Not the mean of all bright places, which may lie between them.
    spot = cv2.blur(heat, (1 + width // 10, 1 + height // 10))
    row, column = np.unravel_index(np.argmax(spot), spot.shape)
    place = PLACES[3 * int(row) // height][3 * int(column) // width]
    share = heat[outside & (heat > 1)].sum() / heat[outside].sum()
    area = (heat[outside] > 1).mean()
    what = "regions" if slot == "srin" else "places"
    peak = f"up to {heat.max():.1f} times" if heat.max() < MOST_TIMES else f"more than {MOST_TIMES} times"
    return (
        f"For this part, {name} took {share:.0%} of its reference colours from {what} that are {area:.0%} of the "
        f"background, most strongly from the {place} of the picture ({peak} the average)."
    )
