"""Reads what the page sends, which may be anything: numbers and texts are clipped. Problems are answered in sentences."""

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
    """Runs `work` within the time limit. Returns the request's number with the result, or with a "problem", a sentence.

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
