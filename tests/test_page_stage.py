"""The Stage in a real Chromium: all tools by mouse, touch and keyboard; the server's composite equals the canvas."""

import base64

import cv2
import numpy as np
import pytest
from page_parts import at, give, gradient, numbers, only, ragged, selected, set_numbers, settle, write

from srin.image_io import load_image
from srin.segmentation.embedded import EmbeddedEngine

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BACKGROUND = (640, 400)  # width, height
OBJECT = (300, 240)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths: a background, an object with its own transparency, the same object without, and its mask."""
    folder = tmp_path_factory.mktemp("photos")
    mask = ragged(*OBJECT[::-1])
    colour = gradient(*OBJECT[::-1], (170, 40, 160))
    opaque = np.where(mask[..., None] > 127, colour, gradient(*OBJECT[::-1], (40, 90, 40)))
    return {
        "background": write(folder / "meadow.png", gradient(*BACKGROUND[::-1])),
        "transparent": write(folder / "kite.png", np.dstack([colour, mask])),
        "opaque": write(folder / "kite photo.png", opaque),
        "mask": write(folder / "kite mask.png", mask),
    }


@pytest.fixture(scope="module")
def shared_page(open_shared_page, photos):
    """One page for all tests that give it an object of their own: loading it takes longer than most of them."""
    page = open_shared_page()
    give(page, "background", photos["background"])
    return page


def live_off(page):
    """Switches the live preview off, which would change the placed objects that tests compare."""
    if page.locator('[data-act="live"]').get_attribute("aria-pressed") == "true":
        page.locator('[data-act="live"]').click()


@pytest.fixture
def placed(shared_page, photos):
    """A page whose object lies on its background, untouched."""
    give(shared_page, "object", photos["transparent"])
    shared_page.locator('[data-tool="place"]').click()
    live_off(shared_page)
    set_numbers(shared_page, 50, 55, 50, 0)
    if shared_page.locator('[data-act="flip"]').get_attribute("aria-pressed") == "true":
        shared_page.locator('[data-act="flip"]').click()
    return shared_page


@pytest.fixture
def cutting(shared_page, photos):
    """A page that shows an object to be cut out."""
    give(shared_page, "object", photos["opaque"])
    shared_page.locator('[data-tool="point"]').click()
    return shared_page


def drag(page, start, end, steps=4):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=steps)
    page.mouse.up()


def test_the_mouse_places(placed):
    x, y, scale, _ = numbers(placed)
    middle = (x / 100, y / 100)
    drag(placed, at(placed, BACKGROUND, *middle), at(placed, BACKGROUND, middle[0] - 0.2, middle[1] + 0.1))
    assert numbers(placed)[:2] == pytest.approx([x - 20, y + 10], abs=0.4)
    placed.mouse.wheel(0, -300)
    assert numbers(placed)[2] == pytest.approx(scale * np.exp(0.3), rel=0.02)
    placed.keyboard.down("Shift")
    placed.mouse.wheel(0, 200)
    placed.keyboard.up("Shift")
    assert numbers(placed)[3] == pytest.approx(10, abs=0.2)


def test_the_handles_scale_and_turn(placed):
    set_numbers(placed, 50, 50, 40, 0)
    # A corner, twice as far from the centre; the object's mask is as wide as its bounding box.
    box = cv2.boundingRect(ragged(*OBJECT[::-1]))
    half = 0.2 * BACKGROUND[1] * box[2] / box[3] / BACKGROUND[0]
    drag(placed, at(placed, BACKGROUND, 0.5 + half, 0.7), at(placed, BACKGROUND, 0.5 + 1.5 * half, 0.8))
    assert numbers(placed)[2] == pytest.approx(60, rel=0.03)
    x, y = at(placed, BACKGROUND, 0.5, 0.2)
    drag(placed, (x, y - 34), at(placed, BACKGROUND, 0.9, 0.5))
    assert numbers(placed)[3] == pytest.approx(90, abs=3)


def test_keys_place_and_undo_goes_back_through_all_of_it(placed):
    start = numbers(placed)
    canvas = placed.locator(".stage-marks")
    canvas.press("Shift+ArrowRight")
    canvas.press("ArrowUp")
    assert numbers(placed)[:2] == pytest.approx([start[0] + 5, start[1] - 0.5], abs=0.1)
    placed.wait_for_timeout(300)  # keys in quick succession are one step
    canvas.press("]")
    canvas.press("f")
    assert placed.locator('[data-act="flip"]').get_attribute("aria-pressed") == "true"
    placed.wait_for_timeout(300)
    canvas.press("Control+z")
    settle(placed)
    assert placed.locator('[data-act="flip"]').get_attribute("aria-pressed") == "false"
    for _ in range(3):  # one, unless the machine is so slow that keys in a row were steps of their own
        if numbers(placed) != start:
            canvas.press("Control+z")
            settle(placed)
    assert numbers(placed) == start
    canvas.press("Control+y")
    settle(placed)
    assert numbers(placed) != start


@pytest.fixture(scope="module")
def fingers(open_shared_page, photos):
    """A phone's page with an object on its background, and a function for its touch screen: kind, places by finger."""
    page = open_shared_page(width=390, height=844, has_touch=True)
    give(page, "background", photos["background"])
    give(page, "object", photos["transparent"])
    page.locator(".stage-placing").wait_for()
    page.locator('[data-act="edit"]').tap()
    client = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    return page, touch


