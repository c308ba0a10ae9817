"""A region's reported effect is that of leaving it out."""

import numpy as np
import pytest
import torch

from srin import explain
from srin.composite import Composite
from srin.errors import SrinError
from srin.explain import HARDLY, RegionEffect, sentence
from srin.full_resolution import apply_coefficients
from srin.harmonizer import Harmonizer
from srin.models.config import ModelConfig
from srin.models.network import HarmonizationNet
from srin.segmentation.semantic_map import build
from tests.test_full_resolution import network

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


@pytest.fixture(scope="module")
def harmonizers():
    names = {"rain": "baseline", "bain": "bain", "srin": "srin"}
    return {slot: Harmonizer.from_pretrained(name) for slot, name in names.items()}


@pytest.mark.parametrize("slot", ["rain", "bain", "srin"])
def test_an_effect_is_what_leaving_the_region_out_changes(scene, harmonizers, slot):
    composite, semantic_map = scene
    harmonizer = harmonizers[slot]
    shown = harmonizer.explain_composite(composite, (50, 50), semantic_map)
    whole = harmonizer.harmonize_composite(composite, semantic_map).astype(float)
    background = semantic_map.labels[composite.mask == 0]
    assert {region.region for region in shown.regions} == set(np.unique(background).tolist())
    for region in shown.regions:
        others = (semantic_map.labels != region.region).astype(np.uint8) * 255
        without = harmonizer.harmonize_composite(composite, semantic_map, reference=others).astype(float)
        difference = np.abs(without - whole)[shown.part].mean()
        assert region.effect == pytest.approx(difference, rel=0.25, abs=1.0)  # seen at the working size, not rounded
    assert max(region.effect for region in shown.regions) > HARDLY
    assert [region.effect for region in shown.regions] == sorted((r.effect for r in shown.regions), reverse=True)


def test_slivers_are_left_out_before_the_network_runs(scene, harmonizers, monkeypatch):
    composite, semantic_map = scene
    labels = semantic_map.labels.copy()
    labels[:2, :4] = 9  # 8 of 10,288 pixels of the background
    pictures, run = [], explain._run

    def counted(network, seen, proceed):
        pictures.extend(seen)
        return run(network, seen, proceed)

    monkeypatch.setattr(explain, "_run", counted)
    shown = harmonizers["srin"].explain_composite(composite, (50, 50), build(composite, labels, "provided"))
    assert {region.region for region in shown.regions} == set(shown.without) == {0, 1}
    assert len(pictures) == 3, "with all regions, and without each of the two"


def test_the_pictures_are_of_what_was_measured(scene, harmonizers):
    """Each region's transform is that of the same network without it."""
    composite, semantic_map = scene
    harmonizer = harmonizers["srin"]
    shown = harmonizer.explain_composite(composite, (50, 50), semantic_map)
    whole = apply_coefficients(shown.transform, composite)
    assert np.abs(whole.astype(int) - harmonizer.harmonize_composite(composite, semantic_map)).max() <= 1
    assert np.array_equal(shown.labels, semantic_map.labels)
    for region in shown.regions:
        others = (semantic_map.labels != region.region).astype(np.uint8) * 255
        expected = harmonizer.harmonize_composite(composite, semantic_map, reference=others).astype(int)
        assert np.abs(apply_coefficients(shown.without[region.region], composite) - expected).max() <= 1


