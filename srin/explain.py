"""Explains what each region of the background did to a part of the foreground, by a weight and an effect.

The weight is how much was borrowed from the region. The effect is how much the result changes when the region is
excluded, as a reference excludes it (`srin.reference`). Sentences are made from effects alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from srin.adjustment import LEAST, moments
from srin.composite import Composite
from srin.errors import SrinError
from srin.models.network import Decision, HarmonizationNet, apply_affine
from srin.models.units import WHOLE_BACKGROUND, partition
from srin.reference import enough, filled
from srin.resizing import enlarged_labels
from srin.segmentation.semantic_map import SemanticMap
from srin.working_size import Seen, seen

SIDE = 384  # pixels of the longer side of the composite in which regions are painted over
SLIVER = 1e-3  # share of what may lend: smaller regions, such as strips along a mark's rim, are not explained
CHUNK = 4  # pictures that pass through the network together: more don't fit the processor's cache
PLACES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))
NAMES = {"rain": "The baseline", "bain": "BAIN", "srin": "SRIN"}
HARDLY = 1.0  # grey levels: an effect below it is hardly any difference
NAMED = 3  # regions that a sentence describes one by one, at most
# The smallest changes that are put into words: in units of CIELAB, and as a share of a ratio.
SHIFT, RATIO = 0.5, 0.03


@dataclass(frozen=True)
class RegionEffect:
    """What one region of the background did to the part of the foreground.

    Attributes:
        region: its id in the semantic map. place: where in the picture it is, in words.
        area: its share of the background. weight: its share of what the part borrowed; both sum to 1 over all regions.
            None for the baseline, which borrows from all pixels alike.
        effect: grey levels (of 255); the mean, over the part's pixels and the three channels, of the absolute difference
            that excluding the region makes. None where nothing else is left to borrow from.
        words: how the part would differ without the region: "lighter" or "darker" (L* of the mean colour), "warmer" or
            "cooler" (b*), "more magenta" or "greener" (a*), "more contrast" or "less contrast" (deviation of L*), "more
            colour" or "less colour" (root mean square of the chroma). Empty where the effect is below HARDLY, or nothing
            of this kind changes by SHIFT units or by RATIO.
    """

    region: int
    place: str
    area: float
    weight: float | None
    effect: float | None
    words: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the background did to one part of the foreground.

    Attributes:
        regions: of the background, the largest effect first.
        heat: float32 (H, W), each pixel's weight in what the part borrowed, divided by its weight by area alone: 1 means
            as much as in the baseline. 0 on the foreground.
        part: bool (H, W), the part of the foreground that was asked about: the map's region at the point.
        labels: int32 (H, W), the map's regions.
        sentence: says what excluding regions changes.
        transform: the network's colour transform with all regions, float32 (1, 12, h, w), see
            `srin.full_resolution.apply_coefficients`. without: the same without one region, by the region's id, for all
            regions whose effect is known.
    """

    regions: tuple[RegionEffect, ...]
    heat: np.ndarray
    part: np.ndarray
    labels: np.ndarray
    sentence: str
    transform: np.ndarray
    without: Mapping[int, np.ndarray]


