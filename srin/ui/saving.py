"""What can be taken away: the picture at full size, the mask, the comparison sheet, a before-and-after animation."""

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from srin.compare import animation, labelled_sheet
from srin.composite import Composite
from srin.errors import SrinError
from srin.harmonizer import Harmonizer
from srin.image_io import save_image, save_photo
from srin.ui.files import new_file
from srin.ui.harmonizing import LABELS, Run
from srin.ui.pictures import shrink

FORMATS = ("png", "jpg", "webp")
ANIMATION_SIDE = 900


@dataclass(frozen=True)
class Choice:
    """what: "picture", "mask", "sheet" or "animation". feather: standard deviation in pixels of the preview."""

    what: str
    method: str
    format: str
    strength: float
    feather: float


def steps(run: Run, choice: Choice) -> Iterator[str | Path]:
    """What is being done, in words, and last the file's path. Raises SrinError."""
    if choice.what == "mask":
        yield "Placing the mask at full size"
        path = new_file(f"{run.scene.stem}-mask.png")
        save_image(run.scene.composite(run.placement).mask, path)
    elif choice.what == "sheet":
        yield "Drawing the sheet"
        path = new_file(f"{run.scene.stem}-comparison.png")
        save_image(labelled_sheet(_tiles(run)), path)
    elif choice.what == "animation":
        _check_picked(run, choice)
        yield "Drawing the frames"
        path = new_file(f"{run.scene.stem}-{choice.method}-before-after.webp")
        before = run.composite
        after = mixed(run.picture(choice.method), before, choice.strength, choice.feather)
        animation(shrink(before.image, ANIMATION_SIDE), shrink(after, ANIMATION_SIDE), path)
    else:
        path = yield from _picture(run, choice)
    yield path


def _picture(run: Run, choice: Choice) -> Generator[str, None, Path]:
    _check_picked(run, choice)
    if choice.format not in FORMATS:
        raise SrinError(f"Pictures are saved as {', '.join(FORMATS)}.")
    yield "Reading the originals"
    full = run.scene.composite(run.placement)
    yield f"{LABELS[choice.method]} at {run.size[0]} x {run.size[1]} pixels"
    harmonized = Harmonizer.from_pretrained(choice.method).harmonize_composite(full, run.semantic_map)
    factor = full.mask.shape[0] / run.composite.mask.shape[0]
    result = mixed(harmonized, full, choice.strength, choice.feather * factor)
    yield f"Writing the {choice.format.upper()}"
    path = new_file(f"{run.scene.stem}-{choice.method}.{choice.format}")
    photo = run.scene.picture if run.scene.ready else run.scene.background
    assert photo is not None
    save_photo(full.with_alpha(result), path, photo.path, json.dumps(_settings(run, choice)), full.mask)
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


def _settings(run: Run, choice: Choice) -> dict:
    """Enough to make the picture again."""
    settings: dict = {"method": choice.method, "strength": choice.strength, "feather": choice.feather}
    settings["semantic map"] = run.segmenter
    if not run.scene.ready:
        place = run.placement
        settings["placement"] = {
            "x": place.x, "y": place.y, "scale": place.scale, "rotation": place.rotation, "flip": place.flip,
        }  # fmt: skip
    return settings
