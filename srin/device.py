"""Where networks run: a GPU that works, or the CPU."""

import logging
from collections.abc import Callable
from functools import cache

from srin.errors import SrinError
from srin.gpu import is_lent


@cache
def best_device(kinds: tuple[str, ...] = ("cuda", "mps")) -> str:
    """The first of these kinds that is available and works, else "cpu". If one does not work, the log says why."""
    import torch

    there: dict[str, Callable[[], bool]] = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    for kind in kinds:
        if there[kind]():
            try:
                return kind if is_lent else checked_device(kind)  # a GPU lent for a call can't be tried before the call
            except SrinError as error:
                logging.getLogger(__name__).warning("%s The CPU is used instead.", error)
    return "cpu"


@cache
def checked_device(device: str) -> str:
    """Returns the device after computing something on it. Raises SrinError if that fails."""
    import torch

    try:
        torch.ones(1, device=device).add(1).item()
    except Exception as error:  # torch raises many types: for unknown names, missing hardware, broken drivers
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise SrinError(f"The device {device!r} can't be used here ({reason}).") from error
    return device
