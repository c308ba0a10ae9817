"""Harmonizing while the visitor works: one network on a small copy of the scene, fast enough to run
whenever the object is let go.
"""

import cv2
import numpy as np

from srin.adjustment import Adjustment
from srin.composite import MAX_STRENGTH, Composite, Placement, mixed, place
from srin.errors import MissingWeights
from srin.harmonizer import METHODS, Harmonizer
from srin.offsets import Offsets
from srin.segmentation.semantic_map import build
from srin.ui.session.previews import LIVE_SIDE, shrink
from srin.ui.session.scene import Scene

FINER = 2  # the object is pasted at so many times the size that is shown


def harmonized(
    scene: Scene, placement: Placement, method: str, offsets: Offsets, side: int = LIVE_SIDE, strong: bool = True
) -> tuple[list[np.ndarray], list[float], Adjustment | None]:
    """The harmonized object as it lies on the background.

    side: pixels of the longer side of the scene's copy, at most PROXY_SIDE. strong: whether strengths above 1 are wanted.

    Returns:
        Pictures of the mask's bounding box, uint8 (h, w, 4), opaque where the mask is not 0: at strength 1 and, if
        `strong`, at MAX_STRENGTH. That box: x, y, width and height in fractions of the background. What the network
        decided, or None.

    Raises:
        SrinError: as Scene.preview and Harmonizer.from_pretrained.
    """
    if method not in METHODS:
        raise MissingWeights("Pick a method for the live preview.")
    composite = small_composite(scene, placement, side)
    # A download decides on the composite of preview size. A finished one is there at that size without pasting.
    decided_on = scene.preview(placement) if scene.ready else composite
    harmonizer = Harmonizer.from_pretrained(method)
    reference = scene.allowed(decided_on) if harmonizer.decides else None
    if scene.has_regions or reference is not None:
        semantic_map = scene.semantic_map(decided_on, placement, lending=harmonizer.decides)
    else:  # the live preview doesn't wait for a map
        semantic_map = build(decided_on, np.zeros(decided_on.mask.shape, np.int32), "one region")
    result = harmonizer.harmonize_composite(
        decided_on, semantic_map, reference=reference, offsets=offsets, onto=composite
    )
    x, y, width, height = cv2.boundingRect(composite.mask)
    window = (slice(y, y + height), slice(x, x + width))
    opaque = np.where(composite.mask[window] > 0, 255, 0).astype(np.uint8)
    rows, columns = composite.mask.shape
    results = [result, mixed(result, composite, MAX_STRENGTH, 0)] if strong else [result]
    # Black where nothing shows: noise there would make the lossless file larger.
    pictures = [np.dstack([picture[window] & opaque[..., None], opaque]) for picture in results]
    return pictures, [x / columns, y / rows, width / columns, height / rows], result.adjustment


def small_composite(scene: Scene, placement: Placement, side: int = LIVE_SIDE) -> Composite:
    """The composite, no side larger than `side` pixels. Raises SrinError."""
    if scene.missing or scene.ready:
        composite = scene.preview(placement)  # raises what is missing
        return Composite(shrink(composite.image, side), shrink(composite.mask, side))
    assert scene.background and scene.cutout
    background = scene.background.live if side == LIVE_SIDE else shrink(scene.background.proxy, side)
    size = background.shape[1::-1]
    # Pasted larger and averaged down, as a download is when it is viewed: interpolating at this size would blur.
    large = cv2.resize(background, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_NEAREST)
    # Shrunk to the size at which it is drawn, so that no unseen pixels are warped.
    height = placement.scale * large.shape[0]
    drawn = max(1, round(height * max(1.0, scene.cutout.alpha.shape[1] / scene.cutout.alpha.shape[0])))
    pasted = place(large, shrink(scene.cutout.rgb, drawn), shrink(scene.cutout.alpha, drawn), placement)
    parts = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (pasted.image, pasted.mask))
    return Composite(*parts)
