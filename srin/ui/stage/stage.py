"""The server's part of the Stage, the page's canvas."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from srin.composite import Placement
from srin.errors import ImageError, OutputError, SrinError, TookTooLong
from srin.harmonizer import Harmonizer
from srin.mask_values import remark_if_inverted, selects_nothing
from srin.offsets import LIMITS, Offsets
from srin.project import PHOTOS
from srin.remarks import collected, remark
from srin.segmentation import checkpoints
from srin.segmentation.candidate import Candidate, from_mask
from srin.ui.answering import workers
from srin.ui.answering.requests import UNEXPECTED, answer, data_of, text
from srin.ui.compare import downloads
from srin.ui.gallery.examples import all_examples
from srin.ui.page.component import component
from srin.ui.session.previews import LIVE_SIDE, PROXY_SIDE, inline, inline_lossless, shown, shown_mask
from srin.ui.session.run import LABELS
from srin.ui.session.scene import Light, Photo, Scene, decoding_once
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import uploaded
from srin.ui.stage import light, live_preview, masks, work
from srin.untrusted import Data, number, placement

ROLES = {**PHOTOS, "mask": "mask"}
UNKNOWN = "The page asks for something unknown. Load it again."


Action = Callable[[SessionState, Data], None]


def layout() -> gr.HTML:
    events = ("act", "peek", "hover", "map", "project", "live", "save", "checkpoint", "cancel")
    props = ("state", "live", "map", "hover", "saved", "project", "checkpoint")
    return component("stage", events, dict.fromkeys(props))


def act(session: SessionState, event: gr.EventData) -> Iterator[tuple[SessionState, dict[str, Any]]]:
    """Does what the page asks for when its turn comes. Yields the session's state for the page."""
    data = data_of(event)
    if text(data, "session") not in ("", session.token):  # forgotten here: the page must bring its work back first
        yield session, gr.update(state=view(session, ""))
        return
    try:
        with closing(session.answer(int(number(data, "request", 0, 1e9)), data, partial(_do, session))) as problems:
            for problem in problems:
                yield session, gr.update(state=view(session, problem))
    except SrinError as error:
        yield session, gr.update(state=view(session, str(error)))


def _do(session: SessionState, data: Data) -> str:
    """Does one request. Returns the problem that came up, or ""."""
    session.strokes = int(number(data, "strokes", 0, 1e9))
    draft, problem = session.draft(), ""
    try:
        problem = workers.run(_remarking, ACTIONS.get(text(data, "kind"), unknown), draft, data, on=workers.stage)
    except TookTooLong as error:
        return str(error)  # it may still change the draft, which is thrown away
    except SrinError as error:
        problem = str(error)
    except Exception:
        logging.getLogger(__name__).exception("%r failed", text(data, "kind"))
        problem = UNEXPECTED
    session.accept(draft)
    return problem


def _remarking(action: Action, session: SessionState, data: Data) -> str:
    """Runs an action. Returns what was guessed about files, in sentences."""
    with collected() as remarks, decoding_once():
        action(session, data)
    return " ".join(remarks)


def live(session: SessionState, event: gr.EventData) -> dict[str, Any]:
    """The object, harmonized by the picked network on a small copy of the scene. The Stage asks when the object is let
    go, and for a finer copy when all is at rest."""
    data = data_of(event)
    place, method = placement(data.get("placement")), text(data, "method")
    changes = Offsets.clipped(data.get("offsets"))
    side = PROXY_SIDE if data.get("fine") is True else LIVE_SIDE
    strong = data.get("strong") is True
    return gr.update(live=answer(data, workers.stage, _live, session.scene, place, method, changes, side, strong))


def _live(
    scene: Scene, place: Placement, method: str, changes: Offsets, side: int = LIVE_SIDE, strong: bool = True
) -> Data:
    began = time.perf_counter()
    settled = not scene.awaits_regions  # asked first: regions may be found while it harmonizes
    pictures, window, decided = live_preview.harmonized(scene, place, method, changes, side, strong)
    milliseconds = round(1000 * (time.perf_counter() - began))
    # The first picture is shown at every strength, so it is lossless. The other is only mixed in, at strengths above 1.
    urls = [inline_lossless(pictures[0]), *map(inline, pictures[1:])]
    chosen = {name: getattr(decided, name) for name in LIMITS} if decided else None
    awaits = not settled and Harmonizer.from_pretrained(method).needs_map
    about = {"ms": milliseconds, "label": LABELS[method], "chosen": chosen, "awaits": awaits, "fine": side > LIVE_SIDE}
    return {"urls": urls, "window": window, **about}


