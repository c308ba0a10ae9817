"""Pictures that are larger than what the page shows: decoded small, once, and at half size beyond the limit."""

import gc
import io
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
import pytest
from page_parts import gradient, ragged
from PIL import ExifTags, Image

from srin import image_io, limits
from srin.composite import Placement
from srin.errors import ImageError
from srin.image_io import load_image, load_preview, load_rgba
from srin.remarks import collected
from srin.ui.compare.harmonizing import run_steps
from srin.ui.session import scene
from srin.ui.session.scene import ENOUGH
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file
from srin.ui.stage import stage

SIZE = (3000, 5300)  # height, width: twice as large as suffices


def encoded(array, kind="JPEG", orientation=1, **how):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, exif=exif.tobytes(), **how)
    return stream.getvalue()


@pytest.fixture(scope="module")
def large():
    return gradient(*SIZE)


def stored(content, name):
    path = new_file(name)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("orientation", [1, 6])
def test_previews_of_jpegs_are_decoded_small_and_know_their_size(large, orientation):
    path = stored(encoded(large, orientation=orientation), "large.jpg")
    small, alpha, size = load_preview(path, "photo", ENOUGH)
    whole = load_image(path)
    assert size == (whole.shape[1], whole.shape[0]) and alpha is None
    assert max(small.shape) == 2650 and sorted(small.shape[:2]) == [1500, 2650]
    assert (small.shape[0] > small.shape[1]) == (orientation == 6)
    assert np.abs(small.astype(int) - whole[::2, ::2]).mean() < 1
    png = stored(encoded(large[::2, ::2], "PNG"), "small.png")
    assert np.array_equal(load_preview(png, "photo", 100)[0], large[::2, ::2]), "other kinds are as they are"


def test_jpegs_beyond_the_limit_are_used_at_half_their_size_and_it_is_said(large, monkeypatch):
    for module in (image_io, limits):
        monkeypatch.setattr(module, "MAX_PIXELS", 7_000_000)  # and two and a half times as many
    content = encoded(large[:, :5000])
    with collected() as remarks:
        picture = load_image(content, "background")
    assert picture.shape == (1500, 2500, 3)
    assert remarks == ["The background has 15 million pixels. It is used at half its size, 2500 x 1500."]
    assert np.abs(picture.astype(int) - large[:3000:2, :5000:2]).mean() < 1
    path = stored(content, "large.jpg")
    with collected() as remarks:
        small, _, size = load_preview(path, "background", 600)
    assert size == (2500, 1500) and small.shape == (375, 625, 3) and len(remarks) == 1
    with pytest.raises(ImageError, match="too large"):
        load_image(encoded(large[:, :5000], "PNG"))
    monkeypatch.setattr(image_io, "MAX_PIXELS", 5_900_000)
    with pytest.raises(ImageError, match="too large"):
        load_image(content)


def test_jpegs_that_pillow_would_take_for_bombs_too(large, monkeypatch):
    monkeypatch.setattr(image_io, "MAX_PIXELS", 7_000_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7_000_000)  # Pillow refuses twice as many
    with collected():
        assert load_image(encoded(large[:, :5000])).shape == (1500, 2500, 3)
    with pytest.raises(ImageError, match="too large"):
        load_image(encoded(large[:, :5000], "PNG"))


class Event:
    def __init__(self, **data):
        self._data = data


def acted(session, **data):
    [(_, update)] = stage.act(session, Event(**data, request=session.answered + 1))
    assert not update["state"]["problem"]


def test_each_request_decodes_a_photo_once_and_keeps_no_full_pixels(large, monkeypatch):
    decoded = []
    monkeypatch.setattr(scene, "load_rgba", lambda *given: decoded.append(given[0]) or load_rgba(*given))
    monkeypatch.setattr(scene, "load_preview", lambda *given: decoded.append(given[0]) or load_preview(*given))
    mask = ragged(*SIZE)
    kite = stored(encoded(np.dstack([large, mask]), "PNG", compress_level=1), "kite.png")
    field = stored(encoded(large), "field.jpg")
    session = SessionState()
    acted(session, kind="photo", role="object", path=str(kite), name="kite.png")
    assert session.scene.cutout and decoded == [kite], "its preview, its transparency and what it cuts out"
    acted(session, kind="photo", role="background", path=str(field), name="field.jpg")
    assert decoded == [kite, field]
    acted(session, kind="adjust", adjustment="grow", amount=3)
    assert decoded == [kite, field, kite]
    placement = Placement(0.5, 0.5, 0.5)
    *_, last = run_steps(session.scene, placement, "auto", ["histogram"], "")
    assert last.run.size == SIZE[::-1] and last.run.composite.image.shape[1] == 1280
    assert decoded == [kite, field, kite], "what is shown is computed from what is held"
    sizes = [array.size for array in arrays_of(session)]
    assert len(sizes) > 5 and max(sizes) < SIZE[0] * SIZE[1]
    assert max(array.size for array in arrays_of([large[5:, 5:]])) == large.size, "views count as what they are of"


def arrays_of(root):
    """All arrays that an object holds, however deep, and those that they are views of."""
    found, seen = [root], set()
    while found:
        one = found.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | BuiltinFunctionType):
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            yield one
            found.append(one.base)
        else:
            found.extend(gc.get_referents(one))
