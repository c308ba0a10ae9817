"""Differences between two results of one composite: whether a person sees them, and a picture of them."""

import numpy as np

# Inside the object, differences below these (CIE dE2000) go unseen: their mean, and their 95th percentile.
UNSEEN_MEAN, UNSEEN_95 = 1.0, 2.0
SAMPLE = 20_000  # pixels of an object that are compared, spread evenly
GREY = (119, 119, 119)  # shows no difference
LIGHTNESS = (50.0, 0.0, 0.0)  # GREY in CIELAB
REACH = 45.0  # units of CIELAB to which the strongest differences are amplified
FACTORS = (1, 2, 3, 5, 10, 20)


def lab_sample(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """CIELAB of pixels spread evenly over the object, float32 (N, 3). N is below 2 * SAMPLE.

    image: uint8 (H, W, 3). mask: uint8 (H, W), not 0 everywhere. The object is where it is above 127, or, if it never
    is, above 0. The same mask gives the same pixels.
    """
    from skimage.color import rgb2lab  # here: the page doesn't wait for it

    inside = mask > 127 if (mask > 127).any() else mask > 0
    pixels = image[inside]
    return rgb2lab(pixels[:: max(1, len(pixels) // SAMPLE)]).astype(np.float32)


def distances(lab: np.ndarray, other: np.ndarray) -> np.ndarray:
    """CIE dE2000 between samples of two pictures under one mask, see `lab_sample`: (N,)."""
    from skimage.color import deltaE_ciede2000

    return deltaE_ciede2000(lab, other)


def looks_alike(lab: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures differ by less than a person sees."""
    found = distances(lab, other)
    return bool(found.mean() < UNSEEN_MEAN and np.percentile(found, 95) < UNSEEN_95)


def signed(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Draws the change from one picture to another around GREY.

    The drawing's CIELAB is that of GREY plus the factor times the change of L* (lighter, darker), a* (magenta, green)
    and b* (warmer, cooler).

    Args:
        before, after: uint8 (H, W, 3). mask: uint8 (H, W), not 0 everywhere.

    Returns:
        uint8 (H, W, 3), GREY where the mask is 0; and the factor: the largest of FACTORS that keeps 99 % of the changes
        within REACH, or 1.
    """
    from skimage.color import lab2rgb, rgb2lab

    inside = mask > 0
    change = (rgb2lab(after[inside]) - rgb2lab(before[inside])).astype(np.float32)
    strongest = float(np.percentile(np.abs(change).max(1), 99))
    factor = max(number for number in FACTORS if number == 1 or number * strongest <= REACH)
    picture = np.empty_like(before)
    picture[:] = GREY
    drawn = lab2rgb(LIGHTNESS + factor * change).clip(0, 1)
    picture[inside] = np.where(change.any(1, keepdims=True), np.rint(255 * drawn), GREY)
    return picture, factor
