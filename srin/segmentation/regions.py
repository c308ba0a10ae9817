"""Colour regions, the map that is drawn without a Segment Anything checkpoint; and regions that a network joined."""

import cv2
import numpy as np
from skimage.segmentation import felzenszwalb

from srin.resizing import enlarged_labels, shrunk_size

PROXY_SIDE = 480  # pixels of the longer side; the settings below were chosen at this size
SCALE = 500.0
MIN_REGION = 500  # pixels of the proxy
# The same for the small regions that `joined_regions` begins with.
FINE_SIDE, FINE_SCALE, FINE_MIN_REGION = 150, 100.0, 20
COLOUR_WEIGHT = 0.5  # of a distance of CIELAB / 100 between regions, beside how differently the answers treat them
MOST_UNLIKE = 0.35  # regions that are less alike are not joined


def colour_regions(image: np.ndarray) -> np.ndarray:
    """Splits a photo into regions of similar colour.

    Felzenszwalb and Huttenlocher's graph segmentation on bilateral-filtered CIELAB / 100, computed on a proxy of
    at most 480 px, so its cost doesn't grow with the photo.

    Args:
        image: uint8 (H, W, 3), sRGB.

    Returns:
        int32 (H, W), labels consecutive from 0. The same picture always gives the same labels.
    """
    lab = _lab(image, PROXY_SIDE)
    # Photos below the proxy's size keep the same relative granularity.
    min_region = max(1, round(MIN_REGION * (max(lab.shape[:2]) / PROXY_SIDE) ** 2))
    labels = _split(lab, SCALE, min_region)
    return labels if labels.shape == image.shape[:2] else enlarged_labels(labels, image.shape[:2])


def joined_regions(image: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Splits a photo into small colour regions, and joins neighbours that belong to the same things.

    Two regions belong together if the masks that contain one also contain the other, and if their colours are similar.
    The most similar neighbours are joined first.

    Args:
        image: uint8 (H, W, 3), sRGB.
        answers: float32 (N, h, w), probabilities of N masks of the whole photo, such as answers to a grid of clicks.

    Returns:
        int32 (rows, columns), at most FINE_SIDE pixels on the longer side, labels consecutive from 0.
    """
    lab = _lab(image, FINE_SIDE)
    labels = _split(lab, FINE_SCALE, FINE_MIN_REGION)
    count, areas = int(labels.max()) + 1, np.bincount(labels.ravel()).astype(np.float64)
    colours = np.stack([np.bincount(labels.ravel(), lab[..., k].ravel()) for k in range(3)], 1) / areas[:, None]
    unlike, weights = np.zeros((count, count)), np.zeros((count, count))
    for answer in answers:
        resized = cv2.resize(answer, lab.shape[1::-1], interpolation=cv2.INTER_AREA)
        within = np.bincount(labels.ravel(), resized.ravel()) / areas
        weight = np.maximum(within[:, None], within) + 1e-3  # answers elsewhere say nothing about the two
        unlike += np.abs(within[:, None] - within) * weight
        weights += weight
    unlike /= weights
    touching = np.zeros((count, count), bool)
    for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        touching[one, other] = touching[other, one] = True
    np.fill_diagonal(touching, False)
    joined_to = np.arange(count)
    while touching.any():
        apart = np.linalg.norm(colours[:, None] - colours[None], axis=2)
        distance = np.where(touching, unlike + COLOUR_WEIGHT * apart, np.inf)
        kept, gone = np.unravel_index(int(distance.argmin()), distance.shape)
        if distance[kept, gone] > MOST_UNLIKE:
            break
        shares = areas[[kept, gone]] / areas[[kept, gone]].sum()
        colours[kept] = shares @ colours[[kept, gone]]
        unlike[kept] = unlike[:, kept] = shares @ unlike[[kept, gone]]
        areas[kept] += areas[gone]
        touching[kept] = touching[:, kept] = touching[kept] | touching[gone]
        touching[gone] = touching[:, gone] = touching[kept, kept] = False
        joined_to[joined_to == gone] = kept
    return np.unique(joined_to[labels], return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def _lab(image: np.ndarray, side: int) -> np.ndarray:
    """Bilateral-filtered CIELAB / 100 of a copy with at most `side` pixels on the longer side: float32 (h, w, 3)."""
    proxy = cv2.resize(image, shrunk_size(image.shape[1], image.shape[0], side), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(proxy.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return cv2.bilateralFilter(lab, 9, 12, 5) / 100


def _split(lab: np.ndarray, scale: float, min_region: int) -> np.ndarray:
    """Felzenszwalb and Huttenlocher's graph segmentation: int32 (h, w), labels consecutive from 0."""
    return felzenszwalb(lab, scale=scale, sigma=0, min_size=min_region, channel_axis=2).astype(np.int32)
