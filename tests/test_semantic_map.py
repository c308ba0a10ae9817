"""Semantic maps, composing them, and refined edges: all that needs no network."""

import cv2
import numpy as np
import pytest

from srin.composite import Composite, Placement, crop_to_mask, place
from srin.errors import MaskError, SegmentationError
from srin.models.config import BACKGROUND_REGIONS, FOREGROUND_REGIONS
from srin.segmentation import semantic_map
from srin.segmentation.automatic import AutomaticMap
from srin.segmentation.refine import feathered_alpha
from srin.segmentation.semantic_map import SemanticMap, build, compose, crop_labels


def disc(height, width, x, y, radius):
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows + 0.5 - y, columns + 0.5 - x) < radius


def noisy(colours, seed=0):
    """A photo of flat colours (H, W, 3) under noise."""
    rng = np.random.default_rng(seed)
    return np.clip(colours + rng.normal(0, 8, colours.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def ball():
    """A red ball with a blue patch on green grass, and its true mask."""
    mask = disc(720, 960, 500, 330, 200)
    colours = np.full((720, 960, 3), (60, 120, 50.0))
    colours[mask] = (190, 40, 40)
    colours[disc(720, 960, 560, 300, 60)] = (40, 60, 200)
    return noisy(colours), mask


@pytest.fixture
def composite(ball):
    image, mask = ball
    small = cv2.resize(image, (96, 72), interpolation=cv2.INTER_AREA)
    return Composite(small, cv2.resize(mask.astype(np.uint8) * 255, (96, 72), interpolation=cv2.INTER_AREA))


def test_a_map_keeps_the_sides_apart_and_keeps_regions(composite):
    labels = np.arange(72 * 96).reshape(72, 96) // 960 * 7 - 3
    made = build(composite, labels, "provided")
    inside = composite.mask > 127
    assert not set(made.labels[inside]) & set(made.labels[~inside])
    assert made.labels[~inside].max() < made.labels[inside].min(), "the background's come first"
    for side in (inside, ~inside):  # a one-to-one relation of old and new labels on each side
        pairs = {(int(a), int(b)) for a, b in zip(labels[side], made.labels[side], strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert np.array_equal(build(composite, made.labels, "provided").labels, made.labels)


def test_too_many_regions_join_the_most_similar(composite):
    rng = np.random.default_rng(0)
    blocks = rng.permutation(16 * 12).reshape(12, 16).repeat(6, 0).repeat(6, 1)
    made = build(composite, blocks, "provided")
    inside = composite.mask > 127
    sides = [len(np.unique(made.labels[side])) for side in (~inside, inside)]
    assert sides == [BACKGROUND_REGIONS, FOREGROUND_REGIONS]
    assert not set(made.labels[inside]) & set(made.labels[~inside])
    for block in np.unique(blocks):
        for side in (inside, ~inside):
            here = made.labels[(blocks == block) & side]
            assert len(np.unique(here)) <= 1, "regions merge and never split"
    painted = made.paint(composite.image)
    assert np.abs(painted.astype(float) - composite.image).mean() < 25
    small = Composite(composite.image, np.where(disc(72, 96, 20, 20, 3), np.uint8(255), np.uint8(0)))
    kept = build(small, blocks, "provided")
    assert len(np.unique(kept.labels[small.mask > 127])) >= 2, "a small object doesn't lose its regions first"


def test_painting_is_the_mean_of_each_region(composite):
    made = build(composite, (np.arange(96) // 30)[None].repeat(72, 0), "provided")
    painted = made.paint(composite.image)
    for region in range(made.labels.max() + 1):
        here = made.labels == region
        assert np.abs(painted[here][0] - composite.image[here].mean(0)).max() <= 0.5


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((5, 5), int), "map is 5x5 pixels, but the picture is 96x72"),
        (np.zeros((72, 96)), "whole numbers"),
        (np.zeros((72, 96, 3), int), "two dimensions"),
        (np.arange(72 * 96).reshape(72, 96), "different values"),
    ],
)
def test_what_is_no_map_is_explained(composite, labels, message):
    with pytest.raises(SegmentationError, match=message):
        build(composite, labels, "provided")
    with pytest.raises(SegmentationError, match="consecutive from 0"):
        SemanticMap(np.full((4, 4), 2, np.int32), "provided")


@pytest.mark.parametrize("regions", [3, 300])
def test_maps_survive_a_file_and_say_who_drew_them(tmp_path, regions):
    labels = (np.arange(40 * 50) % regions).reshape(40, 50).astype(np.int32)
    SemanticMap(labels, "sam (vit_b)").save(tmp_path / "map.png")
    assert np.array_equal(SemanticMap.load(tmp_path / "map.png").labels, labels)
    assert SemanticMap.saved_by(tmp_path / "map.png") == "sam (vit_b)"
    assert SemanticMap.saved_by(tmp_path / "none.png") is None


PALETTE = np.random.default_rng(5).integers(0, 256, (40, 3))


def by_colour(image):
    """The oracle segmenter: each region of a scene has its colour, so any picture made of them tells its regions."""
    gaps = ((image[:, :, None].astype(int) - PALETTE) ** 2).sum(-1)
    return np.argmin(gaps, -1).astype(np.int32)


def blobs(size, first, seed):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, size, (8, 2))
    rows, columns = np.mgrid[: size[0], : size[1]]
    return first + np.argmin([np.hypot(rows - r, columns - c) for r, c in centres], axis=0).astype(np.int32)


@pytest.mark.parametrize(
    "placement",
    [
        Placement(x=0.5, y=0.5, scale=0.6),
        Placement(x=0.3, y=0.6, scale=1.1, rotation=33, flip=True),
        Placement(x=0.95, y=0.1, scale=0.8, rotation=-70),
    ],
)
@pytest.mark.parametrize("resolution", [1, 2])
def test_a_composed_map_is_that_of_the_finished_composite(placement, resolution, monkeypatch):
    """Outside a thin band around mask and regions, where pixels mix; and without any segmentation."""
    background, foreground = blobs((240, 320), 0, 1), blobs((200, 180), 20, 2)
    mask = np.where(disc(200, 180, 100, 90, 70), np.uint8(255), np.uint8(0))
    crop = crop_to_mask(PALETTE[foreground].astype(np.uint8), mask)
    finished = place(PALETTE[background].astype(np.uint8), *crop, placement)
    expected = build(finished, by_colour(finished.image), "oracle").labels

    for name in ("_draw", "segment"):
        monkeypatch.setattr(semantic_map, name, None)
    small = AutomaticMap(background[::resolution, ::resolution], np.zeros((0, 1, 1), bool), 0, "oracle", "oracle")
    labels = crop_labels(foreground[::resolution, ::resolution], mask)
    made = compose(finished, small, labels, placement, crop[1].shape).labels

    # The band: near the mask's edge, and where the picture's colours are mixtures.
    pure = np.abs(finished.image.astype(int) - PALETTE[by_colour(finished.image)]).max(-1) <= 2
    edges = cv2.morphologyEx(by_colour(finished.image).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    clear = pure & (edges == 0) & ~((finished.mask > 0) & (finished.mask < 255))
    clear = cv2.erode(clear.astype(np.uint8), np.ones((2 * resolution + 1,) * 2)) > 0
    assert clear.mean() > 0.5
    pairs = {(int(a), int(b)) for a, b in zip(made[clear], expected[clear], strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    inside = finished.mask > 127
    assert not set(made[inside]) & set(made[~inside]) and len(np.unique(made[inside & clear])) > 2


def edge_scene(upscale=1):
    """A photo with a soft-edged object, its true alpha, and a mask with an edge some pixels off."""
    size = 300 * upscale
    angle = np.linspace(0, 2 * np.pi, 400)
    radius = 100 + 12 * np.sin(5 * angle)
    outline = np.stack([150 + radius * np.cos(angle), 150 + radius * np.sin(angle)], 1) * upscale
    alpha = np.zeros((size, size), np.float32)
    cv2.fillPoly(alpha, [np.rint(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 0.7 * upscale)
    rng = np.random.default_rng(1)
    texture = cv2.resize(rng.normal(0, 10, (40, 40, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    colours = np.array([200, 120, 60]) * alpha[..., None] + np.array([40, 90, 140]) * (1 - alpha[..., None])
    wobble = cv2.resize(rng.normal(0, 1.3, (24, 24)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    inside = (alpha > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    mask = np.where(distance + wobble * upscale > 0, np.uint8(255), np.uint8(0))
    return np.clip(colours + texture, 0, 255).astype(np.uint8), alpha, mask


@pytest.mark.parametrize("upscale", [1, 4])
def test_edges_move_to_the_photos_own(upscale):
    image, alpha, mask = edge_scene(upscale)
    before = np.count_nonzero((mask > 127) != (alpha > 0.5))
    feathered = feathered_alpha(image, mask, 5 * upscale)
    assert np.count_nonzero((feathered > 127) != (alpha > 0.5)) < 0.35 * before
    assert np.abs(feathered / 255.0 - alpha).sum() < 0.65 * np.abs(mask / 255.0 - alpha).sum()
    far = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3))), np.ones((13 * upscale,) * 2)) == 0
    assert np.array_equal(feathered[far], mask[far])


def test_hairs_outside_the_mask_are_found_and_specks_of_their_colour_are_not():
    alpha = np.zeros((240, 240), np.uint8)
    cv2.circle(alpha, (120, 120), 60, 255, -1, cv2.LINE_AA)
    mask = alpha.copy()
    for angle in np.linspace(0, 2 * np.pi, 40, endpoint=False):
        ends = [(round(120 + r * np.cos(angle)), round(120 + r * np.sin(angle))) for r in (55, 72)]
        cv2.line(alpha, *ends, 255, 1, cv2.LINE_AA)
    share = alpha[..., None] / 255
    image = np.array([170, 120, 80]) * share + np.array([90, 120, 160]) * (1 - share)
    image[120, 198:202] = 170, 120, 80  # of the object's colours, but not connected to it
    image = (image + np.random.default_rng(0).normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)
    feathered = feathered_alpha(image, mask, 20)
    near = cv2.dilate((alpha > mask).astype(np.uint8), np.ones((3, 3))) > 0

    def error(found):
        return np.abs(found.astype(int) - alpha)[near].mean()

    assert error(feathered) < 0.4 * error(mask)
    assert (feathered[115:126, 195:205] == 0).all()
    # Without hairs and with the same colours on both sides, the mask stays what it is.
    plain = np.full_like(image, 128)
    assert np.abs(feathered_alpha(plain, mask, 20).astype(int) - mask).max() <= 1


def test_edges_that_cannot_be_refined_are_explained_or_left():
    image, _, mask = edge_scene()
    with pytest.raises(MaskError, match="10 x 10 pixels and the photo 300 x 300"):
        feathered_alpha(image, mask[:10, :10], 1)
    for reach in (0, 31, float("nan")):
        with pytest.raises(MaskError, match="must reach 1 to 30 pixels"):
            feathered_alpha(image, mask, reach)
    for value in (0, 255):
        assert (feathered_alpha(image, np.full_like(mask, value), 5) == value).all()
