"""Marking where on the background the networks take their light from: by regions of the semantic map, and by painting."""

from pathlib import Path

import numpy as np

from srin.composite import Placement
from srin.errors import SrinError
from srin.image_io import load_rgba
from srin.resizing import enlarged_labels
from srin.ui.session.scene import Scene
from srin.ui.stage.live_preview import small_composite


def with_region(scene: Scene, placement: Placement, x: float, y: float) -> np.ndarray:
    """The scene's mark with the region at a point added, or removed if most of it was marked.

    x, y: in fractions of the composite, below 1.
    Returns uint8 (h, w), as in Light. Raises SrinError, also for a point on the object.
    """
    region = _region(scene, placement, x, y)
    before = np.zeros(region.shape, bool) if scene.mark is None else scene.mark.mask > 0
    after = before & ~region if before[region].mean() > 0.5 else before | region
    return after.astype(np.uint8) * 255


def _region(scene: Scene, placement: Placement, x: float, y: float) -> np.ndarray:
    """bool (h, w): the background's region at a point; of two photos, with the part of it that the object hides."""
    if not scene.ready:  # wait for the photos' regions, which make up the composite's map
        for photo in (scene.background, scene.object):
            if photo is not None:
                photo.segmentation.automatic_map()
    composite = small_composite(scene, placement)
    found = scene.semantic_map(composite, placement, lending=False).labels
    height, width = found.shape
    row, column = int(y * height), int(x * width)
    outside = composite.mask <= 127
    if not outside[row, column]:
        raise SrinError("Click on the background: the object can't take its light from itself.")
    region = outside & (found == found[row, column])
    if scene.ready:
        return region
    assert scene.background is not None  # there is a composite
    # The map's regions consist of whole regions of the photo.
    labels = enlarged_labels(scene.background.segmentation.automatic_map().labels, region.shape)
    return np.isin(labels, np.unique(labels[region]))


def painted(scene: Scene, path: Path) -> np.ndarray:
    """A mark that was painted on the scene's backdrop. path: a PNG of any size, whose opacity is the mark.

    Returns uint8 (h, w), as in Light. Raises ImageError, SrinError.
    """
    if scene.backdrop is None:
        raise SrinError("Add a background photo first.")
    rgb, opacity = load_rgba(path, "painted mark")
    opaque = np.full(rgb.shape[:2], 255, np.uint8) if opacity is None else opacity
    return np.where(enlarged_labels(opaque, scene.backdrop.live.shape[:2]) > 127, 255, 0).astype(np.uint8)
