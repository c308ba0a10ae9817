"""Photos that are nearly the same: copies at another size or quality, and shots of one second."""

import cv2
import numpy as np

SIDE = 16
# Correlation of small copies. In the corpus, pairs above 0.98 show one scene, and no others are above 0.95.
NEAR = 0.97


def small_copy(image: np.ndarray) -> np.ndarray:
    """float32 (3 * SIDE ** 2,), of mean 0 and length 1 (0 where there is one colour alone), from uint8 (H, W, 3)."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def is_near(one: np.ndarray, others: np.ndarray) -> bool:
    """Whether a photo's small copy correlates by more than NEAR with any of others', (N, 3 * SIDE ** 2)."""
    return len(others) > 0 and float((others @ one).max()) > NEAR
