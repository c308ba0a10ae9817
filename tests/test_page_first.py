"""The first minute at laptop size: an opening that convinces, two photos and a click, one slider, a download."""

import base64
import io
import json

import cv2
import numpy as np
import pytest
from conftest import ROOT
from page_parts import (
    at,
    give,
    gradient,
    harmonized,
    numbers,
    only,
    ragged,
    selected,
    serious_findings,
    set_numbers,
    settle,
    write,
)  # fmt: skip
from PIL import ExifTags, Image

from srin.image_io import load_image
from srin.offsets import Offsets
from srin.ui.gallery.examples import all_examples

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LAPTOP = {"width": 1366, "height": 768}
SCENE, PHOTO = (640, 400), (300, 240)  # width, height


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths: a scene, a photo with a plain object, and the object's mask."""
    folder = tmp_path_factory.mktemp("first")
    mask = ragged(*PHOTO[::-1])
    colour = gradient(*PHOTO[::-1], (190, 60, 170))
    photo = np.where(mask[..., None] > 127, colour, gradient(*PHOTO[::-1], (30, 90, 40)))
    return {
        "scene": write(folder / "evening.png", gradient(*SCENE[::-1], (30, 40, 110))),
        "photo": write(folder / "kite.png", photo),
        "mask": write(folder / "kite mask.png", mask),
    }


@pytest.fixture(scope="module")
def first(open_shared_page, photos):
    """A page on which a visitor has given two photos and clicked on the object."""
    page = open_shared_page(**LAPTOP)
    give(page, "background", photos["scene"])
    give(page, "object", photos["photo"])
    assert page.locator(".stage-cutting").is_visible()
    page.mouse.click(*at(page, PHOTO, 0.4, 0.6))
    harmonized(page)
    return page


