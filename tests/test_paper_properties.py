"""What the paper's networks promise whatever their weights: untouched backgrounds, finite extremes, full precision."""

import pytest
import torch
import torch.nn.functional as F

from srin.models import build
from srin.models.config import ModelConfig
from srin.models.paper.levels import RegionPyramid, mean_std
from srin.models.paper.rain import RAIN
from srin.models.paper.srin import SRIN
from tests.paper_loops import (
    CHANNELS,
    COLUMNS,
    HEADS,
    HEIGHT,
    ROWS,
    SLOTS,
    WIDTH,
    blob,
    close,
    differ,
    features,
    network,
    pictures,
    quarters,
    randomise,
    rng,
    scene_batch,
)

NETWORKS = [pytest.param(slot, head, id=f"{slot}-{head}") for slot in SLOTS for head in HEADS]


# ------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("slot", SLOTS)
def test_an_untrained_network_that_adds_to_colours_changes_nothing(slot):
    torch.manual_seed(0)
    net = build(ModelConfig(slot, "paper", head="residual", width=2))
    mask = torch.stack([blob(33, 46, (12, 14), 8), torch.rand(1, 33, 46, generator=rng(1))])
    composite = pictures(2, 33, 46)
    close(net(composite, mask, quarters(mask)), composite, 1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_srin_looks_at_the_map_but_not_at_the_names_of_its_regions(head):
    net = network("srin", head)
    # Colours in patches: in white noise all regions have the same colour, and the paper's queries depend on nothing else.
    composite = F.interpolate(pictures(1, 4, 4), (32, 32))
    mask = blob(32, 32, (12, 14), 9)[None]
    regions = quarters(mask)
    renamed = torch.tensor([4, 9, 0, 2, 7, 3, 1, 5])[regions]
    with torch.no_grad():
        plain, again = net(composite, mask, regions), net(composite, mask, renamed)
        other, none = net(composite, mask, regions.transpose(1, 2)), net(composite, mask)
    close(again, plain)
    assert differ(plain, other, 1e-4) and differ(plain, none, 1e-4)


@pytest.mark.parametrize("slot", ["rain", "bain"])
def test_the_other_slots_ignore_the_map(slot):
    net = network(slot)
    mask = blob(32, 32, (12, 14), 9)[None]
    assert torch.equal(net(pictures(1), mask, quarters(mask)), net(pictures(1), mask))


def test_srin_asks_with_the_colours_of_the_map():
    """Two pictures that differ in nothing but the colours of their regions borrow different statistics."""
    composite, mask, regions = (part[2:3] for part in scene_batch())
    x, module = features(1), randomise(SRIN(CHANNELS), 1, 0.3)
    a, b = (module(x, RegionPyramid(c, mask, regions).at(ROWS, COLUMNS)) for c in (composite, composite.flip(1)))
    assert differ(a, b)


def test_rain_gives_the_foreground_the_statistics_of_the_background():
    """The definition of the baseline, without a formula: measure both sides of what comes out."""
    composite, mask = pictures(1, HEIGHT, WIDTH), torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., 4:12, 4:16] = 1
    level = RegionPyramid(composite, mask, None).at(ROWS, COLUMNS)
    x = features(1)
    x = torch.where(level.mask > 0, x * 3 + 1, x)
    out = RAIN(CHANNELS)(x, level)
    for got, wanted in zip(mean_std(out, level.foreground), mean_std(x, level.background), strict=True):
        close(got, wanted, 1e-4)
    mean, std = mean_std(out, level.background)
    close(mean, torch.zeros_like(mean), 1e-4)
    close(std, torch.ones_like(std), 1e-3)


@pytest.mark.parametrize("slot, head", NETWORKS)
def test_the_background_is_the_composite_bit_for_bit(slot, head):
    net = network(slot, head)
    mask = torch.stack([blob(37, 45, (12, 14), 8), blob(37, 45, (36, 44), 10), torch.zeros(1, 37, 45)])
    composite = pictures(3, 37, 45)
    with torch.no_grad():
        out = net(composite, mask, quarters(mask))
    outside = (mask == 0).expand_as(composite)
    assert torch.equal(out[outside], composite[outside])
    inside = (mask == 1).expand_as(composite)
    assert ((out - composite)[inside].abs() > 1e-4).float().mean() > 0.9


def test_a_soft_edge_is_a_blend():
    """Half the mask, half the change: by a network whose head says the same everywhere."""
    net = network("rain")
    net.head.register_forward_hook(lambda _, given, out: torch.full_like(out, 0.25))
    mask = torch.rand(1, 1, 37, 45, generator=rng(1))
    composite = pictures(1, 37, 45)
    close(net(composite, mask), composite + 0.25 * mask)


