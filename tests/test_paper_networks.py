"""The paper's layers and backbone against loops that follow the written definitions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srin.models import build
from srin.models.config import ModelConfig
from srin.models.network import HarmonizationNet
from srin.models.paper.bain import BAIN
from srin.models.paper.levels import RegionPyramid, blocks
from srin.models.paper.rain import RAIN
from srin.models.paper.srin import SRIN
from srin.models.paper.unet import PaperNet
from tests.paper_loops import (
    CHANNELS,
    COLUMNS,
    HEADS,
    ROWS,
    NaiveScene,
    blob,
    close,
    differ,
    features,
    naive_bain,
    naive_baseline,
    naive_rain,
    naive_srin,
    network,
    pictures,
    quarters,
    randomise,
    scene_batch,
    weights_of,
)

LAYERS = {"RAIN": (RAIN, naive_rain), "BAIN": (BAIN, naive_bain), "SRIN": (SRIN, naive_srin)}


# ----------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("with_map", [True, False], ids=["map", "no-map"])
def test_weights_and_painted_regions_are_those_of_the_picture(with_map):
    composite, mask, regions = scene_batch()
    level = RegionPyramid(composite, mask, regions if with_map else None).at(ROWS, COLUMNS)
    for b in range(len(composite)):
        maps = regions[b].numpy() if with_map else None
        naive = NaiveScene(composite[b].double().numpy(), mask[b, 0].double().numpy(), maps)
        for name in ("mask", "foreground", "background"):
            close(getattr(level, name)[b, 0], getattr(naive, name))
        close(level.painted[b], naive.painted)


@pytest.mark.parametrize("with_map", [True, False], ids=["map", "no-map"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_matches_its_definition(name, with_map):
    composite, mask, regions = scene_batch()
    kind, reference = LAYERS[name]
    module = randomise(kind(CHANNELS), seed=1, scale=0.2)
    x = features(len(composite))
    level = RegionPyramid(composite, mask, regions if with_map else None).at(ROWS, COLUMNS)
    actual = module(x, level)
    for b in range(len(x)):
        maps = regions[b].numpy() if with_map else None
        scene = NaiveScene(composite[b].double().numpy(), mask[b, 0].double().numpy(), maps)
        close(actual[b], reference(module, x[b].double().numpy(), scene))


def test_blocks_of_positions_add_up_to_the_whole():
    """Features too large for one block: RAIN's result by the formula in float64, all positions at once."""
    composite, mask = pictures(2, 64, 66), torch.stack([blob(64, 66, (30, 20), 14), blob(64, 66, (5, 60), 9)])
    x = torch.randn(2, 64, 64, 66, generator=torch.Generator().manual_seed(0)) + 1
    with torch.no_grad():
        assert len(blocks(x.flatten(2))) == 3
    module = randomise(RAIN(64))
    p, f, m = weights_of(module), x.double().numpy(), mask.double().numpy()
    (fg, fg_std), (bg, bg_std) = (
        (mean, np.sqrt(((f - mean) ** 2 * w).sum((2, 3), keepdims=True) / w.sum((2, 3), keepdims=True) + 1e-5))
        for w in (m, 1 - m)
        for mean in [(f * w).sum((2, 3), keepdims=True) / w.sum((2, 3), keepdims=True)]
    )
    gamma, beta, bg_gamma, bg_beta = (
        p[f"{side}_{name}"][:, None, None] for side in ("foreground", "background") for name in ("gamma", "beta")
    )
    aligned = ((f - fg) / fg_std * bg_std + bg) * (1 + gamma) + beta
    rest = (f - bg) / bg_std * (1 + bg_gamma) + bg_beta
    for gradients in (False, True):  # in blocks, and whole
        with torch.set_grad_enabled(gradients):
            close(module(x, RegionPyramid(composite, mask, None).at(64, 66)), m * aligned + (1 - m) * rest, 1e-4)


# ------------------------------------------------------------------------------------------------- variations


def layer_and_scene(layer):
    composite, mask, regions = scene_batch()
    return randomise(layer, seed=1, scale=0.2), features(len(composite)), (composite, mask, regions)


def outputs(layer, x, scene):
    return layer(x, RegionPyramid(*scene).at(ROWS, COLUMNS))