def save(session: SessionState, event: gr.EventData) -> Iterator[dict[str, Any]]:
    """Makes the file that the page asks for, of the scene on the Stage. Yields how far it is."""
    data = data_of(event)
    scene, place = session.scene, placement(data.get("placement"))
    for said in downloads.saved(session, data, partial(downloads.Download, scene, place)):
        yield gr.update(saved=said)


def draw_map(session: SessionState, event: gr.EventData) -> dict[str, Any]:
    """The semantic map of the present composite, for the layer on the Stage."""
    data = data_of(event)
    return gr.update(map=answer(data, workers.stage, _map, session.scene, placement(data.get("placement"))))


def _map(scene: Scene, place: Placement) -> Data:
    composite = scene.preview(place)
    drawn = scene.semantic_map(composite, place, lending=False)
    picture = shown(drawn.paint(composite.image))
    return {"url": picture, "segmenter": drawn.segmenter, "count": int(drawn.labels.max()) + 1}


def hover(session: SessionState, event: gr.EventData) -> dict[str, Any]:
    """What a click at a point would select."""
    data, photo = data_of(event), session.scene.masked_photo
    if photo is None:
        return gr.update(hover={"request": number(data, "request", 0, 1e9), "url": None})
    point = (number(data, "x", 0, 1), number(data, "y", 0, 1), 1)
    return gr.update(hover=answer(data, workers.stage, _hover, photo, point))


def _hover(photo: Photo, point: masks.Point) -> Data:
    return {"url": _proposal(masks.from_prompts(photo, [point], None, None)[0])["url"]}


def peek(session: SessionState) -> dict[str, Any]:
    """The session's state. The page asks for it while something goes on in the background."""
    return gr.update(state=view(session, ""))


def view(session: SessionState, problem: str) -> dict[str, Any]:
    """All that the page shows of the session. Raises gr.Error when previews can't be written."""
    try:
        with session.look() as revision:
            return {"revision": revision, **_view(session), "problem": problem}
    except OutputError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _view(session: SessionState) -> dict[str, Any]:
    scene = session.scene
    selection, cutout = scene.mask, scene.cutout
    photos = (scene.background, scene.object, scene.picture)
    for photo in filter(None, photos):
        photo.segmentation.look_again()
    versions = [photo and id(photo) for photo in photos]
    return {
        "answered": session.answered,
        "work": work.kept(session),
        "photos": session.photos,
        "strokes": session.strokes,
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
            "prompted": selection.prompted,
            "pure": selection.pure,
        },
        "light": scene.mark and _light(scene.mark),
        "cutout": cutout and {"url": cutout.address, "box": list(cutout.box)},
        "segmentation": _segmentation(scene.masked_photo),
        "hasSam": checkpoints.is_here(),
        "proposals": [_proposal(candidate) for candidate in session.proposals] if scene.masked_photo else [],
        "placement": session.placement and {**asdict(session.placement), "serial": session.serial},
        "missing": scene.missing,
        "key": f"{versions} {selection and selection.version} {scene.ready} {scene.mark and scene.mark.version} ",
    }


def _light(mark: Light) -> dict[str, Any]:
    return {"url": mark.address, "version": mark.version, "only": mark.only, "share": float((mark.mask > 0).mean())}


def _photo(photo: Photo | None) -> dict[str, Any] | None:
    if photo is None:
        return None
    height, width = photo.proxy.shape[:2]
    about = {"url": photo.address, "name": photo.name, "width": width, "height": height}
    return {**about, "identity": photo.identity, "travels": photo.travels}


def _segmentation(photo: Photo | None) -> dict[str, Any] | None:
    """Whether Segment Anything can be asked about a photo, or why not."""
    if photo is None:
        return None
    status = photo.segmentation.status
    about = {"state": status.state, "reason": status.reason, "segmenter": status.segmenter}
    return {**about, "progress": round(100 * status.progress)}