def spread(touch, x, y, reaches, turn=0.0):
    """Two fingers around a place, first and last at `reaches` pixels from it, turning by `turn` radians."""
    touch("touchStart", (x - reaches[0], y))
    touch("touchStart", (x - reaches[0], y), (x + reaches[0], y))
    for share in (0.5, 1):
        reach = reaches[0] + share * (reaches[1] - reaches[0])
        dx, dy = reach * np.cos(share * turn), reach * np.sin(share * turn)
        touch("touchMove", (x - dx, y - dy), (x + dx, y + dy))
    touch("touchEnd")


def test_two_fingers_move_scale_and_turn(fingers):
    page, touch = fingers
    set_numbers(page, 50, 50, 40, 0)
    page.locator(".stage-marks").scroll_into_view_if_needed()
    spread(touch, *at(page, BACKGROUND, 0.5, 0.5), (30, 60), np.pi / 2)
    assert numbers(page) == pytest.approx([50, 50, 80, 90], abs=2)


def test_fingers_paint_and_zoom(fingers, photos):
    page, touch = fingers
    give(page, "object", photos["opaque"])
    page.locator('[data-tool="brush"]').click()
    page.locator(".stage-marks").scroll_into_view_if_needed()
    x, y = at(page, OBJECT, 0.5, 0.5)
    right = at(page, OBJECT, 0.9, 0.5)[0]
    spread(touch, x, y, (40, 80))
    assert selected(page) is None  # the stroke that the first finger began is taken back
    # The view shows twice as much detail now: a finger four tenths of the photo off the middle paints at two tenths.
    touch("touchStart", (right, y))
    touch("touchMove", (right, y + 4))
    touch("touchEnd")
    rows, columns = np.nonzero(selected(page) > 200)
    assert columns.mean() == pytest.approx(0.7 * OBJECT[0], abs=6) and rows.mean() == pytest.approx(120, abs=6)


def test_undo_reaches_back_across_all_tools(cutting):
    """A box, a click, a stroke, a grown edge and a placement; each is one step, there and back."""
    canvas = cutting.locator(".stage-marks")
    canvas.press("x")
    drag(cutting, at(cutting, OBJECT, 0.03, 0.03), at(cutting, OBJECT, 0.97, 0.97))
    states = [selected(cutting)]
    canvas.press("n")
    cutting.mouse.click(*at(cutting, OBJECT, 0.25, 0.5))
    states.append(selected(cutting))
    canvas.press("b")
    drag(cutting, at(cutting, OBJECT, 0.1, 0.1), at(cutting, OBJECT, 0.3, 0.1))
    states.append(selected(cutting))
    cutting.locator('[data-act="grow"]').click()
    states.append(selected(cutting))
    cutting.locator('[data-tool="place"]').click()
    live_off(cutting)
    before = numbers(cutting)
    cutting.locator('[data-number="x"]').fill("31")
    cutting.locator('[data-number="x"]').press("Enter")
    canvas.press("Control+z")
    settle(cutting)
    assert numbers(cutting) == before
    for state in states[2::-1]:
        canvas.press("Control+z")
        assert np.array_equal(selected(cutting), state)
    canvas.press("Control+z")
    assert selected(cutting) is None
    for state in states:
        canvas.press("Control+y")
        assert np.array_equal(selected(cutting), state)
    canvas.press("Control+y")
    settle(cutting)
    assert numbers(cutting)[0] == 31


