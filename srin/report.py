"""JSON reports of how a picture was harmonized, for programs."""

import json
import os
from pathlib import Path
from typing import Any

from srin import __version__
from srin.adjustment import Harmonized
from srin.errors import OutputError
from srin.harmonizer import Harmonizer
from srin.image_io import write_whole
from srin.offsets import Offsets
from srin.segmentation.semantic_map import SemanticMap


def report(
    harmonizer: Harmonizer,
    harmonized: Harmonized,
    semantic_map: SemanticMap | None,
    strength: float,
    working_size: int | None,
    milliseconds: float,
    offsets: Offsets | None = None,
) -> dict[str, Any]:
    """How a picture was harmonized, as plain values for JSON.

    Args:
        harmonized: what `harmonize_composite` returned. semantic_map, strength, working_size, offsets: its arguments.
        milliseconds: the time it took.

    Returns:
        "method", "version" of the package, "strength", "working_size" in pixels (see `srin.working_size.seen`; the one
        given, else the network's own, or None), "segmenter" (what drew the map; None for methods that use none),
        "milliseconds", "adjustment" (`srin.adjustment.Adjustment`, the network's own at strength 1, or None), and
        "offsets" (`srin.offsets.Offsets`, or None).
    """
    return {
        "method": harmonizer.method,
        "version": __version__,
        "strength": strength,
        "working_size": working_size or harmonizer.working_size,
        "segmenter": semantic_map.segmenter if semantic_map else None,
        "milliseconds": round(milliseconds, 1),
        "adjustment": harmonized.adjustment.to_dict() if harmonized.adjustment else None,
        "offsets": offsets.to_dict() if offsets else None,
    }


def write_report(path: Path, values: dict[str, Any]) -> None:
    """Writes a report as JSON. Raises OutputError when it can't be written, or isn't named .json."""
    if path.suffix.lower() != ".json":
        raise OutputError(f"Can't write the report {os.fspath(path)}: its name must end in .json.")
    write_whole(json.dumps(values, indent=1).encode() + b"\n", path)