def _proposal(candidate: Candidate) -> dict[str, str]:
    height, width = candidate.logits.shape
    return {"url": shown_mask(candidate.mask(height, width)), "share": f"{candidate.area:.0%}"}


# --- what the page sends, see requests.py; files must be uploads, see uploads.uploaded


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


def unknown(session: SessionState, data: Data) -> None:
    raise SrinError(UNKNOWN)


def set_way(session: SessionState, data: Data) -> None:
    ready = data.get("way") == "ready"
    if ready != session.scene.ready:
        session.change(replace(session.scene, ready=ready))
    session.proposals = []


def add_photo(session: SessionState, data: Data) -> None:
    """Takes a photo for one of the ROLES. Transparency of an object's photo or a composite becomes its mask at once.

    data's width and height: of the original, if the file is a small copy of it and the original comes later.
    """
    role = text(data, "role")
    if role not in ROLES:
        raise SrinError(UNKNOWN)
    path, name = uploaded(data), text(data, "name") or "photo"
    if role == "mask":
        photo = _masked_photo(session)
        session.select(masks.fitting(path, photo), "mask file")
        return
    original = int(number(data, "width", 0, 1e6)), int(number(data, "height", 0, 1e6))
    photo = Photo.load(path, ROLES[role], name, original if all(original) else None)
    scene = session.scene
    if role != "background":
        session.proposals = []
    if role == "background":
        session.change(replace(scene, background=photo, light=None))
    elif role == "picture":
        session.change(replace(scene, picture=photo, picture_selection=None, picture_light=None, real=None))
        _select_transparency(session)
    else:
        session.change(replace(scene, object=photo, selection=None, cutout=None))
        _select_transparency(session)


def put_original(session: SessionState, data: Data) -> None:
    """Replaces a small copy by its original. If the original can't be used, the small copy is dropped too."""
    role, small = text(data, "role"), Path(text(data, "small"))
    if role not in PHOTOS:
        raise SrinError(UNKNOWN)
    copies = [scene for scene in (session.scene, *session.scenes.values()) if scene.has_copy(small)]
    if not copies:
        return  # the photo is forgotten, or too long ago
    copied: Photo | None = getattr(copies[0], role)
    if copied is None:
        raise SrinError(UNKNOWN)
    try:
        original = Photo.load(uploaded(data), ROLES[role], text(data, "name"), copied=copied)
        if (original.width, original.height) != (copied.width, copied.height):
            raise ImageError(f"The {ROLES[role]} has another size here than in your browser. Save it in another format.")
        session.put_original(small, original)
    except ImageError:
        session.drop_copy(small)
        raise


def add_another(session: SessionState, data: Data) -> None:
    """Makes the picture of the scene (see downloads.Choice, "background") the background of another object, which will
    lie beside the present one.
    """
    scene, path = session.scene, uploaded(data)
    names = [Path(photo.name).stem for photo in (scene.background, scene.object) if photo and not scene.ready]
    background = Photo.load(path, "background", f"{' with '.join(names) or scene.stem}{path.suffix}")
    if path.suffix != ".png":
        remark("As a PNG the picture would be too large a file to be kept. It goes on as a JPEG, a little changed.")
    gone = replace(scene, object=None, selection=None, cutout=None, light=None)
    session.change(replace(gone, background=background, ready=False))
    session.proposals = []
    session.place(Placement(x=0.25 if placement(data.get("placement")).x > 0.5 else 0.75))


def _select_transparency(session: SessionState) -> None:
    photo = _masked_photo(session)
    alpha = None if photo.alpha is None else photo.decoded()[1]
    if alpha is not None and not selects_nothing(alpha):
        remark_if_inverted(alpha, "photo's transparency, taken as the mask,")
        session.select(alpha, "the photo's own transparency", pure=True)


def choose_example(session: SessionState, data: Data) -> None:
    examples = all_examples()
    index = int(number(data, "index", 0, len(examples) - 1))
    examples[index].put_into(session)


def by_prompts(session: SessionState, data: Data) -> None:
    photo = _masked_photo(session)
    candidates = masks.from_prompts(photo, _points(data), _box(data), session.scene.mask)
    _take(session, candidates[0])
    session.proposals = candidates if len(candidates) > 1 else []


