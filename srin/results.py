"""Saves a harmonized composite with a note of what it was made from, for the command line and the endpoint alike."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from srin.composite import Composite
from srin.harmonizer import Harmonizer
from srin.image_io import save_photo
from srin.models import WEIGHTS
from srin.offsets import Offsets
from srin.outputs import digest
from srin.segmentation.semantic_map import segmenter_name


def settings_of(
    harmonizer: Harmonizer,
    inputs: Iterable[Path | None],
    strength: float,
    working_size: int | None,
    invert_mask: bool,
    segmenter: str,
    offsets: Offsets | None = None,
) -> dict[str, Any]:
    """All settings and inputs that a result depends on. inputs: composite, mask, map or None, then any others.

    Raises SrinError.
    """
    inputs = tuple(inputs)
    settings: dict[str, Any] = {"method": harmonizer.method, "strength": float(strength)}
    settings |= {"working size": working_size, "mask inverted": invert_mask}
    if offsets and not offsets.change_nothing:
        settings["offsets"] = offsets.to_dict()
    if harmonizer.needs_map:
        settings["semantic map"] = "provided" if inputs[2] else segmenter_name(segmenter)
    settings["weights"] = digest(sorted(WEIGHTS.glob(f"{harmonizer.method}*.safetensors")))
    settings["made from"] = digest(inputs)
    return settings


def save_result(
    harmonized: np.ndarray, composite: Composite, path: Path, original: Path, settings: dict[str, Any]
) -> None:
    """Writes a result of `Harmonizer.harmonize_composite` with the colour profile, camera data, resolution and
    transparency of the composite's file. Raises OutputError, ImageError."""
    save_photo(composite.with_alpha(harmonized), path, original, json.dumps(settings), composite.mask)
