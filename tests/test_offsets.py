"""A person's changes to a network's decision: none at rest, otherwise as much as asked, and only on the object."""

import math

import cv2
import numpy as np
import pytest
from conftest import ROOT

from srin import Harmonizer
from srin.adjustment import measure
from srin.composite import Composite
from srin.errors import SrinError
from srin.image_io import load_image, load_mask
from srin.offsets import LIMITS, Offsets

EXAMPLES = ROOT / "assets" / "examples"
REST = {"exposure": 0.0, "temperature": 0.0, "tint": 0.0, "contrast": 1.0, "saturation": 1.0}


@pytest.fixture(scope="module")
def composite():
    image, mask = load_image(EXAMPLES / "otter.jpg"), load_mask(EXAMPLES / "otter_mask.png")
    return Composite(*(cv2.resize(x, (420, 147), interpolation=cv2.INTER_AREA) for x in (image, mask)))


@pytest.fixture(scope="module")
def harmonizer():
    return Harmonizer.from_pretrained("srin")


def changed(harmonizer, composite, **offsets):
    return harmonizer.harmonize_composite(composite, offsets=Offsets(**offsets))


def test_at_rest_the_result_is_the_networks_to_the_bit(harmonizer, composite):
    plain = harmonizer.harmonize_composite(composite)
    rest = changed(harmonizer, composite)
    assert np.array_equal(plain, rest) and plain.adjustment == rest.adjustment
    assert Offsets().change_nothing and Offsets(**REST) == Offsets() and not Offsets(tint=1).change_nothing


@pytest.mark.parametrize(
    ("name", "amount", "tolerance"),
    [
        ("exposure", 0.5, 0.1), ("exposure", -0.7, 0.1), ("temperature", 8.0, 1.5), ("temperature", -8.0, 1.5),
        ("tint", 6.0, 1.5), ("tint", -6.0, 1.5), ("contrast", 0.6, 0.08), ("contrast", 1.3, 0.12),
        ("saturation", 0.4, 0.1), ("saturation", 1.5, 0.2),
    ],
)  # fmt: skip
def test_each_changes_what_it_says_by_so_much(harmonizer, composite, name, amount, tolerance):
    plain = harmonizer.harmonize_composite(composite)
    after = changed(harmonizer, composite, **{name: amount})
    found = measure(plain / 255, after / 255, composite.mask / 255)
    assert getattr(found, name) == pytest.approx(amount, abs=tolerance)
    for other, rest in REST.items():
        if other != name and {name, other} != {"exposure", "contrast"} and "saturation" not in (name, other):
            assert getattr(found, other) == pytest.approx(
                rest, abs=2.0 if abs(rest) < 1 and other != "exposure" else 0.25
            )
    outside = composite.mask == 0
    assert np.array_equal(after[outside], composite.image[outside])
    assert after.adjustment == plain.adjustment, "what the network decided stays what it is"


def test_no_saturation_is_grey_and_offsets_add_up(harmonizer, composite):
    grey = changed(harmonizer, composite, saturation=0.0)[composite.mask == 255]
    assert np.ptp(grey.astype(int), axis=1).max() <= 1
    both = changed(harmonizer, composite, exposure=0.5, temperature=8.0)
    plain = harmonizer.harmonize_composite(composite)
    found = measure(plain / 255, both / 255, composite.mask / 255)
    assert found.exposure == pytest.approx(0.5, abs=0.2) and found.temperature == pytest.approx(8, abs=3)


def test_strength_goes_with_them(harmonizer, composite):
    offsets = Offsets(exposure=1.0)
    assert np.array_equal(harmonizer.harmonize_composite(composite, strength=0, offsets=offsets), composite.image)
    half, full = (harmonizer.harmonize_composite(composite, strength=s, offsets=offsets).astype(float) for s in (0.5, 1))
    assert np.abs(half - (composite.image + full) / 2).max() <= 1


def test_colours_at_the_edge_of_what_there_is(harmonizer):
    """Extremes of all offsets, on black, white and plain colours, give no warning and no NaN."""
    for mean in (np.zeros(3), np.ones(3), np.array([1.0, 0, 0]), np.full(3, 0.5)):
        for low_or_high in (0, 1):
            offsets = Offsets(**{name: limits[low_or_high] for name, limits in LIMITS.items()})
            assert all(np.isfinite(part).all() for part in offsets.affine(mean))


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [math.nan, math.inf, "1", None, True, 1e9, -1e9, 10**400])
def test_what_is_no_number_or_too_much_is_said(name, value):
    with pytest.raises(SrinError, match=name):
        Offsets(**{name: value})


def test_classical_methods_take_none(composite):
    reinhard = Harmonizer.from_pretrained("reinhard")
    assert reinhard.harmonize_composite(composite, offsets=Offsets()).shape == composite.image.shape
    with pytest.raises(SrinError, match="reinhard takes no offsets"):
        reinhard.harmonize_composite(composite, offsets=Offsets(exposure=1))
