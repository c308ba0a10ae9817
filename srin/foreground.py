"""Estimates an object's own colours along its soft edge, without those of the photo that it was cut out of."""

import cv2
import numpy as np

from srin.composite import crop_to_mask
from srin.resizing import enlarged_part, shrunk_size

FAR, NEAR = 1 / 12, 1 / 150  # of the longer side: neighbourhoods for hair and motion blur, and for detail
FAR_SIDE = 640  # pixels of the longer side at which far neighbourhoods are averaged: those averages are smooth
TILE = 256
CERTAINTY = 4  # power of the weights, our addition: mixed pixels say less about either colour than their share suggests


def cut_out(photo: np.ndarray, mask: np.ndarray, pure: bool) -> tuple[np.ndarray, np.ndarray]:
    """The object alone, for `srin.composite.place`: its colours, uint8 (h, w, 3), and mask (h, w), cropped to the mask.

    photo: uint8 (H, W, 3); mask: uint8 (H, W). pure: whether the colours under the soft edge are the object's own.
    Raises MaskError on an empty mask or one of another size.
    """
    rgb, cut = crop_to_mask(photo, mask)
    return (rgb if pure else estimate_foreground(rgb, cut)), cut


def estimate_foreground(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Replaces the mixed colours of a soft edge by an estimate of the object's own ("decontamination").

    A pixel of the edge shows a F + (1 - a) B. F and B are guessed by averaging the neighbourhood, weighted by the mask
    and by its complement, then F is corrected so that the equation holds (Forte, "Approximate Fast Foreground Colour
    Estimation", ICIP 2021, equations 4 to 7; twice, with a wide and with a narrow neighbourhood). The cost grows with the
    edge's length, not with the picture.

    pymatting's multi-level estimation is not used, because people wait while this runs: pymatting's first import on a
    machine compiles for half a minute and more, and it then takes 0.4 s a megapixel. This needs OpenCV alone.

    Args:
        image: uint8 (H, W, 3), the photo of the object. mask: uint8 (H, W), with soft edges.

    Returns:
        uint8 (H, W, 3): equal to `image` where the mask is 0 or 255.
    """
    soft = (mask > 0) & (mask < 255)
    if not soft.any():
        return image
    height, width = mask.shape
    size = shrunk_size(width, height, FAR_SIDE)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)[..., None] / np.float32(255)
    far = _means(small, small, share, max(1, round(FAR * max(size))))
    reach = max(1, round(NEAR * max(height, width)))
    out = image.copy()
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            tile = (slice(top, top + TILE), slice(left, left + TILE))
            if soft[tile].any():
                y, x = max(0, top - reach - 1), max(0, left - reach - 1)
                window = (slice(y, top + TILE + reach + 1), slice(x, left + TILE + reach + 1))
                observed = image[window].astype(np.float32)
                alpha = mask[window][..., None] / np.float32(255)
                wide, behind = (enlarged_part(mean, (width, height), x, y, alpha.shape[1::-1]) for mean in far)
                near, behind = _means(_corrected(observed, wide, behind, alpha), behind, alpha, reach)
                found = np.rint(_corrected(observed, near, behind, alpha)).astype(np.uint8)
                inside = found[top - y : top - y + TILE, left - x : left - x + TILE]
                out[tile][soft[tile]] = inside[soft[tile]]
    return out


def _means(
    foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both colours averaged over neighbourhoods, float32 (H, W, 3) each."""

    def mean(colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
        size = (2 * reach + 1, 2 * reach + 1)
        return cv2.blur(colours * weight, size) / (cv2.blur(weight, size)[..., None] + 1e-5)

    return mean(foreground, alpha**CERTAINTY), mean(background, (1 - alpha) ** CERTAINTY)


def _corrected(observed: np.ndarray, foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The foreground that, mixed with the background, gives what was observed; 0 to 255."""
    rest = observed - alpha * foreground - (1 - alpha) * background
    return (foreground + alpha * rest).clip(0, 255)
