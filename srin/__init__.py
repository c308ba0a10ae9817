"""SRIN Studio: image harmonization with semantic guidance. `from srin import Harmonizer` is the way in."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srin.harmonizer import METHODS, Harmonizer

__version__ = "0.11.0"
__all__ = ["METHODS", "Harmonizer"]


def __getattr__(name: str) -> Any:
    # On first use, so that `srin --help` waits for neither OpenCV nor torch.
    if name in __all__:
        from srin import harmonizer

        return getattr(harmonizer, name)
    raise AttributeError(f"module 'srin' has no attribute {name!r}")
