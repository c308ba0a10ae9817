"""Pixels that may not lend have no influence, to the bit; and what references must be like."""

import numpy as np
import pytest

from srin.composite import Composite
from srin.errors import MaskError, SegmentationError, SrinError
from srin.harmonizer import Harmonizer
from srin.reference import filled, lenders
from srin.segmentation.semantic_map import build
from tests.test_full_resolution import disc, network, photo

NAMES = {"rain": "baseline", "bain": "bain", "srin": "srin"}


@pytest.fixture(scope="module")
def composite():
    image = photo(150, 210)
    image[:, :100] //= 3
    return Composite(image, np.roll(disc(150, 210, 5) // 255 * 255, -20, 1))


@pytest.mark.parametrize("slot", NAMES)
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 0), "noise"])
def test_repainting_what_may_not_lend_changes_nothing(composite, slot, colour):
    """Also if the map is drawn here: it must not see the excluded pixels either."""
    allowed = np.zeros(composite.mask.shape, np.uint8)
    allowed[:, :70] = 255
    excluded = (allowed == 0) & (composite.mask == 0)
    image = composite.image.copy()
    image[excluded] = photo(150, 210, 3)[excluded] if colour == "noise" else colour
    harmonizer = Harmonizer.from_pretrained(NAMES[slot])
    before, after = (
        harmonizer.harmonize(picture, composite.mask, reference=allowed) for picture in (composite.image, image)
    )
    inside = composite.mask > 0
    assert np.array_equal(before[inside], after[inside])
    assert np.array_equal(after[excluded], image[excluded])
    everything = harmonizer.harmonize(composite.image, composite.mask)
    assert np.abs(everything.astype(int) - before)[inside].mean() > 0.5


def test_regions_may_be_named(composite):
    labels = np.zeros(composite.mask.shape, np.int32)
    labels[:, 70:] = 1
    semantic_map = build(composite, labels, "provided")
    harmonizer = Harmonizer("srin", network("srin"))
    left = int(semantic_map.labels[0, 0])
    mask = (semantic_map.labels == left).astype(np.uint8) * 255
    named, masked = (
        harmonizer.harmonize(composite.image, composite.mask, semantic_map, reference=reference)
        for reference in ([left], mask)
    )
    assert np.array_equal(named, masked)
    with pytest.raises(SegmentationError, match="no region 77"):
        harmonizer.harmonize(composite.image, composite.mask, semantic_map, reference=[77])
    with pytest.raises(SegmentationError):
        lenders([0], composite, None)


def test_a_reference_that_does_not_fit_is_refused(composite):
    harmonizer = Harmonizer("srin", network("srin"))
    with pytest.raises(MaskError, match="same size"):
        harmonizer.harmonize(composite.image, composite.mask, reference=np.full((10, 10), 255, np.uint8))
    with pytest.raises(MaskError, match="nothing of the background"):
        harmonizer.harmonize(composite.image, composite.mask, reference=np.zeros(composite.mask.shape, np.uint8))
    with pytest.raises(SrinError, match="reinhard takes no reference"):
        Harmonizer("reinhard", None).harmonize(composite.image, composite.mask, reference=composite.mask)


def test_what_is_painted_over_is_near_what_may_lend():
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48], image[:, 48:] = (200, 40, 40), (40, 40, 200)
    mask = np.zeros((64, 96), np.uint8)
    mask[20:40, 30:60] = 255
    allowed = np.ones(mask.shape, bool)
    allowed[:, 48:] = mask[:, 48:] > 0
    out = filled(Composite(image, mask), allowed).image
    assert np.abs(out[~allowed].astype(int) - (200, 40, 40)).max() < 12
    assert np.array_equal(out[allowed], image[allowed])
