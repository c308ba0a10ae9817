"""All methods on one composite: results with their times, and the sheet that shows them side by side."""

import io
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srin.composite import Composite
from srin.errors import SrinError
from srin.harmonizer import METHODS, Harmonizer
from srin.image_io import write_whole
from srin.reference import Reference
from srin.resizing import shrunk_size
from srin.segmentation.semantic_map import SemanticMap

TILE = 480  # pixels of a tile's longer side
CAPTION = 34
GAP = 10
COLUMNS = 3
FADE, FRAME_MS, HOLD_MS = 10, 60, 1100  # steps of a fade, and milliseconds


@dataclass(frozen=True)
class Result:
    """One method's result.

    Attributes:
        method: its name. harmonized: uint8 (H, W, 3), or None when it failed. milliseconds: duration of the call alone,
            without loading weights. problem: why there is no picture, as a sentence, or None.
    """

    method: str
    harmonized: np.ndarray | None
    milliseconds: float
    problem: str | None = None


def run_methods(
    composite: Composite,
    semantic_map: SemanticMap,
    methods: Sequence[str] = METHODS,
    device: str | None = None,
    reference: Reference | None = None,
) -> Iterator[Result]:
    """Runs methods one after the other and yields each result as it is ready. If one fails, the others still run.

    reference: as in `Harmonizer.harmonize`, for the networks; the other methods borrow from the whole background.
    """
    for method in methods:
        began = time.perf_counter()
        try:
            harmonizer = Harmonizer.from_pretrained(method, device)
            began = time.perf_counter()  # loading weights happens once and is not the method's time
            lending = reference if harmonizer.decides else None
            harmonized = harmonizer.harmonize_composite(composite, semantic_map, reference=lending)
        except SrinError as error:
            yield Result(method, None, 0.0, str(error))
        else:
            yield Result(method, harmonized, 1000 * (time.perf_counter() - began))


def comparison_sheet(composite: Composite, semantic_map: SemanticMap, results: Iterable[Result]) -> np.ndarray:
    """Mask, semantic map (built for this composite) and every result with its time, in one labelled picture.

    Returns:
        uint8 (H', W', 3): three columns of tiles, each at most 480 px on the longer side.
    """
    tiles = [
        ("mask", _outlined(composite)),
        (f"semantic map: {semantic_map.segmenter}", semantic_map.paint(composite.image)),
    ]
    for result in results:
        if result.harmonized is None:
            tiles.append((f"{result.method}: unavailable", np.full_like(composite.image, 128)))
        else:
            tiles.append((f"{result.method}, {result.milliseconds:.0f} ms", result.harmonized))
    return labelled_sheet(tiles)


def _outlined(composite: Composite) -> np.ndarray:
    """The composite with everything but the foreground dimmed."""
    weight = 0.25 + 0.75 * composite.mask[..., None] / 255
    return np.rint(composite.image * weight).astype(np.uint8)


def labelled_sheet(tiles: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Joins pictures of one size and their captions into one picture.

    Args:
        tiles: captions and uint8 (H, W, 3), at least one.

    Returns:
        uint8 (H', W', 3): three columns of tiles, each at most 480 px on the longer side.
    """
    height, width = tiles[0][1].shape[:2]
    size = shrunk_size(width, height, TILE)
    cell = (max(size[0], 220) + GAP, size[1] + CAPTION + GAP)
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (cell[0] * COLUMNS + GAP, cell[1] * rows + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for i, (caption, picture) in enumerate(tiles):
        x, y = GAP + i % COLUMNS * cell[0], GAP + i // COLUMNS * cell[1]
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        sheet.paste(Image.fromarray(small), (x, y))
        draw.text((x, y + size[1] + 5), caption, fill=(30, 30, 30), font=font)
    return np.asarray(sheet)


def animation(before: np.ndarray, after: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Writes an endless animation that fades from one picture to the other and back, as WebP.

    Args:
        before, after: uint8 (H, W, 3), of one size.
        path: ends in .webp; its folder exists.

    Raises OutputError when it can't be written.
    """
    blends = [(1 - math.cos(math.pi * i / FADE)) / 2 for i in range(FADE + 1)]
    frames = [Image.fromarray(cv2.addWeighted(before, 1 - share, after, share, 0)) for share in blends]
    # It fades forwards, then backwards, and holds for HOLD_MS at both ends.
    times = [HOLD_MS, *[FRAME_MS] * (FADE - 1), HOLD_MS, *[FRAME_MS] * (FADE - 1)]
    round_trip = [*frames, *frames[-2:0:-1]]
    encoded = io.BytesIO()
    round_trip[0].save(encoded, "WEBP", save_all=True, append_images=round_trip[1:], duration=times, loop=0, quality=80)
    write_whole(encoded.getbuffer(), Path(path))