def test_brush_eraser_and_undo(cutting):
    assert selected(cutting) is None
    canvas = cutting.locator(".stage-marks")
    canvas.press("b")
    drag(cutting, at(cutting, OBJECT, 0.3, 0.5), at(cutting, OBJECT, 0.7, 0.5), steps=8)
    painted = selected(cutting)
    assert painted[120, 100:200].min() > 200 and painted[60].max() == 0
    assert "by hand" in cutting.locator(".stage-maker").inner_text()
    canvas.press("e")
    drag(cutting, at(cutting, OBJECT, 0.5, 0.4), at(cutting, OBJECT, 0.5, 0.6), steps=8)
    erased = selected(cutting)
    assert erased[120, 150] < 60 and erased[120, 110] > 200
    canvas.press("Control+z")
    assert np.array_equal(selected(cutting), painted)
    canvas.press("Control+z")
    assert selected(cutting) is None
    canvas.press("Control+Shift+z")
    assert np.array_equal(selected(cutting), painted)


def test_a_box_and_points_select_and_say_by_what(cutting, photos):
    truth = cv2.imread(str(photos["mask"]), cv2.IMREAD_GRAYSCALE) > 127
    canvas = cutting.locator(".stage-marks")
    canvas.press("x")
    drag(cutting, at(cutting, OBJECT, 0.1, 0.1), at(cutting, OBJECT, 0.9, 0.9))
    first = selected(cutting) > 127
    box = [side * share for side, share in zip([*OBJECT, *OBJECT], (0.1, 0.1, 0.9, 0.9), strict=True)]
    [meant] = EmbeddedEngine(load_image(photos["opaque"])).candidates(box=box)
    expected = meant.mask(*truth.shape) > 127
    assert (first & expected).sum() / (first | expected).sum() > 0.98
    assert (first & truth).sum() / (first | truth).sum() > 0.8
    assert "embedded network" in cutting.locator(".stage-maker").inner_text()
    canvas.press("n")
    cutting.mouse.click(*at(cutting, OBJECT, 0.25, 0.5))
    assert selected(cutting)[120, 75] == 0 or truth[120, 75]


def test_keys_cut_out(cutting):
    canvas = cutting.locator(".stage-marks")
    canvas.press("x")
    for key in (*["Shift+ArrowLeft"] * 9, *["Shift+ArrowUp"] * 9, "Enter", *["Shift+ArrowRight"] * 18):
        canvas.press(key)
    for key in (*["Shift+ArrowDown"] * 18, "Enter"):
        canvas.press(key)
    assert (selected(cutting) > 127).mean() > 0.1


def test_masks_grow_shrink_feather_and_invert(cutting, photos):
    give(cutting, "mask", photos["mask"])
    cutting.locator('[data-tool="brush"]').click()
    before = selected(cutting)
    cutting.locator('[data-adjust="amount"]').fill("8")
    areas = {}
    for act in ("grow", "shrink", "feather", "invert"):
        cutting.locator(f'[data-act="{act}"]').click()
        areas[act] = selected(cutting)
        cutting.locator('[data-act="undo"]').click()
        assert np.array_equal(selected(cutting), before)
    assert (areas["grow"] > 127).sum() > 1.1 * (before > 127).sum() > 1.2 * (areas["shrink"] > 127).sum()
    # As if measured from the outline: a disc of the radius, not a square.
    grown = cv2.dilate(before, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))) > 127
    assert ((areas["grow"] > 127) != grown).mean() < 0.01
    soft = areas["feather"]
    assert ((soft > 20) & (soft < 235)).sum() > 3 * ((before > 20) & (before < 235)).sum()
    assert np.array_equal(areas["invert"], 255 - before)


