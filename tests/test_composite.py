"""Every pixel lands where the formula says, edges stay clean, the background stays untouched."""

import time
from itertools import product

import numpy as np
import pytest
from PIL import Image

from srin.composite import Composite, Placement, blend, crop_to_mask, place, placement_matrix
from srin.errors import ImageError, MaskError, PlacementError, SrinError

RNG = np.random.default_rng(3)


def noise(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def destination(point, background, foreground, placement):
    """Where a point (x, y) of the foreground must appear, by complex numbers instead of matrices."""
    height, width = foreground
    offset = complex(point[0] - width / 2, point[1] - height / 2)
    if placement.flip:
        offset = -offset.conjugate()
    turn = np.exp(1j * np.pi * placement.rotation / 180)  # y points down, so a positive turn is clockwise
    offset *= turn * placement.scale * background[0] / height
    return np.array([placement.x * background[1] + offset.real, placement.y * background[0] + offset.imag])


@pytest.mark.parametrize(
    ("scale", "rotation", "flip"), list(product([0.25, 0.6, 1.2], [0, 33, 90, -128.5, 270], [False, True]))
)
def test_a_spot_lands_where_the_formula_says_to_a_twentieth_of_a_pixel(scale, rotation, flip):
    background, foreground, spot = (300, 400), (200, 260), (150.3, 71.8)
    y, x = np.mgrid[:200, :260] + 0.5
    distance = np.hypot(x - spot[0], y - spot[1])
    mask = np.rint(255 * np.exp(-((distance / 12) ** 2))).astype(np.uint8)
    placement = Placement(0.521, 0.473, scale, rotation, flip)

    placed = place(noise(*background), noise(*foreground), mask, placement)

    weight = placed.mask.astype(float)
    y, x = np.mgrid[:300, :400] + 0.5
    found = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    expected = destination(spot, background, foreground, placement)
    assert np.abs(found - expected).max() < 0.05
    matrix = placement_matrix(background, foreground, placement)
    np.testing.assert_allclose(matrix @ [*spot, 1], expected)
    # Its size follows too: the sum of the mask grows with the square of the scale.
    assert weight.sum() / mask.sum() == pytest.approx((scale * 300 / 200) ** 2, rel=0.02)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_flips_and_quarter_turns_are_exact_and_the_flip_comes_first(flip, quarter_turns):
    background, foreground = noise(60, 80), noise(30, 40)
    mask = RNG.integers(0, 2, (30, 40), dtype=np.uint8) * 255
    mask[3, 5] = 255
    placed = place(background, foreground, mask, Placement(0.5, 0.5, 0.5, 90 * quarter_turns, flip))

    expected_rgb, expected_mask = (
        np.rot90(array[:, ::-1] if flip else array, -quarter_turns) for array in (foreground, mask)
    )
    height, width = expected_mask.shape
    window = (slice(30 - height // 2, 30 + height // 2), slice(40 - width // 2, 40 + width // 2))
    full_mask = np.zeros((60, 80), np.uint8)
    full_mask[window] = expected_mask
    full_rgb = background.copy()
    full_rgb[window][expected_mask > 0] = expected_rgb[expected_mask > 0]
    np.testing.assert_array_equal(placed.mask, full_mask)
    np.testing.assert_array_equal(placed.image, full_rgb)


@pytest.mark.parametrize(("dx", "dy"), [(-25, -17), (30, 0), (0, 24), (39, -29)])
def test_a_foreground_partly_off_the_canvas_is_cut_there(dx, dy):
    background, foreground = noise(60, 80), noise(60, 80)
    placement = Placement(0.5 + dx / 80, 0.5 + dy / 60, 1.0)
    placed = place(background, foreground, np.full((60, 80), 255, np.uint8), placement)

    expected, expected_mask = background.copy(), np.zeros((60, 80), np.uint8)
    to = (slice(max(dy, 0), 60 + min(dy, 0)), slice(max(dx, 0), 80 + min(dx, 0)))
    start = (slice(max(-dy, 0), 60 + min(-dy, 0)), slice(max(-dx, 0), 80 + min(-dx, 0)))
    expected[to] = foreground[start]
    expected_mask[to] = 255
    np.testing.assert_array_equal(placed.image, expected)
    np.testing.assert_array_equal(placed.mask, expected_mask)


@pytest.mark.parametrize(("rotation", "scale"), [(0, 0.21), (17, 0.21), (45, 0.07)])
def test_shrinking_does_not_alias(rotation, scale):
    y, x = np.mgrid[:400, :400]
    checkerboard = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    placement = Placement(scale=scale, rotation=rotation)
    placed = place(flat(400, 500, 0), checkerboard, np.full((400, 400), 255, np.uint8), placement)
    inside = placed.image[placed.mask == 255].astype(float)
    assert len(inside) > 300
    assert inside.mean() == pytest.approx(127.5, abs=1)
    assert inside.std() < 12  # 127 where pixels are skipped


def test_a_shrunken_picture_keeps_its_detail():
    """Stripes of four pixels, shrunk to two: an over-blurring filter would leave plain gray."""
    stripes = np.repeat(np.tile(np.repeat([0, 255], 4), 50)[None], 400, axis=0).astype(np.uint8)
    placement = Placement(scale=0.5)
    mask = np.full((400, 400), 255, np.uint8)
    placed = place(flat(400, 500, 0), np.repeat(stripes[..., None], 3, axis=2), mask, placement)
    assert placed.image[placed.mask == 255].std() > 110


@pytest.mark.parametrize(("scale", "rotation", "x"), [(0.3, 0, 0.5), (0.55, 21, 0.51), (1.4, -40, 0.6)])
def test_no_fringe_at_the_edge(scale, rotation, x):
    """A white object from a black photo stays white on white, and a black one from a white photo stays black on black."""
    y, column = np.mgrid[:100, :120] + 0.5
    soft = np.clip(40 - np.hypot(column - 60, y - 50), 0, 1)
    mask = np.rint(255 * soft).astype(np.uint8)
    for value in (255, 0):
        foreground = np.where(mask[..., None] > 0, np.uint8(value), np.uint8(255 - value)).repeat(3, axis=2)
        placement = Placement(x=x, scale=scale, rotation=rotation)
        placed = place(flat(150, 200, value), foreground, mask, placement)
        assert (placed.image == value).all()
        assert ((placed.mask > 0) & (placed.mask < 255)).any()


def test_edges_do_not_ring():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    placed = place(flat(200, 200, 100), flat(40, 40, 160), mask, Placement(scale=1.3, rotation=10))
    assert placed.image.min() == 100
    assert placed.image.max() == 160
    np.testing.assert_array_equal(placed.image == 160, np.repeat((placed.mask > 252)[..., None], 3, axis=2))


def test_the_background_is_untouched_outside_the_mask_and_inputs_are_not_changed():
    background, foreground = noise(90, 120), noise(50, 50)
    mask = RNG.integers(0, 256, (50, 50), dtype=np.uint8)
    copies = [array.copy() for array in (background, foreground, mask)]
    placed = place(background, foreground, mask, Placement(scale=0.4, rotation=30))
    outside = placed.mask == 0
    assert outside.any()
    np.testing.assert_array_equal(placed.image[outside], background[outside])
    for array, copy in zip((background, foreground, mask), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement(x=3), "lands on the background"),
        (Placement(y=-2.5), "lands on the background"),
        (Placement(x=1e30), "lands on the background"),
        (Placement(x=-0.03), "lands on the background"),
        (Placement(x=float("nan")), "finite"),
        (Placement(rotation=float("inf")), "finite"),
        (Placement(scale=float("nan")), "finite"),
        (Placement(scale=0), "scale is 0; it must be from 0.01 to 10"),
        (Placement(scale=10.1), "scale is 10.1"),
        (Placement(scale=-1), "scale is -1"),
        (Placement(x=2.5, scale=10), "hides the whole background"),
        (Placement(scale=0.01), "lands on the background: it lies outside or is too small"),
    ],
)
def test_impossible_placements(placement, message):
    mask = np.zeros((40, 40), np.uint8)
    mask[2:38, 2:20] = 255  # the left half of the picture
    with pytest.raises(PlacementError, match=message):
        place(noise(40, 40), noise(40, 40), mask, placement)


def test_place_checks_its_arrays():
    with pytest.raises(MaskError, match="mask has 30 x 20 pixels and the foreground 20 x 30"):
        place(noise(9, 9), noise(30, 20), np.zeros((20, 30), np.uint8), Placement())
    with pytest.raises(ImageError, match="background must be uint8"):
        place(noise(9, 9) / 255, noise(9, 9), np.zeros((9, 9), np.uint8), Placement())


def test_crop_to_mask():
    picture, mask = noise(30, 40), np.zeros((30, 40), np.uint8)
    mask[5:9, 7:20] = 255
    mask[9, 12] = 3  # the faint end of a soft edge belongs to it
    rgb, cropped = crop_to_mask(picture, mask)
    np.testing.assert_array_equal(rgb, picture[5:10, 7:20])
    np.testing.assert_array_equal(cropped, mask[5:10, 7:20])
    rgb, cropped = crop_to_mask(picture, mask, margin=6)
    np.testing.assert_array_equal(rgb, picture[0:16, 1:26])
    assert cropped.shape == (16, 25)
    with pytest.raises(MaskError, match="empty"):
        crop_to_mask(picture, np.minimum(mask, 127))


def test_composite_load(tmp_path):
    picture, mask = noise(6, 8), np.zeros((6, 8), np.uint8)
    mask[2:4, 3:6] = 255
    Image.fromarray(picture).save(tmp_path / "image.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for composite in (
        Composite.load(tmp_path / "image.png", tmp_path / "mask.png"),
        Composite.load(picture, mask > 0),
    ):
        np.testing.assert_array_equal(composite.image, picture)
        np.testing.assert_array_equal(composite.mask, mask)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((8, 6), 255, np.uint8), "mask has 6 x 8 pixels and the image 8 x 6"),
        (np.zeros((6, 8), np.uint8), "mask is empty"),
        (np.full((6, 8), 127, np.uint8), "mask is empty"),
        (np.full((6, 8), 255, np.uint8), "mask covers the whole picture"),
        (np.full((6, 8), 128, np.uint8), "mask covers the whole picture"),
    ],
)
def test_masks_that_make_no_composite(mask, message):
    with pytest.raises(MaskError, match=message):
        Composite.load(noise(6, 8), mask)


