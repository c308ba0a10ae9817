"""Training composites: no leak between object and background, all kinds as described, and maps as in serving."""

from collections import Counter

import cv2
import numpy as np
import pytest

from srin.composite import Composite
from srin.segmentation.semantic_map import segment
from tests.made_up_photos import write_photos
from train.config import DataConfig
from train.data import composites, lights, recolour
from train.data.composites import (
    KINDS,
    MAX_ERROR,
    MIN_ERROR,
    OBJECT,
    SCENE,
    TWO_LIGHTS,
    UNCHANGED,
    Composites,
    Maker,
    Sample,
    drawn_map,
    filled,
    shrunk_and_grown,
)
from train.data.photos import load_photos

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("corpus"), side=(96, 120))


@pytest.fixture(scope="module")
def maker(folder, tmp_path_factory):
    config = DataConfig(root=folder, cache=tmp_path_factory.mktemp("cache"), size=SIZE, photo_side=96, free_masks=0.0)
    return Maker(load_photos(config, "train"), config, SIZE)


@pytest.fixture(scope="module")
def samples(maker):
    return [maker.make(0, number) for number in range(120)]


def test_a_number_names_a_composite(maker, samples):
    again = maker.make(0, 17)
    assert np.array_equal(again.composite, samples[17].composite) and again.kind == samples[17].kind
    assert not np.array_equal(maker.make(1, 17).composite, again.composite)


def test_composite_and_truth_differ_under_the_mask_alone(samples):
    for sample in samples:
        assert np.array_equal(sample.composite[~sample.mask], sample.real[~sample.mask])
        error = ((sample.composite[sample.mask].astype(float) - sample.real[sample.mask]) ** 2).mean()
        assert error == 0 if sample.kind == UNCHANGED else 0 < error <= MAX_ERROR


def test_kinds_come_in_their_shares(samples):
    counts = Counter(sample.kind for sample in samples)
    assert set(counts) == set(range(len(KINDS)))
    assert 0.3 < (counts[SCENE] + counts[TWO_LIGHTS]) / len(samples) < 0.65
    assert counts[TWO_LIGHTS] < counts[SCENE]


def test_no_pixel_of_the_true_background_lies_in_a_mask(folder, tmp_path):
    """The objects are pure red, and the backgrounds have no red at all, so the masks are known to the pixel."""
    rng = np.random.default_rng(0)
    for i in range(12):
        mask = np.zeros((96, 120), np.uint8)
        cv2.ellipse(
            mask, (60, 48), (int(rng.integers(18, 40)), int(rng.integers(14, 32))), int(rng.integers(90)), 0, 360, 255, -1
        )
        image = np.where(mask[..., None] > 0, (255, 0, 0), (0, 200, 0)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"p{i}.png"), image[..., ::-1])
        cv2.imwrite(str(tmp_path / f"p{i}_mask.png"), mask)
    config = DataConfig(root=tmp_path, cache=tmp_path / "cache", size=SIZE, photo_side=96, free_masks=0.0)
    maker = Maker(load_photos(config, "train"), config, SIZE)
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(60):
        drawn = maker._draw(rng)
        if drawn is None:
            continue
        photo, shrunk, grown = drawn
        seen += 1
        assert (photo[shrunk] == (1, 0, 0)).all(), "a pixel of the background, or a mixed one"
        assert (photo[~grown] * 255 == (0, 200, 0)).all(), "a pixel of the object beyond the ring"
    assert seen > 30


def test_the_ring_shows_the_background_and_never_the_object():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = (0, 0, 250), (0, 250, 0)
    hole = np.zeros((64, 64), bool)
    hole[20:44, 16:48] = True
    image[hole] = (255, 0, 0)
    for inpainted in (True, False):
        out = filled(image, hole, inpainted)
        assert out[..., 0].max() < 3  # nothing red is left
        assert np.array_equal(out[~hole], image[~hole])
        assert (out[hole].sum(1) > 120).all()  # and nothing is black
        assert out[30, 18, 2] > 150 and out[30, 45, 1] > 150  # each side from its own neighbourhood


def test_a_hole_that_is_nearly_everything_is_filled():
    image = np.full((64, 64, 3), 90, np.uint8)
    hole = np.ones((64, 64), bool)
    hole[0, :3] = False
    image[hole] = 0
    assert (filled(image, hole, False) > 80).all()


def test_the_pictures_border_takes_nothing_from_a_mask():
    mask = np.zeros((40, 40), bool)
    mask[20:, :] = True
    shrunk, grown = shrunk_and_grown(mask, 2, 4)
    assert shrunk[22:].all() and not shrunk[:22].any()
    assert grown[16:].all() and not grown[:16].any()


def test_loose_masks_are_shrunk_twice_as_far(folder, tmp_path):
    areas = []
    for loose in ((), ("here",)):
        config = DataConfig(root=folder, cache=tmp_path, size=SIZE, photo_side=96, free_masks=0.0, loose_masks=loose)
        maker = Maker(load_photos(config, "train"), config, SIZE)
        drawn = [maker._draw(np.random.default_rng(n)) for n in range(30)]
        areas.append([d and d[1].sum() for d in drawn])
    pairs = [(a, b) for a, b in zip(*areas, strict=True) if a and b]
    assert len(pairs) > 15 and all(b < a for a, b in pairs)


