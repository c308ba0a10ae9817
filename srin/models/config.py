"""The configuration of a network, as it is stored in training configs and weights files."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Slot = Literal["rain", "bain", "srin"]
Preset = Literal["paper", "default"]
Head = Literal["residual", "rgb"]
Logits = Literal["plain", "scaled", "uniform"]
Shift = Literal["relu", "signed"]
Norm = Literal["rain", "instance"]
# Regions of a composite's semantic map on each side of the mask, at most, in training and in inference.
BACKGROUND_REGIONS, FOREGROUND_REGIONS = 16, 6
# Settings that only one preset uses; with the other they must keep their defaults.
OF_PRESET: dict[str, Preset] = {
    "width": "paper",
    "head": "paper",
    "logits": "paper",
    "shift": "paper",
    "decoder_norm": "paper",
    "members": "default",
}


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of one harmonization network.

    Attributes:
        slot: where the foreground borrows its statistics from; "rain" is the baseline.
        preset: "default" (ours): encoder, units, slot, transform, see `srin.models.network`. "paper": the paper's
            equations to the letter, a U-Net with RAIN in its decoder and one layer between encoder and decoder, see
            `srin.models.paper`.
        working_size: pixels, the size at which the network sees pictures, see `srin.working_size.seen`.
        width: preset "paper" only: base number of channels, n.
        head: preset "paper" only: "rgb" (tanh, the paper's), or "residual": the same, added to the composite's colours.
        logits: preset "paper" only, the attention of BAIN and SRIN: "plain" (the paper's), "scaled" by the square root of
            the dimension, or "uniform", a control with all logits at 0.
        shift: preset "paper" only, SRIN's beta: "relu" (the paper's), or "signed", without the ReLU.
        decoder_norm: preset "paper" only: "rain" (the paper's), or "instance": plain instance normalization.
        members: preset "default" only: how many heads (slot and transform) are averaged.

    Raises:
        ValueError: a value is none of the above, or belongs to another preset or slot; the message says so.
    """

    slot: Slot
    preset: Preset = "default"
    working_size: int = 256
    width: int = 16
    head: Head = "residual"
    logits: Logits = "plain"
    shift: Shift = "relu"
    decoder_norm: Norm = "rain"
    members: int = 1

    def __post_init__(self) -> None:
        choices = {"slot": Slot, "preset": Preset, "head": Head, "logits": Logits, "shift": Shift, "decoder_norm": Norm}
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, not {getattr(self, name)!r}")
        # The limits are far above anything useful, but keep a broken file from using up all memory.
        for name, most in (("working_size", 4096), ("width", 256), ("members", 64)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} must be an integer from 1 to {most}, not {value!r}")
        for field in fields(self):
            preset = OF_PRESET.get(field.name, self.preset)
            value = getattr(self, field.name)
            if preset != self.preset and value != field.default:
                raise ValueError(f"{field.name}={value} belongs to preset {preset}; preset {self.preset} has none")

        if self.slot == "rain" and self.logits != "plain":
            raise ValueError(f"logits={self.logits} belongs to slots bain and srin; RAIN has no attention")
        if self.slot != "srin" and self.shift != "relu":
            raise ValueError(f"shift={self.shift} belongs to slot srin")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Builds a config from plain values. Raises ValueError on an unknown or missing key, naming it."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown model setting: {', '.join(sorted(unknown))}")
        if "slot" not in values:
            raise ValueError("slot is missing")
        return cls(**values)
