"""Offsets: a person's changes to what a network decided, in the units of `srin.adjustment`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from srin.errors import SrinError
from srin.untrusted import is_number, mapping, number

LIMITS = {
    "exposure": (-3.0, 3.0),
    "temperature": (-40.0, 40.0),
    "tint": (-40.0, 40.0),
    "contrast": (0.25, 4.0),
    "saturation": (0.0, 4.0),
}
GAMMA = 2.4  # multiplying sRGB values by g multiplies light by about g ** GAMMA
LUMA = np.array([0.299, 0.587, 0.114])
STEPS = 40  # steps of the search for a colour with given CIELAB values


@dataclass(frozen=True)
class Offsets:
    """A change of an object's colours, applied after the network's transform. The defaults change no bit of the result.

    Attributes:
        exposure: stops, -3 to 3. temperature, tint: units of CIELAB b* and a* of the object's mean colour, -40 to 40.
        contrast, saturation: ratios, 0.25 to 4 and 0 to 4.

    Raises:
        SrinError: a value is out of range, or no finite number.
    """

    exposure: float = 0.0
    temperature: float = 0.0
    tint: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), LIMITS[field.name]
            if not is_number(value):
                raise SrinError(f"{field.name} must be a number, not {str(value)[:80]!r}.")
            if not low <= value <= high:
                raise SrinError(f"{field.name} is {value:g}; it must lie between {low:g} and {high:g}.")

    @classmethod
    def clipped(cls, data: Any) -> Offsets:
        """Offsets from the data of a file or a request: numbers are clipped, anything else becomes the default."""
        given, rest = mapping(data), cls()
        return cls(**{name: number(given, name, *LIMITS[name], getattr(rest, name)) for name in LIMITS})

    @property
    def change_nothing(self) -> bool:
        return self == Offsets()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def affine(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The change as a transform of colours, c -> matrix @ c + shift: float64 (3, 3) and (3,).

        mean: (3,), sRGB in [0, 1], the object's mean colour after the network's transform. Contrast scales the distance
        from it along lightness, saturation the distance from grey; both act on sRGB values.
        """
        towards_grey = np.ones((3, 1)) @ LUMA[None]
        gain = 2 ** (self.exposure / GAMMA)
        brightened = gain * mean
        contrast = np.eye(3) + (self.contrast - 1) * towards_grey
        saturation = self.saturation * np.eye(3) + (1 - self.saturation) * towards_grey
        matrix = saturation @ contrast * gain
        shift = saturation @ (brightened - contrast @ brightened)
        moved = saturation @ brightened
        return matrix, shift + _recoloured(moved, self.tint, self.temperature) - moved

    def applied(self, coefficients: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Adds the change to a network's transforms, float32 (1, 12, h, w) for colours in [-1, 1].

        mean: see `affine`. Returns transforms of the same shape and range.
        """
        matrix, shift = self.affine(mean)
        rows = coefficients.reshape(3, 4, *coefficients.shape[2:])
        changed = np.einsum("ij,jkhw->ikhw", matrix, rows)
        changed[:, 3] += (matrix.sum(1) + 2 * shift - 1)[:, None, None]
        return changed.reshape(coefficients.shape).astype(np.float32)


def _recoloured(colour: np.ndarray, tint: float, temperature: float) -> np.ndarray:
    """Adds `tint` to a colour's a* and `temperature` to its b*: (3,), sRGB, perhaps outside [0, 1]."""
    if not (tint or temperature):
        return colour
    from skimage.color import rgb2lab

    def lab(rgb: np.ndarray) -> np.ndarray:
        return rgb2lab(rgb.clip(0, 1)[None, None])[0, 0]

    start = colour.clip(0.02, 0.98)
    goal, found = lab(start) + (0, tint, temperature), start
    for _ in range(STEPS):  # Newton's method with half steps, since there may be no such colour near the gamut's edge
        slopes = np.stack([(lab(found + step) - lab(found - step)) / 0.02 for step in 0.01 * np.eye(3)], axis=1)
        found = (found + 0.5 * np.linalg.lstsq(slopes, goal - lab(found), rcond=None)[0]).clip(0.01, 0.99)
    return colour + found - start
