"""What a file or a request holds by a name may be anything: numbers are clipped, texts cut, the rest is the default."""

import math
from typing import Any, TypeGuard

from srin.composite import MAX_SCALE, MIN_SCALE, Placement

Data = dict[str, Any]


def mapping(value: Any) -> Data:
    """The value where it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is one that a float can hold: no bool, not infinite, not of hundreds of digits."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def number(data: Data, name: str, low: float, high: float, default: float = 0.0) -> float:
    value = data.get(name)
    return float(min(max(value, low), high)) if is_number(value) else default


def text(data: Data, name: str, most: int) -> str:
    """At most so many characters, all of which can be sent back; empty for what is no text."""
    value = data.get(name)
    return value[:most].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def placement(value: Any) -> Placement:
    """Numbers that make no sense become the default's."""
    data, start = mapping(value), Placement()
    return Placement(
        number(data, "x", -1, 2, start.x),
        number(data, "y", -1, 2, start.y),
        number(data, "scale", MIN_SCALE, MAX_SCALE, start.scale),
        number(data, "rotation", -360, 360, start.rotation),
        data.get("flip") is True,
    )
