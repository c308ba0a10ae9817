"""The colours of an object along its soft edge, without those of the photo that it was cut out of."""

import cv2
import numpy as np

REACHES = (1 / 12, 1 / 150)  # of the longer side: first far, for hair and motion blur, then near, for detail
CERTAINTY = 4  # power of the weights: mixed pixels tell less of either colour than their share says (ours)


def estimate_foreground(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Replaces the mixed colours of a soft edge by an estimate of the object's own ("decontamination").

    A pixel of the edge shows a F + (1 - a) B. F and B are guessed by averaging the neighbourhood, weighted by the mask
    and by its complement, then F is corrected so that the equation holds (Forte, "Approximate Fast Foreground Colour
    Estimation", ICIP 2021, equations 4 to 7; twice, with a wide and with a narrow neighbourhood).

    Not pymatting's multi-level estimation, because every mask passes through here while people wait: pymatting's first
    import on a machine compiles for half a minute and more, and it then takes 0.4 s a megapixel; this takes OpenCV alone.

    Args:
        image: uint8 (H, W, 3), the photo of the object. mask: uint8 (H, W), of soft edges.

    Returns:
        uint8 (H, W, 3): equal to `image` where the mask is 0 or 255.
    """
    soft = (mask > 0) & (mask < 255)
    if not soft.any():
        return image
    x, y, width, height = cv2.boundingRect(soft.astype(np.uint8))
    reaches = [max(1, round(share * max(image.shape[:2]))) for share in REACHES]
    margin = reaches[0] + 1
    window = (slice(max(y - margin, 0), y + height + margin), slice(max(x - margin, 0), x + width + margin))
    observed = image[window].astype(np.float32)
    alpha = mask[window].astype(np.float32)[..., None] / 255
    foreground = background = observed
    for reach in reaches:
        foreground, background = _fused(observed, foreground, background, alpha, reach)
    out = image.copy()
    out[window][soft[window]] = np.rint(foreground.clip(0, 255))[soft[window]].astype(np.uint8)
    return out


def _fused(
    observed: np.ndarray, foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """One pass: better estimates of foreground and background, float32 (H, W, 3) each."""

    def mean(colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
        size = (2 * reach + 1, 2 * reach + 1)
        return cv2.blur(colours * weight, size) / (cv2.blur(weight, size)[..., None] + 1e-5)

    near_foreground = mean(foreground, alpha**CERTAINTY)
    near_background = mean(background, (1 - alpha) ** CERTAINTY)
    rest = observed - alpha * near_foreground - (1 - alpha) * near_background
    return (near_foreground + alpha * rest).clip(0, 255), near_background
