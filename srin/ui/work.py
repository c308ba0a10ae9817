"""A visitor's work: what the page keeps of it in the browser, and taking it up again from there.

The server's copy is gone after hours, or with the server. The browser has the photos' own files and the masks at full
size, sends them again, and everything is as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from srin.composite import Placement
from srin.errors import ImageError
from srin.image_io import load_mask
from srin.ui.examples import load_recoloured
from srin.ui.files import uploaded
from srin.ui.pictures import address
from srin.ui.requests import Data, text
from srin.ui.requests import placement as placement_of
from srin.ui.scene import Photo, Scene, Selection
from srin.ui.visit import Visit

PHOTOS = {"background": "background", "object": "object's photo", "picture": "composite"}
MASKED = ("object", "picture")  # those of them that can have a mask
FLAGS = ("painted", "prompted", "pure")  # of a Selection


@dataclass(frozen=True)
class Mask:
    """path: a mask file of its photo's size. segmenter, flags: see Selection."""

    path: Path
    segmenter: str
    flags: dict[str, bool]


@dataclass(frozen=True)
class Work:
    """All that it takes to go on: see Scene. photos: path and name, by the keys of PHOTOS. masks: by those of MASKED."""

    photos: Mapping[str, tuple[Path, str]]
    masks: Mapping[str, Mask] = field(default_factory=dict)
    placement: Placement | None = None
    ready: bool = False
    real: Path | None = None


def take_up(visit: Visit, work: Work) -> None:
    """Puts it in the place of what the visit holds. Raises SrinError, and then leaves the visit as it was."""
    loaded: dict[str, Any] = {
        role: Photo.load(path, PHOTOS[role], name) for role, (path, name) in work.photos.items()
    }
    draft = visit.draft()
    draft.change(Scene(**loaded, real=work.real))
    for role, mask in work.masks.items():
        if role in loaded:
            draft.scene = replace(draft.scene, ready=role == "picture")
            draft.select(load_mask(mask.path), mask.segmenter, **mask.flags)
    draft.scene = replace(draft.scene, ready=work.ready)
    draft.proposals = []
    if work.placement:
        draft.place(work.placement)
    visit.accept(draft)


def resume(visit: Visit, data: Data) -> None:
    """`take_up` of what the page sends: {"files": {key: {"path", ...}}, "placement", "way", "truth"}, keys as in `kept`.

    Raises SrinError.
    """
    files = data.get("files")
    given = {key: file for key, file in files.items() if isinstance(file, dict)} if isinstance(files, dict) else {}
    photos = {role: (uploaded(given[role]), text(given[role], "name") or "photo") for role in PHOTOS if role in given}
    if not photos:
        raise ImageError("The browser has kept no photos.")
    masks = {}
    for role in MASKED:
        if file := given.get(f"{role} mask"):
            flags = {flag: file.get(flag) is True for flag in FLAGS}
            masks[role] = Mask(uploaded(file), text(file, "segmenter") or "mask file", flags)
    real = {example.name: example.real for example in load_recoloured()}.get(text(data, "truth"))
    take_up(visit, Work(photos, masks, placement_of(data.get("placement")), data.get("way") == "ready", real))


def kept(visit: Visit) -> dict[str, Any]:
    """What the page keeps. files: where it finds each photo and mask, and what it sends along when it brings it back."""
    scene, files = visit.scene, {}
    for role in PHOTOS:
        photo: Photo | None = getattr(scene, role)
        if photo is not None:
            files[role] = {"url": address(photo.path), "name": photo.name}
    for role, selection in (("object", scene.selection), ("picture", scene.picture_selection)):
        if selection is not None:
            files[f"{role} mask"] = _described(selection)
    truth = scene.real and next((example.name for example in load_recoloured() if example.real == scene.real), None)
    return {"visit": visit.token, "files": files, "truth": truth}


def _described(selection: Selection) -> dict[str, Any]:
    flags = {flag: getattr(selection, flag) for flag in FLAGS}
    return {"url": selection.original_address, "segmenter": selection.segmenter, **flags}
