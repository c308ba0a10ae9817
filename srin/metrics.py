"""Metrics of how close a harmonized picture is to the real one.

Published code disagrees on each of these choices. Here the peak is 255, pictures are uint8 (a method's result is
rounded before it is scored), foreground is where the mask is above 127, squared errors are averaged over pixels and
the three channels, and every picture has one score.
"""

import math

import cv2
import numpy as np

from srin.errors import ImageError, MaskError

PEAK = 255
SIZE = 256  # pictures are scored at SIZE x SIZE pixels, unless another size is asked for
PROTOCOLS = ("composite", "gt-background")


def mse(image: np.ndarray, real: np.ndarray) -> float:
    """Mean squared error over all pixels and channels, 0 to 255 ** 2.

    image, real: uint8 (H, W, 3), here and below. Raises ImageError on other arrays and on different shapes.
    """
    return float(np.square(_difference(image, real)).mean())


def fmse(image: np.ndarray, real: np.ndarray, mask: np.ndarray) -> float:
    """`mse` over the foreground's pixels alone. mask: uint8 (H, W). Raises MaskError when there are none."""
    return float(np.square(_difference(image, real)[_foreground(mask, real)]).mean())


def psnr(image: np.ndarray, real: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    return _decibel(mse(image, real))


def fpsnr(image: np.ndarray, real: np.ndarray, mask: np.ndarray) -> float:
    """`psnr` over the foreground's pixels alone: 10 log10(255 ** 2 / fMSE)."""
    return _decibel(fmse(image, real, mask))


def ssim(image: np.ndarray, real: np.ndarray) -> float:
    """Structural similarity, -1 to 1, with the Gaussian window of Z. Wang et al., 2004; mean over channels.

    The pictures need at least 11 pixels a side; smaller ones raise ImageError.
    """
    from skimage.metrics import structural_similarity  # here, as below: the page doesn't wait for it

    _difference(image, real)
    if min(real.shape[:2]) < 11:
        raise ImageError(f"SSIM needs 11 x 11 pixels at least, not {real.shape[1]} x {real.shape[0]}.")
    return float(
        structural_similarity(
            image,
            real,
            channel_axis=2,
            data_range=PEAK,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def delta_e(image: np.ndarray, real: np.ndarray, mask: np.ndarray) -> float:
    """Mean CIEDE2000 colour difference over the foreground; 1 is just noticeable."""
    return _delta_e(*_foreground_lab(image, real, mask))


def signed_errors(image: np.ndarray, real: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """How far the foreground's mean lightness L* and chroma C*ab (CIELAB, D65) are above (+) or below (-) the truth's.

    Keys "lightness" (-100 to 100) and "chroma" (about -130 to 130). A method that makes colours greyer has a negative
    "chroma".
    """
    return _signed_errors(*_foreground_lab(image, real, mask))


def score(
    harmonized: np.ndarray,
    real: np.ndarray,
    mask: np.ndarray,
    protocol: str = "composite",
    composite: np.ndarray | None = None,
    size: int = SIZE,
) -> dict[str, float]:
    """The metrics that tables report, for one picture at size x size.

    The result also has "fg_ratio", the foreground's share (0 to 1), and "true_chroma", the real foreground's mean C*ab.

    harmonized, real, composite: uint8 (H, W, 3); mask: uint8 (H, W); size: pixels.
    `ssim` is not included: no table of the paper has it, and it takes longer than all others together.
    protocol: whose pixels count outside the foreground. "composite": the composite's, whose JPEG noise counts (taken from
    `composite` if it is given; otherwise `harmonized` must have them). "gt-background": those of the real picture.
    Raises ValueError on another protocol, ImageError and MaskError as the metrics do.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"Unknown protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}.")
    _difference(harmonized, real)
    foreground = _foreground(mask, real)
    surroundings = real if protocol == "gt-background" else composite
    if surroundings is not None:
        _difference(surroundings, real)
        harmonized = np.where(foreground[..., None], harmonized, surroundings)
    image, truth, small_mask = resized(harmonized, size), resized(real, size), resized(mask, size)
    squared = np.square(_difference(image, truth))
    inside = _foreground(small_mask, truth)
    over_all, over_foreground = float(squared.mean()), float(squared[inside].mean())
    lab, true_lab = _foreground_lab(image, truth, small_mask)
    return {
        "mse": over_all,
        "fmse": over_foreground,
        "psnr": _decibel(over_all),
        "fpsnr": _decibel(over_foreground),
        "delta_e": _delta_e(lab, true_lab),
        **_signed_errors(lab, true_lab),
        "fg_ratio": float(inside.mean()),
        "true_chroma": float(_chroma(true_lab).mean()),
    }


def resized(array: np.ndarray, size: int) -> np.ndarray:
    """uint8 at size x size: averaged over areas where it shrinks, interpolated where it grows, rounded.

    array: uint8 (H, W) or (H, W, 3), squeezed to a square as published code does.
    """
    height, width = array.shape[:2]
    # OpenCV averages only if both sides shrink, hence two steps.
    small = (min(width, size), min(height, size))
    shrunk = cv2.resize(array.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    return np.rint(cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)).astype(np.uint8)


def _difference(image: np.ndarray, real: np.ndarray) -> np.ndarray:
    """image - real, float64 (H, W, 3)."""
    for array in (image, real):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            kind = f"{array.dtype} {array.shape}"
            raise ImageError(f"Scores need rounded uint8 pictures (height, width, 3), not {kind}.")
    if image.shape != real.shape:
        raise ImageError(f"Scores need pictures of one size, not {image.shape[:2]} and {real.shape[:2]}.")
    return image.astype(np.float64) - real


def _foreground(mask: np.ndarray, real: np.ndarray) -> np.ndarray:
    """bool (H, W)."""
    if mask.dtype != np.uint8 or mask.shape != real.shape[:2]:
        raise MaskError(f"Scores need a uint8 mask {real.shape[:2]}, not {mask.dtype} {mask.shape}.")
    foreground = mask > 127
    if not foreground.any():
        raise MaskError("Nothing to score: the mask has no foreground (no value above 127) at this size.")
    return foreground


def _foreground_lab(image: np.ndarray, real: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CIELAB of both pictures' N foreground pixels, float64 (N, 3) each."""
    from skimage.color import rgb2lab

    _difference(image, real)
    foreground = _foreground(mask, real)
    return rgb2lab(image[foreground]), rgb2lab(real[foreground])


def _delta_e(lab: np.ndarray, true_lab: np.ndarray) -> float:
    from skimage.color import deltaE_ciede2000

    return float(deltaE_ciede2000(true_lab, lab).mean())


def _signed_errors(lab: np.ndarray, true_lab: np.ndarray) -> dict[str, float]:
    return {
        "lightness": float((lab[:, 0] - true_lab[:, 0]).mean()),
        "chroma": float((_chroma(lab) - _chroma(true_lab)).mean()),
    }


def _chroma(lab: np.ndarray) -> np.ndarray:
    return np.hypot(lab[:, 1], lab[:, 2])


def _decibel(error: float) -> float:
    return 10 * math.log10(PEAK**2 / error) if error > 0 else math.inf
