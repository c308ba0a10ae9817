"""Project files (.srin): everything a composite is made of, to continue later on the page or on the command line.

A project is a zip with uncompressed members: "project.json", and the files of MEMBERS. Nothing is unpacked to disk; each
member is read into memory, within the limits.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srin.composite import MAX_STRENGTH, Composite, Placement, place
from srin.errors import ProjectError
from srin.foreground import cut_out
from srin.image_io import load_image, load_mask, load_rgba, read_file, write_whole
from srin.limits import MAX_FILE
from srin.offsets import Offsets
from srin.place_data import without_place
from srin.reference import marked
from srin.untrusted import mapping, number, placement, text

FORMAT, VERSION = "SRIN Studio project", 2  # 1 had no lights
DESCRIPTION = "project.json"
PHOTOS = {"background": "background", "object": "object's photo", "picture": "composite"}
MASKED = ("object", "picture")  # photos that can have a mask
FLAGS = ("painted", "prompted", "pure")  # of a mask, see srin.ui.session.scene.Selection
MARKED = ("background", "picture")  # photos on which a person can mark where the light comes from
MEMBERS = (*PHOTOS, *(f"{role} mask" for role in MASKED), *(f"{role} light" for role in MARKED))
EXTENSION = ".srin"
MOST_JSON = 1 << 16  # bytes
MOST_DIRECTORY = 1 << 12  # bytes of the zip's list of members
MOST_TEXT = 200
END_RECORD = 22  # bytes: a zip's end, without a comment
NO_PROJECT = "The file is no project of SRIN Studio."
DAMAGED = "The project is damaged or cut short. Download or copy it again."


@dataclass(frozen=True)
class Photo:
    """name: the file's name as the visitor knows it. content: the file's bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Mask:
    """content: a mask file's bytes, of its photo's size. segmenter: what made it. flags: by the names in FLAGS."""

    content: bytes
    segmenter: str = "mask file"
    flags: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Light:
    """content: bytes of a mask file of any size, white where its photo is marked. only: see `srin.reference.marked`."""

    content: bytes
    only: bool = True


@dataclass(frozen=True)
class Project:
    """What a project file holds.

    photos: by the keys of PHOTOS. masks: by those of MASKED. lights: by those of MARKED. ready: true for a finished
    composite ("picture"), false for a background and an object to be placed on it. truth: the name of an example whose
    truth is known, or None. settings: any of "method", "strength" (0 to 2), "offsets" (see `srin.offsets`) and "feather"
    (see `srin.composite.mixed`, as a share of the composite's longer side).
    """

    photos: Mapping[str, Photo]
    masks: Mapping[str, Mask] = field(default_factory=dict)
    placement: Placement = Placement()
    ready: bool = False
    truth: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    lights: Mapping[str, Light] = field(default_factory=dict)

    def save(self, path: Path, most: int = MAX_FILE) -> None:
        """Writes the project, without the places where the photos were taken.

        most: bytes, the largest file that can be opened again. Raises ProjectError when the project would be larger,
        ImageError as `without_place`, OutputError when it can't be written.
        """
        files = {role: without_place(photo.content) for role, photo in self.photos.items()}
        files |= {f"{role} mask": mask.content for role, mask in self.masks.items()}
        files |= {f"{role} light": light.content for role, light in self.lights.items()}
        described = {
            "format": FORMAT,
            "version": VERSION,
            "way": "ready" if self.ready else "pair",
            "placement": asdict(self.placement),
            "photos": {role: {"name": photo.name} for role, photo in self.photos.items()},
            "masks": {role: {"segmenter": mask.segmenter, **mask.flags} for role, mask in self.masks.items()},
            "lights": {role: {"only": light.only} for role, light in self.lights.items()},
            "truth": self.truth,
            "settings": dict(self.settings),
        }
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for name, content in {DESCRIPTION: json.dumps(described, indent=1).encode(), **files}.items():
                archive.writestr(zipfile.ZipInfo(name), content)  # no time, so that the same work gives the same file
        if packed.tell() > most:
            raise ProjectError(
                f"The project would take {packed.tell() / 1e6:.0f} MB, and projects of up to {most / 1e6:.0f} MB can be "
                "opened. Use smaller photos, or JPEGs."
            )
        write_whole(packed.getbuffer(), path)

    @classmethod
    def open(cls, path: Path) -> "Project":
        """Reads a project. Raises ProjectError for any other file; ImageError when the file can't be read at all."""
        content = read_file(path, "project")
        members = _members(content)
        described = _description(members.pop(DESCRIPTION, b""))
        if not set(members) <= set(MEMBERS):
            raise ProjectError(NO_PROJECT)
        photos, masks, lights = {}, {}, {}
        for role in PHOTOS:
            if role in members:
                about = mapping(mapping(described.get("photos")).get(role))
                photos[role] = Photo(text(about, "name", MOST_TEXT) or "photo", members[role])
        for role in MASKED:
            if f"{role} mask" in members:
                about = mapping(mapping(described.get("masks")).get(role))
                flags = {flag: about.get(flag) is True for flag in FLAGS}
                masks[role] = Mask(members[f"{role} mask"], text(about, "segmenter", MOST_TEXT) or "mask file", flags)
        for role in MARKED:
            if role in members and f"{role} light" in members:
                about = mapping(mapping(described.get("lights")).get(role))
                lights[role] = Light(members[f"{role} light"], about.get("only") is not False)
        if not photos:
            raise ProjectError("The project holds no photos.")
        return cls(
            photos, masks, placement(described.get("placement")), described.get("way") == "ready",
            text(described, "truth", MOST_TEXT) or None, _settings(mapping(described.get("settings"))), lights,
        )  # fmt: skip

    def composite(self) -> Composite:
        """The composite at full size. Raises ProjectError when a part is missing, and as `load_rgba` and `place` do."""
        needed = parts_of(self.ready)
        missing = [PHOTOS[role] for role in needed if role not in self.photos]
        if missing:
            raise ProjectError(f"The project has no {missing[0]}. Open it on the page and add it.")
        masked = needed[-1]
        if masked not in self.masks:
            raise ProjectError(f"Nothing is cut out of the {PHOTOS[masked]} in this project. Open it on the page first.")
        mask = load_mask(self.masks[masked].content)
        if self.ready:
            image, alpha = load_rgba(self.photos["picture"].content, "composite")
            return Composite.of(image, mask, alpha)
        photo = load_image(self.photos["object"].content, "object's photo")
        cut = cut_out(photo, mask, self.masks["object"].flags.get("pure", False))
        return place(load_image(self.photos["background"].content, "background"), *cut, self.placement)

    def allowed(self, composite: Composite) -> np.ndarray | None:
        """Where the composite's background may lend, see `srin.reference.marked`; None: everywhere.

        Raises ImageError when the mark can't be read.
        """
        light = self.lights.get("picture" if self.ready else "background")
        return None if light is None else marked(load_mask(light.content, "mark"), light.only, composite)


