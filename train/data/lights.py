"""Simulates another light or camera. Pictures are float32 (H, W, 3) in [0, 1]; only some results are clipped to it."""

import cv2
import numpy as np

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def to_linear(x: np.ndarray) -> np.ndarray:
    """Display values to linear light, by a plain power."""
    return cv2.pow(np.maximum(x, 0), 2.2)


def to_display(x: np.ndarray) -> np.ndarray:
    """Linear light to display values, clipped to [0, 1]."""
    return cv2.pow(np.clip(x, 0, 1), 1 / 2.2)


def grade(x: np.ndarray, force: float, rng: np.random.Generator) -> np.ndarray:
    """Simulates a random light and camera.

    It changes exposure and colour in linear light, and saturation. At random, it also applies a film's shoulder, a tone
    curve, contrast, split toning, and the flat look of an unretouched photo.

    Args:
        force: 1 for a night street or a sunset, 0.5 for another camera, 0.2 for the mildest.
    """
    low, high = (-2.3, 0.5) if force > 0.7 else (-1.7 * force, 1.5 * force)
    exposure = rng.uniform(low, high) * (1 if rng.random() < 0.8 else 0.25)
    y = _exposed(x, exposure, force, rng)
    y = to_display(_shoulder(y, rng) if rng.random() < 0.5 else y)
    if rng.random() < 0.4:
        y = tone_curve(y, 0.09 * force + 0.02, rng)
    if rng.random() < 0.4:
        y = contrast(y, float(y.mean()), 2 ** (rng.normal(0, 0.45) * force))
    y = saturation(y, 2 ** (rng.normal(-0.12, 0.5) * force))
    if rng.random() < 0.4:
        y = split_tones(y, rng.normal(0, 0.06 * force, (2, 3)))
    if rng.random() < 0.15 * force + 0.05:
        y = flat(y, rng)
    return np.clip(y, 0, 1).astype(np.float32, copy=False)


def camera(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulates another camera: exposure and white balance in linear light, and at random a shoulder and a tone curve."""
    y = _exposed(x, rng.uniform(-1.4, 1.1), 0.6, rng)
    y = to_display(_shoulder(y, rng) if rng.random() < 0.4 else y)
    return tone_curve(y, 0.05, rng) if rng.random() < 0.3 else y


def _exposed(x: np.ndarray, exposure: float, force: float, rng: np.random.Generator) -> np.ndarray:
    """The picture in linear light, under a random coloured light. exposure: stops, of luminance."""
    warmth, tint = rng.normal(0, 0.5 * force), rng.normal(0, 0.16 * force)
    stops = np.array([warmth, tint - 0.15 * warmth, -warmth * rng.uniform(0.7, 1.3)]) + rng.normal(0, 0.12 * force, 3)
    return to_linear(x) * (2 ** (exposure + stops - stops @ LUMA)).astype(np.float32)


def _shoulder(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Makes highlights roll off instead of clipping, as film does: 1 - exp(-k y), scaled to keep middle grey."""
    k = rng.uniform(0.8, 2.4)
    grey = 0.18
    return (1 - np.exp(-k * y)) * np.float32(grey / (1 - np.exp(-k * grey)))


def tone_curve(y: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Applies a random curve that never falls to all three channels."""
    knots = np.linspace(0, 1, 6)
    values = np.maximum.accumulate(knots + rng.normal(0, spread, 6) * np.sin(np.pi * np.clip(knots, 0.1, 0.9)))
    return np.interp(y, knots, values).astype(np.float32)


def contrast(y: np.ndarray, pivot: float, gain: float) -> np.ndarray:
    """Multiplies contrast around a grey value by `gain`."""
    return (y - pivot) * np.float32(gain) + pivot


def saturation(y: np.ndarray, gain: float) -> np.ndarray:
    """Multiplies the distance of colours from grey by `gain`."""
    grey = (y @ LUMA)[..., None]
    return grey + (y - grey) * np.float32(gain)


def split_tones(y: np.ndarray, tones: np.ndarray) -> np.ndarray:
    """Adds one colour to the shadows and another to the highlights; tones: (2, 3)."""
    grey = np.clip(y @ LUMA, 0, 1)[..., None]
    dark, light = (1 - grey) ** 2, grey**2
    return y + dark * tones[0].astype(np.float32) + light * tones[1].astype(np.float32)


def flat(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The look of an unretouched raw file: lifted blacks, soft whites, little colour."""
    lift, white = rng.uniform(0.03, 0.2), rng.uniform(0.7, 0.95)
    y = lift + (white - lift) * np.clip(y, 0, 1) ** np.float32(rng.uniform(0.75, 1.1))
    return saturation(y, rng.uniform(0.5, 0.85))


def border(shape: tuple[int, int], rng: np.random.Generator, inside: np.ndarray | None = None) -> np.ndarray:
    """The share of a second light, float32 (H, W, 1), which rises from 0 to 1 across a random straight border.

    inside: bool (H, W), the region through which the border runs; None: it runs near the picture's middle.
    """
    height, width = shape
    angle = rng.uniform(0, 2 * np.pi)
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    across = yy / height * np.float32(np.sin(angle)) + xx / width * np.float32(np.cos(angle))
    within = across if inside is None else across[inside]
    low, high = np.quantile(within, [0.05, 0.95])
    place = low + (high - low) * rng.uniform(0.25, 0.75)
    width_of_border = max(high - low, 1e-3) * rng.uniform(0.05, 0.25)
    return (1 / (1 + np.exp(-(across - place) / width_of_border)))[..., None].astype(np.float32)
