"""A network's colour change in a photographer's terms: exposure, temperature, tint, contrast and saturation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from skimage.color import rgb2lab

MOST_STOPS = 10.0  # limit of the exposure, for example where black becomes grey
LEAST = 1.0  # units of L* or C*: in a ratio, a smaller deviation of lightness or a smaller chroma counts as this


@dataclass(frozen=True)
class Adjustment:
    """What a colour transform does to the pixels of an object, or of one of its regions, at strength 1.

    Here c are the pixels' colours before and d those after, clipped to [0, 1]; the weights are the mask.

    Attributes:
        exposure: stops (f-numbers); log2(Y(d) / Y(c)), Y the weighted mean of linear luminance
            0.2126 R + 0.7152 G + 0.0722 B; limited to 10 either way.
        temperature: units of CIELAB b* (D65); b*(mean d) - b*(mean c), weighted means of sRGB values; above 0 is warmer
            (yellower), below 0 cooler (bluer).
        tint: units of CIELAB a*; a*(mean d) - a*(mean c); above 0 is more magenta, below 0 greener.
        contrast: a ratio; the weighted standard deviation of L* after, over that before. 1 is unchanged.
        saturation: a ratio; the weighted root mean square of the chroma C* = hypot(a*, b*) after, over that before.
            In both ratios, values below 1 unit count as 1: those of a flat or grey object are mostly noise.
        regions: the same for each of the object's regions, by its id in the semantic map. Empty for methods that use no
            map.
    """

    exposure: float
    temperature: float
    tint: float
    contrast: float
    saturation: float
    regions: dict[int, Adjustment] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers by name, and "regions" by id as text."""
        values = asdict(self)
        values["regions"] = {str(name): region.to_dict() for name, region in self.regions.items()}
        for region in values["regions"].values():
            del region["regions"]
        return values


class Harmonized(np.ndarray):
    """A harmonized picture, uint8 (H, W, 3), or (H, W, 4) with alpha, that carries the network's adjustment.

    Attributes:
        adjustment: what the network decided; None for classical methods and for the paper's literal networks. Arrays
            that are computed from this one have None too.
    """

    adjustment: Adjustment | None = None

    @classmethod
    def of(cls, picture: np.ndarray, adjustment: Adjustment | None = None) -> Harmonized:
        """A view of the picture; pixels are not copied."""
        found = picture.view(cls)
        found.adjustment = adjustment
        return found


def measure(before: np.ndarray, after: np.ndarray, weight: np.ndarray, regions: np.ndarray | None = None) -> Adjustment:
    """The adjustment between two pictures.

    Args:
        before, after: (H, W, 3), sRGB in [0, 1]; clipped to it.
        weight: (H, W), not 0 everywhere. regions: integers (H, W), below 0 for none; or None.
    """
    before, after = (picture.clip(0, 1).astype(np.float64) for picture in (before, after))
    inside = weight > 0
    weight = weight[inside].astype(np.float64)
    before, after = before[inside], after[inside]
    labels = (np.zeros(inside.shape, np.int64) if regions is None else regions)[inside]
    names = [] if regions is None else [name for name in np.unique(labels) if name >= 0]
    parts = {int(name): _of_pixels(*(x[labels == name] for x in (before, after, weight))) for name in names}
    whole = _of_pixels(before, after, weight)
    return Adjustment(**{**vars(whole), "regions": parts})


def moments(pixels: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray, float, float]:
    """Weighted statistics of sRGB pixels (N, 3) in [0, 1], with weights (N,).

    Returns the mean of linear luminance, CIELAB of the mean colour (3,), the standard deviation of L*, and the root mean
    square of the chroma.
    """
    weight = weight / weight.sum()
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    luminance = float(weight @ linear @ (0.2126, 0.7152, 0.0722))
    lab = rgb2lab(pixels[None])[0]
    deviation = np.sqrt(weight @ (lab[:, 0] - weight @ lab[:, 0]) ** 2)
    chroma = np.sqrt(weight @ (lab[:, 1:] ** 2).sum(1))
    return luminance, rgb2lab((weight @ pixels)[None, None])[0, 0], float(deviation), float(chroma)


def _of_pixels(before: np.ndarray, after: np.ndarray, weight: np.ndarray) -> Adjustment:
    (light, mean, deviation, chroma), (light_after, mean_after, deviation_after, chroma_after) = (
        moments(pixels, weight) for pixels in (before, after)
    )
    stops = np.log2(max(light_after, 1e-6) / max(light, 1e-6))
    return Adjustment(
        float(np.clip(stops, -MOST_STOPS, MOST_STOPS)),
        float(mean_after[2] - mean[2]),
        float(mean_after[1] - mean[1]),
        max(deviation_after, LEAST) / max(deviation, LEAST),
        max(chroma_after, LEAST) / max(chroma, LEAST),
    )