def parts_of(ready: bool) -> tuple[str, ...]:
    """The photos that a composite is made of, by the keys of PHOTOS; the last one has the mask. ready: see Project."""
    return ("picture",) if ready else ("background", "object")


def is_project(path: Path) -> bool:
    """Whether a file is a project, by its extension."""
    return path.suffix.lower() == EXTENSION


def _members(content: bytes) -> dict[str, bytes]:
    """The members' contents by name. All members are checked before any of them is read."""
    end = content[-END_RECORD:]
    if not content.startswith(b"PK\3\4"):
        raise ProjectError(NO_PROJECT)
    # We write no comment behind the list of members, no long list, and (below) no Zip64 record.
    if not end.startswith(b"PK\5\6") or int.from_bytes(end[12:16], "little") > MOST_DIRECTORY:
        raise ProjectError(DAMAGED if b"PK\5\6" not in content[-(1 << 16) :] else NO_PROJECT)
    if content[-END_RECORD - 20 : -END_RECORD].startswith(b"PK\6\7"):
        raise ProjectError(NO_PROJECT)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            listed = archive.infolist()
            names = [member.filename for member in listed]
            if DESCRIPTION not in names or len(set(names)) < len(names):
                raise ProjectError(NO_PROJECT)
            for member in listed:
                stored = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
                if not stored or member.file_size != member.compress_size:
                    raise ProjectError(f"{NO_PROJECT} Its parts are packed in another way.")
            if sum(member.file_size for member in listed) > len(content):
                raise ProjectError(DAMAGED)
            if archive.getinfo(DESCRIPTION).file_size > MOST_JSON:
                raise ProjectError(DAMAGED)
            return {member.filename: archive.read(member) for member in listed}
    except ProjectError:
        raise
    except Exception as error:  # on damaged files zipfile raises nearly anything
        raise ProjectError(DAMAGED) from error


def _description(content: bytes) -> dict[str, Any]:
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProjectError(DAMAGED) from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ProjectError(NO_PROJECT)
    version = described.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ProjectError(DAMAGED)
    if version > VERSION:
        raise ProjectError("The project was saved by a newer version of SRIN Studio. Open it there, or update this one.")
    return described


def _settings(data: dict[str, Any]) -> dict[str, Any]:
    method = text(data, "method", MOST_TEXT)
    found: dict[str, Any] = {"method": method} if method else {}
    for name, most in (("strength", MAX_STRENGTH), ("feather", 1.0)):
        if name in data:
            found[name] = number(data, name, 0, most, 1.0 if name == "strength" else 0.0)
    if "offsets" in data:
        found["offsets"] = Offsets.clipped(data["offsets"]).to_dict()
    return found