def explain_network(
    network: HarmonizationNet,
    composite: Composite,
    point: tuple[float, float],
    semantic_map: SemanticMap,
    allowed: np.ndarray | None = None,
    proceed: Callable[[float], None] = lambda done: None,
) -> Explanation:
    """See `Harmonizer.explain`. The map may be of any size. Raises SrinError when the point isn't on the foreground.

    allowed: as `srin.reference.lenders` returns it; regions that may not lend are not explained, nor is a SLIVER.
    """
    size, inside = composite.mask.shape, composite.mask > 127
    x, y = int(point[0]), int(point[1])
    if not (0 <= x < size[1] and 0 <= y < size[0] and inside[y, x]):
        raise SrinError("Point at the pasted object: the question is where it borrowed its light from.")
    labels = enlarged_labels(semantic_map.labels, size)
    part = inside & (labels == labels[y, x])
    small = composite.shrunk(SIDE)
    small_labels = enlarged_labels(labels, small.mask.shape)
    lending = (composite.mask == 0) if allowed is None else allowed & (composite.mask == 0)
    names = [int(name) for name in np.flatnonzero(np.bincount(labels[lending]))]
    # With a reference, no pixel of the soft edge lends: it may lie outside what is allowed to.
    lenders = np.ones(small.mask.shape, bool) if allowed is None else enlarged_labels(lending, small.mask.shape)
    lenders |= small.mask > 0
    config, regions = network.config, small_labels if network.config.slot == "srin" else None
    whole = seen(config, filled(small, lenders), regions, allowed=lenders)
    units = _units(whole)
    background = units[WHOLE_BACKGROUND][0]
    rows, columns = whole.mask.shape
    grid = enlarged_labels(small_labels, (rows, columns))
    shares = {name: float(background[grid == name].sum() / background.sum()) for name in names}
    names = [name for name in names if shares[name] >= SLIVER]
    others = {name: lenders & (small_labels != name) | (small.mask > 0) for name in names}
    compared = [name for name in names if enough(others[name], small)]
    without = [seen(config, filled(small, others[name]), regions, allowed=others[name]) for name in compared]
    results, transforms, decision = _run(network, [whole, *without], proceed)
    asked = cv2.resize(part.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA) * (whole.mask / 255)
    if not asked.any():  # the part is too small for this resolution: explain the whole object instead
        asked = whole.mask.astype(np.float32)
    density = _density(network, units, decision, asked)
    found = []
    for name in names:
        here = grid == name
        about = RegionEffect(name, _place(here), shares[name], None, None, ())
        if config.slot != "rain":
            about = replace(about, weight=float(density[here].sum()))
        if name in compared:
            effect, words = _difference(results[0], results[1 + compared.index(name)], asked)
            about = replace(about, effect=effect, words=words)
        found.append(about)
    found.sort(key=lambda region: -(region.effect or 0))
    heat = _heat(density, background, size)
    heat[inside] = 0
    each = {name: transforms[[number]] for number, name in enumerate(compared, start=1)}
    return Explanation(tuple(found), heat, part, labels, sentence(found, config.slot), transforms[:1], each)


def _units(picture: Seen) -> np.ndarray:
    """float64 (U, h, w): the weight of each pixel in each unit."""
    _, mask, regions, allowed = picture.tensors(torch.device("cpu"))
    return partition(mask, regions, allowed)[0].double().numpy()


def _density(network: HarmonizationNet, units: np.ndarray, decision: Decision, asked: np.ndarray) -> np.ndarray:
    """(h, w): each pixel's share of what a part of the foreground borrowed, summing to 1.

    units: of the picture, see `_units`. decision: the network's; the picture is its first. asked: (h, w), weights of the
    part's pixels.
    """
    borrowers, lenders = units[network.slot.borrowers], units[network.slot.lenders]
    owner = (borrowers * asked).sum((1, 2))
    # The part may be all rim: then the whole object's shares are taken.
    owner = owner / owner.sum() if owner.any() else decision.share[0].double().cpu().numpy()
    each = owner @ decision.weights[0].double().cpu().numpy()
    area = lenders.sum((1, 2))
    return np.einsum("j,jhw->hw", each / np.maximum(area, 1e-12), lenders)


