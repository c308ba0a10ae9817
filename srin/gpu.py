"""GPUs that are lent for one call at a time, as ZeroGPU Spaces lend them. Everywhere else this changes nothing."""

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
        pass  # then there is no GPU to be lent, and the CPU does it

is_lent = spaces is not None


def on_gpu(function: Function) -> Function:
    """Lends the function a GPU while it runs, where GPUs are lent. It then runs in a fork of this process: arguments
    and result are pickled, and networks have to be there already.
    """
    return spaces.GPU(duration=LONGEST)(function) if is_lent else function
