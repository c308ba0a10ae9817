"""All limits that protect the machine. The environment variable SRIN_NAME sets the limit NAME, except for LARGE.

They are read once, when the program starts. docs/hosting.md says how to choose them.
"""

import os

from srin.errors import ImageError, SrinError


def _whole_number(name: str, default: int, least: int = 1) -> int:
    """The variable's value. Raises SrinError when it is no whole number, or less than `least`."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise SrinError(f"{name} is {text!r}; it must be a whole number of at least {least}.")
    return int(text)


# Pictures, wherever they come from. Checked before anything is decoded. The page's own examples have to fit.
MAX_PIXELS = _whole_number("SRIN_MAX_PIXELS", 100_000_000, least=2_000_000)
MAX_SIDE = _whole_number("SRIN_MAX_SIDE", 16_384, least=2_000)  # pixels

MAX_FILE = _whole_number("SRIN_MAX_FILE", 1 << 30)  # bytes
DECODE_SECONDS = _whole_number("SRIN_DECODE_SECONDS", 20)  # of one core; the largest ordinary picture takes three

# The page and its endpoints.
MAX_UPLOAD = _whole_number("SRIN_MAX_UPLOAD", 100_000_000)  # bytes of a file
MAX_BODY = _whole_number("SRIN_MAX_BODY", 1 << 20)  # bytes of a request that is no upload
MAX_QUEUE = _whole_number("SRIN_MAX_QUEUE", 100)  # waiting requests, of all visitors together
MAX_SECONDS = _whole_number("SRIN_MAX_SECONDS", 300)  # of work on one request
LARGE = 12_000_000  # pixels from which other requests don't wait for a picture, see srin/ui/answering/workers.py
MAX_VISITORS = _whole_number("SRIN_MAX_VISITORS", 100)  # whose work is kept in memory; each takes some 20 MB
KEEP_SECONDS = _whole_number("SRIN_KEEP_SECONDS", 4 * 3600)  # after which visitors' files and work are deleted


def check_size(width: int, height: int, what: str) -> None:
    """Raises ImageError if a picture has no pixels, or too many. what: its name in the message."""
    if width < 1 or height < 1:
        raise ImageError(f"The {what} has no pixels ({width} x {height}).")
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"The {what} is too {'wide' if width >= height else 'high'}: it has {width} x {height} pixels, "
            f"and a side may have {MAX_SIDE} at most. Make it smaller first."
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"The {what} is too large: {width} x {height} = {width * height / 1e6:.1f} million pixels, and "
            f"{MAX_PIXELS / 1e6:.0f} million are allowed. Make it smaller first."
        )
