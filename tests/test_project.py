"""Project files: saving loses nothing but the place, and hostile files get an error message and change nothing."""

import io
import json
import struct
import zipfile
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from page_parts import gradient, ragged
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from srin import Harmonizer, cli, project
from srin.composite import Placement, place
from srin.errors import ImageError, ProjectError, SrinError
from srin.foreground import cut_out
from srin.image_io import load_image, load_mask, load_rgba
from srin.place_data import without_place
from srin.project import DESCRIPTION, Mask, Photo, Project
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file
from srin.ui.stage import work

LATITUDE = (IFDRational(48), IFDRational(51), IFDRational(123456, 7919))
SECRET = struct.pack("<II", 123456, 7919), struct.pack(">II", 123456, 7919)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a exif:GPSLatitude="48,51.2599N"/></x:xmpmeta>'


def encoded(array, kind="PNG", **how):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **how)
    return stream.getvalue()


def with_place(kind, **how):
    """A photo that was turned by its camera, in its own colours, and knows where it was made, in EXIF data and in XMP."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Model] = "Camera 7"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = LATITUDE
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = IFDRational(1, 125)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"place " + SECRET[0]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return encoded(gradient(60, 80), kind, exif=exif.tobytes(), icc_profile=profile, **how)


KINDS = {
    "JPEG": {"comment": b"at home", "xmp": XMP},
    "progressive": {"progressive": True, "xmp": XMP},
    "PNG": {},
    "WEBP": {"lossless": True, "xmp": XMP},
    "TIFF": {},
    "AVIF": {"xmp": XMP},
}


@pytest.mark.parametrize("name", KINDS)
def test_the_place_goes_and_all_else_stays(name):
    kind = "JPEG" if name == "progressive" else name
    content = with_place(kind, **KINDS[name])
    if kind == "JPEG":
        content += b"a film made at" + XMP + SECRET[0]  # as phones append one
    cleaned = without_place(content)
    assert any(secret in content for secret in SECRET) and not any(secret in cleaned for secret in SECRET)
    assert b"GPSLatitude" not in cleaned and b"at home" not in cleaned
    assert np.array_equal(load_image(cleaned), load_image(content))
    with Image.open(io.BytesIO(cleaned)) as after, Image.open(io.BytesIO(content)) as before:
        assert after.info.get("icc_profile") == before.info.get("icc_profile")
        exif = after.getexif()
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo) and exif[ExifTags.Base.Model] == "Camera 7"
        assert exif[ExifTags.Base.Orientation] == before.getexif()[ExifTags.Base.Orientation]
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == IFDRational(1, 125)
    assert without_place(cleaned) == cleaned


def test_the_place_of_a_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = LATITUDE
    pillow_heif.from_pillow(Image.fromarray(gradient(64, 96))).save(stream, exif=exif.tobytes(), quality=90)
    content = stream.getvalue()
    cleaned = without_place(content)
    assert any(secret in content for secret in SECRET) and not any(secret in cleaned for secret in SECRET)
    assert np.array_equal(load_image(cleaned), load_image(content))


def test_texts_of_a_png_go():
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("Comment", "at home")
    notes.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    content = encoded(gradient(8, 8), pnginfo=notes)
    cleaned = without_place(content)
    assert b"iTXt" not in cleaned and b"tEXt" not in cleaned and np.array_equal(load_image(cleaned), gradient(8, 8))


@cache  # encoders don't make the same bytes every time
def with_any_place(name):
    return with_place("JPEG" if name == "progressive" else name, **KINDS[name])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(KINDS)), st.data())
def test_files_built_oddly_end_in_bytes_or_a_sentence(name, data):
    content = bytearray(with_any_place(name))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(without_place(bytes(content[: data.draw(st.integers(1, len(content)))])), bytes)
    except ImageError as error:
        assert str(error).endswith(".")


MASK = ragged(180, 220)
OBJECT = np.where(MASK[..., None] > 127, gradient(180, 220, (170, 40, 160)), gradient(180, 220, (40, 90, 40)))
PAIR = Project(
    {"background": Photo("meadow.jpg", with_place("JPEG")), "object": Photo("kite.png", encoded(OBJECT))},
    {"object": Mask(encoded(MASK), "painted by hand", {"painted": True, "prompted": False, "pure": False})},
    Placement(0.4, 0.6, 0.7, 25, True),
    settings={"method": "reinhard", "strength": 0.6, "feather": 0.02},
)
READY = Project(
    {"picture": Photo("paste.png", encoded(OBJECT))}, {"picture": Mask(encoded(MASK))}, ready=True, truth="An example"
)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "kite.srin"
    PAIR.save(path)
    return path


def test_a_project_comes_back_as_it_was_without_the_place(saved):
    found = Project.open(saved)
    assert found.masks == PAIR.masks and found.placement == PAIR.placement and found.settings == PAIR.settings
    assert found.photos["object"] == PAIR.photos["object"] and not found.ready and found.truth is None
    assert found.photos["background"].name == "meadow.jpg"
    content = saved.read_bytes()
    assert not any(secret in content for secret in SECRET)
    READY.save(saved)
    assert replace(Project.open(saved), masks={}) == replace(READY, masks={}, settings={})
    with zipfile.ZipFile(saved) as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_the_command_line_makes_the_pages_picture(saved, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert cli.main(["harmonize", str(saved), "-o", str(out), "--strength", "1"]) == 0
    background = load_image(PAIR.photos["background"].content)
    composite = place(background, *cut_out(OBJECT, MASK, False), PAIR.placement)
    assert np.array_equal(PAIR.composite().image, composite.image)
    harmonized = Harmonizer.from_pretrained("reinhard").harmonize_composite(composite)
    result = load_image(out)
    assert np.array_equal(result[composite.mask == 0], background[composite.mask == 0])
    soft = cv2.GaussianBlur(composite.mask, (0, 0), 0.02 * 80)
    change = soft[..., None] / 255 * (np.asarray(harmonized, float) - composite.image)
    assert np.abs(result - (composite.image + change)).max() <= 1
    READY.save(saved)
    assert cli.main(["harmonize", str(saved), "-o", str(out), "--method", "histogram"]) == 0
    ready = READY.composite()
    expected = Harmonizer.from_pretrained("histogram").harmonize_composite(ready)
    assert np.array_equal(load_image(out), expected)
    capsys.readouterr()
    for wrong in ([str(saved), "mask.png"], [str(tmp_path / "none.srin")], [str(ROOT / "README.md")]):
        assert cli.main(["harmonize", *wrong, "-o", str(out)]) == 1
        assert capsys.readouterr().err.strip().endswith(".")


def test_lights_come_back_and_projects_without_any_are_read(tmp_path):
    path = tmp_path / "light.srin"
    mark = np.zeros((9, 12), np.uint8)
    mark[:, :4] = 255
    light = project.Light(encoded(mark), False)
    replace(PAIR, lights={"background": light}).save(path)
    found = Project.open(path)
    assert found.lights == {"background": light}
    composite = found.composite()
    allowed = found.allowed(composite)
    left = np.arange(composite.mask.shape[1]) < composite.mask.shape[1] / 3
    assert np.array_equal(allowed, ~left[None] | (composite.mask > 0))
    path.write_bytes(changed(version=1))  # as earlier versions saved them
    assert Project.open(path).lights == {} and Project.open(path).allowed(composite) is None
    path.write_bytes(packed({**good(), "background light": light.content}.items()))
    assert Project.open(path).lights["background"].only
    path.write_bytes(packed({**good(), "picture light": light.content}.items()))
    assert Project.open(path).lights == {}, "without its photo"
    session = SessionState()
    opened(session, packed(good().items()))
    scene = session.scene
    for content in (b"", b"light", b"<html>", light.content[:40]):
        hostile = packed({**good(), "background light": content}.items())
        assert "The mark" in sentence(session, hostile) and session.scene is scene
        path.write_bytes(hostile)
        assert cli.main(["harmonize", str(path), "-o", str(tmp_path / "out.png"), "--method", "srin"]) == 1
        assert not (tmp_path / "out.png").exists()


def test_what_is_missing_is_said(tmp_path):
    for parts, said in (
        (replace(PAIR, photos={"object": PAIR.photos["object"]}), "no background"),
        (replace(PAIR, masks={}), "Nothing is cut out"),
        (replace(READY, photos=PAIR.photos), "no composite"),
    ):
        with pytest.raises(ProjectError, match=said):
            parts.composite()


def test_no_project_is_larger_than_can_be_opened(tmp_path):
    path = tmp_path / "large.srin"
    PAIR.save(path)
    size = path.stat().st_size
    PAIR.save(path, size)
    with pytest.raises(ProjectError, match="projects of up to"):
        PAIR.save(tmp_path / "larger.srin", size - 1)
    assert not (tmp_path / "larger.srin").exists()


# --- hostile files


def packed(members, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def changed(**values):
    """The members of PAIR with another description."""
    stream = io.BytesIO()
    members = list(good().items())
    described = json.loads(members[0][1]) | values
    members[0] = (DESCRIPTION, json.dumps(described))
    stream.write(packed(members))
    return stream.getvalue()


def good():
    path = new_file("good.srin")
    PAIR.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def hostile():
    """Hostile project files by name."""
    members = good()
    whole = packed(members.items())
    described = members[DESCRIPTION]
    newer = {**members, DESCRIPTION: json.dumps(json.loads(described) | {"version": project.VERSION + 1})}
    files = {
        "empty": b"",
        "text": b"not a zip",
        "picture": PAIR.photos["object"].content,
        "another_zip": packed([("word/document.xml", b"<a/>")]),
        "no_description": packed([("background", members["background"])]),
        "no_photos": packed([(DESCRIPTION, described)]),
        "a_path": packed([*members.items(), ("../../evil", b"a")]),
        "an_absolute_path": packed([*members.items(), ("/etc/passwd", b"a")]),
        "another_name": packed([*members.items(), ("extra.txt", b"a")]),
        "compressed": packed(members.items(), zipfile.ZIP_DEFLATED),
        "bomb": packed([(DESCRIPTION, described), ("background", bytes(1 << 24))], zipfile.ZIP_DEFLATED),
        "many": packed([(DESCRIPTION, described)] + [(f"a{number}", b"") for number in range(30_000)]),
        "comment": whole[:-2] + b"\x05\0hello",
        "appended": whole + b"more",
        "newer": changed(version=project.VERSION + 1),
        "newer_with_more": packed([*newer.items(), ("shadow", b"a")]),
        "version_zero": changed(version=0),
        "version_text": changed(version="1"),
        "another_format": changed(format="another"),
        "deep": packed([(DESCRIPTION, b"[" * 60_000), ("background", b"a")]),
        "long_description": packed([(DESCRIPTION, described + b" " * (1 << 16)), ("background", b"a")]),
        "no_json": packed([(DESCRIPTION, b"\xff\xfe{"), ("background", b"a")]),
        "a_list": packed([(DESCRIPTION, b"[]"), ("background", b"a")]),
        "photo_is_html": packed([*list(members.items())[:1], ("background", b"<html>")]),
        "photo_is_empty": packed([*list(members.items())[:1], ("background", b"")]),
        "mask_of_another_size": packed({**members, "object mask": encoded(MASK[:90])}.items()),
        "mask_selects_nothing": packed({**members, "object mask": encoded(MASK * 0)}.items()),
        "mask_is_text": packed({**members, "object mask": b"mask"}.items()),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, pytest.warns(UserWarning):
        for name, content in [*members.items(), ("background", b"another")]:
            archive.writestr(name, content)
    files["twice"] = stream.getvalue()
    for share in (0.1, 0.5, 0.9, 0.99, 0.9999):
        files[f"cut_{share}"] = whole[: int(share * len(whole))]
    at = whole.index(b"PK\1\2")
    sizes = {"huge_sizes": b"\xff\xff\xff\x7f" * 2, "sizes_that_lie": struct.pack("<II", 10**6, 10**6)}
    for name, size in sizes.items():
        files[name] = whole[: at + 20] + size + whole[at + 28 :]
    files["encrypted"] = whole[: at + 8] + b"\1\0" + whole[at + 10 :]
    files["damaged_photo"] = whole.replace(members["object"][200:260], bytes(60))
    return files


@pytest.fixture(scope="module")
def hostile_projects():
    return hostile()


def opened(session, content, name="project.srin"):
    path = new_file(name)
    path.write_bytes(content)
    work.open_project(session, {"path": str(path)})


def test_hostile_projects_get_a_sentence_and_touch_nothing(hostile_projects, tmp_path):
    session = SessionState()
    opened(session, packed(good().items()))
    scene, versions, photos = session.scene, session.versions, session.photos
    assert scene.selection.segmenter == "painted by hand" and session.placement == PAIR.placement
    assert session.settings["strength"] == 0.6 and session.settings["feather"] == 2
    for name, content in hostile_projects.items():
        with pytest.raises(SrinError) as refusal:
            opened(session, content)
        assert str(refusal.value).endswith("."), name
        assert session.scene is scene and session.versions is versions and session.photos == photos, name
        path = tmp_path / "project.srin"
        path.write_bytes(content)
        assert cli.main(["harmonize", str(path), "-o", str(tmp_path / "out.png")]) == 1, name
        assert not (tmp_path / "out.png").exists(), name
    for name in ("newer", "newer_with_more"):
        assert "newer version" in sentence(session, hostile_projects[name])
    assert "no project" in sentence(session, hostile_projects["another_zip"])
    assert "damaged" in sentence(session, hostile_projects["cut_0.9"])
    with pytest.raises(ImageError, match="did not arrive"):
        work.open_project(session, {"path": "/etc/passwd"})


def sentence(session, content):
    with pytest.raises(SrinError) as refusal:
        opened(session, content)
    return str(refusal.value)


def test_odd_values_become_usual_ones(tmp_path):
    path = tmp_path / "odd.srin"
    odd = {"x": 1e300, "y": None, "scale": -4, "rotation": [], "flip": "yes"}
    path.write_bytes(
        changed(placement=odd, way=7, photos=[], masks="a", truth=4, settings={"strength": 99, "method": {}})
    )
    found = Project.open(path)
    assert found.placement == Placement(2, Placement().y, 0.01, 0, False)
    assert not found.ready and found.photos["object"].name == "photo" and found.settings == {"strength": 2.0}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_ends_in_a_project_or_a_sentence(tmp_path_factory, data):
    content = bytearray(packed(good().items()))
    places = st.one_of(st.integers(0, 1500), st.integers(max(0, len(content) - 600), len(content) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(places)] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.srin"
    path.write_bytes(content)
    try:
        Project.open(path).composite()
    except SrinError as error:
        assert str(error)


def test_members_have_names_of_their_own():
    masks, lights = {"object mask", "picture mask"}, {"background light", "picture light"}
    assert set(project.MEMBERS) == {"background", "object", "picture"} | masks | lights
    assert load_mask(PAIR.masks["object"].content).shape == load_rgba(PAIR.photos["object"].content)[0].shape[:2]


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), True, "1", None])
def test_settings_that_are_no_numbers_become_the_default(value, tmp_path):
    path = tmp_path / "odd.srin"
    replace(PAIR, settings={"strength": value, "feather": value, "offsets": {"exposure": value}}).save(path)
    settings = Project.open(path).settings
    assert (settings["strength"], settings["feather"], settings["offsets"]["exposure"]) == (1.0, 0.0, 0.0)
