"""The attention that is shown is the one that the network uses."""

import numpy as np
import pytest
import torch
from srin.models.unet import HarmonizationNet

from srin.composite import Composite
from srin.errors import SrinError
from srin.harmonizer import Harmonizer
from srin.models.config import ModelConfig
from srin.segmentation.semantic_map import build

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def scene():
    """A composite of a dark and a bright background half, with an object over the middle, and their map."""
    image = np.full((96, 128, 3), 60, np.uint8)
    image[:, 64:] = (200, 170, 90)
    image += RNG.integers(0, 20, image.shape, dtype=np.uint8)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[30:70, 40:90] = 255
    labels = np.zeros(mask.shape, np.int32)
    labels[:, 64:] = 1
    composite = Composite(image, mask)
    return composite, build(composite, labels, "provided")


def harmonizer(slot, query=0.0):
    torch.manual_seed(1)
    network = HarmonizationNet(ModelConfig(slot, width=4, working_size=128)).eval().requires_grad_(False)
    for norm in network.norms:
        if hasattr(norm, "attention"):
            torch.nn.init.normal_(norm.attention.query_colour.weight, std=query)
    return Harmonizer("srin" if slot == "srin" else "bain", network)


@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_untrained_attention_is_even(scene, slot):
    composite, semantic_map = scene
    shown = harmonizer(slot).explain_composite(composite, (50, 50), semantic_map)
    outside = composite.mask <= 127
    assert shown.heat[~outside].max() == 0
    far = outside.copy()
    far[22:78, 32:98] = False  # the rim is in no statistics
    assert np.allclose(shown.heat[far], np.median(shown.heat[far]), rtol=0.02)
    assert shown.part[50, 50] and not shown.part[50, 80]
    assert "alike" in shown.sentence


def test_a_preference_shows_and_vanishes_with_the_region(scene):
    """Regions share the heat by their attention; the two sides can't both be above the average."""
    composite, semantic_map = scene
    shown = harmonizer("srin", query=20.0).explain_composite(composite, (50, 50), semantic_map)
    dark, bright = shown.heat[10, 10], shown.heat[10, 120]
    assert max(dark, bright) > 1.2 > 1 > min(dark, bright)
    assert np.isclose(shown.heat[composite.mask <= 127].mean(), 1, atol=0.1)
    assert "SRIN" in shown.sentence and "%" in shown.sentence


def test_explaining_leaves_the_network_as_it_was(scene):
    composite, semantic_map = scene
    method = harmonizer("srin", query=20.0)
    before = method.harmonize_composite(composite, semantic_map)
    method.explain_composite(composite, (50, 50), semantic_map)
    assert np.array_equal(method.harmonize_composite(composite, semantic_map), before)


def test_what_cannot_be_explained_is_said(scene):
    composite, semantic_map = scene
    with pytest.raises(SrinError, match="Point at the pasted object"):
        harmonizer("srin").explain_composite(composite, (5, 5), semantic_map)
    with pytest.raises(SrinError, match="no attention"):
        Harmonizer("reinhard", None).explain(composite.image, composite.mask, (50, 50))
    with pytest.raises(SrinError, match="average"):
        harmonizer("rain").explain_composite(composite, (50, 50), semantic_map)
