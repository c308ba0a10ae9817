"""The classical methods do what their papers say, and survive any mask."""

import cv2
import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab
from skimage.exposure import match_histograms

from srin.classical import CLASSICAL, copy_paste, histogram, poisson, reinhard
from srin.composite import Composite, blend
from srin.errors import MaskError

RNG = np.random.default_rng(5)


def photo(height, width):
    """Smooth colours with fine texture, away from black and white."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([40 * np.sin(x / 37), 30 * np.cos(y / 29), 30 * np.sin((x + y) / 41)], axis=-1)
    return np.rint([100, 120, 90] + waves + RNG.normal(0, 4, waves.shape)).astype(np.uint8)


def disc(height, width, radius):
    y, x = np.mgrid[:height, :width]
    return ((np.hypot(x - width / 2, y - height / 2) < radius) * 255).astype(np.uint8)


def masks():
    """Shapes that break careless code, by name."""
    found = {name: np.zeros((90, 130), np.uint8) for name in ("border", "three borders", "corner", "specks")}
    found |= {name: np.zeros((90, 130), np.uint8) for name in ("one pixel", "all but one pixel", "frame")}
    found["disc"] = disc(90, 130, 30)
    found["border"][50:, 20:70] = 255
    found["three borders"][:, :60] = 255
    found["all but one pixel"][:] = 255
    found["all but one pixel"][40, 77] = 0
    found["one pixel"][33, 44] = 255
    found["corner"][-1, -1] = 255
    found["specks"][2:4, 3:5] = found["specks"][70:80, 100:120] = found["specks"][0, 129] = 255
    found["soft"] = np.tile(np.clip(255 - 4 * np.arange(130), 0, 255).astype(np.uint8), (90, 1))
    found["never black or white"] = np.clip(disc(90, 130, 30), 60, 180)
    found["frame"][:] = 255
    found["frame"][10:-10, 10:-10] = 0
    return found


MASKS = masks()


@pytest.mark.parametrize("shape", MASKS)
@pytest.mark.parametrize("method", CLASSICAL)
def test_every_method_survives_every_mask(method, shape):
    image, mask = photo(90, 130), MASKS[shape]
    before = image.copy(), mask.copy()
    out = CLASSICAL[method].apply(image, mask)
    assert out.dtype == np.uint8 and out.shape == image.shape
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
    again = CLASSICAL[method].apply(image, mask)
    np.testing.assert_array_equal(out, again)


@pytest.mark.parametrize("method", CLASSICAL)
def test_empty_and_full_masks_are_refused(method):
    for value, message in ((0, "empty"), (255, "covers the whole picture")):
        with pytest.raises(MaskError, match=message):
            CLASSICAL[method].apply(photo(20, 30), np.full((20, 30), value, np.uint8))


def test_copy_paste_is_the_composite():
    image = photo(20, 30)
    out = copy_paste(image, disc(20, 30, 5))
    np.testing.assert_array_equal(out, image)
    assert out is not image


def test_reinhard_moves_mean_and_deviation_in_lab():
    y, x = np.mgrid[:120, :160]
    mask = disc(120, 160, 35)
    lab = np.stack([60 + 8 * np.sin(x / 5), 5 + 4 * np.cos(y / 7), 10 + 5 * np.sin((x - y) / 6)], axis=-1)
    lab[mask > 127] = lab[mask > 127] * [0.5, 0.7, 1.2] + [5, 8, -14]
    image = np.rint(lab2rgb(lab) * 255).astype(np.uint8)
    out = reinhard(image, mask)

    result, background = rgb2lab(out)[mask > 127], rgb2lab(image)[mask == 0]
    np.testing.assert_allclose(result.mean(axis=0), background.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(result.std(axis=0), background.std(axis=0), atol=0.15)
    naive = rgb2lab(image)
    inside = naive[mask > 127]
    naive = (naive - inside.mean(axis=0)) / inside.std(axis=0)
    naive = naive * background.std(axis=0) + background.mean(axis=0)
    difference = np.abs(out - lab2rgb(naive) * 255)[mask > 127]
    assert difference.max() <= 1.5  # rounding alone, at half a level, and the two libraries' constants
    np.testing.assert_array_equal(out[mask == 0], image[mask == 0])


def test_histogram_matches_scikit_image_rounded():
    image, mask = photo(120, 160), disc(120, 160, 40)
    image[mask > 127] = image[mask > 127] // 2 + 90
    out = histogram(image, mask)
    inside = mask > 127
    for channel in range(3):
        foreground, background = (image[where, channel].astype(float) for where in (inside, ~inside))
        matched = match_histograms(foreground, background)
        np.testing.assert_array_equal(out[inside, channel], np.rint(matched))
    np.testing.assert_array_equal(out[mask == 0], image[mask == 0])


def test_histogram_interpolates_for_values_found_only_in_a_soft_edge():
    image = np.zeros((1, 6, 3), np.uint8) + np.array([10, 30, 20, 5, 100, 200], np.uint8)[:, None]
    mask = np.array([[255, 255, 90, 90, 0, 0]], np.uint8)
    image[0, 2:4] = [[20] * 3, [5] * 3]
    out = histogram(image, mask)[0, :, 0].tolist()
    # 10 and 30 match the quantiles of 5, 20, 100, 200; 20 lies half way, and 5 has nothing below it.
    assert out == [20, 200, 110, 20, 100, 200]


def test_soft_edges_are_recoloured_like_the_foreground():
    """blend() weighs them by the mask afterwards. With their old colours a contour would show where the mask is 127."""
    image = np.full((60, 80, 3), 100, np.uint8) + RNG.integers(0, 20, (60, 80, 3), dtype=np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:50] = 255
    mask[20:40, 50:54] = 100
    image[20:40, 30:54] += 60
    for method in (reinhard, histogram, poisson):
        out = method(image, mask)
        assert out[20:40, 50:54].mean() == pytest.approx(out[20:40, 44:50].mean(), abs=6)
        assert out[20:40, 50:54].mean() < 125


# Poisson: below, the true answer is known.


def naive_poisson(image, inside):
    """Minimises the squared differences of gradients inside and of colours across the outline, densely."""
    height, width = inside.shape
    pixels = [(y, x) for y in range(height) for x in range(width) if inside[y, x]]
    number = {pixel: i for i, pixel in enumerate(pixels)}
    rows, values = [], []
    for y, x in pixels:
        for near in ((y, x + 1), (y + 1, x), (y, x - 1), (y - 1, x)):
            if not (0 <= near[0] < height and 0 <= near[1] < width):
                continue
            row = np.zeros(len(pixels))
            row[number[y, x]] = 1
            if near not in number:
                rows.append(row)
                values.append(image[near].astype(float))
            elif near > (y, x):
                row[number[near]] = -1
                rows.append(row)
                values.append(image[y, x].astype(float) - image[near])
    solution = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    out = image.astype(float)
    out[inside] = solution
    return np.rint(np.clip(out, 0, 255))


@pytest.mark.parametrize("shape", ["disc", "border", "specks"])
def test_poisson_solves_its_equation(shape):
    image = photo(24, 30)
    mask = {name: np.zeros((24, 30), np.uint8) for name in ("border", "specks")} | {"disc": disc(24, 30, 8)}
    mask["border"][12:, 5:18] = 255
    mask["specks"][2:4, 3:5] = mask["specks"][15:20, 20:28] = mask["specks"][0, 29] = 255
    inside = mask[shape] > 127
    image[inside] += 50
    out = poisson(image, mask[shape])
    expected = naive_poisson(image, inside)
    error = out[inside] - expected[inside]
    assert np.abs(error).max() <= 1
    assert abs(error.mean()) < 0.1  # half a level where a result is truncated
    assert np.abs(out[inside].astype(int) - image[inside]).max() > 20


@pytest.mark.parametrize("size", [(200, 240), (800, 900)])
@pytest.mark.parametrize("place", ["inside", "at the border", "apart"])
def test_poisson_restores_what_was_only_brightened(size, place):
    """The object is part of the photo in another light: the photo comes back, without any shift."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    if place == "inside":
        mask = disc(height, width, height * 0.37)
    elif place == "at the border":
        mask[height // 3 :, : width // 2] = 255
    else:
        mask[height // 8 : height // 4, width // 8 : width // 3] = 255
        mask[height // 2 :, width // 2 : width - width // 9] = 255
    real = photo(height, width)
    y, x = np.mgrid[:height, :width]
    change = np.stack([45 + 0 * x, -30 + 20 * x / width, 25 * y / height], axis=-1)
    image = np.where(mask[..., None] > 0, np.rint(real + change), real).astype(np.uint8)

    inside = mask > 127
    harmonized = poisson(image, mask).astype(float)
    error = harmonized[inside] - real[inside]
    assert np.abs(error).mean() < 3.5  # a slope of the photo across the outline is taken for a jump
    assert np.abs(image[inside] - real[inside].astype(float)).mean() > 20
    # The texture is where it was: a shift by one pixel would double the error of the noise.
    texture = error - np.median(error, axis=0)
    assert texture.std() < 2.5
    unchanged = poisson(real, mask).astype(float)
    assert np.abs(unchanged[inside] - real[inside]).mean() < 2


def test_poisson_keeps_the_detail_of_a_large_foreground():
    """The correction is smooth: fine texture of the foreground is the same before and after."""
    image, mask = photo(1200, 1000), disc(1200, 1000, 430)
    image[mask > 0] += 40
    deep = disc(1200, 1000, 400) > 0
    change = poisson(image, mask).astype(float) - image
    steps = np.abs(np.diff(change, axis=1))[deep[:, 1:] & deep[:, :-1]]
    assert steps.max() <= 1  # one level now and then, where the rounded correction changes


def test_poisson_sees_past_a_soft_edge():
    """Along a feathered outline neighbours differ little; the jump is between the feather's two sides."""
    real, hard = RNG.integers(90, 110, (200, 240, 3), dtype=np.uint8), disc(200, 240, 60)
    mask = cv2.GaussianBlur(hard, (0, 0), 4)
    image = np.rint(real + mask[..., None] / 255 * 60.0).astype(np.uint8)
    out = blend(poisson(image, mask), Composite(image, mask))
    core = mask >= 250
    assert np.abs(out[core].astype(float) - real[core]).mean() < 8  # of 60


def test_poisson_of_a_part_that_is_soft_all_over():
    """The colour of such a part comes from its own pixels, even if another part has a hard core."""
    real = RNG.integers(90, 110, (60, 80, 3), dtype=np.uint8)
    mask, image = np.zeros((60, 80), np.uint8), real.copy()
    mask[10:20, 10:20], mask[40:50, 60:70] = 255, 180
    image[10:20, 10:20] += 90
    image[40:50, 60:70] -= 60
    out = poisson(image, mask)
    assert np.abs(out[mask > 0].astype(float) - real[mask > 0]).mean() < 8


def test_poisson_after_blending_leaves_the_background():
    image, mask = photo(90, 130), MASKS["soft"]
    out = blend(poisson(image, mask), Composite(image, mask))
    np.testing.assert_array_equal(out[mask == 0], image[mask == 0])
