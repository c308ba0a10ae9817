"""Support for GPUs that are lent for one call at a time, as in ZeroGPU Spaces. Elsewhere it has no effect."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

LONGEST = 60  # seconds of a call

Function = TypeVar("Function", bound=Callable[..., Any])

spaces: Any = None
if os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
    try:
        import spaces  # type: ignore[no-redef]  # before torch: it shows torch a GPU that isn't there yet
    except ImportError:
        pass  # no GPU can be lent; the CPU is used

is_lent = spaces is not None


def on_gpu(function: Function) -> Function:
    """Decorates a function so that it gets a GPU while it runs, where GPUs are lent. It then runs in a fork of this
    process: arguments and result are pickled, and networks must have been loaded before.
    """
    return spaces.GPU(duration=LONGEST)(function) if is_lent else function
