"""Every score against its formula, written out naively, and against scikit-image."""

import math

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srin.errors import ImageError, MaskError
from srin.metrics import delta_e, fmse, fpsnr, mse, psnr, score, signed_errors, ssim

RNG = np.random.default_rng(11)
# No pixel is near 255, so that a peak taken from the picture would give another number.
REAL = RNG.integers(20, 120, (256, 256, 3), dtype=np.uint8)
IMAGE = np.clip(REAL + RNG.integers(-15, 25, REAL.shape), 0, 255).astype(np.uint8)
MASK = np.zeros((256, 256), np.uint8)
MASK[40:90, 100:130] = 200
MASK[90:95, 100:130] = 127  # not foreground
IMAGE[40:90, 100:130] = REAL[40:90, 100:130] + 40


def test_mse_and_fmse_against_loops():
    image, real, mask = IMAGE[84:96, 95:110], REAL[84:96, 95:110], MASK[84:96, 95:110]
    total, foreground, pixels = 0, 0, 0
    for y in range(12):
        for x in range(15):
            error = sum((int(image[y, x, c]) - int(real[y, x, c])) ** 2 for c in range(3))
            total += error
            if mask[y, x] > 127:
                foreground += error
                pixels += 1
    assert mse(image, real) == pytest.approx(total / (12 * 15 * 3))
    assert fmse(image, real, mask) == pytest.approx(foreground / (pixels * 3))
    assert fmse(IMAGE, REAL, MASK) == 1600  # an inverted mask gives about 160
    assert fmse(IMAGE, REAL, 255 - MASK) < 200


def test_decibels_against_scikit_image_and_by_hand():
    assert psnr(IMAGE, REAL) == pytest.approx(peak_signal_noise_ratio(REAL, IMAGE, data_range=255))
    assert fpsnr(IMAGE, REAL, MASK) == pytest.approx(20 * math.log10(255 / 40))
    assert psnr(REAL, REAL) == math.inf
    assert fpsnr(REAL, REAL, MASK) == math.inf


