"""A visitor's work: keeping it in the browser, saving it as a project, and restoring it from either.

The server's copy is gone after hours, or when the server ends. The browser keeps the photos' own files and the masks at
full size, and sends them again to restore everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from srin import limits, project
from srin.composite import MAX_STRENGTH, Placement
from srin.errors import ImageError, ProjectError
from srin.harmonizer import METHODS
from srin.image_io import load_mask, read_file, write_whole
from srin.offsets import Offsets
from srin.project import FLAGS, MARKED, MASKED, PHOTOS
from srin.resizing import enlarged_labels
from srin.ui.answering import workers
from srin.ui.answering.requests import answer, data_of, text
from srin.ui.gallery.examples import load_recoloured
from srin.ui.session.previews import address
from srin.ui.session.scene import Light, Photo, Scene, Selection
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file, uploaded
from srin.untrusted import Data, mapping, number
from srin.untrusted import placement as placement_of


@dataclass(frozen=True)
class Mask:
    """path: a mask file of its photo's size. segmenter, flags: see Selection."""

    path: Path
    segmenter: str
    flags: dict[str, bool]


@dataclass(frozen=True)
class Work:
    """All that it takes to restore a session, see Scene. photos: path and name, by the keys of PHOTOS. masks: by the keys
    of MASKED. lights: by the keys of MARKED, a mask file of any size, and whether the light comes from there alone.
    """

    photos: Mapping[str, tuple[Path, str]]
    masks: Mapping[str, Mask] = field(default_factory=dict)
    placement: Placement | None = None
    ready: bool = False
    real: Path | None = None
    lights: Mapping[str, tuple[Path, bool]] = field(default_factory=dict)


def take_up(session: SessionState, work: Work) -> None:
    """Replaces what the session holds. Raises SrinError, and then leaves the session as it was."""
    loaded: dict[str, Any] = {role: Photo.load(path, PHOTOS[role], name) for role, (path, name) in work.photos.items()}
    draft = session.draft()
    draft.change(Scene(**loaded, real=work.real))
    for role, mask in work.masks.items():
        if role in loaded:
            draft.scene = replace(draft.scene, ready=role == "picture")
            draft.select(load_mask(mask.path), mask.segmenter, **mask.flags)
    for role, (path, only) in work.lights.items():
        if role in loaded:
            draft.scene = replace(draft.scene, ready=role == "picture")
            mark = enlarged_labels(load_mask(path, "mark"), loaded[role].live.shape[:2])
            draft.take_light(np.where(mark > 127, 255, 0).astype(np.uint8), only)
    draft.scene = replace(draft.scene, ready=work.ready)
    draft.proposals = []
    if work.placement:
        draft.place(work.placement)
    session.accept(draft)


def resume(session: SessionState, data: Data) -> None:
    """Restores what the page sends: {"files": {key: {"path", ...}}, "placement", "way", "truth"}, keys as in `kept`.

    Raises SrinError.
    """
    files = data.get("files")
    given = {key: file for key, file in mapping(files).items() if isinstance(file, dict)}
    photos = {role: (uploaded(given[role]), text(given[role], "name") or "photo") for role in PHOTOS if role in given}
    if not photos:
        raise ImageError("The browser has kept no photos.")
    masks = {}
    for role in MASKED:
        if file := given.get(f"{role} mask"):
            flags = {flag: file.get(flag) is True for flag in FLAGS}
            masks[role] = Mask(uploaded(file), text(file, "segmenter") or "mask file", flags)
    lights = {}
    for role in MARKED:
        if file := given.get(f"{role} light"):
            lights[role] = uploaded(file), file.get("only") is not False
    ready, real = data.get("way") == "ready", _real(text(data, "truth"))
    take_up(session, Work(photos, masks, placement_of(data.get("placement")), ready, real, lights))


def save_project(session: SessionState, event: gr.EventData) -> dict[str, Any]:
    """Makes a project file of the session, with the placement and the settings that the page sends."""
    return gr.update(project=answer(data_of(event), workers.stage, _saved_project, session, data_of(event)))


