"""What all cards of the page share: errors in the user's words, photo inputs, headings."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from srin.errors import SrinError

PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # one typed endpoint is public, see api.py
QUICK: dict[str, Any] = {**PRIVATE, "show_progress": "hidden", "concurrency_limit": 4}
MODEL: dict[str, Any] = {**PRIVATE, "concurrency_limit": 1, "concurrency_id": "model"}


class PhotoInput(gr.Image):
    """An image input that hands over the path of the uploaded file, so that our own loader decodes it.

    Gradio's decodes before any code of ours runs: no limits, no readable errors, no upright pixels.
    """

    def get_block_name(self) -> str:
        return "image"

    def preprocess(self, payload: ImageData | None) -> Path | None:  # type: ignore[override]
        """Gradio has checked that the path lies in its upload folder."""
        return Path(payload.path) if payload is not None and payload.path is not None else None


def photo_input(label: str, height: int, elem_id: str) -> PhotoInput:
    """A PhotoInput as all cards want it. Not its constructor: Gradio sends the page what that one's signature names."""
    return PhotoInput(
        label=label, height=height, elem_id=elem_id, sources=["upload", "clipboard"], buttons=["fullscreen"]
    )


def readable(function: Callable) -> Callable:
    """Shows a SrinError of an event's function, or generator, as a toast with its sentence."""

    def toast(error: SrinError) -> gr.Error:
        return gr.Error(escape(str(error), quote=False), title="That didn't work", print_exception=False)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*arguments: Any) -> Iterator[Any]:
            try:
                yield from function(*arguments)
            except SrinError as error:
                raise toast(error) from error

        return generate

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except SrinError as error:
            raise toast(error) from error

    return call


@contextmanager
def card(number: int, title: str, elem_id: str) -> Iterator[gr.Column]:
    """A numbered section of the page."""
    with gr.Column(elem_classes="card", elem_id=elem_id) as column:
        gr.HTML(f"<h2><span>{number}</span>{title}</h2>", elem_classes="heading")
        yield column


def note(text: str, kind: str = "") -> str:
    """Plain text as HTML. kind: "error", "busy" or nothing."""
    return f'<p class="note {kind}">{escape(text, quote=False)}</p>' if text else ""
