"""Masks of objects and maps of regions. `from srin.segmentation import PhotoSegmenter` is the way in."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srin.segmentation.photo_segmenter import PhotoSegmenter

__all__ = ["PhotoSegmenter"]


def __getattr__(name: str) -> Any:
    # On first use, so that the command line waits for neither OpenCV nor scikit-image.
    if name in __all__:
        from srin.segmentation import photo_segmenter

        return getattr(photo_segmenter, name)
    raise AttributeError(f"module 'srin.segmentation' has no attribute {name!r}")
