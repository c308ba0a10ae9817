"""The networks against loops that follow the written definitions, and the properties that those promise.

The references are float64 and go position by position, key by key, region by region, over a picture that is
resized here too; nothing of them is shared with the code under test.
"""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srin.models.attention import attend
from srin.models.bain import BAIN, PaperBAIN
from srin.models.config import ModelConfig
from srin.models.heads import FAR, MEMBERS, apply_affine, colour_statistics
from srin.models.rain import RAIN
from srin.models.scene import Scene, mean_std
from srin.models.srin import SRIN, PaperSRIN
from srin.models.unet import HarmonizationNet

SLOTS, PRESETS, HEADS = ("rain", "bain", "srin"), ("paper", "default"), ("rgb", "affine")
COMBINATIONS = [*product(SLOTS, PRESETS, HEADS), ("srin", "default", "residual")]
NETWORKS = [pytest.param(*combination, id="-".join(combination)) for combination in COMBINATIONS]
CHANNELS = 8
HEIGHT, WIDTH, CELL = 16, 24, 4  # pixels; a feature position covers CELL x CELL of them
ROWS, COLUMNS = HEIGHT // CELL, WIDTH // CELL


# ---------------------------------------------------------------------------------------------------- helpers


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors this small gain nothing from threads, and lose a lot on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def randomise(module, seed=0, scale=0.5):
    """Gives every parameter a random value: much of what starts at zero would make a test trivial."""
    generator = rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return module


