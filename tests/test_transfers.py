"""The server's part of photos that are still on their way: a small copy stands in, and the original takes its place."""

import cv2
import numpy as np
import pytest
from page_parts import gradient, ragged, write

from srin.composite import Placement
from srin.errors import SrinError
from srin.image_io import load_image
from srin.ui.compare import downloads, harmonizing
from srin.ui.session.scene import CutOut
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file
from srin.ui.stage import stage, work

SIZE = (2003, 1502)  # width, height of the object's photo


def given(image, name):
    """A visitor's file, its path as the page sends it."""
    return str(write(new_file(name), image))


@pytest.fixture(scope="module")
def photo():
    """uint8 (h, w, 3): a plain object on another plain ground, with detail that no small copy has."""
    mask = ragged(SIZE[1], SIZE[0])[..., None] > 127
    image = np.where(mask, gradient(SIZE[1], SIZE[0], (190, 60, 170)), gradient(SIZE[1], SIZE[0], (30, 90, 40)))
    image[::2] -= 20
    return image


def begun(photo):
    """A session with a background and the small copy of an object's photo, on which somebody has clicked; its path."""
    session = SessionState()
    background = given(gradient(400, 640), "meadow.png")
    stage.add_photo(session, {"role": "background", "path": background, "name": "meadow.png"})
    small = given(cv2.resize(photo, (1280, 960), interpolation=cv2.INTER_AREA), "small.png")
    asked = {"role": "object", "path": small, "name": "kite.png", "width": SIZE[0], "height": SIZE[1]}
    stage.add_photo(session, asked)
    stage.by_prompts(session, {"points": [{"x": 0.4, "y": 0.6, "label": 1}]})
    return session, small


def arrive(session, small, image):
    stage.put_original(session, {"role": "object", "small": small, "path": given(image, "kite.png"), "name": "kite.png"})


def test_masks_have_the_originals_size_from_the_beginning_and_stay(photo):
    session, small = begun(photo)
    before, key = session.scene, session.photos
    assert before.object.travels and before.selection.mask().shape == photo.shape[:2]
    stage.set_way(session, {"way": "ready"})  # these photos are set aside, and can be gone back to
    arrive(session, small, photo)
    session.go_back(key)
    after = session.scene
    assert not after.object.travels and after.object.identity == before.object.identity
    assert after.selection is before.selection and after.cutout.box == before.cutout.box
    assert after.object.proxy.shape == before.object.proxy.shape == (*before.selection.proxy.shape, 3)
    assert np.array_equal(after.object.original(), photo)
    assert after.object.segmentation is before.object.segmentation, "what was found on the copy is not looked for again"
    fresh = CutOut.make(after.object, photo, after.selection.mask(), False)
    assert np.array_equal(after.cutout.rgb, fresh.rgb) and not np.array_equal(after.cutout.rgb, before.cutout.rgb)
    *_, path = downloads.Download(after, Placement(), downloads.Choice("cutout", "", "", 1.0, 0.0)).steps()
    x, y, width, height = cv2.boundingRect(after.selection.mask())
    solid = load_image(path)[height // 2, width // 4 : width // 2].astype(int)
    assert np.abs(solid - photo[y + height // 2, x + width // 4 : x + width // 2]).max() <= 1, "the original's pixels"


def test_what_needs_the_original_says_that_it_waits(photo):
    session, small = begun(photo)
    for what in ("picture", "background", "mask", "cutout"):
        with pytest.raises(SrinError, match=r"kite\.png is still on its way"):
            choice = downloads.Choice(what, "histogram", "png", 1.0, 0.0)
            list(downloads.Download(session.scene, Placement(), choice).steps())
    with pytest.raises(SrinError, match="still on its way"):
        list(harmonizing.run_steps(session.scene, Placement(), "colour", ["copy-paste"], ""))
    with pytest.raises(SrinError, match="still on its way"):
        work._saved_project(session, {})
    arrive(session, small, photo)
    assert work._saved_project(session, {})["bytes"] > 0


def test_an_original_that_can_not_be_used_takes_its_small_copy_along(photo):
    """Only the small copy is dropped."""
    turned = np.rot90(photo)
    for wrong, said in ((None, "not an image"), (turned, "another size"), ("", "did not arrive")):
        session, small = begun(photo)
        background, number = session.scene.background, session.photos
        path = new_file("kite.png")
        path.write_bytes(b"not a picture at all")
        sent = {None: str(path), "": ""}.get(wrong) if not isinstance(wrong, np.ndarray) else given(wrong, "kite.png")
        with pytest.raises(SrinError, match=said):
            stage.put_original(session, {"role": "object", "small": small, "path": sent, "name": "kite.png"})
        scene = session.scene
        assert scene.object is scene.selection is scene.cutout is None and scene.background is background
        with pytest.raises(SrinError, match="too long ago"):
            session.go_back(number)
    arrive(session, "/tmp/never given", photo)
    assert session.scene is scene, "one that nobody waits for changes nothing"


@pytest.mark.parametrize(("size", "said"), [((100_000, 75_000), "too wide"), ((1502, 2003), "another shape")])
def test_a_size_that_can_not_be_true_is_refused(photo, size, said):
    small = given(cv2.resize(photo, (1280, 960)), "small.png")
    session = SessionState()
    with pytest.raises(SrinError, match=said):
        stage.add_photo(session, {"role": "object", "path": small, "width": size[0], "height": size[1]})
    assert session.scene.object is None


def test_previews_have_the_size_of_their_masks_whatever_jpegs_are_decoded_at():
    """A JPEG may be decoded at half its size, which rounds sides up."""
    height, width = 3017, 5601
    image = np.zeros((height, width, 3), np.uint8)
    image[1000:3000, 1000:3000] = 200
    path = new_file("large.jpg")
    path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    session = SessionState()
    stage.add_photo(session, {"role": "object", "path": str(path), "name": "large.jpg"})
    session.select(image[..., 0], "mask file")
    assert session.scene.object.seen != (width, height)
    assert session.scene.object.proxy.shape[:2] == session.scene.selection.proxy.shape
