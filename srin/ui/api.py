"""The public endpoints, which are the MCP tools too: uploaded files in, files and JSON out. See docs/api.md.

Gradio documents them by their type hints and docstrings; a parameter's description has to fit on one line.
"""

import functools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar
from urllib.parse import unquote

import gradio as gr
import numpy as np

from srin import limits
from srin.compare import comparison_sheet, run_methods
from srin.composite import Composite
from srin.errors import ImageError, SrinError, UnknownMethod
from srin.formats import HEAD, signature
from srin.harmonizer import METHODS, NETWORKS, Harmonizer
from srin.image_io import header_size, load_image, save_image
from srin.offsets import Offsets
from srin.reference import filled
from srin.remarks import collected
from srin.report import report
from srin.results import save_result, settings_of
from srin.segmentation.semantic_map import fitted, read_or_draw
from srin.segmentation.semantic_map import segment as draw
from srin.ui.answering import workers
from srin.ui.answering.requests import UNEXPECTED
from srin.ui.compare.explaining import overlay
from srin.ui.session.uploads import is_visitors, new_file

Method = Literal[METHODS]  # type: ignore[valid-type]  # Gradio documents the endpoint by its type hints
Network = Literal[tuple(reversed(NETWORKS))]  # type: ignore[valid-type]
Segmenter = Literal["auto", "sam", "embedded", "colour"]
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

FILE_ROUTE = "/gradio_api/file="  # before the path, in the address of a file that this server has
NO_FILE: Any = None  # default of optional files: MCP would not take "FileData | None" for a file
NOT_UPLOADED = "The {} must be an uploaded file. Send it to /gradio_api/upload first."


