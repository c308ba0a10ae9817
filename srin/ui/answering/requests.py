"""What the page sends is arbitrary: numbers and texts are clipped. What goes wrong is answered in words."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import gradio as gr

from srin import untrusted
from srin.errors import SrinError
from srin.ui.answering import workers
from srin.untrusted import Data, number

MOST_TEXT = 2000
UNEXPECTED = "Something went wrong on our side; the server's log says what. Nothing of yours is lost."


def data_of(event: gr.EventData) -> Data:
    return untrusted.mapping(event._data)


def text(data: Data, name: str) -> str:
    return untrusted.text(data, name, MOST_TEXT)


def answer(data: Data, on: Executor, work: Callable[..., Data], *arguments: Any) -> Data:
    """The number of a request with what the work returns, within the time limit, or with the problem that came up.

    on: a worker of workers.py.
    """
    asked = {"request": number(data, "request", 0, 1e9)}
    try:
        return asked | workers.run(work, *arguments, on=on)
    except SrinError as error:
        return asked | {"problem": str(error)}
    except Exception:
        logging.getLogger(__name__).exception("%s failed", work.__name__)
        return asked | {"problem": UNEXPECTED}