@pytest.mark.parametrize("slot, head", NETWORKS)
def test_gradients_reach_every_parameter(slot, head):
    net = network(slot, head, seed=1)
    # Colours in patches: in noise all regions would look alike to the queries.
    mask = torch.stack([blob(32, 32, (12, 14), 9), blob(32, 32, (20, 18), 7)])
    composite = F.interpolate(pictures(2, 4, 4), (32, 32)) + 0.1 * pictures(2, seed=1)
    ((net(composite, mask, quarters(mask)) - 0.3) ** 2 * mask).mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"no gradient for {name}"
        if name == "between.key.bias":
            continue  # the same number for every key: no softmax can see it
        assert parameter.grad.abs().max() > 1e-9, f"a gradient of zero for {name}"


# --------------------------------------------------------------------------------------------------- extremes


def extreme_masks(height, width):
    """Nothing, everything, one pixel, a faint pixel, borders, all but one, soft, faint, a corner, a trace."""
    masks = torch.zeros(10, 1, height, width)
    masks[1] = 1
    masks[2, :, height // 2, width // 2] = 1
    masks[3, :, 0, 0] = 1e-3
    masks[4, :, :7], masks[4, :, :, -3:] = 1, 1
    masks[5] = 1
    masks[5, :, height // 3, width // 3] = 0
    masks[6] = torch.rand(1, height, width, generator=rng(1))
    masks[7] = 1e-3
    masks[8] = blob(height, width, (height - 1, width - 1), 9)
    masks[9, :, -1, -1] = 1e-5
    return masks


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("slot, head", NETWORKS)
def test_extreme_masks_and_sizes_stay_finite(slot, head, bf16):
    net = network(slot, head)
    for height, width in [(37, 45)] if bf16 else [(32, 32), (16, 57)]:
        masks = extreme_masks(height, width)
        composite = pictures(len(masks), height, width)
        composite[6:8] = 0.25  # and pictures without any variation
        composite.requires_grad_()
        # Background blocks, foreground sides, and one picture whose only region is all of it.
        regions = quarters(masks)
        regions[2] = 0
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = net(composite, masks, regions)
            loss = (out**2).mean()
        loss.backward()
        assert out.isfinite().all() and out.dtype == torch.float32 and out.shape == composite.shape
        assert composite.grad.isfinite().all()
        for name, parameter in net.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("slot, head", NETWORKS)
def test_pictures_of_a_batch_do_not_see_each_other(slot, head):
    net = network(slot, head)
    masks = extreme_masks(24, 40)[[0, 1, 2, 6, 8]]
    composite, regions = pictures(len(masks), 24, 40), quarters(masks)
    regions[1] = 0
    with torch.no_grad():
        together = net(composite, masks, regions)
        for b in range(len(masks)):
            one = net(composite[b : b + 1], masks[b : b + 1], regions[b : b + 1])
            close(together[b : b + 1], one.double(), 2e-4 if b == 2 else 2e-5)


# -------------------------------------------------------------------------------------------------- precision


def test_statistics_stay_in_full_precision_under_autocast():
    """Same input, same answer, up to the final rounding; a mean far from 0 shows what bf16 would lose."""
    composite, mask, regions = scene_batch()
    module = randomise(RAIN(CHANNELS), 1, 0.3)
    x = (features(len(composite)) + 100).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        actual = module(x, RegionPyramid(composite, mask, regions).at(ROWS, COLUMNS))
    assert actual.dtype == torch.bfloat16
    expected = module(x.float(), RegionPyramid(composite, mask, regions).at(ROWS, COLUMNS))
    assert torch.equal(actual, expected.bfloat16())


@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_statistics_of_the_layer_between_stay_in_full_precision_under_autocast(slot):
    """With queries and keys silent, only statistics (and the values of SRIN) are left to be rounded."""
    layer = network(slot, "rgb").between
    with torch.no_grad():
        for convolution in (layer.query, layer.key):
            convolution.weight.zero_()
            convolution.bias.zero_()
    composite, mask, regions = scene_batch()
    x = torch.randn(len(composite), 16, ROWS, COLUMNS, generator=rng(0)) * 0.2 + 3
    expected = layer(x, RegionPyramid(composite, mask, regions).at(ROWS, COLUMNS))
    with torch.autocast("cpu", torch.bfloat16):
        actual = layer(x, RegionPyramid(composite, mask, regions).at(ROWS, COLUMNS))
    # bf16 keeps 8 bits: a variance of 0.04, computed as a difference of numbers around 9, would be lost.
    assert (actual - expected).abs().max() < 0.05


def test_weights_and_colours_of_regions_stay_in_full_precision_under_autocast():
    expected = RegionPyramid(*scene_batch()).at(ROWS, COLUMNS)
    with torch.autocast("cpu", torch.bfloat16):
        actual = RegionPyramid(*scene_batch()).at(ROWS, COLUMNS)
        names = ("mask", "foreground", "background", "painted")
        found = [getattr(actual, name) for name in names]
    for name, value in zip(names, found, strict=True):
        assert torch.equal(value, getattr(expected, name)), name
