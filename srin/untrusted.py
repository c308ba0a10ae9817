"""Reads values from untrusted files and requests: numbers are clipped, texts cut, anything else becomes the default."""

import math
from typing import Any, TypeGuard

from srin.composite import MAX_SCALE, MIN_SCALE, Placement

Data = dict[str, Any]


def mapping(value: Any) -> Data:
    """The value if it is a dict, else an empty dict."""
    return value if isinstance(value, dict) else {}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number that fits a float: no bool, no integer of hundreds of digits."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def number(data: Data, name: str, low: float, high: float, default: float = 0.0) -> float:
    value = data.get(name)
    return float(min(max(value, low), high)) if is_number(value) else default


def text(data: Data, name: str, most: int) -> str:
    """At most `most` characters of a text, all encodable as UTF-8; "" if the value is no text."""
    value = data.get(name)
    return value[:most].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def placement(value: Any) -> Placement:
    """A placement with all numbers clipped; values that are no numbers become the default's."""
    data, start = mapping(value), Placement()
    return Placement(
        number(data, "x", -1, 2, start.x),
        number(data, "y", -1, 2, start.y),
        number(data, "scale", MIN_SCALE, MAX_SCALE, start.scale),
        number(data, "rotation", -360, 360, start.rotation),
        data.get("flip") is True,
    )