def canvas(page):
    """float (h, w, 3): what the canvas shows, without handles."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    address = page.evaluate("() => document.querySelector('.stage-picture').toDataURL()")
    data = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(float)


def take(page, what, place=".stage-placing"):
    with page.expect_download() as download:
        page.locator(f'{place} [data-take="{what}"]:not([disabled])').click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def settings(data):
    """What a downloaded picture says about how it was made."""
    with Image.open(io.BytesIO(data)) as picture:
        return json.loads(picture.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment][8:])


def inside(page, *selectors):
    """Whether all of these are in the window as it stands."""
    size = page.viewport_size
    boxes = [page.locator(selector).bounding_box() for selector in selectors]
    return all(box["y"] >= 0 and box["y"] + box["height"] <= size["height"] for box in boxes)


def test_the_page_opens_with_an_example_split_through_its_object(open_page):
    page = open_page(**LAPTOP)
    page.locator(".opening").wait_for()
    shown = page.locator(".opening img").evaluate_all("images => images.map((image) => image.src)")
    before, after = (load_image(page.request.get(url).body()).astype(int) for url in shown)
    change = np.abs(after - before).max(2) > 20
    assert before.shape == after.shape and change.mean() > 0.03, "the difference is plain"
    divider = page.locator(".opening input")
    split = round(float(divider.input_value()) / 100 * change.shape[1])
    assert 0.25 < change[:, :split].sum() / change.sum() < 0.75
    assert inside(page, ".opening", '.stage-waiting [data-choose="background"]', '.stage-waiting [data-choose="picture"]')
    shown = page.locator(".example:visible")
    assert shown.count() == page.locator(".stage-offer .example").count() == len(all_examples()), "in one place"
    assert inside(page, ".stage-offer-cards")
    assert serious_findings(page) == {}
    line = page.locator(".opening").evaluate("(box) => box.style.getPropertyValue('--divider')")
    divider.focus()
    divider.press("End")
    assert page.locator(".opening").evaluate("(box) => box.style.getPropertyValue('--divider')") == "100%" != line
    page.locator(".stage-offer .example").nth(1).click()
    harmonized(page)
    assert shown.count() == page.locator(".gallery .example").count() == len(all_examples()), "in another one place"
    assert page.locator(".opening").is_hidden() and inside(page, ".stage-board", '[data-look="strength"]')


def test_two_photos_and_a_click_give_a_harmonized_picture_in_one_view(first):
    assert first.locator(".stage-placing").is_visible() and first.evaluate("scrollY") == 0
    steps = ['.stage-placing [data-act="harmonize"]', '.stage-placing [data-act="why"]']
    assert inside(first, ".stage-board", '[data-look="strength"]', '.stage-placing [data-take="picture"]', *steps)
    first.locator(".look summary").click()
    assert serious_findings(first) == {}
    first.locator(".look summary").click()
    after = canvas(first)
    hold = first.locator('[data-act="before"]').bounding_box()
    first.mouse.move(hold["x"] + 9, hold["y"] + 9)
    first.mouse.down()
    before = canvas(first)
    first.mouse.up()
    assert np.abs(after - before).max(2).mean() > 1
    assert np.array_equal(canvas(first), after)


def test_strength_goes_from_nothing_to_twice(first):
    slider = first.locator('[data-look="strength"]')
    shown = {}
    for percent in (0, 50, 100, 150, 200):
        slider.fill(str(percent))
        harmonized(first)  # the first strength above 1 asks for a second picture
        shown[percent] = canvas(first)
    changed = np.abs(shown[100] - shown[0]).max(2) > 6
    assert changed.mean() > 0.01
    middle = (shown[0] + shown[100]) / 2
    assert np.abs(shown[50] - middle)[changed].mean() < 2
    assert np.abs(shown[150] - (shown[100] + shown[200]) / 2)[changed].mean() < 2
    further = shown[0] + 2 * (shown[100] - shown[0])
    assert np.abs(shown[200] - further.clip(0, 255))[changed].mean() < 6
    slider.fill("100")
    assert np.array_equal(canvas(first), shown[100])


def test_the_networks_own_change_can_be_changed_and_put_back(first):
    first.locator(".look summary").click()
    shows = {name: first.locator(f'[data-shows="look-{name}"]') for name in ("exposure", "temperature", "saturation")}
    for shown in shows.values():
        assert shown.inner_text() != "", "what the network chose"
    before, chosen = canvas(first), shows["exposure"].inner_text()
    slider, back = (first.locator(f'[data-{kind}="exposure"]') for kind in ("offset", "reset"))
    assert back.is_disabled()
    slider.fill("0.5")  # of two stops
    number = float(chosen.split()[0].replace("−", "-"))
    assert float(shows["exposure"].inner_text().split()[0].replace("−", "-")) == pytest.approx(number + 1, abs=0.011)
    harmonized(first)
    lighter = canvas(first)
    changed = np.abs(lighter - before).max(2) > 3
    assert changed.mean() > 0.01 and (lighter - before)[changed].mean() > 10
    name, data = take(first, "picture")
    assert settings(data)["offsets"] == {**Offsets().to_dict(), "exposure": 1.0}
    back.click()
    harmonized(first)
    assert np.array_equal(canvas(first), before) and shows["exposure"].inner_text() == chosen
    assert "offsets" not in settings(take(first, "picture")[1])
    first.locator(".look summary").click()


def test_a_click_in_the_inset_corrects_and_the_object_stays(first):
    set_numbers(first, 40, 50, 60, 0)
    harmonized(first)
    before, placed = selected(first), numbers(first)
    first.locator('[data-inset="0"]').click()
    box = first.locator(".inset-canvas").bounding_box()
    rows, columns = np.nonzero(before > 127)
    spot = int(np.argmax(columns))  # on the object, far right
    x, y = columns[spot] / before.shape[1], rows[spot] / before.shape[0]
    first.mouse.click(box["x"] + x * box["width"] - 3, box["y"] + y * box["height"])
    settle(first)
    after = selected(first)
    assert not np.array_equal(before, after)
    assert first.locator(".stage-placing").is_visible()
    # The mask's box, and the numbers with it, may differ now. What was there before stays in its place.
    old, new = (cv2.boundingRect((mask > 127).astype(np.uint8)) for mask in (before, after))
    scale = placed[2] / old[3]
    moved = [numbers(first)[0] - placed[0], numbers(first)[1] - placed[1]]
    shift = [new[i] + new[i + 2] / 2 - old[i] - old[i + 2] / 2 for i in (0, 1)]
    assert moved[0] == pytest.approx(shift[0] * scale * SCENE[1] / SCENE[0], abs=1.5)
    assert moved[1] == pytest.approx(shift[1] * scale, abs=1.5)
    first.locator('[data-act="undo"]').click()
    assert np.array_equal(selected(first), before)
    first.locator('[data-inset="1"]').click()


def test_the_download_is_what_comparing_gives(first, photos):
    """They are equal to the bit, untouched outside the mask, and contain the settings."""
    set_numbers(first, 50, 50, 60, 0)
    first.locator('[data-look="strength"]').fill("140")
    name, data = take(first, "picture")
    assert name == "evening-srin.png"
    _, mask = take(first, "mask")
    only(first, "srin")
    first.locator('.stage-placing [data-act="harmonize"]').click()
    first.locator(".run-status", has_text="methods done").wait_for()
    first.locator('[data-view="strength"]').fill("140")
    with first.expect_download() as download:
        first.locator("#download").click()
    ours, compared, scene = (load_image(x) for x in (data, download.value.path().read_bytes(), photos["scene"]))
    assert np.array_equal(ours, compared)
    outside = load_image(mask)[..., 0] == 0
    assert np.array_equal(ours[outside], scene[outside])
    assert settings(data)["strength"] == 1.4
    first.evaluate("scrollTo(0, 0)")
    first.locator('[data-look="strength"]').fill("100")


def test_why_is_one_click_away(first):
    first.locator('.stage-placing [data-act="why"]').click()
    first.locator(".why").wait_for()
    first.wait_for_function("document.querySelector('.why').getBoundingClientRect().top < innerHeight")
    first.evaluate("scrollTo(0, 0)")


def test_the_subject_is_shown_before_it_is_placed_and_can_be_taken_away(first, photos):
    give(first, "object", photos["photo"])
    first.locator('[data-act="subject"]').click()
    settle(first)
    assert first.locator(".stage-cutting").is_visible()
    mask = selected(first)
    assert mask.max() > 200
    name, data = take(first, "cutout", ".stage-cutting")
    assert name == "kite-cut-out.png"
    rgba = np.asarray(Image.open(io.BytesIO(data)))
    x, y, width, height = cv2.boundingRect(mask)
    assert rgba.shape == (height, width, 4)
    assert np.array_equal(rgba[..., 3], mask[y : y + height, x : x + width])
    photo = load_image(photos["photo"])[y : y + height, x : x + width]
    solid = cv2.erode(rgba[..., 3], np.ones((15, 15), np.uint8)) == 255
    assert np.abs(rgba[solid][:, :3].astype(int) - photo[solid]).max() <= 1
    first.locator(".stage-next").click()
    harmonized(first)
    assert first.locator(".stage-placing").is_visible()


def test_a_composite_and_its_mask_are_as_quick(open_page, photos):
    page = open_page(**LAPTOP)
    page.locator('.stage-waiting [data-choose="picture"]').wait_for()
    with page.expect_file_chooser() as chooser:
        page.locator('.stage-waiting [data-choose="picture"]').click()
    chooser.value.set_files(photos["photo"])
    page.locator('[data-role="picture"] .slot-name', has_text="kite.png").wait_for()
    give(page, "mask", photos["mask"])
    harmonized(page)
    assert page.locator(".stage-placing").is_visible() and page.locator(".stage-position").is_hidden()
    after = canvas(page)
    page.locator('[data-look="strength"]').fill("0")
    assert np.abs(after - canvas(page)).mean() > 0.5
    name, data = take(page, "picture")
    assert name == "kite-srin.png" and np.array_equal(load_image(data), load_image(photos["photo"]))


def test_photos_pasted_from_the_clipboard(open_page):
    page = open_page(**LAPTOP)
    example = ROOT / "assets" / "examples" / "hill_sunset.jpg"
    page.evaluate(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
            window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer }));
        }""",
        list(example.read_bytes()),
    )
    page.locator('[data-role="background"] .slot-name', has_text="pasted.jpg").wait_for()
    settle(page)
    assert page.locator('.stage-waiting [data-choose="object"]').is_visible()


