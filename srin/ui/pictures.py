"""Pictures as the page shows them: small, on a checkerboard, with a selection or marks drawn on them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from gradio.utils import get_upload_folder

PROXY_SIDE = 1280  # pixels of the longer side of anything that the browser gets to see
SQUARE = 16  # pixels of a square of the checkerboard
ACCENT = (45, 212, 191)


def shrink(array: np.ndarray, side: int = PROXY_SIDE) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3), averaged down so that no side exceeds `side`; smaller ones are returned as they are."""
    height, width = array.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return array
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(array, size, interpolation=cv2.INTER_AREA)


def shown(image: np.ndarray) -> str:
    """Writes uint8 (H, W, 3) where Gradio serves files from and deletes them after a while; returns the path.

    JPEG, because Gradio's own encoders take ten times as long as all the rest of a preview.
    """
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        92,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()
    path = Path(get_upload_folder(), hashlib.sha256(data).hexdigest(), "preview.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def on_checkerboard(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): a cut-out, uint8 (H, W, 3) and (H, W), over light and dark grey squares."""
    rows, columns = (np.arange(length) // SQUARE % 2 for length in alpha.shape)
    squares = np.where(rows[:, None] ^ columns, 170, 210)[..., None]
    return np.rint(squares + (rgb - squares) * (alpha[..., None] / 255)).astype(np.uint8)


def with_selection(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): what isn't selected is dimmed, and the selection, uint8 (H, W), outlined."""
    weight = 0.3 + 0.7 * (mask[..., None] / 255)
    picture = np.rint(rgb * weight).astype(np.uint8)
    outline, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(picture, outline, -1, ACCENT, _thickness(rgb), cv2.LINE_AA)


def with_marks(
    rgb: np.ndarray, points: Sequence[tuple[float, float, int]], box: Sequence[float] | None = None
) -> np.ndarray:
    """uint8 (H, W, 3): points (x, y, label) and a box (x0, y0, x1, y1), in pixels, drawn on a copy."""
    picture, thickness = rgb.copy(), _thickness(rgb)
    if box is not None:
        x0, y0, x1, y1 = (round(number) for number in box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), (255, 255, 255), thickness, cv2.LINE_AA)
    for x, y, label in points:
        centre = (round(x), round(y))
        cv2.circle(picture, centre, 4 * thickness, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, centre, 3 * thickness, ACCENT if label else (220, 60, 60), -1, cv2.LINE_AA)
    return picture


def _thickness(rgb: np.ndarray) -> int:
    return max(1, round(max(rgb.shape[:2]) / 400))
