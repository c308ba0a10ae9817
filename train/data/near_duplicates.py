"""Detects photos that are nearly the same: copies at another size or quality, and shots of the same second."""

import cv2
import numpy as np

SIDE = 16
# Correlation of small copies. In the corpus, pairs above 0.98 show one scene, and no others are above 0.95.
NEAR = 0.97


def small_copy(image: np.ndarray) -> np.ndarray:
    """A small copy of uint8 (H, W, 3): float32 (3 * SIDE ** 2,), of mean 0 and length 1 (0 for uniform grey)."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def is_near(one: np.ndarray, others: np.ndarray) -> bool:
    """Whether a photo's small copy correlates by more than NEAR with any of `others`, (N, 3 * SIDE ** 2)."""
    return len(others) > 0 and float((others @ one).max()) > NEAR