def test_what_may_not_lend_is_not_explained(scene, harmonizers):
    """With a reference, effects are on the result with that reference."""
    composite, semantic_map = scene
    image = np.concatenate([composite.image, composite.image[::-1] // 2])
    mask = np.concatenate([composite.mask, np.zeros_like(composite.mask)])
    composite = Composite(image, mask)
    labels = np.repeat(np.arange(2), 96)[:, None] * 2 + (np.arange(128) > 63)
    semantic_map = build(composite, labels, "provided")
    reference = np.full(mask.shape, 255, np.uint8)
    reference[:, 64:] = 0
    shown = harmonizers["srin"].explain_composite(composite, (50, 50), semantic_map, reference)
    left = {int(semantic_map.labels[5, 5]), int(semantic_map.labels[-5, 5])}
    assert {region.region for region in shown.regions} == left
    whole = harmonizers["srin"].harmonize_composite(composite, semantic_map, reference=reference).astype(int)
    assert np.abs(apply_coefficients(shown.transform, composite) - whole).max() <= 1


def test_it_can_be_stopped_between_regions(scene, harmonizers):
    composite, _ = scene
    labels = (np.arange(128) // 13)[None] + np.zeros((96, 1), int)
    semantic_map = build(composite, labels, "provided")
    told = []

    def proceed(done):
        told.append(done)
        if done > 0:
            raise SrinError("stopped")

    with pytest.raises(SrinError, match="stopped"):
        harmonizers["srin"].explain_composite(composite, (50, 50), semantic_map, proceed=proceed)
    assert told[0] == 0 < told[1] < 0.6, "not after all of them"


def test_weights_and_areas_sum_to_one_and_the_baseline_has_no_weights(scene, harmonizers):
    composite, semantic_map = scene
    for slot, harmonizer in harmonizers.items():
        shown = harmonizer.explain_composite(composite, (50, 50), semantic_map)
        assert sum(region.area for region in shown.regions) == pytest.approx(1, abs=0.02)
        if slot == "rain":
            assert all(region.weight is None for region in shown.regions)
        else:
            assert sum(region.weight for region in shown.regions) == pytest.approx(1, abs=0.02)


def test_as_long_as_lenders_lend_by_area_the_heat_is_even(scene):
    composite, semantic_map = scene
    fresh = HarmonizationNet(ModelConfig("srin", working_size=64)).eval()
    shown = Harmonizer("srin", fresh).explain_composite(composite, (50, 50), semantic_map)
    outside = composite.mask <= 127
    assert shown.heat[~outside].max() == 0
    far = outside.copy()
    far[15:85, 25:105] = False  # pixels along the rim are in no statistics
    assert np.allclose(shown.heat[far], 1, atol=0.15)
    # It changes nothing yet, so nothing makes a difference.
    assert all(region.effect < HARDLY and not region.words for region in shown.regions)
    assert "the map made no difference here" in shown.sentence


def test_a_preference_shows_in_the_heat(scene):
    composite, semantic_map = scene
    net = network("srin")
    with torch.no_grad():
        # The score depends on the lender's colourfulness alone, and grows with it.
        first, _, last = net.heads[0].slot.score
        first.weight.zero_()
        first.weight[0, -1], first.bias[0] = 1.0, 3.0
        last.weight.zero_()
        last.weight[0, 0] = 4.0
    shown = Harmonizer("srin", net).explain_composite(composite, (50, 50), semantic_map)
    dark, bright = shown.heat[10, 10], shown.heat[10, 120]
    assert bright > 1.2 > 1 > dark
    weights = {region.region: region.weight / region.area for region in shown.regions}
    assert weights[int(semantic_map.labels[10, 120])] > 1.2 > weights[int(semantic_map.labels[10, 10])]


def test_sentences_say_effects_and_nothing_else():
    strong = RegionEffect(0, "left", 0.4, 0.9, 6.2, ("lighter", "warmer", "less contrast"))
    weak = RegionEffect(1, "right", 0.6, 0.1, 0.3, ())
    text = sentence([strong, weak], "srin")
    assert "without the region at the left" in text and "6.2 grey levels" in text and "lighter" in text
    assert "hardly any difference" in text and "0.9" not in text and "90%" not in text
    assert "the map made no difference here" in sentence([weak], "bain") and "single region" in sentence([], "srin")


def test_explaining_leaves_the_network_as_it_was(scene, harmonizers):
    composite, semantic_map = scene
    before = harmonizers["srin"].harmonize_composite(composite, semantic_map)
    harmonizers["srin"].explain_composite(composite, (50, 50), semantic_map)
    assert np.array_equal(harmonizers["srin"].harmonize_composite(composite, semantic_map), before)


def test_what_cannot_be_explained_is_said(scene, harmonizers):
    composite, semantic_map = scene
    with pytest.raises(SrinError, match="Point at the pasted object"):
        harmonizers["srin"].explain_composite(composite, (5, 5), semantic_map)
    with pytest.raises(SrinError, match="can't be explained"):
        Harmonizer("reinhard", None).explain(composite.image, composite.mask, (50, 50))