def test_editing_the_mask_leaves_the_object_where_it_was(cutting, photos):
    give(cutting, "mask", photos["mask"])
    cutting.locator('[data-tool="place"]').click()
    live_off(cutting)
    set_numbers(cutting, 50, 50, 60, 20)
    before = canvas_pixels(cutting)
    cutting.locator('[data-tool="brush"]').click()
    drag(cutting, at(cutting, OBJECT, 0.05, 0.96), at(cutting, OBJECT, 0.15, 0.96))
    settle(cutting)
    cutting.locator('[data-tool="place"]').click()
    assert numbers(cutting)[2] > 61  # the height is that of the mask's box, which has grown
    after = canvas_pixels(cutting)
    magenta = before[..., 0].astype(int) - before[..., 1] > 60
    assert np.abs(after[magenta].astype(int) - before[magenta]).mean() < 3


def canvas_pixels(page):
    """uint8 (h, w, 3): the lower canvas, which holds the picture without handles; black outside."""
    page.wait_for_timeout(50)
    return decoded(page.evaluate("() => document.querySelector('.stage-picture').toDataURL()"))


def decoded(address):
    """uint8 (h, w, 3): a PNG of a data URL, on black."""
    data = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return np.where(picture[..., 3:] > 127, picture[..., 2::-1], 0)


PLACEMENTS = [(50, 50, 55, 0, False), (30, 62, 80, 33, True), (78, 40, 30, -128, False), (95, 20, 90, 90, True)]


def test_the_servers_composite_is_what_the_canvas_shows(placed):
    """By copy-paste, whose result is the composite. Magenta on green, so that colours tell the mask."""
    only(placed, "copy-paste")
    flipped = False
    for *values, flip in PLACEMENTS:
        set_numbers(placed, *values)
        if flip != flipped:
            placed.locator('[data-act="flip"]').click()
            flipped = flip
        placed.locator("#harmonize").click()
        placed.locator(".stale").wait_for(state="hidden")
        placed.locator(".run-status", has_text="methods done").wait_for()
        on_canvas = canvas_pixels(placed).astype(int)
        served = drawn_alike(placed).astype(int)
        inside = served.sum(axis=2) > 0
        assert np.abs(on_canvas - served)[inside].mean() <= 2
        masks = [picture[..., 0] - picture[..., 1] > 40 for picture in (on_canvas, served)]
        assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() >= 0.99


def drawn_alike(page):
    """The composite that the server made, drawn at the size and place of the canvas's picture."""
    return decoded(
        page.evaluate(
            """async () => {
                const stage = document.querySelector(".stage-picture");
                const image = new Image();
                image.src = document.querySelector(".tile .after").src;
                await image.decode();
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [stage.width, stage.height];
                const context = canvas.getContext("2d");
                context.imageSmoothingQuality = "high";
                const scale = 0.94 * Math.min(canvas.width / image.width, canvas.height / image.height);
                const [w, h] = [image.width * scale, image.height * scale];
                context.drawImage(image, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
                return canvas.toDataURL();
            }"""
        )
    )


def test_files_dropped_on_the_canvas_find_their_places(page, photos):
    for name in ("background", "transparent"):
        data = list(photos[name].read_bytes())
        page.evaluate(
            """([bytes, name]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
                const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
                document.querySelector(".stage-board").dispatchEvent(new DragEvent("drop", how));
            }""",
            [data, photos[name].name],
        )
        page.locator(".slot-name", has_text=photos[name].name).wait_for()
    page.locator(".stage-placing").wait_for()
    assert page.locator('[data-role="object"] .slot-name').inner_text() == "kite.png"


def test_a_composite_with_its_mask(page, photos, tmp_path):
    page.locator('[data-way="ready"]').click()
    settle(page)
    give(page, "picture", photos["opaque"])
    wrong = write(tmp_path / "wrong.png", np.zeros((50, 60), np.uint8))
    give(page, "mask", wrong)
    assert "Both must have the same size" in page.locator(".stage-problem").inner_text()
    give(page, "mask", photos["mask"])
    assert page.locator(".stage-problem").is_hidden()
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    # Going back and forth loses nothing.
    page.locator('[data-way="pair"]').click()
    settle(page)
    page.locator('[data-way="ready"]').click()
    settle(page)
    assert selected(page) is not None