def _endpoint(work: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Makes `work` run on a worker, within the time limit; errors become sentences. Large pictures have their own."""

    @functools.wraps(work)
    def endpoint(*arguments: Parameters.args, **named: Parameters.kwargs) -> Returned:
        try:
            on = workers.full if _is_large(*arguments, *named.values()) else workers.models
            return workers.run(functools.partial(work, *arguments, **named), on=on)
        except SrinError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            logging.getLogger(__name__).exception("%s failed", work.__name__)
            raise gr.Error(UNEXPECTED, print_exception=False) from error

    return endpoint


@_endpoint
def harmonize(
    image: gr.FileData,
    mask: gr.FileData,
    method: Method = "srin",
    strength: float = 1.0,
    semantic_map: gr.FileData = NO_FILE,
    segmenter: Segmenter = "auto",
    invert_mask: bool = False,
    reference: gr.FileData = NO_FILE,
    exposure: float = 0.0,
    temperature: float = 0.0,
    tint: float = 0.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
) -> tuple[gr.FileData, dict[str, Any]]:
    """Makes an object that was pasted into a photo match the light and colours of its background.

    Args:
        image: the composite, an uploaded picture: JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF or BMP
        mask: an uploaded picture of the same size, white on the pasted object and black elsewhere
        method: baseline, bain and srin are networks, the others classical; copy-paste returns the composite as it is
        strength: 0 leaves the composite as it is, 1 takes the method's result in full, up to 2 exaggerates its change
        semantic_map: an uploaded label picture, as segment returns it; only srin uses it; without one it is drawn
        segmenter: who draws the map; auto is Segment Anything (sam) where it is installed, else colour regions (colour)
        invert_mask: true where the mask is black on the object and white elsewhere
        reference: an uploaded picture, white where the background may lend its light and colours; only for networks
        exposure: stops, -3 to 3, on top of what the network decided, as are the next four; only for networks
        temperature: warmer above 0, cooler below, -40 to 40: units of CIELAB b* of the object's mean colour
        tint: more magenta above 0, greener below, -40 to 40: units of CIELAB a*
        contrast: a ratio, 0.25 to 4; 1 leaves it as it is
        saturation: a ratio, 0 to 4; 1 leaves it as it is, 0 is grey

    Returns:
        a PNG of the same size, identical to the composite where the mask is black
        JSON of the method, strength, who drew the map, milliseconds, version, what a network decided, offsets, warnings:
            sentences on what was guessed about the files, such as that the mask looks inverted
    """
    files = _uploaded(image, "image"), _uploaded(mask, "mask"), _optional(semantic_map, "semantic map")
    composite, warnings = _composite(files[0], files[1], invert_mask)
    harmonizer = Harmonizer.from_pretrained(_known(method))
    lending = _optional(reference, "reference")
    with collected() as more:
        allowed = harmonizer.allowed(composite, lending)
    regions = harmonizer.map_for(composite, files[2] if harmonizer.needs_map else None, segmenter, allowed)
    share = _number(strength, "strength")
    offsets = Offsets(exposure, temperature, tint, contrast, saturation)
    began = time.perf_counter()
    harmonized = harmonizer.harmonize_composite(composite, regions, share, reference=allowed, offsets=offsets)
    milliseconds = 1000 * (time.perf_counter() - began)
    path = new_file(f"{method}.png")
    settings = settings_of(harmonizer, (*files, lending), share, None, invert_mask is True, segmenter, offsets)
    save_result(harmonized, composite, path, files[0], settings)
    about = report(harmonizer, harmonized, regions, share, None, milliseconds, offsets)
    return _data(path), {**about, "warnings": warnings + more}


@_endpoint
def compare(
    image: gr.FileData,
    mask: gr.FileData,
    semantic_map: gr.FileData = NO_FILE,
    segmenter: Segmenter = "auto",
) -> tuple[gr.FileData, dict[str, Any]]:
    """Runs all harmonization methods on one composite, and shows them side by side in one labelled picture.

    Args:
        image: the composite, an uploaded picture: JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF or BMP
        mask: an uploaded picture of the same size, white on the pasted object and black elsewhere
        semantic_map: an uploaded label picture, as segment returns it; without one it is drawn
        segmenter: who draws the map; auto is Segment Anything (sam) where it is installed, else colour regions (colour)

    Returns:
        a PNG with the mask, the semantic map and every method's result as captioned tiles
        JSON of who drew the map, of each method's milliseconds, or why it failed, and of warnings on the files
    """
    composite, warnings = _composite(_uploaded(image, "image"), _uploaded(mask, "mask"))
    regions = fitted(composite, read_or_draw(composite, _optional(semantic_map, "semantic map"), segmenter))
    results = list(run_methods(composite, regions))
    times = [
        {"method": result.method, "milliseconds": round(result.milliseconds, 1), "problem": result.problem}
        for result in results
    ]
    sheet = _file(comparison_sheet(composite, regions, results), "comparison.png")
    return sheet, {"segmenter": regions.segmenter, "methods": times, "warnings": warnings}


@_endpoint
def segment(
    image: gr.FileData, mask: gr.FileData = NO_FILE, segmenter: Segmenter = "auto"
) -> tuple[gr.FileData, gr.FileData, dict[str, Any]]:
    """Divides a photo into regions of things that belong together: the semantic map that harmonize takes.

    Args:
        image: an uploaded picture: JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF or BMP
        mask: an uploaded picture of the same size, white on an object whose regions are to be kept apart
        segmenter: who draws the map; auto is Segment Anything (sam) where it is installed, else colour regions (colour)

    Returns:
        a PNG of labels: each pixel's value is the number of its region
        a PNG to look at: each region in its mean colour, with white outlines
        JSON of the number of regions, of who drew them, and of warnings on the files
    """
    path, cut = _uploaded(image, "image"), _optional(mask, "mask")
    composite, warnings = _composite(path, cut) if cut else (None, [])
    if composite is None:
        with collected() as warnings:
            picture = load_image(path)
    else:
        picture = composite.image
    regions = draw(composite or picture, segmenter)
    labels, painted = new_file("map.png"), new_file("map_painted.png")
    regions.save(labels)
    regions.save_painted(picture, painted)
    about = {"regions": int(regions.labels.max()) + 1, "segmenter": regions.segmenter, "warnings": warnings}
    return _data(labels), _data(painted), about


@_endpoint
def explain(
    image: gr.FileData,
    mask: gr.FileData,
    x: float,
    y: float,
    method: Network = "srin",  # type: ignore[valid-type]
    semantic_map: gr.FileData = NO_FILE,
    segmenter: Segmenter = "auto",
    reference: gr.FileData = NO_FILE,
) -> tuple[gr.FileData, dict[str, Any]]:
    """Measures what each region of the background does to one part of the pasted object, by leaving it out.

    Args:
        image: the composite, an uploaded picture: JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF or BMP
        mask: an uploaded picture of the same size, white on the pasted object and black elsewhere
        x: pixels from the left edge, of a point on the pasted object: the part there is asked about
        y: pixels from the upper edge, of the same point
        method: one of the networks; srin borrows from regions and places, bain from places, baseline from all alike
        semantic_map: an uploaded label picture, as segment returns it, whose regions are left out; else it is drawn
        segmenter: who draws the map; auto is Segment Anything (sam) where it is installed, else colour regions (colour)
        reference: as for harmonize; regions that may not lend are left out of the answer

    Returns:
        a PNG with transparency, to lay over the composite: the brighter a region, the more leaving it out changes
        JSON of a sentence, of each background region's place, area, weight and effect in grey levels, of who drew the
            map, and of warnings on the files
    """
    harmonizer = Harmonizer.from_pretrained(_known(method))
    composite, warnings = _composite(_uploaded(image, "image"), _uploaded(mask, "mask"))
    with collected() as more:
        allowed = harmonizer.allowed(composite, _optional(reference, "reference"))
    regions = read_or_draw(filled(composite, allowed), _optional(semantic_map, "semantic map"), segmenter)
    shown = harmonizer.explain_composite(composite, (_number(x, "x"), _number(y, "y")), regions, allowed)
    about = [asdict(region) for region in shown.regions]
    return _file(overlay(shown), "effects.png"), {
        "sentence": shown.sentence,
        "segmenter": regions.segmenter,
        "regions": about,
        "warnings": warnings + more,
    }


ENDPOINTS: tuple[Callable[..., Any], ...] = (harmonize, compare, segment, explain)


def register(demo: gr.Blocks, **how: Any) -> None:
    """Adds the endpoints to the app that is being built. how: for gr.api."""
    for endpoint in ENDPOINTS:
        gr.api(endpoint, api_name=endpoint.__name__, **how)  # type: ignore[attr-defined]  # not in __all__
    for function in demo.fns.values():
        for parameter in function.inputs if function.fn in ENDPOINTS else ():
            # Otherwise Gradio would fetch a file of any size from any address before it calls the endpoint.
            setattr(parameter, "async_move_resource_to_block_cache", _no_fetching)  # noqa: B010  # mypy's own rule


async def _no_fetching(path: str) -> str:
    """The path of a file of this server, which MCP clients name by its address. Raises gr.Error for other addresses."""
    if not path.startswith(("http://", "https://")):
        return path
    _, route, own = path.partition(FILE_ROUTE)
    if not route:
        raise gr.Error(NOT_UPLOADED.format("file"), print_exception=False)
    return unquote(own)


# --- Requests are arbitrary JSON, whatever the hints say.


def _is_large(*given: object) -> bool:
    """Whether one of the values is an uploaded picture that takes long. What is wrong with a value is said later.

    HEIC pictures always count as large: finding out their size would take as long as decoding them.
    """
    for one in given:
        try:
            path = _uploaded(one, "file")
            with open(path, "rb") as file:
                is_heic = signature(file.read(HEAD)) == "HEIC"
            width, height = (limits.MAX_SIDE, limits.MAX_SIDE) if is_heic else header_size(path)
        except (ImageError, OSError):
            continue
        if width * height > limits.LARGE:
            return True
    return False


def _composite(image: Path, mask: Path, invert_mask: object = False) -> tuple[Composite, list[str]]:
    """The composite of two files, and what was guessed about them."""
    with collected() as warnings:
        composite = Composite.load(image, mask, invert_mask is True)
    return composite, warnings


def _known(method: object) -> str:
    if not isinstance(method, str):
        raise UnknownMethod(f"The method must be one of {', '.join(METHODS)}.")
    return method


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SrinError(f"{name} must be a number, not {str(value)[:80]!r}.")
    return value


def _optional(file: object, what: str) -> Path | None:
    return None if file is None else _uploaded(file, what)


def _uploaded(file: object, what: str) -> Path:
    """The path of an upload or of a result, never of another file of the server."""
    path = file.get("path") if isinstance(file, dict) else None
    if not isinstance(path, str) or "\0" in path or not is_visitors(path):
        raise ImageError(NOT_UPLOADED.format(what))
    return Path(path)


def _file(array: np.ndarray, name: str) -> gr.FileData:
    path = new_file(name)
    save_image(array, path)
    return _data(path)


def _data(path: Path) -> gr.FileData:
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()  # type: ignore[return-value]  # Gradio wants the dict