@pytest.mark.parametrize("kind", [BAIN, SRIN])
def test_scaled_logits_are_divided_by_the_root_of_the_dimension(kind):
    scaled, x, scene = layer_and_scene(kind(CHANNELS, "scaled"))
    plain = randomise(kind(CHANNELS), seed=1, scale=0.2)
    assert differ(outputs(plain, x, scene), outputs(scaled, x, scene))
    with torch.no_grad():
        plain.query.weight /= CHANNELS**0.5
        plain.query.bias /= CHANNELS**0.5
    close(outputs(plain, x, scene), outputs(scaled, x, scene).detach())


def test_uniform_attention_lends_the_whole_background_alike():
    """BAIN then borrows what RAIN does, and SRIN the same from whatever map there is."""
    bain, x, scene = layer_and_scene(BAIN(CHANNELS, "uniform"))
    level = RegionPyramid(*scene).at(ROWS, COLUMNS)
    expected = RAIN(CHANNELS)(x, level)  # which also normalizes the background
    inside = level.mask == 1
    assert inside.any()
    close((outputs(bain, x, scene) * inside), (expected * inside).detach(), 1e-4)
    srin, x, scene = layer_and_scene(SRIN(CHANNELS, "uniform"))
    close(outputs(srin, x, scene), outputs(srin, x, (*scene[:2], None)).detach())
    plain = randomise(SRIN(CHANNELS), seed=1, scale=0.2)
    assert differ(outputs(plain, x, scene), outputs(plain, x, (*scene[:2], None)))


def test_a_signed_shift_darkens_where_a_relu_can_not():
    signed, x, scene = layer_and_scene(SRIN(CHANNELS, shift="signed"))
    literal = randomise(SRIN(CHANNELS), seed=1, scale=0.2)
    with torch.no_grad():
        for layer in (signed, literal):
            for part in (layer.beta.weight, layer.gamma.weight):
                part.zero_()
            layer.gamma.bias.fill_(1)
            layer.beta.bias.fill_(-0.75)
    mask = RegionPyramid(*scene).at(ROWS, COLUMNS).mask
    close(outputs(literal, x, scene) - outputs(signed, x, scene), (0.75 * mask).expand_as(x))


def test_a_decoder_without_rain_normalizes_the_picture_as_a_whole():
    net = build(ModelConfig("srin", "paper", width=2, decoder_norm="instance"))
    assert len(net.norms) == 7
    x = features(2)
    for norm in net.norms:
        part = x[:, :1].expand(-1, norm.num_features, -1, -1)
        close(norm(part, None), F.instance_norm(part))
    composite, mask = pictures(2), blob(32, 32, (16, 16), 9).expand(2, 1, 32, 32)
    randomise(net, scale=0.3)
    assert differ(net(composite, mask, quarters(mask)), composite)


# --------------------------------------------------------------------------------------------------- backbone


def test_the_backbone_is_the_one_of_the_table():
    """n = 3: channels and strides of the table, skips joined; a 32 x 48 picture."""
    net = build(ModelConfig("rain", "paper", head="rgb", width=3))
    shapes, inputs = [], []
    for layer in [*net.encoder, *net.decoder]:
        layer.register_forward_hook(lambda _, given, out: shapes.append(tuple(out.shape[1:])))
    for layer in [*net.decoder, net.head]:
        layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].shape[1]))
    net(pictures(1, 32, 48), torch.ones(1, 1, 32, 48))
    full, half, quarter, eighth = (32, 48), (16, 24), (8, 12), (4, 6)
    encoder = [(3, full), (6, half), (12, half), (24, quarter), (24, quarter)] + 3 * [(24, eighth)]
    decoder = [(24, eighth), (24, eighth), (24, quarter), (24, quarter), (12, half), (6, half), (3, full)]
    assert shapes == [(channels, *size) for channels, size in encoder + decoder]
    assert inputs == [24, 24 + 24, 24 + 24, 24 + 24, 24 + 24, 12 + 12, 6 + 6, 3 + 3]


def test_the_number_of_parameters_is_the_published_one():
    with torch.device("meta"):
        net = build(ModelConfig("rain", "paper", head="rgb", width=32))
    count = sum(parameter.numel() for parameter in net.parameters())
    assert round(count / 1e6, 2) == 9.76