def propose(session: SessionState, data: Data) -> None:
    """Proposes whole objects of the photo to choose from."""
    found = _masked_photo(session).segmentation.automatic_map()
    session.proposals = [from_mask(mask, found.finder) for mask in found.objects]
    if not session.proposals:
        raise SrinError("No whole object was found. Click on it, or draw a box around it.")


def choose(session: SessionState, data: Data) -> None:
    """Takes one of the proposals."""
    if not session.proposals:
        raise SrinError("These proposals are gone. Ask for new ones.")
    _take(session, session.proposals[int(number(data, "index", 0, len(session.proposals) - 1))])


def _take(session: SessionState, candidate: Candidate) -> None:
    mask = masks.from_candidate(_masked_photo(session), candidate)
    session.select(mask, candidate.segmenter, prompted=True)


def by_subject(session: SessionState, data: Data) -> None:
    session.select(*masks.subject(_masked_photo(session)))


def by_painting(session: SessionState, data: Data) -> None:
    photo, before = _masked_photo(session), session.scene.mask
    mask = masks.edited(photo, before, uploaded(data))
    name = before.segmenter if before else "painted by hand"
    corrected = name if "hand" in name else f"{name}, corrected by hand"
    session.select(mask if mask.max() > 127 else None, corrected, painted=True, pure=bool(before and before.pure))


def by_adjusting(session: SessionState, data: Data) -> None:
    photo, before = _masked_photo(session), session.scene.mask
    if before is None:
        raise SrinError("There is no mask yet. Select the object first.")
    kind = text(data, "adjustment")
    amount = number(data, "amount", -masks.MOST_PIXELS, masks.MOST_PIXELS)
    session.select(masks.adjusted(before.mask(), photo, kind, amount), before.segmenter)


def clear_mask(session: SessionState, data: Data) -> None:
    _masked_photo(session)
    session.select(None, "")


def take_light(session: SessionState, data: Data) -> None:
    """Marks where the networks take their light from: by what was painted (a file), by the region at a point (x, y), or
    nowhere ("clear"). Without any of these the mark stays, and "only" says what it means."""
    only, mark = data.get("only") is True, session.scene.mark
    if data.get("clear") is True:
        mask = None
    elif "path" in data:
        mask = light.painted(session.scene, uploaded(data))
    elif "x" in data:
        point = number(data, "x", 0, 0.9999), number(data, "y", 0, 0.9999)
        mask = light.with_region(session.scene, placement(data.get("placement")), *point)
    else:
        mask = mark.mask if mark else None
    session.take_light(mask, only)


def restore(session: SessionState, data: Data) -> None:
    """Goes back, or forth, to photos, a mark and a mask that were there before."""
    session.go_back(int(number(data, "photos", 0, 1e9, session.photos)))
    _restore_light(session, data)
    before = session.scene.mask
    if data.get("version") == (before and before.version):
        return
    if data.get("version") is None:
        session.select(None, "")
        return
    selection = session.versions.get(int(number(data, "version", 0, 1e9)))
    if selection is None:
        raise SrinError("That step is too long ago to go back to.")
    session.adopt(selection, selection.mask())


def _restore_light(session: SessionState, data: Data) -> None:
    before, photo, version = session.scene.mark, session.scene.backdrop, data.get("light")
    if version == (before and before.version):
        return
    found = None if version is None else session.lights.get(int(number(data, "light", 0, 1e9)))
    if version is not None and (found is None or photo is None or found.mask.shape != photo.live.shape[:2]):
        raise SrinError("That step is too long ago to go back to.")
    session.scene = session.scene.with_mark(found)


def forget(session: SessionState, data: Data) -> None:
    session.forget()


def _masked_photo(session: SessionState) -> Photo:
    photo = session.scene.masked_photo
    if photo is None:
        raise SrinError("Add the composite picture first." if session.scene.ready else "Add the object's photo first.")
    return photo


ACTIONS: dict[str, Action] = {
    "way": set_way,
    "photo": add_photo,
    "example": choose_example,
    "original": put_original,
    "another": add_another,
    "prompt": by_prompts,
    "subject": by_subject,
    "propose": propose,
    "choose": choose,
    "edit": by_painting,
    "adjust": by_adjusting,
    "clear": clear_mask,
    "light": take_light,
    "restore": restore,
    "resume": work.resume,
    "open": work.open_project,
    "forget": forget,
}
