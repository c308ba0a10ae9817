"""What was guessed about an input, to be told to people beside the result.

`remark` ends up in the list of the innermost `collected` block of this thread, or else in a Python warning.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_list: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


class InputWarning(UserWarning):
    """An input was read in a way that may not be meant."""


@contextmanager
def collected() -> Iterator[list[str]]:
    """The remarks made inside the block, as sentences, each once."""
    said: list[str] = []
    token = _list.set(said)
    try:
        yield said
    finally:
        _list.reset(token)


def remark(sentence: str) -> None:
    said = _list.get()
    if said is None:
        warnings.warn(sentence, InputWarning, stacklevel=3)
    elif sentence not in said:
        said.append(sentence)