@pytest.mark.parametrize("head", HEADS)
def test_the_baseline_matches_its_table_layer_by_layer(head):
    net = network("rain", head)
    with torch.no_grad():
        # Values where the tanh differs from a line, but does not yet saturate.
        net.head.convolution.weight.mul_(3 if head == "rgb" else 1)
    composite, mask = pictures(1, 24, 32), blob(24, 32, (14, 12), 7)[None]
    expected = naive_baseline(weights_of(net), composite[0].double().numpy(), mask[0].double().numpy(), head)
    close(net(composite, mask)[0], expected)


@pytest.mark.parametrize("head", HEADS)
def test_odd_sizes_are_filled_up_by_repeating_the_border(head):
    """37 x 45 with an object and a region at the far corner is the same to the network as its 40 x 48 version."""
    net = network("srin", head)
    composite = F.interpolate(pictures(1, 5, 6), (37, 45), mode="bilinear")
    mask = blob(37, 45, (34, 43), 9)[None]
    regions = quarters(mask)
    rows, columns = torch.arange(40).clamp(max=36)[:, None], torch.arange(48).clamp(max=44)
    with torch.no_grad():
        padded = net(composite[..., rows, columns], mask[..., rows, columns], regions[:, rows, columns])
        close(net(composite, mask, regions), padded[..., :37, :45], 1e-6)


@pytest.mark.parametrize("slot, kind", [("rain", None), ("bain", BAIN), ("srin", SRIN)])
def test_the_slot_is_one_layer_between_encoder_and_decoder(slot, kind):
    net = network(slot, "rgb")
    assert {type(norm) for norm in net.norms} == {RAIN}
    if kind is None:
        assert net.between is None
        return
    order = []
    for layer in (net.encoder[-1], net.between, net.decoder[0]):
        layer.register_forward_hook(lambda layer, _, out: order.append((type(layer).__name__, out.shape[2])))
    composite, mask = pictures(1), blob(32, 32, (12, 14), 8)[None]
    before = net(composite, mask)
    assert order == [("Conv2d", 4), (kind.__name__, 4), ("ConvTranspose2d", 4)]
    net.between.register_forward_hook(lambda layer, given, out: given[0])
    assert differ(net(composite, mask), before), "the decoder doesn't use the layer"


# ----------------------------------------------------------------------------------------------------- config


def test_the_preset_says_which_network_is_built():
    assert type(build(ModelConfig("srin", "paper", width=2))) is PaperNet
    assert type(build(ModelConfig("srin"))) is HarmonizationNet
    assert len(build(ModelConfig("srin", members=2)).heads) == 2


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"slot": "adain"}, "slot must be one of rain, bain, srin, not 'adain'"),
        ({"slot": "rain", "preset": "ours"}, "preset must be one of"),
        ({"slot": "rain", "preset": "paper", "head": "affine"}, "head must be one of residual, rgb"),
        ({"slot": "rain", "preset": "paper", "width": 0}, "width must be an integer from 1 to 256, not 0"),
        ({"slot": "rain", "preset": "paper", "width": True}, "width must be an integer"),
        ({"slot": "rain", "members": 65}, "members must be an integer from 1 to 64"),
        ({"slot": "rain", "working_size": "128"}, "working_size must be an integer"),
        ({"slot": "rain", "width": 32}, "width=32 belongs to preset paper"),
        ({"slot": "rain", "head": "rgb"}, "head=rgb belongs to preset paper"),
        ({"slot": "rain", "preset": "paper", "members": 3}, "members=3 belongs to preset default"),
        ({"slot": "rain", "keys": "all", "painting": "mean"}, "unknown model setting: keys, painting"),
        ({"preset": "paper"}, "slot is missing"),
        ({"slot": "srin", "preset": "paper", "logits": "cosine"}, "logits must be one of plain, scaled, uniform"),
        ({"slot": "srin", "preset": "paper", "shift": "none"}, "shift must be one of relu, signed"),
        ({"slot": "srin", "preset": "paper", "decoder_norm": "none"}, "decoder_norm must be one of rain, instance"),
        ({"slot": "srin", "logits": "scaled"}, "logits=scaled belongs to preset paper"),
        ({"slot": "rain", "preset": "paper", "logits": "uniform"}, "logits=uniform belongs to slots bain and srin"),
        ({"slot": "bain", "preset": "paper", "shift": "signed"}, "shift=signed belongs to slot srin"),
    ],
)
def test_a_config_that_describes_no_network_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ModelConfig.from_dict(settings)
