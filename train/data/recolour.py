"""Recolours objects so that they don't match their photos. Pictures are float32 (H, W, 3) in [0, 1], masks bool (H, W).

Every function recolours the whole picture; the caller keeps the part inside the mask.
"""

import cv2
import numpy as np

from train.data import lights


def statistics_lab(x: np.ndarray, mask: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moves mean and standard deviation in CIELAB toward those of another object (after Reinhard et al. 2001).

    pixels: float32 (N, 3), the other object's pixels.
    """
    a, b = cv2.cvtColor(x, cv2.COLOR_RGB2LAB), cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB)[0]
    strength = rng.uniform(0.4, 1)
    mean, std, other_mean, other_std = a[mask].mean(0), a[mask].std(0) + 0.5, b.mean(0), b.std(0) + 0.5
    gain = 1 + strength * (np.clip(other_std / std, 0.5, 1.9) - 1)
    moved = (a - mean) * gain + mean + strength * np.clip(other_mean - mean, -35, 35)
    return np.clip(cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1)


def statistics_rgb(x: np.ndarray, mask: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moves mean and covariance in RGB toward those of another object (Xiao and Ma 2006). pixels: float32 (N, 3)."""

    def power(covariance: np.ndarray, exponent: float) -> np.ndarray:
        values, vectors = np.linalg.eigh(covariance + 2.5e-4 * np.eye(3))
        return (vectors * np.maximum(values, 1e-6) ** exponent) @ vectors.T

    own, strength = x[mask], rng.uniform(0.35, 0.95)
    mean, other_mean = own.mean(0), pixels.mean(0)
    turn = (power(np.cov(own.T), -0.5) @ power(np.cov(pixels.T), 0.5)).astype(np.float32)
    moved = (x - mean) @ turn + mean + np.clip(other_mean - mean, -0.22, 0.22)
    return np.clip((1 - strength) * x + strength * moved, 0, 1).astype(np.float32)


def tone(x: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes gamma, saturation, hue (slightly), and contrast around the object's mean."""
    y = cv2.pow(x, 2 ** rng.uniform(-0.7, 0.75))
    y = lights.saturation(y, rng.uniform(0.4, 1.6))
    angle = rng.normal(0, 0.12)
    grey = y.mean(2, keepdims=True)
    chroma = y - grey
    across = (np.roll(chroma, 1, 2) - np.roll(chroma, -1, 2)) * np.float32(3**-0.5)  # Rodrigues, about the grey axis
    y = grey + chroma * np.float32(np.cos(angle)) + across * np.float32(np.sin(angle))
    return np.clip(lights.contrast(y, float(y[mask].mean()), rng.uniform(0.7, 1.3)), 0, 1).astype(np.float32, copy=False)


def curves(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies a random curve to each channel; the three curves are similar."""
    knots = np.linspace(0, 1, 6)
    shared = rng.uniform(-0.5, 0.5, 6)
    channels = []
    for channel in range(3):
        steps = np.exp(shared + 0.35 * rng.uniform(-1, 1, 6))[1:]
        values = np.concatenate([[0], np.cumsum(steps)])
        values = values / values[-1] * rng.uniform(0.8, 1.1) + rng.uniform(-0.03, 0.08)
        channels.append(np.interp(x[..., channel], knots, values))
    return np.clip(np.stack(channels, -1), 0, 1).astype(np.float32)


def uneven(x: np.ndarray, changed: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Varies the light across the object: beyond a soft border through the object, the picture is graded differently."""
    share = lights.border(mask.shape, rng, mask)
    return changed * (1 - share) + lights.grade(x, rng.uniform(0.4, 1), rng) * share
