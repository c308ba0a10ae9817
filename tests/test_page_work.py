"""Work is kept across reloads, the back button, tabs and killed servers; blocked or full storage; forgetting."""

from hashlib import sha256

import numpy as np
import pytest
from conftest import PATIENCE, running_app
from page_parts import give, gradient, numbers, ragged, selected, set_numbers, settle, write
from playwright.sync_api import expect

from benchmarks.running_app import free_port, loaded

pytestmark = [pytest.mark.browser, pytest.mark.slow]

KEPT = '.stage-work[data-state="kept"]'
# Everything that the browser has stored: records, and the files' SHA-256.
STORED = """async () => {
    const opened = (request) => new Promise((done) => { request.onsuccess = () => done(request.result); });
    const database = await opened(indexedDB.open("srin"));
    const stores = database.transaction(["records", "files"]);
    const [records, names, files] = await Promise.all([
        opened(stores.objectStore("records").getAll()),
        opened(stores.objectStore("files").getAllKeys()),
        opened(stores.objectStore("files").getAll()),
    ]);
    database.close();
    const sums = await Promise.all(files.map(async (file) => {
        const sum = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
        return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }));
    const entries = names.map((name, index) => [name.split(" ").slice(1).join(" "), sums[index]]);
    return { records, files: Object.fromEntries(entries) };
}"""
BLOCKED = """for (const name of ["indexedDB", "sessionStorage", "localStorage"]) {
    Object.defineProperty(window, name, { get() { throw new DOMException("blocked", "SecurityError"); } });
}"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths: a background, an object's photo that is larger than what the page shows, and its mask."""
    folder = tmp_path_factory.mktemp("photos")
    mask = ragged(1200, 1600)
    mask[600:700, 700:800:3] = 0  # detail that is lost at the size that the page shows
    colour = np.where(mask[..., None] > 127, gradient(1200, 1600, (170, 40, 160)), gradient(1200, 1600, (40, 90, 40)))
    return {
        "background": write(folder / "meadow.jpg", gradient(400, 640)),
        "object": write(folder / "kite photo.jpg", colour),
        "mask": write(folder / "kite mask.png", mask),
    }


@pytest.fixture
def visitor(browser):
    """Opens pages of one visitor. Reloads and dead servers make the browser report errors, so only the page's count."""
    wrong, context = [], browser.new_context(viewport={"width": 1280, "height": 900})

    def open_one(address):
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        loaded(page)
        return page

    open_one.context = context
    yield open_one
    context.close()
    assert not wrong


def begin(page, photos):
    """Begins work: photos, a mask with a stroke on it, a placement, the strength, and a higher exposure."""
    for role in ("background", "object", "mask"):
        give(page, role, photos[role])
    page.locator('[data-tool="brush"]').click()
    page.locator('[data-act="grow"]').click()
    settle(page)
    page.locator('[data-tool="place"]').click()
    set_numbers(page, 31, 62, 70, 25)
    page.locator('[data-act="flip"]').click()
    page.locator('[data-look="strength"]').fill("140")
    page.locator(".look summary").click()
    page.locator('[data-offset="exposure"]').fill("0.3")
    page.locator(KEPT).wait_for()
    return state(page)


def state(page):
    """What a visitor would miss."""
    page.locator(KEPT).wait_for()
    mask = selected(page)
    flip = page.locator('[data-act="flip"]').get_attribute("aria-pressed")
    names = page.locator(".slot:visible .slot-name").all_inner_texts()
    by = page.locator(".stage-maker").text_content()
    sliders = '[data-look="strength"]', '[data-view="strength"]', '[data-offset="exposure"]', '[data-offset="contrast"]'
    look = [page.locator(slider).input_value() for slider in sliders]
    return [[*numbers(page), *look], flip, names, by, sha256(mask.tobytes()).hexdigest(), page.evaluate(STORED)["files"]]


def brought_back(page):
    expect(page.locator(".stage-placing")).to_be_visible(timeout=PATIENCE)
    settle(page)
    return state(page)


def test_a_reload_and_the_back_button_lose_nothing(app_address, visitor, photos):
    page = visitor(app_address)
    before = begin(page, photos)
    assert "mask file" in before[3] and before[5]["object"] == sha256(photos["object"].read_bytes()).hexdigest()
    page.reload()
    assert brought_back(page) == before
    page.goto("about:blank")
    page.go_back()
    assert brought_back(page) == before
    page.locator('[data-act="undo"]').wait_for()


def test_another_tab_is_offered_it_for_a_week(app_address, visitor, photos):
    page = visitor(app_address)
    before = begin(page, photos)
    other = visitor(app_address)
    other.locator(".stage-work-said", has_text="is kept in this browser").wait_for()
    assert other.locator(".slot-name").first.inner_text() == "choose or drop a file"
    other.locator('[data-work="resume"]').click()
    assert brought_back(other) == before
    other.evaluate(
        """async (days) => {
            const opening = indexedDB.open("srin");
            const database = await new Promise((done) => { opening.onsuccess = () => done(opening.result); });
            const store = database.transaction("records", "readwrite").objectStore("records");
            const asked = store.getAll();
            const all = await new Promise((done) => { asked.onsuccess = () => done(asked.result); });
            for (const one of all) store.put({ ...one, saved: one.saved - days * 24 * 3600 * 1000 }, one.tab);
            database.close();
        }""",
        7.01,
    )
    late = visitor(app_address)
    late.wait_for_function(f"async () => !(await ({STORED})()).records.length")
    expect(late.locator('[data-work="resume"]')).to_be_hidden()
    assert late.evaluate(STORED)["files"] == {}


