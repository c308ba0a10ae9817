"""How results differ to the eye: what is not seen, and the amplified picture of what is."""

import cv2
import numpy as np
import pytest

from srin.difference import FACTORS, GREY, distances, lab_sample, looks_alike, signed
from srin.ui.session.framing import around, middle


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(40, 210, (60, 80, 3), np.uint8), (0, 0), 3)
    mask = np.zeros((60, 80), np.uint8)
    cv2.ellipse(mask, (30, 32), (18, 22), 0, 0, 360, 255, -1)
    return image, mask


def brighter(image, mask, levels):
    return np.where(mask[..., None] > 0, np.clip(image.astype(int) + levels, 0, 255), image).astype(np.uint8)


def test_what_nobody_sees_and_what_is_seen(picture):
    image, mask = picture
    lab = lab_sample(image, mask)
    assert lab.shape == ((mask > 127).sum(), 3)
    assert looks_alike(lab, lab)
    assert looks_alike(lab, lab_sample(brighter(image, mask, 2), mask))
    assert not looks_alike(lab, lab_sample(brighter(image, mask, 8), mask))
    # A clearly different colour on a tenth of the object is seen, however small the average.
    spot = image.copy()
    spot[10:20, 20:40] = 255 - spot[10:20, 20:40]
    few = np.zeros_like(mask)
    few[10:20, 20:40] = mask[10:20, 20:40]
    share = (few > 0).sum() / (mask > 0).sum()
    assert 0.05 < share < 0.2
    faint = np.where(few[..., None] > 0, brighter(image, mask, 6), image)
    assert distances(lab, lab_sample(faint, mask)).mean() < 1
    assert not looks_alike(lab, lab_sample(faint, mask))


def test_large_objects_are_sampled_evenly():
    image = np.zeros((400, 500, 3), np.uint8)
    image[:200] = 255
    lab = lab_sample(image, np.full((400, 500), 255, np.uint8))
    assert 15_000 < len(lab) <= 25_000 and lab[:, 0].mean() == pytest.approx(50, abs=1)


@pytest.mark.parametrize("levels", [1, 3, 10, 90])
def test_the_picture_is_signed_amplified_and_grey_outside(picture, levels):
    image, mask = picture
    lighter, factor = signed(image, brighter(image, mask, levels), mask)
    darker, same = signed(brighter(image, mask, levels), image, mask)
    assert factor == same in FACTORS
    assert np.array_equal(np.unique(lighter[mask == 0], axis=0), [GREY])
    inside = mask > 0
    assert (lighter[inside].mean(1) > GREY[0]).all() and (darker[inside].mean(1) < GREY[0]).all()
    change = cv2.cvtColor(brighter(image, mask, levels).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    change = (change - cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))[inside]
    shown = cv2.cvtColor(lighter.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[inside][:, 0] - 50
    assert shown.mean() == pytest.approx(factor * change[:, 0].mean(), abs=1.5)
    assert factor == max(FACTORS) or factor < max(FACTORS) and np.abs(factor * change).max(1).mean() > 10


def test_warmer_is_orange_and_no_change_is_grey(picture):
    image, mask = picture
    warm, _ = signed(image, brighter(image, mask, np.array((12, 0, -12))), mask)
    red, _, blue = warm[mask > 0].mean(0)
    assert red > blue + 40
    none, factor = signed(image, image, mask)
    assert np.array_equal(np.unique(none.reshape(-1, 3), axis=0), [GREY]) and factor == max(FACTORS)


def test_a_frame_holds_the_object_and_splits_it(picture):
    _, mask = picture
    assert middle(mask) == pytest.approx(30.5 / 80, abs=0.02)
    for ratio in (16 / 9, 1, 0.5):
        frame = around(mask, ratio)
        cut = frame.cut(mask)
        assert (cut > 0).sum() == (mask > 0).sum()
        split = round(frame.middle * cut.shape[1])
        assert (cut[:, :split] > 0).sum() == pytest.approx((cut[:, split:] > 0).sum(), rel=0.1)
        assert cut.shape[1] / cut.shape[0] == pytest.approx(ratio, rel=0.05) or 60 in cut.shape or 80 in cut.shape
    small = np.zeros((600, 800), np.uint8)
    small[500:560, 700:760] = 255
    assert around(small, 1).cut(small).shape[0] < 100
    speck = small.copy()
    speck[3, 4] = 9
    assert around(speck, 1).rows == around(small, 1).rows and around(speck, 1).columns == around(small, 1).columns
    assert around(small // 4, 1).rows == around(small, 1).rows  # a faint mask still has a place
