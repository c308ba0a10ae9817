"""The Stage: the page's canvas, and what it asks of the server. Its browser side is in web/stage/."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from srin.composite import MAX_SCALE, MIN_SCALE, Placement
from srin.errors import ImageError, SrinError
from srin.image_io import load_rgba
from srin.ui import masks
from srin.ui.examples import load_examples
from srin.ui.island import island
from srin.ui.session import Photo, Session

SCRIPTS = ("view", "placement", "brush", "history", "draw", "gestures", "keyboard", "panel", "files", "requests", "main")
ROLES = {"background": "background", "object": "object's photo", "picture": "composite", "mask": "mask"}
UNEXPECTED = "Something went wrong on our side; the server's log says what. Nothing of yours is lost."

Data = dict[str, Any]


def layout() -> gr.HTML:
    return island("stage", SCRIPTS, state=view(Session(), ""))


def act(session: Session, event: gr.EventData) -> tuple[Session, dict[str, Any]]:
    """Does what the page asks for, and tells it how things are now."""
    data: Data = event._data if isinstance(event._data, dict) else {}
    problem = ""
    with session.turn(int(number(data, "request", 0, 1e9))):
        session.strokes = int(number(data, "strokes", 0, 1e9))
        try:
            ACTIONS.get(str(data.get("kind")), unknown)(session, data)
        except SrinError as error:
            problem = str(error)
        except Exception:
            logging.getLogger(__name__).exception("%s failed", data.get("kind"))
            problem = UNEXPECTED
    return session, gr.update(state=view(session, problem))


def view(session: Session, problem: str) -> dict[str, Any]:
    """All that the page shows of the session."""
    scene = session.scene
    selection, cutout = scene.mask, scene.cutout
    versions = [photo and id(photo) for photo in (scene.background, scene.object, scene.picture)]
    return {
        "revision": session.revision,
        "answered": session.answered,
        "strokes": session.strokes,
        "problem": problem,
        "way": "ready" if scene.ready else "pair",
        "background": _photo(scene.background),
        "object": _photo(scene.object),
        "picture": _photo(scene.picture),
        "mask": selection
        and {
            "url": selection.address,
            "version": selection.version,
            "segmenter": selection.segmenter,
            "painted": selection.painted,
        },
        "cutout": cutout and {"url": cutout.address, "box": list(cutout.box)},
        "placement": session.placement and {**asdict(session.placement), "serial": session.serial},
        "missing": scene.missing,
        "key": f"{versions} {selection and selection.version} {scene.ready} ",
    }


def _photo(photo: Photo | None) -> dict[str, Any] | None:
    if photo is None:
        return None
    height, width = photo.proxy.shape[:2]
    return {"url": photo.address, "name": photo.name, "width": width, "height": height}


# --- what the page sends is arbitrary: numbers are clipped, files must lie where uploads go


def number(data: Data, name: str, low: float, high: float, default: float = 0.0) -> float:
    value = data.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return min(max(float(value), low), high)


def placement(value: Any) -> Placement:
    """A Placement from what the page sent; numbers that make no sense become the default's."""
    data = value if isinstance(value, dict) else {}
    start = Placement()
    return Placement(
        number(data, "x", -1, 2, start.x),
        number(data, "y", -1, 2, start.y),
        number(data, "scale", MIN_SCALE, MAX_SCALE, start.scale),
        number(data, "rotation", -360, 360),
        data.get("flip") is True,
    )


def _uploaded(data: Data) -> Path:
    path = data.get("path")
    if not isinstance(path, str) or not is_in_or_equal(path, get_upload_folder()):
        raise ImageError("The file did not arrive. Choose it again.")
    return Path(path)


def _points(data: Data) -> list[masks.Point]:
    points = data.get("points")
    given = points[: masks.MOST_PROMPTS] if isinstance(points, list) else []
    return [
        (number(point, "x", 0, 1), number(point, "y", 0, 1), int(number(point, "label", 0, 1)))
        for point in given
        if isinstance(point, dict)
    ]


