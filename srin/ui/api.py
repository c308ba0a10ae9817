"""The one public endpoint: files in, a PNG out."""

from pathlib import Path
from typing import Literal

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from srin.errors import ImageError, SrinError
from srin.harmonizer import METHODS, Harmonizer
from srin.image_io import save_image
from srin.ui.pictures import new_file

Method = Literal[METHODS]  # type: ignore[valid-type]  # Gradio documents the endpoint by its type hints


def harmonize(image: gr.FileData, mask: gr.FileData, method: Method, strength: float = 1.0) -> gr.FileData:
    """Makes the masked foreground of a composite match its background.

    Args:
        image: the composite: JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP.
        mask: of the same size, white on the pasted foreground.
        method: how to harmonize.
        strength: 0 leaves the composite as it is, 1 takes the method's result in full.

    Returns:
        a PNG of the same size, identical to the composite where the mask is black.
    """
    try:
        if not isinstance(strength, int | float):
            raise SrinError(f"The strength must be a number from 0 to 1, not {strength!r}.")
        harmonizer = Harmonizer.from_pretrained(method)
        result = harmonizer.harmonize(_uploaded(image, "image"), _uploaded(mask, "mask"), strength=strength)
        path = new_file(f"{method}.png")
        save_image(result, path)
    except SrinError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()  # type: ignore[return-value]  # Gradio wants the dict


def _uploaded(file: object, what: str) -> Path:
    """The path of an upload: requests are arbitrary JSON, and must not reach any other file of the server."""
    path = file.get("path") if isinstance(file, dict) else None
    if not isinstance(path, str) or not is_in_or_equal(path, get_upload_folder()):
        raise ImageError(f"The {what} must be an uploaded file.")
    return Path(path)