def test_a_killed_server_loses_nothing(visitor, photos, tmp_path):
    """The same holds for a server that has forgotten the session because too many others came."""
    port = free_port()
    with running_app(tmp_path, port=port) as address:
        page = visitor(address)
        before = begin(page, photos)
    page.locator('[data-tool="brush"]').click()
    page.locator('[data-act="grow"]').click()  # to a server that is dead
    with running_app(tmp_path, port=port, SRIN_MAX_VISITORS="1") as address:
        with page.expect_navigation(timeout=PATIENCE):
            pass  # Gradio loads the page again, as soon as there is a server
        assert brought_back(page) == before
        other = page.context.browser.new_page()
        other.goto(address)
        other.locator(".example:visible").nth(0).click()
        other.locator("#harmonize:not([disabled])").wait_for()
        other.close()
        page.locator('[data-tool="brush"]').click()
        page.locator('[data-act="grow"]').click()
        page.locator(".stage-problem", has_text="brought back from this browser").wait_for()
        assert brought_back(page) == before
        page.locator('[data-tool="brush"]').click()
        page.locator('[data-act="grow"]').click()
        settle(page)
        assert sha256(selected(page).tobytes()).hexdigest() != before[4]


def test_where_nothing_can_be_stored_it_is_said_and_all_else_works(app_address, visitor, photos):
    visitor.context.add_init_script(BLOCKED)
    page = visitor(app_address)
    for role in ("background", "object", "mask"):
        give(page, role, photos[role])
    assert "keeps nothing for this page" in page.locator(".stage-work-said").inner_text()
    page.locator("#harmonize:not([disabled])").wait_for()
    assert selected(page) is not None


def test_where_storage_is_full_it_is_said_and_all_else_works(app_address, visitor, photos, tmp_path):
    page = visitor.context.new_page()
    client = visitor.context.new_cdp_session(page)
    client.send("Storage.overrideQuotaForOrigin", {"origin": app_address, "quotaSize": 2_000_000})
    page.goto(app_address)
    begin(page, photos)
    noise = write(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8))
    give(page, "background", noise)
    page.locator(".stage-work-said", has_text="no room to keep your work").wait_for(timeout=PATIENCE)
    page.locator("#harmonize:not([disabled])").wait_for()
    assert page.evaluate(STORED)["files"]["background"] == sha256(photos["background"].read_bytes()).hexdigest()


def test_forget_my_work_forgets_it_everywhere(app_address, visitor, photos):
    page = visitor(app_address)
    begin(page, photos)
    page.locator('[data-work="forget"]').click()
    page.locator('[data-work="keep"]').click()
    assert len(page.evaluate(STORED)["records"]) == 1
    page.locator('[data-work="forget"]').click()
    page.locator('[data-work="really"]').click()
    page.locator(".stage-begin", has_text="Begin with your own").wait_for()
    settle(page)
    assert page.evaluate(STORED) == {"records": [], "files": {}}
    page.reload()
    loaded(page)
    expect(page.locator('[data-work="resume"]')).to_be_hidden()
    assert page.locator(".slot-name").first.inner_text() == "choose or drop a file"


def test_a_project_is_saved_and_opened(app_address, visitor, photos, browser, tmp_path):
    page = visitor(app_address)
    before = begin(page, photos)
    with page.expect_download() as download:
        page.locator('[data-work="save"]').click()
    assert download.value.suggested_filename == "meadow.srin"
    path = tmp_path / "meadow.srin"
    download.value.save_as(path)
    broken = tmp_path / "broken.srin"
    broken.write_bytes(path.read_bytes()[:-100])
    page.locator('[data-work="open"] input').set_input_files(broken)
    page.locator(".stage-problem", has_text="damaged or cut short").wait_for()
    settle(page)
    assert state(page) == before
    other = browser.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(app_address)
    other.locator('[data-work="open"] input').set_input_files(path)
    after = brought_back(other)
    assert after[:5] == before[:5] and after[5]["object mask"] == before[5]["object mask"]
    other.close()


def test_undo_brings_back_photos_that_were_replaced(app_address, visitor, photos):
    page = visitor(app_address)
    before = begin(page, photos)
    page.locator(".example:visible").nth(4).click()
    page.locator(".slot-name", has_text="otter").wait_for()
    settle(page)
    assert "Undo brings yours back" in page.locator(".stage-work-said").inner_text()
    example = state(page)
    page.locator('[data-act="undo"]').click()
    page.locator(".slot-name", has_text="kite").wait_for()
    settle(page)
    page.locator('[data-tool="place"]').click()
    assert state(page) == before
    page.locator('[data-act="redo"]').click()
    page.locator(".slot-name", has_text="otter").wait_for()
    settle(page)
    assert state(page) == example