def test_no_crop_is_smaller_than_the_working_size(maker):
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows, columns = maker._crop((96, 120), rng)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        assert min(height, width) >= SIZE and rows.stop <= 96 and columns.stop <= 120
        assert max(height, width) / min(height, width) <= 1.36


def test_in_scenes_the_photo_is_relit_and_the_object_is_as_it_was(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(composites, "GRADED", 0.0)
    config = DataConfig(root=folder, cache=tmp_path, size=SIZE, photo_side=96, free_masks=0.0)
    maker = Maker(load_photos(config, "train"), config, SIZE)
    checked = Counter()
    for number in range(60):
        sample = maker.make(3, number)
        blue = np.array([190, 110, 60])  # the discs' colour, as RGB
        pasted = np.abs(sample.composite[sample.mask].mean(0) - blue).max() < 6
        true = np.abs(sample.real[sample.mask].mean(0) - blue).max() < 6
        if sample.kind in (SCENE, TWO_LIGHTS):
            assert pasted
            checked["scene"] += not true
        elif sample.kind == OBJECT:
            assert true
            checked["object"] += not pasted
    assert checked["scene"] > 15 and checked["object"] > 12


def test_weak_and_clipped_recolourings_are_not_kept(samples, monkeypatch, maker):
    monkeypatch.setattr(composites, "MILD", 0.0)
    for number in range(40):
        sample = maker.make(5, number)
        if sample.kind != UNCHANGED:
            error = ((sample.composite[sample.mask].astype(float) - sample.real[sample.mask]) ** 2).mean()
            assert error >= MIN_ERROR


def test_free_masks_are_laid_over_any_photo(folder, tmp_path):
    config = DataConfig(root=folder, cache=tmp_path, size=SIZE, photo_side=96, free_masks=1.0)
    maker = Maker(load_photos(config, "train"), config, SIZE)
    places = []
    for number in range(20):
        mask = maker.make(0, number).mask
        ys, xs = np.nonzero(mask)
        places.append((ys.mean(), xs.mean()))
    assert np.std(places, axis=0).min() > 5


def test_the_map_is_the_one_that_the_product_draws_on_the_composite(samples):
    for sample in samples[:10]:
        expected = segment(Composite(sample.composite, sample.mask.astype(np.uint8) * 255), "colour").labels
        assert np.array_equal(drawn_map(sample, "colour", 0), expected)


def test_the_map_is_of_the_composite_and_not_of_the_true_photo():
    """The halves of an object of one colour are recoloured differently, so the composite has one region more."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = True
    real = np.where(mask[..., None], (90, 120, 60), (30, 60, 140)).astype(np.uint8)
    composite = real.copy()
    composite[:, : SIZE // 2][mask[:, : SIZE // 2]] = (220, 60, 40)
    counts = [
        len(np.unique(drawn_map(Sample(picture, real, mask, OBJECT), "colour", 0)[mask])) for picture in (composite, real)
    ]
    assert counts == [2, 1]


def test_a_voronoi_map_has_as_many_regions_on_each_side(samples):
    for number, sample in enumerate(samples[:10]):
        ours, control = drawn_map(sample, "colour", number), drawn_map(sample, "voronoi", number)
        for side in (sample.mask, ~sample.mask):
            assert len(np.unique(ours[side])) == len(np.unique(control[side]))
        assert not set(control[sample.mask]) & set(control[~sample.mask])


def test_items_are_tensors_in_range(maker):
    composite, real, mask, regions, kind = Composites(maker, 0, range(5))[2]
    assert composite.shape == real.shape == (3, SIZE, SIZE) and composite.min() >= -1 and composite.max() <= 1
    assert mask.shape == (1, SIZE, SIZE) and set(mask.unique().tolist()) <= {0.0, 1.0}
    assert regions.shape == (SIZE, SIZE) and 0 <= kind < len(KINDS)


@pytest.mark.parametrize("force", [0.2, 0.5, 1.0])
def test_grades_stay_in_range_and_grow_with_their_force(force):
    x = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
    out = [lights.grade(x, force, np.random.default_rng(n)) for n in range(40)]
    assert all(y.dtype == np.float32 and y.min() >= 0 and y.max() <= 1 for y in out)
    change = np.mean([np.abs(y - x).mean() for y in out])
    assert {0.2: (0.01, 0.1), 0.5: (0.04, 0.2), 1.0: (0.08, 0.4)}[force][0] < change
    assert change < {0.2: 0.1, 0.5: 0.2, 1.0: 0.4}[force]


def test_statistics_move_toward_the_other_objects():
    rng = np.random.default_rng(0)
    x = rng.random((32, 32, 3), dtype=np.float32) * 0.3 + 0.3
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    pixels = rng.random((500, 3), dtype=np.float32) * 0.1 + np.array([0.55, 0.5, 0.4], np.float32)
    for transfer in (recolour.statistics_lab, recolour.statistics_rgb):
        out = transfer(x, mask, pixels, np.random.default_rng(1))
        before, after = (np.abs(y[mask].mean(0) - pixels.mean(0)).mean() for y in (x, out))
        assert after < 0.8 * before
        assert out[mask].std(0).mean() < x[mask].std(0).mean()


def test_uneven_light_varies_across_the_object():
    x = np.full((48, 48, 3), 0.5, np.float32)
    mask = np.zeros((48, 48), bool)
    mask[10:40, 10:40] = True
    spread = [recolour.uneven(x, x, mask, np.random.default_rng(n))[mask].std(0).max() for n in range(10)]
    assert min(spread) > 0.002 and max(spread) > 0.04
