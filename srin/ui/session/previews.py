"""Makes small pictures for the browser, and writes them where Gradio serves files from."""

import base64
import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from srin.batch import make_folder
from srin.image_io import write_whole
from srin.resizing import shrunk_size

PROXY_SIDE = 1280  # pixels of the longer side of anything that the browser gets to see
LIVE_SIDE = 512  # of the live preview's result; the network sees its own working size
MASK_COLOUR = (255, 70, 120)  # the same as in stage/brush.js
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
CUTOUT_QUALITY = 95
LIVE_QUALITY = 85


def shrink(array: np.ndarray, side: int = PROXY_SIDE) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3), averaged down so that no side exceeds `side`; smaller ones are returned as they are."""
    return resized(array, shrunk_size(array.shape[1], array.shape[0], side))


def resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3), averaged to a width and height; the array itself where it has these."""
    if size == (array.shape[1], array.shape[0]):
        return array
    return cv2.resize(array, size, interpolation=cv2.INTER_AREA)


def shown(image: np.ndarray, folder: str = "") -> str:
    """Writes uint8 (H, W, 3) as a JPEG; returns its address for the page. Raises OutputError, as all that write here.

    folder: of the visitors' files, see uploads.KEPT.

    With OpenCV, because Gradio's own encoders take ten times as long as all the rest of a preview.
    """
    return shown_file(cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG)[1].tobytes(), "jpg", folder)


def shown_mask(mask: np.ndarray) -> str:
    """The address of a mask, uint8 (H, W), as the opacity of MASK_COLOUR."""
    layer = np.empty((*mask.shape, 4), np.uint8)
    layer[..., :3] = MASK_COLOUR[::-1]
    layer[..., 3] = mask
    return shown_file(cv2.imencode(".png", layer, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes(), "png")


def shown_cutout(rgb: np.ndarray, alpha: np.ndarray) -> str:
    """The address of a cut-out, uint8 (H, W, 3) and its opacity (H, W), as a WebP."""
    layer = np.dstack([cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), alpha])
    return shown_file(cv2.imencode(".webp", layer, [cv2.IMWRITE_WEBP_QUALITY, CUTOUT_QUALITY])[1].tobytes(), "webp")


def inline(rgba: np.ndarray) -> str:
    """uint8 (H, W, 4) as a WebP inside a URL: for pictures that are shown once, and at once."""
    layer = cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)
    return _webp_url(cv2.imencode(".webp", layer, [cv2.IMWRITE_WEBP_QUALITY, LIVE_QUALITY])[1].tobytes())


def inline_lossless(rgba: np.ndarray) -> str:
    """As `inline`, without loss where the picture is opaque.

    With Pillow, whose effort can be chosen: it takes a thirtieth of OpenCV's time, for a file larger by an eighth.
    """
    file = io.BytesIO()
    Image.fromarray(rgba).save(file, "WEBP", lossless=True, quality=0, method=0)
    return _webp_url(file.getvalue())


def _webp_url(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def address(path: Path) -> str:
    """Where the browser finds a file of the upload folder."""
    return f"gradio_api/file={path}"


def shown_file(data: bytes, kind: str, folder: str = "") -> str:
    """The address of a file with this content. kind: its extension. folder: see `shown`. Raises OutputError."""
    path = Path(get_upload_folder(), folder, hashlib.sha256(data).hexdigest(), f"preview.{kind}")
    make_folder(path.parent)
    write_whole(data, path)
    return address(path)