def _saved_project(session: SessionState, data: Data) -> Data:
    scene = session.scene
    photos: dict[str, Photo] = {role: getattr(scene, role) for role in PHOTOS if getattr(scene, role)}
    if not photos:
        raise ProjectError("There is nothing to save yet. Add a photo first.")
    scene.check_arrived()
    contents = {role: project.Photo(photo.name, read_file(photo.path, photo.name)) for role, photo in photos.items()}
    masks = {}
    for role, selection in _selections(scene).items():
        masks[role] = project.Mask(selection.png, selection.segmenter, _flags(selection))
    lights = {role: project.Light(light.png, light.only) for role, light in _lights(scene).items()}
    found = project.Project(
        contents, masks, placement_of(data.get("placement")), scene.ready, _truth(scene), _settings(scene, data), lights
    )
    path = new_file(f"{scene.stem}{project.EXTENSION}")
    found.save(path, limits.MAX_UPLOAD)
    return {"url": address(path), "name": path.name, "bytes": path.stat().st_size}


def _settings(scene: Scene, data: Data) -> Data:
    """The page's settings in the units of a project. The page's feather is in pixels of the preview."""
    settings = mapping(data.get("settings"))
    found: Data = {"method": text(settings, "method")} if text(settings, "method") in METHODS else {}
    found["strength"] = number(settings, "strength", 0, MAX_STRENGTH, 1.0)
    changes = Offsets.clipped(settings.get("offsets"))
    if not changes.change_nothing:
        found["offsets"] = changes.to_dict()
    photo = scene.backdrop
    found["feather"] = number(settings, "feather", 0, 100) / max(photo.proxy.shape) if photo else 0.0
    return found


def open_project(session: SessionState, data: Data) -> None:
    """Restores the work in a project file. Raises SrinError."""
    path = uploaded(data)
    found = project.Project.open(path)
    photos, masks = {}, {}
    for role, photo in found.photos.items():
        photos[role] = (_file(photo.content, photo.name), photo.name)
    for role, mask in found.masks.items():
        masks[role] = Mask(_file(mask.content, "mask.png"), mask.segmenter, dict(mask.flags))
    lights = {role: (_file(light.content, "light.png"), light.only) for role, light in found.lights.items()}
    take_up(session, Work(photos, masks, found.placement, found.ready, _real(found.truth), lights))
    settings, shown = dict(found.settings), session.scene.backdrop
    if "feather" in settings:
        settings["feather"] = round(settings["feather"] * max(shown.proxy.shape)) if shown else 0
    session.settings = settings


def _file(content: bytes, name: str) -> Path:
    """Writes a visitor's file with this content. `new_file` makes the project's name for it harmless."""
    path = new_file(name)
    write_whole(content, path)
    return path


def _real(truth: str | None) -> Path | None:
    return {example.name: example.real for example in load_recoloured()}.get(truth) if truth else None


def _truth(scene: Scene) -> str | None:
    """The name of the example that the scene's truth is from."""
    if scene.real is None:
        return None
    return next((example.name for example in load_recoloured() if example.real == scene.real), None)


def _selections(scene: Scene) -> dict[str, Selection]:
    found = {"object": scene.selection, "picture": scene.picture_selection}
    return {role: selection for role, selection in found.items() if selection is not None}


def _lights(scene: Scene) -> dict[str, Light]:
    found = {"background": scene.light, "picture": scene.picture_light}
    return {role: light for role, light in found.items() if light is not None}


def _flags(selection: Selection) -> dict[str, bool]:
    return {flag: getattr(selection, flag) for flag in FLAGS}


def kept(session: SessionState) -> dict[str, Any]:
    """What the page keeps. files: where it finds each photo, mask and mark, and what it sends with the file to restore
    it. settings: the comparison's, where a project brought some.
    """
    scene = session.scene
    files: dict[str, dict[str, Any]] = {}
    for role in PHOTOS:
        photo: Photo | None = getattr(scene, role)
        if photo is not None:
            files[role] = {"url": address(photo.path), "name": photo.name}
    for role, selection in _selections(scene).items():
        files[f"{role} mask"] = {
            "url": selection.original_address, "segmenter": selection.segmenter, **_flags(selection)
        }  # fmt: skip
    for role, light in _lights(scene).items():
        files[f"{role} light"] = {"url": light.file_address, "only": light.only}
    return {"session": session.token, "files": files, "truth": _truth(scene), "settings": session.settings}
