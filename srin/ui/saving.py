"""What can be taken away: the picture at full size, the mask, the cut-out, the comparison sheet, an animation."""

import json
import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from srin.compare import animation, labelled_sheet
from srin.composite import MAX_STRENGTH, Composite, Placement, crop_to_mask
from srin.errors import SrinError
from srin.foreground import estimate_foreground
from srin.harmonizer import METHODS, Harmonizer
from srin.image_io import save_image, save_photo
from srin.segmentation.semantic_map import SemanticMap
from srin.ui import deadline
from srin.ui.files import new_file
from srin.ui.harmonizing import LABELS, Run, fitted
from srin.ui.pictures import address, shrink
from srin.ui.requests import UNEXPECTED, Data, number, text
from srin.ui.scene import Scene

FORMATS = ("png", "jpg", "webp")
ANIMATION_SIDE = 900


@dataclass(frozen=True)
class Choice:
    """what: "picture", "mask", "sheet" or "animation"; of a scene, "picture", "mask" or "cutout".
    feather: standard deviation in pixels of the preview.
    """

    what: str
    method: str
    format: str
    strength: float
    feather: float


def saved(data: Data, steps: Callable[[Choice], Iterator[str | Path]]) -> Iterator[Data]:
    """What the page shows while a file is made, and last where it is: see `steps` and `scene_steps`."""
    try:
        choice = Choice(
            text(data, "what"),
            text(data, "method"),
            text(data, "format"),
            number(data, "strength", 0, MAX_STRENGTH, 1.0),
            number(data, "feather", 0, 100),
        )
        for step in deadline.steps(steps(choice)):
            if isinstance(step, Path):
                file = {"url": address(step), "name": step.name, "bytes": step.stat().st_size}
                yield {**file, "request": number(data, "request", 0, 1e9)}
            else:
                yield {"text": step}
    except SrinError as error:
        yield {"problem": str(error)}
    except Exception:
        logging.getLogger(__name__).exception("saving failed")
        yield {"problem": UNEXPECTED}


def steps(run: Run, choice: Choice) -> Iterator[str | Path]:
    """What is being done, in words, and last the file's path. Raises SrinError."""
    if choice.what == "mask":
        yield from scene_steps(run.scene, run.placement, choice)
    elif choice.what == "sheet":
        yield "Drawing the sheet"
        path = new_file(f"{run.scene.stem}-comparison.png")
        save_image(labelled_sheet(_tiles(run)), path)
        yield path
    elif choice.what == "animation":
        _check_picked(run, choice)
        yield "Drawing the frames"
        path = new_file(f"{run.scene.stem}-{choice.method}-before-after.webp")
        before = run.composite
        after = mixed(run.picture(choice.method), before, choice.strength, choice.feather)
        animation(shrink(before.image, ANIMATION_SIDE), shrink(after, ANIMATION_SIDE), path)
        yield path
    else:
        _check_picked(run, choice)
        yield "Reading the originals"
        full = run.scene.composite(run.placement)
        yield from _picture(run.scene, run.placement, full, run.semantic_map(full), choice)


def scene_steps(scene: Scene, placement: Placement, choice: Choice) -> Iterator[str | Path]:
    """As `steps`, of what lies on the Stage, without a run of methods to compare."""
    if choice.what == "cutout":
        yield "Cutting out"
        yield _cutout(scene)
    elif choice.what == "mask":
        yield "Placing the mask at full size"
        path = new_file(f"{scene.stem}-mask.png")
        save_image(scene.composite(placement).mask, path)
        yield path
    else:
        if choice.method not in METHODS:
            raise SrinError("No network is here that could harmonize: their weights files are missing.")
        yield "Reading the originals"
        full = scene.composite(placement)
        seen = Composite(shrink(full.image), shrink(full.mask))
        drawn = scene.semantic_map(seen, placement)
        yield from _picture(scene, placement, full, fitted(drawn.labels.astype(np.uint8), drawn.segmenter, full), choice)


def _picture(
    scene: Scene, placement: Placement, full: Composite, semantic_map: SemanticMap, choice: Choice
) -> Generator[str | Path, None, None]:
    if choice.format not in FORMATS:
        raise SrinError(f"Pictures are saved as {', '.join(FORMATS)}.")
    height, width = full.mask.shape
    yield f"{LABELS[choice.method]} at {width} x {height} pixels"
    harmonized = Harmonizer.from_pretrained(choice.method).harmonize_composite(full, semantic_map)
    factor = height / shrink(full.mask).shape[0]
    result = mixed(harmonized, full, choice.strength, choice.feather * factor)
    yield f"Writing the {choice.format.upper()}"
    path = new_file(f"{scene.stem}-{choice.method}.{choice.format}")
    photo = scene.picture if scene.ready else scene.background
    assert photo is not None
    settings = _settings(scene, placement, semantic_map.segmenter, choice)
    save_photo(full.with_alpha(result), path, photo.path, json.dumps(settings), full.mask)
    yield path


def _cutout(scene: Scene) -> Path:
    """The object alone, at its photo's resolution, on transparency."""
    photo, selection = scene.masked_photo, scene.mask
    if photo is None or selection is None:
        raise SrinError("Cut out the object first.")
    rgb, mask = crop_to_mask(photo.original(), selection.mask())
    if not selection.pure:
        rgb = estimate_foreground(rgb, mask)
    path = new_file(f"{Path(photo.name).stem}-cut-out.png")
    save_image(np.dstack([rgb, mask]), path)
    return path


def mixed(harmonized: np.ndarray, composite: Composite, strength: float, feather: float) -> np.ndarray:
    """The harmonized picture taken back to the composite by strength, or beyond, and towards the mask's edge.

    harmonized: uint8 (H, W, 3), equal to the composite where the mask is 0. strength: 0 to 2. feather: standard deviation
    in pixels of the blur of the mask that the change is weighed by; 0 weighs all of it alike. Returns uint8 (H, W, 3).
    """
    if strength == 1 and feather == 0:
        return harmonized
    weight = cv2.GaussianBlur(composite.mask, (0, 0), feather) if feather else np.full_like(composite.mask, 255)
    out = composite.image.copy()
    x, y, width, height = cv2.boundingRect(composite.mask)
    window = (slice(y, y + height), slice(x, x + width))
    share = weight[window][..., None] * np.float32(strength / 255)
    before = composite.image[window]
    out[window] = np.rint(before + share * (harmonized[window].astype(np.float32) - before)).clip(0, 255)
    return out


def _tiles(run: Run) -> list[tuple[str, np.ndarray]]:
    tiles = []
    for method in run.done:
        outcome = run.outcomes[method]
        caption = f"{LABELS[method]}, {outcome.milliseconds:.0f} ms"
        if outcome.psnr is not None:
            caption += f", {outcome.psnr:.1f} dB"
        tiles.append((caption, run.picture(method)))
    if not tiles:
        raise SrinError("There is no result yet to compare.")
    return tiles


def _check_picked(run: Run, choice: Choice) -> None:
    if choice.method not in run.done:
        raise SrinError("Pick a method that has a result first.")


def _settings(scene: Scene, place: Placement, segmenter: str, choice: Choice) -> dict:
    """Enough to make the picture again."""
    settings: dict = {"method": choice.method, "strength": choice.strength, "feather": choice.feather}
    settings["semantic map"] = segmenter
    if not scene.ready:
        settings["placement"] = {
            "x": place.x, "y": place.y, "scale": place.scale, "rotation": place.rotation, "flip": place.flip,
        }  # fmt: skip
    return settings
