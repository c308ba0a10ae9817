"""Colour regions: the map that is drawn without a Segment Anything checkpoint."""

import cv2
import numpy as np
from skimage.segmentation import felzenszwalb

PROXY_SIDE = 480  # pixels of the longer side; the settings below were chosen at this size
SCALE = 500.0
MIN_REGION = 500  # pixels of the proxy


def colour_regions(image: np.ndarray) -> np.ndarray:
    """Splits a photo into regions of similar colour.

    Felzenszwalb and Huttenlocher's graph segmentation on bilateral-filtered CIELAB / 100, computed on a proxy of
    at most 480 px, so its cost doesn't grow with the photo.

    Args:
        image: uint8 (H, W, 3), sRGB.

    Returns:
        int32 (H, W), labels consecutive from 0. The same picture always gives the same labels.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, PROXY_SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    proxy = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(proxy.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab = cv2.bilateralFilter(lab, 9, 12, 5) / 100
    # Photos below the proxy's size keep the same relative granularity.
    min_region = max(1, round(MIN_REGION * (max(size) / PROXY_SIDE) ** 2))
    labels = felzenszwalb(lab, scale=SCALE, sigma=0, min_size=min_region, channel_axis=2)
    labels = labels.astype(np.int32)
    if shrink < 1:
        # Nearest neighbour by index: cv2.resize has no exact int32 path.
        rows = (np.arange(height) * size[1] // height)[:, None]
        columns = (np.arange(width) * size[0] // width)[None, :]
        labels = labels[rows, columns]
    return labels
