"""Remarks: sentences about what was guessed about an input, shown beside the result.

`remark` adds a sentence to the list of the innermost `collected` block of this thread. Without one, it warns.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_list: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


class InputWarning(UserWarning):
    """An input may have been read in another way than was meant."""


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collects the remarks made inside the block, as sentences, each once."""
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