def _box(data: Data) -> list[float] | None:
    box = data.get("box")
    if not isinstance(box, list) or len(box) != 4:
        return None
    return [number({"side": side}, "side", 0, 1) for side in box]


# --- actions


def unknown(session: Session, data: Data) -> None:
    raise SrinError("The page asks for something unknown. Load it again.")


def set_way(session: Session, data: Data) -> None:
    session.scene = replace(session.scene, ready=data.get("way") == "ready")


def add_photo(session: Session, data: Data) -> None:
    """A photo for one of the ROLES. An object that brings transparency is cut out by it at once."""
    role = data.get("role")
    if role not in ROLES:
        raise SrinError("The page asks for something unknown. Load it again.")
    path, name = _uploaded(data), str(data.get("name") or "photo")[:200]
    if role == "mask":
        photo = _masked_photo(session)
        session.select(masks.fitting(path, photo), "mask file")
        return
    photo = Photo.load(path, ROLES[role], name)
    scene = session.scene
    if role == "background":
        session.scene = replace(scene, background=photo)
    elif role == "picture":
        session.scene = replace(scene, picture=photo, picture_selection=None, real=None)
        _select_transparency(session)
    else:
        session.scene = replace(scene, object=photo, selection=None, cutout=None)
        _select_transparency(session)


def _select_transparency(session: Session) -> None:
    photo = _masked_photo(session)
    _, alpha = load_rgba(photo.path, photo.name)
    if alpha is not None:
        session.select(alpha, "the photo's own transparency", pure=True)


def choose_example(session: Session, data: Data) -> None:
    examples = load_examples()
    index = int(number(data, "index", 0, len(examples) - 1))
    examples[index].put_into(session)


def by_prompts(session: Session, data: Data) -> None:
    photo = _masked_photo(session)
    points, box = _points(data), _box(data)
    if not points and box is None:
        raise SrinError("Click on the object or draw a box around it.")
    session.select(*masks.from_prompts(photo, points, box))


def by_subject(session: Session, data: Data) -> None:
    session.select(*masks.subject(_masked_photo(session)))


def by_painting(session: Session, data: Data) -> None:
    photo, before = _masked_photo(session), session.scene.mask
    mask = masks.edited(photo, before, _uploaded(data).read_bytes())
    name = before.segmenter if before else "painted by hand"
    corrected = name if "hand" in name else f"{name}, corrected by hand"
    session.select(mask if mask.max() > 127 else None, corrected, painted=True, pure=bool(before and before.pure))


def by_adjusting(session: Session, data: Data) -> None:
    photo, before = _masked_photo(session), session.scene.mask
    if before is None:
        raise SrinError("There is no mask yet. Select the object first.")
    kind = str(data.get("adjustment"))
    amount = number(data, "amount", -masks.MOST_PIXELS, masks.MOST_PIXELS)
    session.select(masks.adjusted(before.mask(), photo, kind, amount), before.segmenter)


def clear_mask(session: Session, data: Data) -> None:
    _masked_photo(session)
    session.select(None, "")


def restore(session: Session, data: Data) -> None:
    """Goes back, or forth, to a mask that was there before."""
    if data.get("version") is None:
        session.select(None, "")
        return
    selection = session.versions.get(int(number(data, "version", 0, 1e9)))
    if selection is None:
        raise SrinError("That step is too long ago to go back to.")
    session.adopt(selection, selection.mask())


def _masked_photo(session: Session) -> Photo:
    photo = session.scene.masked_photo
    if photo is None:
        raise SrinError("Add the composite picture first." if session.scene.ready else "Add the object's photo first.")
    return photo


ACTIONS: dict[str, Callable[[Session, Data], None]] = {
    "way": set_way,
    "photo": add_photo,
    "example": choose_example,
    "prompt": by_prompts,
    "subject": by_subject,
    "edit": by_painting,
    "adjust": by_adjusting,
    "clear": clear_mask,
    "restore": restore,
}
