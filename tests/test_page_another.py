"""Another object: the picture, as a download gives it, becomes the background in a step that can be undone."""

import io
from hashlib import sha256

import numpy as np
import pytest
from conftest import PATIENCE
from page_parts import give, gradient, harmonized, numbers, ragged, selected, set_numbers, settle, write
from PIL import ExifTags, Image
from test_page_work import STORED

from srin import limits
from srin.composite import Placement
from srin.image_io import load_image
from srin.place_data import without_place
from srin.project import Project
from srin.remarks import collected
from srin.ui.compare import downloads
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file
from srin.ui.stage import stage

ANOTHER = '[data-take="background"]:not([disabled])'
SIZES = {
    "laptop": {"width": 1366, "height": 768},
    "phone": {"width": 360, "height": 740, "has_touch": True, "is_mobile": True},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths: a background with its author and place in EXIF, and two objects with their own transparency."""
    folder = tmp_path_factory.mktemp("another")
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 24.0)
    Image.fromarray(gradient(900, 1500, (30, 40, 110))).save(folder / "evening.jpg", quality=95, exif=exif)
    mask = ragged(240, 300)
    found = {"background": folder / "evening.jpg"}
    for name, colour in (("kite", (190, 60, 170)), ("buoy", (200, 170, 40))):
        found[name] = write(folder / f"{name}.png", np.dstack([gradient(240, 300, colour), mask]))
    return found


def placed(page, photos):
    """The kite lies in the evening, with a look of its own."""
    give(page, "background", photos["background"])
    give(page, "object", photos["kite"])
    page.locator(".stage-placing").wait_for()
    set_numbers(page, 70, 40, 45, 15)
    page.locator('[data-look="strength"]').fill("140")
    page.locator(".look summary").click()
    page.locator('[data-offset="exposure"]').fill("0.3")
    harmonized(page)


def taken(page, what):
    with page.expect_download() as download:
        page.locator(f'.stage-placing [data-take="{what}"]:not([disabled])').click()
    return download.value.path().read_bytes()


def state(page):
    """What undo has to bring back."""
    names = page.locator(".slot:visible .slot-name").all_inner_texts()
    look = [page.locator(slider).input_value() for slider in ('[data-look="strength"]', '[data-offset="exposure"]')]
    return [names, numbers(page), look, sha256(selected(page).tobytes()).hexdigest()]


def another(page):
    """Adds another object, and waits until the browser keeps the new background. Returns its SHA-256."""
    page.locator(ANOTHER).click()
    page.locator('.stage-waiting [data-choose="object"]').wait_for()
    settle(page)
    page.locator('.stage-work[data-state="kept"]').wait_for()
    return page.evaluate(STORED)["files"]["background"]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_the_picture_becomes_the_background_and_undo_takes_it_back(open_page, photos, size):
    page = open_page(**SIZES[size])
    placed(page, photos)
    before, picture = state(page), taken(page, "picture")
    assert another(page) == sha256(picture).hexdigest(), "what a download gives, to the bit"
    assert page.locator('[data-role="background"] .slot-name').inner_text() == "evening with kite.png"
    assert "Undo takes that back" in page.locator(".stage-work-said").inner_text()
    box = page.locator('.stage-waiting [data-choose="object"]').bounding_box()
    assert box["y"] + box["height"] <= page.viewport_size["height"], "the next action is in view"
    give(page, "object", photos["buoy"])
    page.locator(".stage-placing").wait_for()
    assert numbers(page)[0] == 25, "beside the first object"
    assert state(page)[2] == ["100", "0"]
    second, mask = load_image(taken(page, "picture")), load_image(taken(page, "mask"))[..., 0]
    assert np.array_equal(second[mask == 0], load_image(picture)[mask == 0])
    if size == "phone":
        page.locator('[data-act="edit"]').tap()
    for _ in range(2):
        page.locator('[data-act="undo"]').click()
        settle(page)
    page.locator(".stage-placing").wait_for()
    assert state(page) == before
    page.locator('[data-act="redo"]').click()
    page.locator('[data-role="background"] .slot-name', has_text="evening with kite.png").wait_for()


@pytest.mark.browser
@pytest.mark.slow
def test_it_outlives_a_reload_goes_into_a_project_and_tells_no_place(open_page, photos, tmp_path):
    page = open_page(**SIZES["laptop"])
    placed(page, photos)
    kept = another(page)
    page.reload()
    page.locator('[data-role="background"] .slot-name', has_text="evening with kite.png").wait_for()
    settle(page)
    page.locator('.stage-work[data-state="kept"]').wait_for()
    assert page.evaluate(STORED)["files"]["background"] == kept
    assert page.locator('[data-role="object"] .slot-name').inner_text() == "choose or drop a file"
    with page.expect_download() as download:
        page.locator('[data-work="save"]').click()
    download.value.save_as(tmp_path / "evening.srin")
    [(role, photo)] = Project.open(tmp_path / "evening.srin").photos.items()
    assert role == "background" and photo.name == "evening with kite.png"
    assert photo.content == without_place(photo.content) and sha256(photo.content).hexdigest() == kept
    with Image.open(io.BytesIO(photo.content)) as picture:
        assert picture.size == (1500, 900) and picture.getexif()[ExifTags.Base.Artist] == "Ada"
        assert not picture.getexif().get_ifd(ExifTags.IFD.GPSInfo)


@pytest.mark.browser
@pytest.mark.slow
def test_a_scene_that_was_changed_meanwhile_stays(open_page, photos):
    page = open_page(**SIZES["laptop"])
    placed(page, photos)
    page.evaluate(
        """async () => {
            document.querySelector('[data-take="background"]').click();
            await new Promise((done) => setTimeout(done));
            const left = document.querySelector('[data-number="x"]');
            left.value = 20;
            left.dispatchEvent(new Event("change"));
        }"""
    )
    page.locator(".stage-problem", has_text="was changed while its picture was made").wait_for(timeout=PATIENCE)
    settle(page)
    assert numbers(page)[0] == 20 and page.locator('[data-role="object"] .slot-name').inner_text() == "kite.png"
    assert page.locator(ANOTHER).is_enabled()


def test_a_picture_too_large_to_be_kept_goes_on_as_a_jpeg_and_it_is_said(photos, monkeypatch):
    session = SessionState()
    for role, name in (("background", "background"), ("object", "kite")):
        path = new_file(photos[name].name)
        path.write_bytes(photos[name].read_bytes())
        stage.add_photo(session, {"role": role, "path": str(path), "name": path.name})
    scene, choice = session.scene, downloads.Choice("background", "histogram", "webp", 1.0, 0.0)
    *_, whole = downloads.Download(scene, Placement(), choice).steps()
    monkeypatch.setattr(limits, "MAX_UPLOAD", whole.stat().st_size - 1)
    *_, small = downloads.Download(scene, Placement(), choice).steps()
    assert (whole.suffix, small.suffix) == (".png", ".jpg") and not small.with_suffix(".png").exists()
    assert load_image(small).shape == load_image(whole).shape
    for path, said in ((whole, ""), (small, "goes on as a JPEG")):
        with collected() as remarks:
            stage.add_another(session, {"path": str(path), "placement": {"x": 0.3}})
        assert said in " ".join(remarks) and bool(remarks) == bool(said)
    assert session.scene.background.name == "evening with kite.jpg" and session.scene.missing.startswith("Add the object")
