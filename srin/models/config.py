"""What a network is made of: the one object that configs, weights files and code agree on."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Slot = Literal["rain", "bain", "srin"]
Preset = Literal["paper", "default"]
Head = Literal["rgb", "residual", "affine"]
Painting = Literal["mean", "random", "constant"]
Keys = Literal["background", "all"]
# Regions of a composite's semantic map, at most, on each side of the mask: in training and in serving.
BACKGROUND_REGIONS, FOREGROUND_REGIONS = 16, 6


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of one harmonization network.

    Attributes:
        slot: which normalization aligns the foreground: "rain" is the baseline.
        preset: where the slot sits and how it reads the equations. "paper": one layer between encoder and decoder,
            RAIN in the decoder. "default" (ours): the decoder's normalizations at H/8 and H/4, region-pooled keys.
        head: "rgb" (tanh, the paper's); "residual": the same, added to the composite's colours; or "affine" (ours): a
            3x4 colour transform, global plus a smooth residual.
        width: base number of channels, n.
        working_size: pixels of the longer side of the largest pictures that it was trained on; srin.harmonizer chooses
            the size for a photo from it.
        painting: of SRIN, what colours the regions of M_s: each one's mean colour in the composite; a random colour,
            the same whenever the region covers the same pixels; or one constant for all. Without a map it is the mean.
        keys: of SRIN, where it may look: at the background, or at all there is, the foreground included. Unless it is
            given it is the preset's own, which a config then says like any other: "all" for "paper", where the
            equations have it so, and "background" for "default", which otherwise would not start as RAIN.

    The other slots know neither regions nor a choice of keys; the last two mean nothing to them.
    """

    slot: Slot
    preset: Preset = "default"
    head: Head = "affine"
    width: int = 16
    working_size: int = 256
    painting: Painting = "mean"
    keys: Keys = None  # type: ignore[assignment]
    members: int = 1

    def __post_init__(self) -> None:
        if self.keys is None:
            object.__setattr__(self, "keys", "all" if self.preset == "paper" else "background")
        choices = (("slot", Slot), ("preset", Preset), ("head", Head), ("painting", Painting), ("keys", Keys))
        for name, allowed in choices:
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {get_args(allowed)}, not {getattr(self, name)!r}")
        # Far above anything useful, and low enough that a broken file can't ask for all memory.
        for name, most in (("width", 256), ("working_size", 4096)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} must be an integer from 1 to {most}, not {value!r}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Builds a config from plain values. Raises ValueError on an unknown key, naming it."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown model setting: {', '.join(sorted(unknown))}")
        return cls(**values)
