"""Why: each region's effect in words, grey levels and pictures, as the page gets them and shows them."""

import base64
import re

import cv2
import numpy as np
import pytest
from conftest import ROOT
from page_parts import halves, kite, only, serious_findings, write
from test_light import PLACE, click, compared
from test_page_phone import SMALL, TARGET

from srin.explain import HARDLY
from srin.harmonizer import Harmonizer
from srin.image_io import load_mask
from srin.ui.api import ENDPOINTS
from srin.ui.compare import explaining
from srin.ui.session.scene import Photo, Scene
from srin.ui.session.session_state import SessionState

GREY = 119


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session whose pasted object hides the border of a blue and an orange half."""
    folder = tmp_path_factory.mktemp("why")
    scene, (photo, mask) = halves(400, 640), kite(240, 300)
    session = SessionState()
    background, foreground = (
        Photo.load(write(folder / f"{name}.png", image), name) for name, image in (("scene", scene), ("kite", photo))
    )
    session.change(Scene(background, foreground))
    session.select(load_mask(write(folder / "mask.png", mask)), "mask file")
    for one in (background, foreground):
        one.segmentation.automatic_map()
    return session


def decoded(url):
    """uint8 (h, w, 3)."""
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def explained(run):
    return {item["label"]: item for item in explaining._explained(run, (0.5, 0.58), lambda done: None)["items"]}


def test_pictures_show_the_object_without_the_region_and_the_change(session):
    run = compared(session, "reinhard")
    item = explained(run)["SRIN"]
    strong = [region for region in item["regions"] if region["effect"] >= HARDLY]
    assert strong and all(region["would"] and region["scene"] for region in strong)
    assert all(not region["would"] and "scene" not in region for region in item["regions"] if region["effect"] < HARDLY)
    harmonizer = Harmonizer.from_pretrained("srin")
    inside = cv2.erode(run.composite.mask, np.ones((9, 9), np.uint8)) > 127
    labels, outside = run.semantic_map.labels, run.composite.mask == 0
    for told in strong:
        scene, change = decoded(told["scene"]), decoded(told["change"])
        assert scene.shape == run.composite.image.shape
        assert change.shape[1] / change.shape[0] == pytest.approx(16 / 9, 0.02)
        # The picture shows which region it is: that one alone keeps its brightness.
        ratio = scene.astype(float).sum(2) / run.composite.image.sum(2)
        names = [name for name in np.unique(labels[outside]) if np.median(ratio[(labels == name) & outside]) > 0.9]
        assert len(names) == 1
        region = labels == names[0]
        outline = (np.abs(scene.astype(int) - explaining.PART).max(2) < 60) & ~inside
        wide = np.ones((9, 9), np.uint8)
        within = cv2.erode(region.astype(np.uint8), wide, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        edge = cv2.dilate(region.astype(np.uint8), wide) > within
        assert outline.sum() > 50 and edge[outline].mean() > 0.9
        reference = (~region).astype(np.uint8) * 255
        without = harmonizer.harmonize_composite(run.composite, run.semantic_map, reference=reference)
        whole = harmonizer.harmonize_composite(run.composite, run.semantic_map)
        assert np.abs(scene.astype(int) - without)[inside].mean() < 3  # WebP loses something
        assert told["effect"] == pytest.approx(np.abs(without.astype(int) - whole)[inside].mean(), rel=0.3, abs=1)
        corners = [change[:12, :12], change[-12:, -12:]]
        assert all(np.abs(corner.astype(int) - GREY).max() <= 4 for corner in corners), "nothing beside the object"
        assert np.abs(change.astype(int) - GREY).max() > 20


def test_the_mark_counts_here_too(session):
    """Regions that may not lend are not listed as reasons."""
    before = len(explained(compared(session, "reinhard"))["SRIN"]["regions"])
    click(session, (0.1, 0.5), place=PLACE)
    try:
        item = explained(compared(session, "reinhard"))["SRIN"]
    finally:
        session.take_light(None, True)
    assert len(item["regions"]) < before and not any(region["place"].endswith("right") for region in item["regions"])


def test_no_text_praises_a_method_or_tells_what_was_borrowed():
    """On the page, and in what agents and programs read."""
    files = [*(ROOT / "srin" / "ui").rglob("*.js"), *(ROOT / "srin" / "ui").rglob("*.html")]
    texts = {str(file): file.read_text(encoding="utf-8") for file in files}
    texts |= {endpoint.__name__: endpoint.__doc__ for endpoint in ENDPOINTS}
    assert len(texts) > 30
    for name, text in texts.items():
        assert not re.search(r"\bbest\b|\bsuperior|\bwinn|reference colou?rs|weighs more", text, re.IGNORECASE), name


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("size", [(1366, 768), (360, 740)])
def test_the_page_lists_the_regions(open_page, size):
    phone = {"has_touch": True, "is_mobile": True} if size[0] < 500 else {}
    page = open_page(*size, **phone)
    only(page, "copy-paste", "reinhard")
    page.locator(".example:visible").nth(1).click()
    page.locator("#harmonize:not([disabled])").click()
    page.locator(".run-status", has_text="methods done").wait_for()
    page.locator(".why-ask").press("Enter")
    page.locator('[data-act="why-cancel"]').wait_for()
    assert not phone or page.evaluate(SMALL, TARGET) == []
    page.locator(".why-answers > figure").nth(1).wait_for()
    assert page.locator(".why-said").inner_text().startswith("The brighter a region")
    for answer in page.locator(".why-answers > figure").all():
        strong = answer.locator("> .why-regions li")
        assert strong.count() >= 1
        for region in strong.all():
            said = region.locator("p").inner_text()
            assert re.fullmatch(r"At the .*, \d+ % of the background: without it, .* would .*: \d+\.\d grey .*", said)
            assert float(re.search(r"(\d+\.\d) grey", said)[1]) >= HARDLY
            assert region.locator("img").count() == 2
            assert region.locator("img").evaluate_all("(images) => images.every((image) => image.naturalWidth > 100)")
        answer.locator("summary").click()
        weak = answer.locator("details li").all_inner_texts()
        assert weak and all("hardly any difference" in said for said in weak)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert serious_findings(page) == {}
