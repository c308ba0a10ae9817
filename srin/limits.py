"""All limits that protect the machine, in one place. Each is set by the environment variable of its name.

Read once, when the program starts. docs/hosting.md says how to choose them.
"""

import os

from srin.errors import SrinError


def _whole_number(name: str, default: int) -> int:
    """The variable's value, at least 1. Raises SrinError when it is anything else."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise SrinError(f"{name} is {text!r}; it must be a whole number of at least 1.")
    return int(text)


# Pictures, wherever they come from. Checked before anything is decoded.
MAX_PIXELS = _whole_number("SRIN_MAX_PIXELS", 100_000_000)
MAX_SIDE = _whole_number("SRIN_MAX_SIDE", 16_384)  # pixels

# The page and its endpoints.
MAX_UPLOAD = _whole_number("SRIN_MAX_UPLOAD", 100_000_000)  # bytes of a file
MAX_QUEUE = _whole_number("SRIN_MAX_QUEUE", 100)  # requests that wait, of all visitors together
MAX_SECONDS = _whole_number("SRIN_MAX_SECONDS", 300)  # of work on one request
MAX_VISITORS = _whole_number("SRIN_MAX_VISITORS", 100)  # whose work is kept in memory; each takes some 20 MB
KEEP_SECONDS = _whole_number("SRIN_KEEP_SECONDS", 4 * 3600)  # after which visitors' files and work are deleted
