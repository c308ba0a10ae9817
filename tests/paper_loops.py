"""The paper's networks by their written definitions, as float64 loops, and what tests feed both with.

The loops go position by position, key by key, region by region, over a picture that is resized here too; nothing of
them is shared with the code under test.
"""

import numpy as np
import torch
import torch.nn.functional as F

from srin.models import build
from srin.models.config import ModelConfig

SLOTS, HEADS = ("rain", "bain", "srin"), ("rgb", "residual")
CHANNELS = 8
HEIGHT, WIDTH, CELL = 16, 24, 4  # pixels; a feature position covers CELL x CELL of them
ROWS, COLUMNS = HEIGHT // CELL, WIDTH // CELL


# ----------------------------------------------------------------------------------------------------- inputs


def rng(seed):
    return torch.Generator().manual_seed(seed)


def randomise(module, seed=0, scale=0.5):
    """Gives every parameter a random value, since parameters that start at zero would make tests trivial."""
    generator = rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return module


def network(slot, head="residual", seed=0):
    """A tiny network without zeros: parameters that start at zero get random values, others keep theirs."""
    torch.manual_seed(seed)
    net = build(ModelConfig(slot, "paper", head=head, width=2))
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
    # A map from elsewhere: it runs across the mask and leaves ids out.
    labels = torch.randint(0, 4, (HEIGHT // 2, WIDTH // 2), generator=generator)
    regions[0] = 2 * labels.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return composite, mask, regions


def features(batch, seed=5):
    """(batch, CHANNELS, ROWS, COLUMNS) whose channels differ in mean and spread."""
    generator = rng(seed)
    x = torch.randn(batch, CHANNELS, ROWS, COLUMNS, generator=generator)
    spreads = 0.3 + torch.rand(CHANNELS, 1, 1, generator=generator)
    return x * spreads + torch.linspace(-1, 2, CHANNELS)[:, None, None]


def close(actual, expected, tolerance=1e-5):
    actual = np.asarray(actual.detach().double() if isinstance(actual, torch.Tensor) else actual)
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=tolerance, atol=tolerance)


def differ(a, b, at_least=1e-3):
    return bool((a - b).abs().max() > at_least)


# ------------------------------------------------------------------------------------------------ definitions


def area_resized(plane):
    """(HEIGHT, WIDTH) -> (ROWS, COLUMNS): the mean of each cell."""
    cells = np.zeros((ROWS, COLUMNS))
    for i, j in np.ndindex(ROWS, COLUMNS):
        for dy, dx in np.ndindex(CELL, CELL):
            cells[i, j] += plane[i * CELL + dy, j * CELL + dx] / CELL**2
    return cells


class NaiveScene:
    """One composite (3, HEIGHT, WIDTH), its mask (HEIGHT, WIDTH) and map, by loops over the pixels."""

    def __init__(self, composite, mask, regions):
        foreground = mask if mask.sum() > 0 else np.ones_like(mask)
        background = 1 - mask if (1 - mask).sum() > 0 else np.ones_like(mask)
        self.mask = area_resized(mask)
        self.foreground, self.background = area_resized(foreground), area_resized(background)
        self.painted = np.zeros((3, ROWS, COLUMNS))
        if regions is None:
            regions = np.zeros(mask.shape, int)
        for region in range(regions.max() + 1):
            member = (regions == region).astype(float)
            colour = np.zeros(3)
            for y, x in zip(*np.nonzero(member), strict=True):
                colour += composite[:, y, x] / member.sum()
            self.painted += area_resized(member) * colour[:, None, None]


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


def naive_rain(module, x, scene):
    p, out = weights_of(module), np.zeros_like(x)
    fg, bg = naive_mean_std(x, scene.foreground), naive_mean_std(x, scene.background)
    for i, j in np.ndindex(ROWS, COLUMNS):
        aligned = (x[:, i, j] - fg[0]) / fg[1] * bg[1] + bg[0]
        aligned = aligned * (1 + p["foreground_gamma"]) + p["foreground_beta"]
        rest = (x[:, i, j] - bg[0]) / bg[1] * (1 + p["background_gamma"]) + p["background_beta"]
        out[:, i, j] = scene.mask[i, j] * aligned + (1 - scene.mask[i, j]) * rest
    return out


def naive_bain(module, x, scene):
    p, out = weights_of(module), x.copy()
    fg, bg = naive_mean_std(x, scene.foreground), naive_mean_std(x, scene.background)
    answers = []
    for i, j in np.ndindex(ROWS, COLUMNS):
        v = x[:, i, j]
        if scene.background[i, j] > 0:
            key = p["key.weight"] @ ((v - bg[0]) / bg[1]) + p["key.bias"]
            answers.append((key, scene.background[i, j], v, v**2))
    for i, j in np.ndindex(ROWS, COLUMNS):
        own = (x[:, i, j] - fg[0]) / fg[1]
        mean, std = naive_mixture(p["query.weight"] @ own + p["query.bias"], answers)
        m = scene.mask[i, j]
        out[:, i, j] = m * (std * own + mean) + (1 - m) * x[:, i, j]
    return out


def naive_srin(module, x, scene):
    p, out = weights_of(module), x.copy()
    mean, std = naive_mean_std(x, scene.foreground)
    for i, j in np.ndindex(ROWS, COLUMNS):
        query = p["query.weight"] @ scene.painted[:, i, j] + p["query.bias"]
        total, borrowed = 0.0, np.zeros(len(x))
        for k, m in np.ndindex(ROWS, COLUMNS):
            key = p["key.weight"] @ ((x[:, k, m] - mean) / std) + p["key.bias"]
            r = np.exp(query @ key)
            borrowed += r * (p["value.weight"] @ x[:, k, m] + p["value.bias"])
            total += r
        share = scene.mask[i, j]
        borrowed *= share / total
        gamma = np.maximum(0, p["gamma.weight"] @ borrowed + p["gamma.bias"])
        beta = np.maximum(0, p["beta.weight"] @ borrowed + p["beta.bias"])
        own = (x[:, i, j] - mean) / std
        out[:, i, j] = share * (gamma * own + beta) + (1 - share) * x[:, i, j]
    return out


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


def naive_baseline(p, composite, mask, head):
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
    if head == "residual":
        out = composite + out
    return out * mask + composite * (1 - mask)