def _run(
    network: HarmonizationNet, pictures: list[Seen], proceed: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray, Decision]:
    """Runs the network on N pictures of one size.

    Returns the results, (N, h, w, 3) from 0 to 255, not rounded; the transforms, float32 (N, 12, h', w'); and the
    decision on the first pictures.
    """
    device = next(network.parameters()).device
    found: list[np.ndarray] = []
    transforms: list[np.ndarray] = []
    first: Decision | None = None
    for start in range(0, len(pictures), CHUNK):
        proceed(start / len(pictures))
        tensors = [picture.tensors(device) for picture in pictures[start : start + CHUNK]]
        composite, mask, regions, allowed = (
            None if parts[0] is None else torch.cat(parts) for parts in zip(*tensors, strict=True)
        )
        assert composite is not None and mask is not None
        with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            decision = network.decide(composite, mask, regions, allowed)
            coefficients = network.spread_out(decision, mask, regions).float()
            harmonized = apply_affine(coefficients, composite)
        first = first or decision
        transforms.append(coefficients.cpu().numpy())
        found.append(((harmonized + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).cpu().numpy())
    assert first is not None
    return np.concatenate(found), np.concatenate(transforms), first


def _difference(before: np.ndarray, after: np.ndarray, asked: np.ndarray) -> tuple[float, tuple[str, ...]]:
    """The effect and its words; pictures (h, w, 3) from 0 to 255, asked: (h, w), weights of the part's pixels."""
    inside = asked > 0
    weight = asked[inside].astype(np.float64)
    effect = float(weight @ np.abs(after - before)[inside].mean(1) / weight.sum())
    if effect < HARDLY:
        return effect, ()
    _, mean, deviation, chroma = moments(before[inside].astype(np.float64) / 255, weight)
    _, mean_after, deviation_after, chroma_after = moments(after[inside].astype(np.float64) / 255, weight)
    light, tint, temperature = mean_after - mean
    contrast = max(deviation_after, LEAST) / max(deviation, LEAST)
    colour = max(chroma_after, LEAST) / max(chroma, LEAST)
    chosen = (
        (light, SHIFT, "lighter", "darker"),
        (temperature, SHIFT, "warmer", "cooler"),
        (tint, SHIFT, "more magenta", "greener"),
        (np.log(contrast), np.log1p(RATIO), "more contrast", "less contrast"),
        (np.log(colour), np.log1p(RATIO), "more colour", "less colour"),
    )
    return effect, tuple(more if value > 0 else less for value, least, more, less in chosen if abs(value) >= least)


def sentence(regions: list[RegionEffect], slot: str) -> str:
    """A sentence that says what excluding regions changes; regions: the largest effect first."""
    name = NAMES[slot]
    compared = [region for region in regions if region.effect is not None]
    if not compared:
        return f"{name} has a single region to borrow from here, so there is nothing to compare it with."
    strong = [region for region in compared if region.effect is not None and region.effect >= HARDLY]
    if not strong:
        which = f"any one of the {len(compared)} background regions" if len(compared) > 1 else "the background region"
        limit = f"less than {HARDLY:g} of 255 grey levels"
        return f"{name}: the map made no difference here. Leaving out {which} changes this part by {limit}."
    text = f"{name}: {'; '.join(_told(region) for region in strong[:NAMED])}."
    if len(strong) > NAMED:
        more = len(strong) - NAMED
        make = "makes" if more == 1 else "make"
        text += f" {more} more {make} a difference of {strong[NAMED].effect:.1f} grey levels at most."
    if rest := len(compared) - len(strong):
        others = "the other one" if rest == 1 else f"any one of the other {rest}"
        text += f" Leaving out {others} makes hardly any difference."
    return text


def _told(region: RegionEffect) -> str:
    return (
        f"without the region at the {region.place} ({region.area:.0%} of the background), this part would "
        f"{would(region)} ({region.effect:.1f} grey levels on average)"
    )


def would(region: RegionEffect) -> str:
    """How the part would differ without a region that has an effect, as in "be lighter and have less contrast"."""
    nouns = [word for word in region.words if word.endswith(("contrast", "colour"))]
    adjectives = [word for word in region.words if word not in nouns]
    said = [f"{verb} {' and '.join(words)}" for verb, words in (("be", adjectives), ("have", nouns)) if words]
    return " and ".join(said) or "look a little different"


def _place(region: np.ndarray) -> str:
    """The place of a region, bool (H, W), in words, by its point farthest from its border: its mean may lie outside."""
    height, width = region.shape
    depth = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(depth), depth.shape)
    return PLACES[3 * int(row) // height][3 * int(column) // width]


def _heat(density: np.ndarray, background: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """float32 (H, W): density divided by its value by area alone; pixels of the rim take their neighbours' values."""
    known = (background > 0).astype(np.float32)
    quotient = np.where(known > 0, density / np.maximum(background, 1e-12) * background.sum(), 0).astype(np.float32)
    near = [cv2.blur(x, (5, 5)) for x in (quotient, known)]
    quotient = np.where(known > 0, quotient, near[0] / np.maximum(near[1], 1e-6))
    return cv2.resize(quotient, size[::-1], interpolation=cv2.INTER_LINEAR)


def outlines(labels: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels whose right or lower neighbour is of another region."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    return edge