def naive_ssim(x, y):
    """Z. Wang et al. (2004) on one channel: 11 x 11 Gaussian window, without the border it does not cover."""
    offset = np.arange(-5, 6)
    window = np.exp(-(offset**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def mean(values):
        return np.einsum("ijkl,kl", np.lib.stride_tricks.sliding_window_view(values, (11, 11)), window)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_ssim_against_its_formula_and_scikit_image():
    image, real = IMAGE[:64, 60:130], REAL[:64, 60:130]
    naive = np.mean([naive_ssim(image[..., c].astype(float), real[..., c].astype(float)) for c in range(3)])
    assert ssim(image, real) == pytest.approx(naive, abs=1e-6)
    rough = structural_similarity(real, image, channel_axis=2, data_range=255)
    assert ssim(image, real) == pytest.approx(rough, abs=0.03)
    assert ssim(real, real) == 1
    with pytest.raises(ImageError, match="11 x 11"):
        ssim(real[:10], image[:10])


def test_delta_e_is_ciede2000_over_the_foreground():
    difference = deltaE_ciede2000(rgb2lab(REAL), rgb2lab(IMAGE))
    assert delta_e(IMAGE, REAL, MASK) == pytest.approx(difference[MASK > 127].mean())
    assert abs(difference.mean() - delta_e(IMAGE, REAL, MASK)) > 1
    black, white = (np.full((1, 1, 3), value, np.uint8) for value in (0, 255))
    assert delta_e(black, white, np.full((1, 1), 255, np.uint8)) == pytest.approx(100, abs=0.01)


def test_signed_errors_by_textbook_colours():
    """sRGB red is L* 53.24, a* 80.09, b* 67.20; the grey 119 is L* 50.03 and has no chroma."""
    red, grey = np.full((2, 2, 3), (255, 0, 0), np.uint8), np.full((2, 2, 3), 119, np.uint8)
    mask = np.array([[255, 255], [0, 0]], np.uint8)
    greyed = signed_errors(np.where(mask[..., None] > 0, grey, np.uint8(7)), red, mask)
    assert greyed["chroma"] == pytest.approx(-math.hypot(80.09, 67.20), abs=0.05)
    assert greyed["lightness"] == pytest.approx(50.03 - 53.24, abs=0.02)
    reddened = signed_errors(red, grey, mask)
    assert reddened["chroma"] == pytest.approx(-greyed["chroma"]) and reddened["lightness"] > 3
    half = red.copy()
    half[0, 0] = grey[0, 0]  # one of the foreground's two pixels
    assert signed_errors(half, red, mask)["chroma"] == pytest.approx(greyed["chroma"] / 2)
    # A mean of chromas, not the chroma of a mean: complementary colours don't cancel.
    pair = np.array([[(200, 60, 60), (60, 190, 190)], [(0, 0, 0), (0, 0, 0)]], np.uint8)
    assert signed_errors(pair, grey, mask)["chroma"] > 30


def test_score_collects_the_metrics():
    true_lab = rgb2lab(REAL[MASK > 127])
    assert score(IMAGE, REAL, MASK) == {
        "mse": mse(IMAGE, REAL),
        "fmse": fmse(IMAGE, REAL, MASK),
        "psnr": psnr(IMAGE, REAL),
        "fpsnr": fpsnr(IMAGE, REAL, MASK),
        "delta_e": delta_e(IMAGE, REAL, MASK),
        **signed_errors(IMAGE, REAL, MASK),
        "fg_ratio": 50 * 30 / 256**2,
        "true_chroma": pytest.approx(np.hypot(true_lab[:, 1], true_lab[:, 2]).mean()),
    }


def test_the_protocols_differ_in_the_background_alone():
    composite = np.clip(REAL.astype(int) + RNG.integers(-3, 4, REAL.shape), 0, 255).astype(np.uint8)
    inside = (MASK > 127)[..., None]

    with_noise = score(IMAGE, REAL, MASK, "composite", composite)
    assert with_noise == score(np.where(inside, IMAGE, composite), REAL, MASK)
    clean = score(IMAGE, REAL, MASK, "gt-background")
    assert clean == score(IMAGE, REAL, MASK, "gt-background", composite)
    assert clean["mse"] == pytest.approx(1600 * clean["fg_ratio"])
    assert clean["mse"] < with_noise["mse"] < score(IMAGE, REAL, MASK)["mse"]
    for key in ("fmse", "fpsnr", "delta_e"):
        assert clean[key] == with_noise[key]


def test_score_averages_over_areas_and_rounds():
    """Each scored pixel is the mean of 2 x 2. These means end in .75, so truncation would give another error."""
    block = np.array([[0, 1], [1, 1]], np.uint8)
    image = np.repeat(np.tile(block, (256, 256))[..., None], 3, axis=2) + np.uint8(99)
    real = np.full((512, 512, 3), 90, np.uint8)
    mask = np.zeros((512, 512), np.uint8)
    mask[:256] = 255
    result = score(image, real, mask)
    assert result["fmse"] == 100  # (99.75 rounded - 90) ** 2; 81 if truncated, 95.06 if not rounded
    assert result["fg_ratio"] == 0.5


@pytest.mark.parametrize("shape", [(300, 100), (100, 300), (100, 120), (700, 900)])
def test_score_takes_any_size(shape):
    image, real = (np.full((*shape, 3), value, np.uint8) for value in (60, 50))
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 255
    result = score(image, real, mask)
    assert result["mse"] == result["fmse"] == 100
    assert result["fg_ratio"] == pytest.approx(0.5, abs=0.003)


def test_shrinking_one_side_while_the_other_grows_does_not_skip_pixels():
    stripes = np.zeros((1024, 200, 3), np.uint8)
    stripes[2::4] = 200  # OpenCV alone would miss them all: it averages only if both sides shrink
    mask = np.full((1024, 200), 255, np.uint8)
    assert score(stripes, np.full_like(stripes, 50), mask)["mse"] == 0


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match="Unknown protocol 'real'; choose one of composite, gt-background"):
        score(IMAGE, REAL, MASK, "real")
    with pytest.raises(ImageError, match="rounded uint8 pictures"):
        mse(IMAGE.astype(np.float32), REAL)
    with pytest.raises(ImageError, match="one size"):
        score(IMAGE[:128], REAL, MASK)
    with pytest.raises(MaskError, match="uint8 mask"):
        fmse(IMAGE, REAL, MASK > 127)
    with pytest.raises(MaskError, match="no foreground"):
        delta_e(IMAGE, REAL, MASK // 2)
    assert score(IMAGE, REAL, MASK, size=128)["fg_ratio"] == 25 * 15 / 128**2
    speck = np.zeros((1024, 1024), np.uint8)
    speck[5, 5] = 255
    large = np.zeros((1024, 1024, 3), np.uint8)
    with pytest.raises(MaskError, match="at this size"):
        score(large, large, speck)
