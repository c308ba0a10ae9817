"""Where networks run: a GPU that works, or the CPU."""

import logging
from collections.abc import Callable
from functools import cache

from srin.errors import SrinError
from srin.gpu import is_lent


@cache
def best_device(kinds: tuple[str, ...] = ("cuda", "mps")) -> str:
    """The first of these kinds that is here and computes, else "cpu"; the log says why one that is here was left out."""
    import torch

    there: dict[str, Callable[[], bool]] = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    for kind in kinds:
        if there[kind]():
            try:
                return kind if is_lent else checked_device(kind)  # one that is lent is not there yet
            except SrinError as error:
                logging.getLogger(__name__).warning("%s The CPU is used instead.", error)
    return "cpu"


@cache
def checked_device(device: str) -> str:
    """The device, once something has been computed there. Raises SrinError where nothing can be."""
    import torch

    try:
        torch.ones(1, device=device).add(1).item()
    except Exception as error:  # torch raises nearly anything: unknown names, no such hardware, a driver that is broken
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise SrinError(f"The device {device!r} can't be used here ({reason}).") from error
    return device