def network(slot, preset="default", head="affine", seed=0):
    """A tiny network with nothing at zero; what does not start at zero stays as it starts."""
    torch.manual_seed(seed)
    net = HarmonizationNet(ModelConfig(slot, preset, head, width=2))
    generator = rng(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return net


def pictures(batch, height=32, width=32, seed=0):
    return torch.rand(batch, 3, height, width, generator=rng(seed)) * 2 - 1


def blob(height, width, centre, radius):
    """A soft disc (1, height, width) in [0, 1]."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (radius + 0.5 - ((y - centre[0]) ** 2 + (x - centre[1]) ** 2).sqrt()).clamp(0, 1)[None]


def quarters(mask, vertical=3, horizontal=2):
    """A map that respects the mask: background blocks, and the foreground in a left and a right region."""
    height, width = mask.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    blocks = y * vertical // height * horizontal + x * horizontal // width
    sides = vertical * horizontal + x * 2 // width
    return torch.where(mask[..., 0, :, :] > 0.5, sides, blocks)


def spread(labels, cell):
    """Every label over cell x cell pixels."""
    return labels.repeat_interleave(cell, 0).repeat_interleave(cell, 1)


def close(actual, expected, tolerance=1e-5):
    actual = np.asarray(actual.detach().double() if isinstance(actual, torch.Tensor) else actual)
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=tolerance, atol=tolerance)


def differ(a, b, at_least=1e-3):
    return bool((a - b).abs().max() > at_least)


# ----------------------------------------------------------------------------- the definitions, as slow loops


def area_resized(plane):
    """(HEIGHT, WIDTH) -> (ROWS, COLUMNS): the mean of each cell."""
    cells = np.zeros((ROWS, COLUMNS))
    for i, j in np.ndindex(ROWS, COLUMNS):
        for dy, dx in np.ndindex(CELL, CELL):
            cells[i, j] += plane[i * CELL + dy, j * CELL + dx] / CELL**2
    return cells


class NaiveScene:
    """One composite (3, HEIGHT, WIDTH), its mask (HEIGHT, WIDTH) and map, by loops over the pixels."""

    def __init__(self, composite, mask, regions, rim):
        foreground = mask if mask.sum() > 0 else np.ones_like(mask)
        background = np.zeros_like(mask)
        for y, x in np.ndindex(mask.shape):
            near = mask[max(0, y - rim) : y + rim + 1, max(0, x - rim) : x + rim + 1]
            background[y, x] = 1 - near.max()
        if background.sum() == 0:
            background = np.ones_like(mask)
        self.mask = area_resized(mask)
        self.foreground, self.background = area_resized(foreground), area_resized(background)
        self.colour = np.stack([area_resized(plane) for plane in composite])
        self.painted = np.zeros_like(self.colour)
        self.parts = {}  # region id -> weights on the foreground, weights on the background, colour in M_s
        for region in range(0 if regions is None else regions.max() + 1):
            member = (regions == region).astype(float)
            colour = np.zeros(3)
            for y, x in zip(*np.nonzero(member), strict=True):
                colour += composite[:, y, x] / member.sum()
            self.parts[region] = area_resized(member * foreground), area_resized(member * background), colour
            self.painted += area_resized(member) * colour[:, None, None]
        if regions is None:
            self.painted += composite.mean((1, 2))[:, None, None]


def naive_mean_std(x, weight):
    """(C, h, w), (h, w) -> weighted mean and sqrt(variance + 1e-5), (C,) each."""
    mean, variance = np.zeros(len(x)), np.zeros(len(x))
    for i, j in np.ndindex(weight.shape):
        mean += x[:, i, j] * weight[i, j] / weight.sum()
    for i, j in np.ndindex(weight.shape):
        variance += (x[:, i, j] - mean) ** 2 * weight[i, j] / weight.sum()
    return mean, np.sqrt(variance + 1e-5)


def naive_mixture(query, answers):
    """What one query borrows. answers: (key, weight, mean, second moment) of each part that may answer."""
    logits = np.array([query @ key for key, _, _, _ in answers])
    scores = [w * np.exp(logit - logits.max()) for logit, (_, w, _, _) in zip(logits, answers, strict=True)]
    mean = sum(s * m for s, (_, _, m, _) in zip(scores, answers, strict=True)) / sum(scores)
    second = sum(s * m2 for s, (_, _, _, m2) in zip(scores, answers, strict=True)) / sum(scores)
    return mean, np.sqrt(second - mean**2 + 1e-5)


def weights_of(module):
    return {name: p.detach().double().numpy().squeeze() for name, p in module.named_parameters()}


class NaiveNorm:
    """RAIN, BAIN and SRIN of the preset "default" on one picture: x (C, ROWS, COLUMNS)."""

    def __init__(self, kind, module, x, scene):
        self.kind, self.p, self.x, self.scene = kind, weights_of(module), x, scene
        self.foreground_answers = kind == "srin" and module.keys == "all"
        self.fg, self.bg = naive_mean_std(x, scene.foreground), naive_mean_std(x, scene.background)
        self.cells = list(np.ndindex(ROWS, COLUMNS))

    def ask(self, own, region, colour):
        p = self.p
        total = (
            p["attention.query_own.weight"] @ own
            + p["attention.query_region.weight"] @ region
            + p["attention.query_colour.weight"] @ colour
        )
        return total / np.sqrt(len(total))

    def key(self, feature, colour):
        return self.p["attention.key_feature.weight"] @ feature + self.p["attention.key_colour.weight"] @ colour

    def as_foreground(self, i, j):
        return (self.x[:, i, j] - self.fg[0]) / self.fg[1]

    def as_background(self, i, j):
        return (self.x[:, i, j] - self.bg[0]) / self.bg[1]

    def average(self, value, weights):
        return sum(weights[i, j] * value(i, j) for i, j in self.cells) / weights.sum()

    def positions_that_answer(self):
        for i, j in self.cells:
            v = self.x[:, i, j]
            if self.scene.background[i, j] > 0:
                key = self.key(self.as_background(i, j), self.scene.colour[:, i, j])
                yield key, self.scene.background[i, j], v, v**2

    def regions_that_answer(self):
        for foreground, weights, colour in self.scene.parts.values():
            if self.foreground_answers:
                weights = weights + foreground
            if weights.sum() > 0:
                yield (
                    self.key(self.average(self.as_background, weights), colour),
                    weights.sum(),
                    self.average(lambda i, j: self.x[:, i, j], weights),
                    self.average(lambda i, j: self.x[:, i, j] ** 2, weights),
                )

    def query_of(self, i, j):
        own = self.as_foreground(i, j)
        if self.kind == "bain":
            return self.ask(own, own, self.scene.colour[:, i, j])
        # A position on the border of two regions belongs to both, by the share of its foreground.
        region, colour, share = np.zeros(len(own)), np.zeros(3), 0.0
        for weights, _, painted in self.scene.parts.values():
            if weights[i, j] > 0:
                region += weights[i, j] * self.average(self.as_foreground, weights)
                colour += weights[i, j] * painted
                share += weights[i, j]
        return self.ask(own, region / share, colour / share)

    def result(self):
        p, out = self.p, np.zeros_like(self.x)
        with_map = self.kind == "bain" or self.kind == "srin" and self.scene.parts
        answers = []
        if with_map:
            answers = list(self.positions_that_answer() if self.kind == "bain" else self.regions_that_answer())
        for i, j in self.cells:
            m = self.scene.mask[i, j]
            if m > 0:
                mean, std = naive_mixture(self.query_of(i, j), answers) if with_map else self.bg
                aligned = self.as_foreground(i, j) * std + mean
                out[:, i, j] += m * (aligned * (1 + p["foreground_gamma"]) + p["foreground_beta"])
            rest = self.as_background(i, j) * (1 + p["background_gamma"]) + p["background_beta"]
            out[:, i, j] += (1 - m) * rest
        return out


def naive_paper_bain(module, x, scene):
    p, out = weights_of(module), x.copy()
    fg, bg = naive_mean_std(x, scene.foreground), naive_mean_std(x, scene.background)
    answers = []
    for i, j in np.ndindex(ROWS, COLUMNS):
        v = x[:, i, j]
        if scene.background[i, j] > 0:
            key = p["key.weight"] @ ((v - bg[0]) / bg[1]) + p.get("key.bias", 0)
            answers.append((key, scene.background[i, j], v, v**2))
    for i, j in np.ndindex(ROWS, COLUMNS):
        own = (x[:, i, j] - fg[0]) / fg[1]
        mean, std = naive_mixture(p["query.weight"] @ own + p["query.bias"], answers)
        m = scene.mask[i, j]
        out[:, i, j] = m * (std * own + mean) + (1 - m) * x[:, i, j]
    return out


def naive_paper_srin(module, x, scene):
    p, out = weights_of(module), x.copy()
    mean, std = naive_mean_std(x, scene.foreground)
    for i, j in np.ndindex(ROWS, COLUMNS):
        query = p["query.weight"] @ scene.painted[:, i, j] + p["query.bias"]
        total, borrowed = 0.0, np.zeros(len(x))
        for k, m in np.ndindex(ROWS, COLUMNS):
            key = p["key.weight"] @ ((x[:, k, m] - mean) / std) + p.get("key.bias", 0)
            r = np.exp(query @ key) * (scene.background[k, m] if module.keys == "background" else 1)
            borrowed += r * (p["value.weight"] @ x[:, k, m] + p["value.bias"])
            total += r
        share = scene.mask[i, j]
        borrowed *= share / total
        gamma = np.maximum(0, p["gamma.weight"] @ borrowed + p["gamma.bias"])
        beta = np.maximum(0, p["beta.weight"] @ borrowed + p["beta.bias"])
        own = (x[:, i, j] - mean) / std
        out[:, i, j] = share * (gamma * own + beta) + (1 - share) * x[:, i, j]
    return out


def naive_norm(kind):
    return lambda module, x, scene: NaiveNorm(kind, module, x, scene).result()


REFERENCES = {
    "RAIN": (RAIN, naive_norm("rain")),
    "BAIN": (BAIN, naive_norm("bain")),
    "SRIN": (SRIN, naive_norm("srin")),
    "SRIN, all keys": (partial(SRIN, keys="all"), naive_norm("srin")),
    "PaperBAIN": (PaperBAIN, naive_paper_bain),
    "PaperSRIN": (PaperSRIN, naive_paper_srin),
    "PaperSRIN, keys on the background": (partial(PaperSRIN, keys="background"), naive_paper_srin),
}


def scene_batch():
    """Composites, masks, maps: soft; a small object; a disc in two regions; nothing; everything."""
    generator = rng(3)
    # Smooth colours, so that regions differ in colour.
    composite = F.interpolate(pictures(5, 4, 4), (HEIGHT, WIDTH), mode="bilinear")
    mask = torch.zeros(5, 1, HEIGHT, WIDTH)
    mask[0] = torch.rand(1, HEIGHT, WIDTH, generator=generator)
    mask[0, :, :5] = 0
    mask[1, :, 7:9, 11:14] = 1
    mask[2] = blob(HEIGHT, WIDTH, (7, 10), 5)
    mask[4] = 1
    regions = quarters(mask)
    # Somebody else's map: it runs across the mask and leaves ids out.
    regions[0] = 2 * spread(torch.randint(0, 4, (HEIGHT // 2, WIDTH // 2), generator=generator), 2)
    return composite, mask, regions


def features(batch, seed=5):
    """(batch, CHANNELS, ROWS, COLUMNS) whose channels differ in mean and spread."""
    generator = rng(seed)
    x = torch.randn(batch, CHANNELS, ROWS, COLUMNS, generator=generator)
    spreads = 0.3 + torch.rand(CHANNELS, 1, 1, generator=generator)
    return x * spreads + torch.linspace(-1, 2, CHANNELS)[:, None, None]


# -------------------------------------------------------------------------------------- parity with the loops


@pytest.mark.parametrize("with_map", [True, False], ids=["map", "no-map"])
@pytest.mark.parametrize("rim", [0, 1], ids=["no-rim", "rim"])
def test_weights_and_regions_are_those_of_the_picture(rim, with_map):
    composite, mask, regions = scene_batch()
    level = Scene(composite, mask, regions if with_map else None, rim).at(ROWS, COLUMNS)
    for b in range(len(composite)):
        maps = regions[b].numpy() if with_map else None
        naive = NaiveScene(composite[b].double().numpy(), mask[b, 0].double().numpy(), maps, rim)
        for name in ("mask", "foreground", "background"):
            close(getattr(level, name)[b, 0], getattr(naive, name))
        close(level.colour[b], naive.colour)
        if not with_map:
            assert level.painted is level.foreground_regions is level.background_regions is None
            continue
        close(level.painted[b], naive.painted)
        for region, (foreground, background, colour) in naive.parts.items():
            close(level.foreground_regions[b, region], foreground)
            close(level.background_regions[b, region], background)
            close(level.region_colours[b, region], colour if (maps == region).any() else np.zeros(3))


@pytest.mark.parametrize("with_map", [True, False], ids=["map", "no-map"])
@pytest.mark.parametrize("name", REFERENCES)
def test_every_normalization_matches_its_definition(name, with_map):
    composite, mask, regions = scene_batch()
    make, reference = REFERENCES[name]
    rim = 0 if name.startswith("Paper") else 1
    module = randomise(make(CHANNELS), seed=1, scale=0.3 if rim else 0.2)
    x = features(len(composite))
    level = Scene(composite, mask, regions if with_map else None, rim).at(ROWS, COLUMNS)
    actual = module(x, level)
    for b in range(len(x)):
        maps = regions[b].numpy() if with_map else None
        scene = NaiveScene(composite[b].double().numpy(), mask[b, 0].double().numpy(), maps, rim)
        close(actual[b], reference(module, x[b].double().numpy(), scene))


def test_statistics_of_the_colour_head_are_those_of_the_right_side_and_layer():
    net = network("rain")
    composite, mask = pictures(1, HEIGHT, WIDTH), blob(HEIGHT, WIDTH, (7, 10), 5)[None]
    scene = Scene(composite, mask, None, 0)
    decoded = torch.randn(1, net.head.residual.in_channels, ROWS, COLUMNS, generator=rng(3))
    seen = []
    for part in (net.head.guess.usual[1], net.head.aligned):
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.head(scene, decoded)

    m = mask[0, 0].double().numpy()
    for picture, sides, actual in ((composite, m, seen[0]), (composite.flip(3), m[:, ::-1], seen[1])):
        expected = []
        for features in net.head.texture(picture):
            x = features[0].double().numpy()
            cell = HEIGHT // x.shape[1]
            share = sides.reshape(x.shape[1], cell, x.shape[2], cell).mean((1, 3))
            for weight in (share, 1 - share):
                expected += naive_mean_std(x, weight)
        close(actual[0], np.concatenate(expected))
    naive = NaiveScene(composite[0].double().numpy(), m, None, 0)
    sides = (naive.foreground, naive.background)
    close(seen[2][0], np.concatenate([naive_mean_std(decoded[0].double().numpy(), side)[0] for side in sides]))


def test_the_transform_acts_around_the_foregrounds_mean_colour():
    """out = I colour + A (colour - mean) + b at every pixel; A and b are the sum of what the parts say, the committee's
    mean being one of them."""
    net = network("rain")
    composite, mask = pictures(1), blob(32, 32, (20, 12), 7)[None]
    head = net.head
    perceptrons = [part[-1] for member in head.guess.members for part in (member.colours, member.textures)]
    parts = [*perceptrons, head.aligned[-1], head.residual]
    changes = torch.randn(len(parts), 12, generator=rng(4)) * 0.2
    with torch.no_grad():
        for part, change in zip(parts, changes, strict=True):
            part.weight.zero_()
            part.bias.copy_(change)
        actual = apply_affine(net.coefficients(composite, mask), composite)
    mean, _ = naive_mean_std(composite[0].double().numpy(), mask[0, 0].double().numpy())
    said = changes[:-2].sum(0) / MEMBERS + changes[-2:].sum(0)
    matrix, shift = np.split(said.double().numpy().reshape(3, 4), [3], 1)
    expected = np.zeros((3, 32, 32))
    for y, x in np.ndindex(32, 32):
        colour = composite[0, :, y, x].double().numpy()
        expected[:, y, x] = colour + matrix @ (colour - mean) + shift[:, 0]
    close(actual[0], expected)


def test_the_first_guess_is_the_same_for_the_mirror_image():
    net = network("rain")
    composite, mask = pictures(1), blob(32, 32, (20, 12), 7)[None]
    with torch.no_grad():
        for member in net.head.guess.members:
            for part in (member.colours, member.textures):
                part[-1].weight.normal_(generator=rng(5))
        net.head.aligned[-1].weight.zero_()
        net.head.residual.weight.zero_()
        there, mirrored = (net.coefficients(x, m) for x, m in ((composite, mask), (composite.flip(3), mask.flip(3))))
    identity = net.head.guess(*net.statistics(composite, mask)).abs().max()
    assert identity > 0.1, "the guess says nothing"
    close(mirrored[0], there[0].double().numpy())


def test_the_first_guess_sees_usual_statistics_as_zero_and_far_ones_clipped():
    net = network("srin")
    composite, mask = pictures(20, 30, 41), blob(30, 41, (14, 12), 7)[None].expand(20, -1, -1, -1)
    colours, textures = net.statistics(composite, mask)
    net.head.guess.calibrate(colours, textures)
    seen = []
    net.head.guess.members[0].textures[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.head.guess(colours, textures)
    net.head.guess(colours, textures + 1e6)
    assert seen[0].mean(0).abs().max() < 1e-3
    assert 0.2 < seen[0].std() < 1.1  # a channel that hardly varies is not blown up
    assert (seen[1] == FAR).all()


def test_frozen_features_are_those_of_the_written_network():
    """Direct convolutions in float64, with the smaller half of an even side's padding first."""
    net = network("rain").head.texture
    x = pictures(1, 16, 24)
    stem, block = net.stem, net.stages[1][0]
    close(stem(x)[0], np.clip(naive_layer(x[0].double().numpy(), stem, 0, 1), 0, 6))
    y = torch.rand(1, 16, 8, 12, generator=rng(1))
    expanded = np.clip(naive_layer(y[0].double().numpy(), block.expand, 0, 0), 0, 6)
    filtered = np.clip(naive_layer(expanded, block.filter, 0, 1), 0, 6)
    close(block(y)[0], naive_layer(filtered, block.project, 0, 0))


def naive_layer(x, layer, before, after):
    weight, bias, stride = layer.weight.double().numpy(), layer.bias.double().numpy(), layer.stride[0]
    x = np.pad(x, ((0, 0), (before, after), (before, after)))
    kernel, each = weight.shape[2], weight.shape[1]
    shape = ((x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1)
    result = np.zeros((len(weight), *shape))
    for channel, row, column in np.ndindex(result.shape):
        first = channel * each if layer.groups > 1 else 0
        window = x[first : first + each, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
        result[channel, row, column] = (window * weight[channel]).sum() + bias[channel]
    return result


@pytest.mark.parametrize("rim", [0, 1], ids=["no-rim", "rim"])
def test_colour_statistics_are_those_of_the_two_sides(rim):
    composite, mask = pictures(1, HEIGHT, WIDTH), blob(HEIGHT, WIDTH, (7, 10), 5)[None]
    composite[..., 0, 0], composite[..., 7, 10] = 1, -1  # the outermost bins
    m = mask[0, 0].double().numpy()
    expected = []
    for side in ("foreground", "background"):
        weight = m.copy() if side == "foreground" else np.zeros_like(m)
        channels, histogram = np.zeros((5, HEIGHT, WIDTH)), np.zeros((3, 9))
        for y, x in np.ndindex(HEIGHT, WIDTH):
            if side == "background":
                weight[y, x] = 1 - m[max(0, y - rim) : y + rim + 1, max(0, x - rim) : x + rim + 1].max()
            rgb = (composite[0, :, y, x].double().numpy() + 1) / 2
            channels[:, y, x] = [*rgb, rgb.sum() / 3, rgb.max() - rgb.min()]
            for c, value in enumerate(rgb):  # a colour between two of the values 0, 1/8, ... 1 belongs to both
                lower = min(int(value * 8), 7)
                histogram[c, lower] += weight[y, x] * (lower + 1 - value * 8)
                histogram[c, lower + 1] += weight[y, x] * (value * 8 - lower)
        expected += [*naive_mean_std(channels, weight), 2 * histogram.flatten() / weight.sum()]
    close(colour_statistics(Scene(composite, mask, None, rim))[0], np.concatenate([*expected, [m.mean()]]))


def test_coefficients_spread_bilinearly_over_the_padded_picture():
    """33 x 47 pads to 40 x 48, so each of 10 x 12 transforms covers 4 x 4 pixels; the spare fall off."""
    coefficients = torch.randn(1, 12, 10, 12, generator=rng(1))
    image = pictures(1, 33, 47)
    actual = apply_affine(coefficients, image)
    c = coefficients[0].double().numpy()
    for y, x in [(0, 0), (1, 1), (2, 5), (17, 30), (32, 46), (13, 46), (32, 7)]:
        row, column = np.clip((y + 0.5) / 4 - 0.5, 0, 9), np.clip((x + 0.5) / 4 - 0.5, 0, 11)
        i, j = int(row), int(column)
        v, u = row - i, column - j
        upper, lower = ((1 - u) * c[:, k, j] + u * c[:, k, min(j + 1, 11)] for k in (i, min(i + 1, 9)))
        matrix = ((1 - v) * upper + v * lower).reshape(3, 4)
        close(actual[0, :, y, x], matrix[:, :3] @ image[0, :, y, x].double().numpy() + matrix[:, 3])


# --------------------------------------------------------------------------------------------------- backbone


def test_the_backbone_is_the_one_of_the_table():
    """n = 3: channels and strides of the table, skips joined; a 32 x 48 picture."""
    net = HarmonizationNet(ModelConfig("rain", head="rgb", width=3))
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
        net = HarmonizationNet(ModelConfig("rain", head="rgb", width=32))
    count = sum(parameter.numel() for parameter in net.parameters())
    assert round(count / 1e6, 2) == 9.76


def naive_convolution(x, weight, stride=1):
    """(C, h, w), (O, C, k, k) -> (O, h / stride, w / stride); one pixel of zeros around."""
    x, kernel = np.pad(x, ((0, 0), (1, 1), (1, 1))), weight.shape[-1]
    height, width = ((side - kernel) // stride + 1 for side in x.shape[1:])
    out = np.zeros((len(weight), height, width))
    for i, j in np.ndindex(height, width):
        window = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        out[:, i, j] = np.tensordot(weight, window, 3)
    return out


def naive_transposed_convolution(x, weight, stride):
    """(C, h, w), (C, O, k, k) -> (O, h * stride, w * stride): every position stamps the kernel; a pixel is cut off."""
    _, outputs, kernel, _ = weight.shape
    height, width = x.shape[1:]
    out = np.zeros((outputs, (height - 1) * stride + kernel, (width - 1) * stride + kernel))
    for i, j in np.ndindex(height, width):
        stamp = np.tensordot(x[:, i, j], weight, 1)
        out[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel] += stamp
    return out[:, 1:-1, 1:-1]


def naive_baseline(p, composite, mask):
    """The paper's baseline, layer by layer as the table has it: composite (3, H, W), mask (1, H, W), sides a multiple
    of 8; p are its weights."""

    def relu(x, slope=0.0):
        return np.where(x > 0, x, slope * x)

    x, skips = np.concatenate([composite, mask]), []
    for i, (stride, norm) in enumerate(zip((1, 2, 1, 2, 1, 2, 1, 1), (0, 1, 1, 1, 1, 1, 1, 0), strict=True)):
        x = naive_convolution(relu(x, 0.2) if i else x, p[f"encoder.{i}.weight"], stride)
        if norm:
            mean, std = naive_mean_std(x, np.ones(x.shape[1:]))
            x = (x - mean[:, None, None]) / std[:, None, None]
        skips.append(x)
    skips.pop()
    for i, stride in enumerate((1, 1, 2, 1, 2, 1, 2)):
        x = naive_transposed_convolution(relu(x), p[f"decoder.{i}.weight"], stride)
        cell = mask.shape[1] // x.shape[1]
        m = mask[0].reshape(x.shape[1], cell, x.shape[2], cell).mean((1, 3))
        (fg, fg_std), (bg, bg_std) = ([v[:, None, None] for v in naive_mean_std(x, w)] for w in (m, 1 - m))
        gamma, beta, bg_gamma, bg_beta = (
            p[f"norms.{i}.{side}_{vector}"][:, None, None]
            for side in ("foreground", "background")
            for vector in ("gamma", "beta")
        )
        aligned = ((x - fg) / fg_std * bg_std + bg) * (1 + gamma) + beta
        rest = (x - bg) / bg_std * (1 + bg_gamma) + bg_beta
        x = np.concatenate([m * aligned + (1 - m) * rest, skips.pop()])
    out = np.tanh(naive_convolution(relu(x), p["head.convolution.weight"]))
    return out * mask + composite * (1 - mask)


def test_the_baseline_of_the_paper_matches_its_table_layer_by_layer():
    net = network("rain", "paper", "rgb")
    with torch.no_grad():
        net.head.convolution.weight.mul_(3)  # far enough out on the tanh to tell it from a line
    composite, mask = pictures(1, 24, 32), blob(24, 32, (14, 12), 7)[None]
    expected = naive_baseline(weights_of(net), composite[0].double().numpy(), mask[0].double().numpy())
    close(net(composite, mask)[0], expected)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("preset", PRESETS)
def test_odd_sizes_are_filled_up_by_repeating_the_border(preset, head):
    """37 x 45 with an object and a region at the far corner is the same to the network as its 40 x 48 version."""
    net = network("srin", preset, head)
    composite = F.interpolate(pictures(1, 5, 6), (37, 45), mode="bilinear")
    mask = blob(37, 45, (34, 43), 9)[None]
    regions = quarters(mask)
    rows, columns = torch.arange(40).clamp(max=36)[:, None], torch.arange(48).clamp(max=44)
    with torch.no_grad():
        padded = net(composite[..., rows, columns], mask[..., rows, columns], regions[:, rows, columns])
        close(net(composite, mask, regions), padded[..., :37, :45], 1e-6)


@pytest.mark.parametrize("slot, kind", [("rain", RAIN), ("bain", BAIN), ("srin", SRIN)])
def test_default_slots_are_the_normalizations_at_an_eighth_and_a_quarter(slot, kind):
    net = HarmonizationNet(ModelConfig(slot, "default", "rgb", width=2))
    heights = []
    for norm in net.norms:
        norm.register_forward_hook(lambda norm, given, out: heights.append((type(norm), out.shape[2])))
    net(pictures(1), torch.ones(1, 1, 32, 32))
    assert heights == [(kind, 4), (kind, 4), (kind, 8), (kind, 8), (RAIN, 16), (RAIN, 16), (RAIN, 32)]
    assert net.between is None


@pytest.mark.parametrize("slot, kind", [("bain", PaperBAIN), ("srin", PaperSRIN)])
def test_paper_slot_is_one_layer_between_encoder_and_decoder(slot, kind):
    net = network(slot, "paper", "rgb")
    order = []
    for layer in (net.encoder[-1], net.between, net.decoder[0]):
        layer.register_forward_hook(lambda layer, _, out: order.append((type(layer).__name__, out.shape[2])))
    composite, mask = pictures(1), blob(32, 32, (12, 14), 8)[None]
    before = net(composite, mask)
    assert order == [("Conv2d", 4), (kind.__name__, 4), ("ConvTranspose2d", 4)]
    assert {type(norm) for norm in net.norms} == {RAIN}
    net.between.register_forward_hook(lambda layer, given, out: given[0])
    assert differ(net(composite, mask), before), "the decoder doesn't use the layer"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_rim_of_a_64th_stays_out_of_the_background_only_by_default(preset, monkeypatch):
    rims = []
    build = Scene.__init__
    monkeypatch.setattr(Scene, "__init__", lambda *given: rims.append(given[4]) or build(*given))
    net = network("rain", preset)
    for side in (32, 64, 160):
        net(pictures(1, 32, side), torch.ones(1, 1, 32, side))
    assert rims == ([0, 0, 0] if preset == "paper" else [1, 1, 2])


# ------------------------------------------------------------------------------------------------- properties


def shared_norms(*kinds, seed=2):
    """The same parameters in every norm; RAIN has no attention and takes the rest."""
    modules = [randomise(kind(CHANNELS), seed, 0.6) for kind in kinds]
    for module in modules[1:]:
        missing, unexpected = module.load_state_dict(modules[0].state_dict(), strict=False)
        assert not missing
    return modules


def test_srin_with_one_background_region_is_rain():
    composite, mask, _ = scene_batch()
    srin, rain = shared_norms(SRIN, RAIN)
    x = features(len(composite))
    one = (mask[:, 0] == 1).long() * (1 + (torch.arange(WIDTH) > 10))  # the foreground may have more than one
    scene = Scene(composite[:4], mask[:4], one[:4], 1)
    close(srin(x[:4], scene.at(ROWS, COLUMNS)), rain(x[:4], scene.at(ROWS, COLUMNS)).detach())


def test_srin_with_every_position_a_region_is_bain():
    composite, mask, regions = scene_batch()
    srin, bain, rain = shared_norms(SRIN, BAIN, RAIN)
    x = features(len(composite))
    cells = spread(torch.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS), CELL).expand(len(x), -1, -1)
    level = Scene(composite, mask, cells, 1).at(ROWS, COLUMNS)
    close(srin(x, level), bain(x, level).detach())
    # It is only worth something where the two are not RAIN both.
    close_to_rain = (bain(x, level) - rain(x, level)).abs().amax((1, 2, 3)) < 1e-2
    assert close_to_rain.tolist() == [False, False, False, True, False]
    regions_level = Scene(composite, mask, regions, 1).at(ROWS, COLUMNS)
    assert differ(srin(x, regions_level), bain(x, level), 1e-2)


@pytest.mark.parametrize("kind", [BAIN, SRIN])
def test_attention_that_asks_nothing_is_rain(kind):
    """Uniform over the *area*: regions of 1 and of 100 positions must count for what they are."""
    composite, mask, regions = scene_batch()
    module = kind(CHANNELS)
    rain = RAIN(CHANNELS)
    level = Scene(composite, mask, regions, 1).at(ROWS, COLUMNS)
    x = features(len(composite))
    close(module(x, level), rain(x, level).detach())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_a_fresh_network_is_the_baseline_with_the_same_weights(slot, head):
    rain = network("rain", head=head)
    fresh = HarmonizationNet(ModelConfig(slot, head=head, width=2))
    missing, unexpected = fresh.load_state_dict(rain.state_dict(), strict=False)
    assert not unexpected and all(".attention." in key for key in missing)
    mask = torch.stack([blob(32, 32, (12, 14), 8), blob(32, 32, (30, 3), 6)])
    composite, regions = pictures(2), quarters(mask)
    with torch.no_grad():
        expected, actual = rain(composite, mask, regions), fresh(composite, mask, regions)
    assert differ(expected, composite, 1e-2), "a head that does nothing hides everything"
    close(actual, expected)


@pytest.mark.parametrize("head", ["affine", "residual"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("slot", SLOTS)
def test_an_untrained_network_that_changes_colours_changes_nothing(slot, preset, head):
    torch.manual_seed(0)
    net = HarmonizationNet(ModelConfig(slot, preset, head, width=2))
    mask = torch.stack([blob(33, 46, (12, 14), 8), torch.rand(1, 33, 46, generator=rng(1))])
    composite = pictures(2, 33, 46)
    close(net(composite, mask, quarters(mask)), composite, 1e-6)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("preset", PRESETS)
def test_srin_looks_at_the_map_but_not_at_the_names_of_its_regions(preset, head):
    net = network("srin", preset, head)
    # Colours in patches: in white noise all regions have the same, and the paper's queries know nothing else.
    composite = F.interpolate(pictures(1, 4, 4), (32, 32))
    mask = blob(32, 32, (12, 14), 9)[None]
    regions = quarters(mask)
    renamed = torch.tensor([4, 9, 0, 2, 7, 3, 1, 5])[regions]
    with torch.no_grad():
        plain, again = net(composite, mask, regions), net(composite, mask, renamed)
        other, none = net(composite, mask, regions.transpose(1, 2)), net(composite, mask)
    close(again, plain)
    assert differ(plain, other, 1e-4) and differ(plain, none, 1e-4)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("slot", ["rain", "bain"])
def test_the_other_slots_ignore_the_map(slot, preset):
    net = network(slot, preset)
    mask = blob(32, 32, (12, 14), 9)[None]
    assert torch.equal(net(pictures(1), mask, quarters(mask)), net(pictures(1), mask))


def test_srin_asks_with_the_colours_of_the_map():
    """Two pictures that differ in nothing but the colours of their regions borrow different statistics."""
    composite, mask, regions = (part[2:3] for part in scene_batch())
    module = randomise(SRIN(CHANNELS), 1, 0.6)
    x = features(1)
    for painted in (0, 2, 7):  # two background regions and one of the foreground
        changed = torch.where((regions == painted)[:, None], composite.flip(1) + 0.5, composite)
        a, b = (module(x, Scene(c, mask, regions, 1).at(ROWS, COLUMNS)) for c in (composite, changed))
        assert differ(a, b), f"the colour of region {painted} makes no difference"
    paper = randomise(PaperSRIN(CHANNELS), 1, 0.3)
    a, b = (paper(x, Scene(c, mask, regions, 0).at(ROWS, COLUMNS)) for c in (composite, composite.flip(1)))
    assert differ(a, b)


def test_rain_gives_the_foreground_the_statistics_of_the_background():
    """The definition of the baseline, without a formula: measure both sides of what comes out."""
    composite, mask = pictures(1, HEIGHT, WIDTH), torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., 4:12, 4:16] = 1
    level = Scene(composite, mask, None, 0).at(ROWS, COLUMNS)
    x = features(1)
    x = torch.where(level.mask > 0, x * 3 + 1, x)
    out = RAIN(CHANNELS)(x, level)
    for got, wanted in zip(mean_std(out, level.foreground), mean_std(x, level.background), strict=True):
        close(got, wanted, 1e-4)
    mean, std = mean_std(out, level.background)
    close(mean, torch.zeros_like(mean), 1e-4)
    close(std, torch.ones_like(std), 1e-3)


# --------------------------------------------------------------------------------------- background untouched


@pytest.mark.parametrize("slot, preset, head", NETWORKS)
def test_the_background_is_the_composite_bit_for_bit(slot, preset, head):
    net = network(slot, preset, head)
    mask = torch.stack([blob(37, 45, (12, 14), 8), blob(37, 45, (36, 44), 10), torch.zeros(1, 37, 45)])
    composite = pictures(3, 37, 45)
    with torch.no_grad():
        out = net(composite, mask, quarters(mask))
    outside = (mask == 0).expand_as(composite)
    assert torch.equal(out[outside], composite[outside])
    inside = (mask == 1).expand_as(composite)
    assert ((out - composite)[inside].abs() > 1e-4).float().mean() > 0.9
    # A soft edge is a blend: half the mask, half the change.
    full = net.coefficients(composite, mask, quarters(mask)) if head == "affine" else None
    if full is not None:
        change = apply_affine(full, composite) - composite
        close(out, (composite + mask * change).detach())


# -------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("slot, preset, head", NETWORKS)
def test_gradients_reach_every_parameter(slot, preset, head):
    net = network(slot, preset, head, seed=1)
    # Colours in patches: in noise all regions would look alike to the queries.
    mask = torch.stack([blob(32, 32, (12, 14), 9), blob(32, 32, (20, 18), 7)])
    composite = F.interpolate(pictures(2, 4, 4), (32, 32)) + 0.1 * pictures(2, seed=1)
    ((net(composite, mask, quarters(mask)) - 0.3) ** 2 * mask).mean().backward()
    for name, parameter in net.named_parameters():
        if ".texture." in name:
            assert parameter.grad is None, f"{name} is frozen"
            continue
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
@pytest.mark.parametrize("slot, preset, head", NETWORKS)
def test_extreme_masks_and_sizes_stay_finite(slot, preset, head, bf16):
    net = network(slot, preset, head)
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


@pytest.mark.parametrize("slot, preset, head", NETWORKS)
def test_pictures_of_a_batch_do_not_see_each_other(slot, preset, head):
    net = network(slot, preset, head)
    masks = extreme_masks(24, 40)[[0, 1, 2, 6, 8]]
    composite, regions = pictures(len(masks), 24, 40), quarters(masks)
    regions[1] = 0
    with torch.no_grad():
        together = net(composite, masks, regions)
        for b in range(len(masks)):
            one = net(composite[b : b + 1], masks[b : b + 1], regions[b : b + 1])
            close(together[b : b + 1], one.double(), 2e-4 if b == 2 else 2e-5)


@pytest.mark.parametrize("kind", [RAIN, BAIN, SRIN])
def test_statistics_stay_in_full_precision_under_autocast(kind):
    """Same input, same answer, up to the final rounding; a mean far from 0 shows what bf16 would lose."""
    composite, mask, regions = scene_batch()
    module = randomise(kind(CHANNELS), 1, 0.3)
    level = Scene(composite, mask, regions, 1).at(ROWS, COLUMNS)
    x = (features(len(composite)) + 100).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        actual = module(x, Scene(composite, mask, regions, 1).at(ROWS, COLUMNS))
    assert actual.dtype == torch.bfloat16
    assert torch.equal(actual, module(x.float(), level).bfloat16())


@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_statistics_of_the_paper_layers_stay_in_full_precision_under_autocast(slot):
    """With queries and keys silent, only statistics (and the values of SRIN) are left to be rounded."""
    net = network(slot, "paper", "rgb")
    layer = net.between
    with torch.no_grad():
        for convolution in (layer.query, layer.key):
            convolution.weight.zero_()
            convolution.bias.zero_()
    composite, mask, regions = scene_batch()
    level = Scene(composite, mask, regions, 0).at(ROWS, COLUMNS)
    x = torch.randn(len(composite), 16, ROWS, COLUMNS, generator=rng(0)) * 0.2 + 3
    expected = layer(x, level)
    with torch.autocast("cpu", torch.bfloat16):
        actual = layer(x, Scene(composite, mask, regions, 0).at(ROWS, COLUMNS))
    # bf16 keeps 8 bits: of a variance of 0.04 as a difference of numbers around 9 nothing is left.
    assert (actual - expected).abs().max() < 0.05


# -------------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("queries", [1, 1023, 1024, 1025, 2500])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "plain"])
def test_attention_in_chunks_is_the_dense_formula(queries, weighted):
    generator = rng(queries)
    q, k, v = (torch.randn(2, n, d, generator=generator).double() for n, d in ((queries, 3), (7, 3), (7, 4)))
    log_weight = torch.rand(2, 7, generator=generator).double().log() if weighted else None
    if weighted:
        log_weight[0, 2] = log_weight[1, 5] = -torch.inf
    target = torch.randn(2, queries, 4, generator=generator).double()

    def run(function):
        inputs = [t.clone().requires_grad_() for t in (q, k, v)]
        out = function(*inputs)
        (out * target).sum().backward()
        return [out, *(t.grad for t in inputs)]

    def dense(q, k, v):
        scores = torch.einsum("bnd,bkd->bnk", q, k).exp()
        if weighted:
            scores = scores * log_weight.exp()[:, None]
        return torch.einsum("bnk,bke->bne", scores / scores.sum(-1, keepdim=True), v)

    for actual, expected in zip(run(lambda *x: attend(*x, log_weight)), run(dense), strict=True):
        close(actual, expected.detach(), 1e-10)
    with torch.inference_mode():
        close(attend(q, k, v, log_weight), dense(q, k, v), 1e-10)


def test_weights_and_colours_of_regions_stay_in_full_precision_under_autocast():
    expected = Scene(*scene_batch(), 1).at(ROWS, COLUMNS)
    with torch.autocast("cpu", torch.bfloat16):
        actual = Scene(*scene_batch(), 1).at(ROWS, COLUMNS)
    sides = ("mask", "foreground", "background", "colour")
    for name in (*sides, "foreground_regions", "background_regions", "region_colours", "painted"):
        assert torch.equal(getattr(actual, name), getattr(expected, name)), name


class Largest(TorchDispatchMode):
    """Remembers the storage of the largest tensor that any operation returned, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return out


def attention_memory(n, grad=True):
    """Bytes of the largest tensor in forward and backward, bytes kept in between; n queries and n keys."""
    q, k, v = (torch.randn(1, n, 2, requires_grad=grad) for _ in range(3))
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with Largest() as largest, torch.set_grad_enabled(grad):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = attend(q, k, v, torch.zeros(1, n))
        if grad:
            out.sum().backward()
    return largest.bytes, sum(kept.values())


@pytest.mark.parametrize("grad", [True, False], ids=["training", "inference"])
def test_attention_takes_memory_in_proportion_to_the_positions(grad):
    """Twice the positions, twice the memory, not four times: no n x n matrix, neither whole nor in pieces."""
    (largest, kept), (larger, kept_more) = attention_memory(1536, grad), attention_memory(3072, grad)
    assert larger <= 2.1 * largest and larger < 3072 * 3072 * 4 / 2
    assert kept_more <= 2.1 * kept and kept_more < 3072 * 3072 * 4 / 8


def test_region_attention_never_makes_a_matrix_of_positions():
    """SRIN at 4,096 positions and 6 regions costs positions x regions; BAIN would make 1,024 x 4,096."""
    module = randomise(SRIN(CHANNELS))
    mask = blob(64, 64, (30, 30), 20)[None]
    level = Scene(pictures(1, 64, 64), mask, quarters(mask), 1).at(64, 64)
    x = torch.randn(1, CHANNELS, 64, 64, requires_grad=True)
    with Largest() as largest:
        module(x, level).sum().backward()
    assert largest.bytes <= 4096 * 4 * 64
