"""An upper bound for global colour transforms: a method that is given the truth."""

import numpy as np

ORACLE = "affine oracle"  # its name in reports


def affine_oracle(composite: np.ndarray, real: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The composite under the 3x4 colour transform of its foreground that is closest to the truth, by least squares.

    The fit ignores the range 0 to 255; its result is clipped to it. So if many pixels are clipped, a transform with a
    slightly smaller error may exist.

    Args:
        composite, real: uint8 (H, W, 3). mask: uint8 (H, W), foreground above 127.

    Returns:
        uint8 (H, W, 3), rounded; the composite's own pixels outside the foreground.
    """
    inside = mask > 127
    colours = np.column_stack([composite[inside], np.ones(inside.sum())])
    transform = np.linalg.lstsq(colours, real[inside].astype(np.float64), rcond=None)[0]
    result = composite.copy()
    result[inside] = np.clip(np.rint(colours @ transform), 0, 255)
    return result
