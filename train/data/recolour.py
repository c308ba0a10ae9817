"""Ways to make an object disagree with its photo, batched on the device that trains.

Every function takes and returns pictures (B, 3, S, S) in [0, 1] (results may leave it; the caller clips), and draws from
a torch.Generator on the same device. They recolour the whole picture; the caller keeps what lies inside the mask.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GAMMA = 2.2
# Reinhard et al. 2001: RGB -> LMS, and log LMS -> l alpha beta.
RGB_TO_LMS = torch.tensor([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LMS_TO_LAB = torch.tensor([[3**-0.5] * 3, [6**-0.5, 6**-0.5, -2 * 6**-0.5], [2**-0.5, -(2**-0.5), 0.0]])


def uniform(count: int, channels: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(count, channels, 1, 1), uniform in [low, high)."""
    draw = torch.rand(count, channels, 1, 1, generator=generator, device=generator.device)
    return low + (high - low) * draw


def statistics_lab(x: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor, generator: torch.Generator) -> Tensor:
    """Mean and standard deviation in l-alpha-beta toward another object's (Reinhard et al. 2001)."""
    a, b = _to_lab(x), _to_lab(other)
    mean, std = _moments(a, mask)
    other_mean, other_std = _moments(b, other_mask)
    strength = uniform(len(x), 1, 0.4, 1, generator)
    gain = 1 + strength * ((other_std / std).clamp(0.6, 1.7) - 1)
    shift = strength * (other_mean - mean).clamp(-0.45, 0.45)
    return _from_lab((a - mean) * gain + mean + shift)


def statistics_rgb(x: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor, generator: torch.Generator) -> Tensor:
    """Mean and covariance in RGB toward another object's (Xiao and Ma 2006)."""
    mean, factor = _covariance_root(x, mask)
    other_mean, other_factor = _covariance_root(other, other_mask)
    transform = torch.linalg.solve(factor, other_factor, left=False).clamp(-2, 2)
    strength = uniform(len(x), 1, 0.3, 0.9, generator)
    moved = torch.einsum("bij,bjhw->bihw", transform, x - mean)
    return (1 - strength) * x + strength * (moved + mean + (other_mean - mean).clamp(-0.18, 0.18))


def camera(x: Tensor, generator: torch.Generator) -> Tensor:
    """Exposure and white balance in linear light, then a tone curve."""
    count = len(x)
    exposure = uniform(count, 1, -1.3, 1.0, generator)
    warmth = uniform(count, 1, -0.4, 0.4, generator)  # along the Planckian locus, red and blue move apart
    tint = uniform(count, 1, -0.1, 0.1, generator)
    gain = torch.exp(exposure * 0.693 + torch.cat([warmth, tint, -1.1 * warmth], 1))
    y = (x.clamp(0, 1) ** GAMMA * gain).clamp_max(4) ** (1 / GAMMA)
    # A shoulder, as in a film or camera curve, in half of the samples.
    shoulder = uniform(count, 1, -0.5, 0.5, generator).clamp_min(0)
    return y * (1 + shoulder) / (1 + shoulder * y)


def tone(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, contrast around the object's mean, saturation and a small turn of the hue."""
    count = len(x)
    y = x.clamp(1e-4, 1) ** torch.exp(uniform(count, 1, -0.45, 0.48, generator))
    grey = y.mean(1, keepdim=True)
    chroma = (y - grey) * uniform(count, 1, 0.4, 1.6, generator)
    angle = uniform(count, 1, -0.25, 0.25, generator)
    # Rodrigues' rotation about the grey axis.
    axis = (chroma.roll(1, 1) - chroma.roll(-1, 1)) * 3**-0.5
    y = grey + chroma * angle.cos() + axis * angle.sin()
    mean, _ = _moments(y, mask)
    return (y - mean) * uniform(count, 1, 0.7, 1.3, generator) + mean


def curves(x: Tensor, generator: torch.Generator) -> Tensor:
    """A random monotone curve for each channel, six knots, mostly shared by the three."""
    count, knots = len(x), 6
    steps = torch.exp(
        uniform(count, knots, -0.5, 0.5, generator)[:, None]
        + 0.35 * uniform(count, 3 * knots, -1, 1, generator).view(count, 3, knots, 1, 1)
    )
    ends = torch.cat([torch.zeros_like(steps[:, :, :1]), steps.cumsum(2)], 2)[..., 0, 0]
    ends = ends / ends[..., -1:] * uniform(count, 3, 0.8, 1.1, generator)[..., 0]
    place = x.clamp(0, 1 - 1e-6) * knots
    low = place.floor().long()
    flat = low.flatten(2)
    start, end = ends.gather(2, flat).view_as(x), ends.gather(2, flat + 1).view_as(x)
    return start + (end - start) * (place - low)


def light_field(x: Tensor, generator: torch.Generator) -> Tensor:
    """Light that varies smoothly across the picture: a random low-frequency gain in linear light, slightly coloured."""
    count = len(x)
    noise = torch.randn(count, 4, 4, 4, generator=generator, device=x.device)
    field = F.interpolate(noise, size=x.shape[2:], mode="bicubic", align_corners=True)
    stops = field[:, :1] * uniform(count, 1, 0.2, 0.9, generator) + 0.12 * field[:, 1:]
    return (x.clamp(0, 1) ** GAMMA * 2**stops).clamp_max(4) ** (1 / GAMMA)


def grade(x: Tensor, generator: torch.Generator) -> Tensor:
    """A mild grade of a whole photo: it stays harmonious, and a small corpus looks larger."""
    count = len(x)
    gain = torch.exp(uniform(count, 1, -0.45, 0.35, generator) + uniform(count, 3, -0.15, 0.15, generator))
    y = (x.clamp(0, 1) ** GAMMA * gain).clamp(0, 1) ** (1 / GAMMA)
    grey = y.mean(1, keepdim=True)
    return (grey + (y - grey) * uniform(count, 1, 0.8, 1.2, generator)).clamp(0, 1)


def _moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    total = mask.sum((2, 3), keepdim=True).clamp_min(1)
    mean = (x * mask).sum((2, 3), keepdim=True) / total
    variance = ((x - mean) ** 2 * mask).sum((2, 3), keepdim=True) / total
    return mean, (variance + 1e-4).sqrt()


def _covariance_root(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, 3, 1, 1) and the symmetric square root of the regularized covariance, (B, 3, 3)."""
    mean, _ = _moments(x, mask)
    centred = ((x - mean) * mask).flatten(2)
    total = mask.sum((2, 3)).clamp_min(1)[..., None]
    covariance = centred @ centred.transpose(1, 2) / total + 3e-4 * torch.eye(3, device=x.device)
    values, vectors = torch.linalg.eigh(covariance)
    return mean, (vectors * values.clamp_min(1e-6).sqrt()[:, None]) @ vectors.transpose(1, 2)


def _to_lab(x: Tensor) -> Tensor:
    lms = torch.einsum("ij,bjhw->bihw", RGB_TO_LMS.to(x.device), x.clamp(0, 1)).clamp_min(0.01)
    return torch.einsum("ij,bjhw->bihw", LMS_TO_LAB.to(x.device), lms.log())


def _from_lab(x: Tensor) -> Tensor:
    lms = torch.einsum("ij,bjhw->bihw", LMS_TO_LAB.T.to(x.device), x).exp()
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(RGB_TO_LMS).to(x.device), lms)
