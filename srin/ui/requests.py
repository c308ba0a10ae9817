"""What the page sends is arbitrary: numbers and texts are clipped. What goes wrong is answered in words."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import gradio as gr

from srin.composite import MAX_SCALE, MIN_SCALE, Placement
from srin.errors import SrinError
from srin.ui import deadline

MOST_TEXT = 2000
UNEXPECTED = "Something went wrong on our side; the server's log says what. Nothing of yours is lost."

Data = dict[str, Any]


def data_of(event: gr.EventData) -> Data:
    return event._data if isinstance(event._data, dict) else {}


def number(data: Data, name: str, low: float, high: float, default: float = 0.0) -> float:
    value = data.get(name)
    if not isinstance(value, int | float) or value != value:
        return default
    return float(min(max(value, low), high))


def text(data: Data, name: str) -> str:
    """At most MOST_TEXT characters, all of which can be sent back; empty for what is no text."""
    value = data.get(name)
    return value[:MOST_TEXT].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def placement(value: Any) -> Placement:
    """A Placement from what the page sent; numbers that make no sense become the default's."""
    data = value if isinstance(value, dict) else {}
    start = Placement()
    return Placement(
        number(data, "x", -1, 2, start.x),
        number(data, "y", -1, 2, start.y),
        number(data, "scale", MIN_SCALE, MAX_SCALE, start.scale),
        number(data, "rotation", -360, 360),
        data.get("flip") is True,
    )


def answer(data: Data, on: Executor, work: Callable[..., Data], *arguments: Any) -> Data:
    """The number of a request with what the work returns, within the time limit, or with the problem that came up.

    on: a worker of deadline.py.
    """
    asked = {"request": number(data, "request", 0, 1e9)}
    try:
        return asked | deadline.run(work, *arguments, on=on)
    except SrinError as error:
        return asked | {"problem": str(error)}
    except Exception:
        logging.getLogger(__name__).exception("%s failed", work.__name__)
        return asked | {"problem": UNEXPECTED}