def test_at_rest_the_object_is_as_fine_as_the_scene(open_page, photos, tmp_path):
    """The first live preview has 512 px, the canvas twice as many: only the second one shows stripes of two pixels."""
    page = open_page(width=1600, height=1000)
    texture = np.where(np.arange(1200)[:, None, None] // 2 % 2, 90, 170).astype(np.uint8)
    texture = np.broadcast_to(texture, (1200, 1200, 3)).copy()
    mask = np.zeros((1200, 1200), np.uint8)
    mask[300:900, 300:900] = 255
    give(page, "background", write(tmp_path / "wide.png", gradient(1000, 1280, (30, 40, 110))))
    give(page, "object", write(tmp_path / "stripes.png", texture))
    give(page, "mask", write(tmp_path / "mask.png", mask))
    harmonized(page)
    set_numbers(page, 50, 50, 60, 0)
    settle(page)
    page.locator(".stage-live", has_text="Harmonized by").wait_for()
    first = canvas(page)
    rows, columns = (slice(size * 2 // 5, size * 3 // 5) for size in first.shape[:2])  # inside the object

    def detail(picture):
        return cv2.Laplacian(picture[rows, columns], cv2.CV_64F).std()

    harmonized(page)
    figures = detail(first), detail(canvas(page))
    print(f"detail {figures[0]:.1f}, then {figures[1]:.1f}")
    assert figures[1] > 1.5 * figures[0]