def test_one_pixel_is_no_composite():
    for value in (0, 255):
        with pytest.raises(MaskError):
            Composite.load(noise(1, 1), np.full((1, 1), value, np.uint8))


@pytest.mark.parametrize("strength", [1.0, 0.37, 0.0])
def test_blend_follows_its_formula(strength):
    composite = Composite(noise(1100, 31), RNG.integers(0, 256, (1100, 31), dtype=np.uint8))
    harmonized = noise(1100, 31)
    out = blend(harmonized, composite, strength)
    base, weight = composite.image.astype(float), composite.mask[..., None] / 255 * strength
    assert out.dtype == np.uint8
    assert np.abs(out - (base + weight * (harmonized - base))).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(out[composite.mask == 0], composite.image[composite.mask == 0])
    if strength == 1:
        np.testing.assert_array_equal(out[composite.mask == 255], harmonized[composite.mask == 255])
    if strength == 0:
        np.testing.assert_array_equal(out, composite.image)


def test_blend_refuses_other_sizes_and_strengths():
    composite = Composite(noise(4, 5), np.eye(4, 5, dtype=np.uint8) * 255)
    with pytest.raises(ImageError, match="harmonized picture has 4 x 5 pixels and the composite 5 x 4"):
        blend(noise(5, 4), composite)
    for strength in (-0.1, 2.5, float("nan")):
        with pytest.raises(SrinError, match="between 0 and 2"):
            blend(composite.image, composite, strength)


def test_twelve_megapixels_take_seconds():
    """About two on a laptop; the limit only catches an algorithm of another order."""
    background, foreground = flat(3000, 4000, 90), flat(3000, 4000, 200)
    mask = np.full((3000, 4000), 255, np.uint8)
    start = time.process_time()
    placed = place(background, foreground, mask, Placement(scale=0.8, rotation=12))
    blend(foreground, placed)
    assert time.process_time() - start < 20
