"""Where the networks take their light from: it holds on the canvas, in comparisons, downloads and projects."""

import base64
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from page_parts import halves, kite, write

from srin import cli
from srin.composite import Placement
from srin.errors import SrinError
from srin.harmonizer import Harmonizer
from srin.image_io import load_image, load_mask
from srin.offsets import Offsets
from srin.project import Project
from srin.ui.compare import downloads
from srin.ui.compare.harmonizing import run_steps
from srin.ui.session.scene import Photo, Scene
from srin.ui.session.session_state import SessionState
from srin.ui.session.uploads import new_file
from srin.ui.stage import light, live_preview, stage, work

PLACE = Placement(0.5, 0.5, 0.5)
LEFT, RIGHT = (0.1, 0.5), (0.9, 0.5)
NOTHING = "leaves nothing of the background"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths: a scene that is blue on the left and orange on the right, an object, its mask."""
    folder = tmp_path_factory.mktemp("light")
    photo, mask = kite(300, 360)
    return {
        "background": write(folder / "halves.png", halves(600, 900)),
        "object": write(folder / "kite.png", photo),
        "mask": write(folder / "mask.png", mask),
    }


@pytest.fixture(scope="module")
def loaded(photos):
    """The background and the object with their region maps, which take seconds. What tests change is the session's."""
    loaded = [Photo.load(photos[role], role) for role in ("background", "object")]
    for photo in loaded:
        photo.segmentation.automatic_map()
    return loaded


@pytest.fixture
def session(photos, loaded):
    session = SessionState()
    session.change(Scene(*loaded))
    session.select(load_mask(photos["mask"]), "mask file")
    return session


def click(session, point, only=True, place=PLACE):
    stage.take_light(session, {"x": point[0], "y": point[1], "only": only, "placement": asdict(place)})


def live(session, method="srin"):
    return live_preview.harmonized(session.scene, PLACE, method, Offsets())[0][0]


def compared(session, *methods):
    *_, last = run_steps(session.scene, PLACE, "auto", methods, "")
    return last.run


def job(session, method="srin", run=None):
    return downloads._job(session.scene, PLACE, downloads.Choice("picture", method, "png", 1.0, 0.0), run)


def test_a_click_takes_a_region_with_what_the_object_hides_and_another_gives_it_back(session):
    click(session, LEFT)
    mask = session.scene.mark.mask
    across = (mask > 0).mean(0)
    middle = mask.shape[1] // 2
    assert across[: middle - 3].min() == 1 and across[middle + 3 :].max() == 0, "the left half, beneath the object too"
    click(session, RIGHT, place=Placement(0.2, 0.5, 0.3))
    assert session.scene.mark.mask.all()
    click(session, LEFT)
    assert np.array_equal(session.scene.mark.mask > 0, mask == 0)
    before = session.scene
    with pytest.raises(SrinError, match="Click on the background"):
        click(session, (0.45, 0.6))
    assert session.scene is before
    click(session, RIGHT)
    assert session.scene.mark is None, "nothing is marked any more"


@pytest.mark.parametrize("method", ["baseline", "srin"])
def test_canvas_comparison_and_download_take_the_light_from_there(session, method):
    everywhere = live(session, method).astype(int)
    click(session, LEFT)
    left = live(session, method).astype(int)
    stage.take_light(session, {"only": False})
    right = live(session, method).astype(int)
    opaque = left[..., 3] > 0
    warmth = [(picture[..., 0] - picture[..., 2])[opaque].mean() for picture in (left, everywhere, right)]
    assert warmth[0] + 1 < warmth[1] < warmth[2] - 1, "from the blue side, from both, from the orange one"
    composite = session.scene.preview(PLACE)
    orange = np.ones(composite.mask.shape, bool)
    orange[:, : orange.shape[1] // 2] = False
    allowed = session.scene.allowed(composite)
    assert (allowed == (orange | (composite.mask > 0))).mean() > 0.99
    semantic_map = session.scene.semantic_map(composite, PLACE)
    expected = Harmonizer.from_pretrained(method).harmonize_composite(composite, semantic_map, reference=allowed)
    run = compared(session, method, "reinhard")
    assert np.array_equal(run.picture(method), expected)
    reinhard = Harmonizer.from_pretrained("reinhard").harmonize_composite(composite)
    assert np.array_equal(run.picture("reinhard"), reinhard), "which borrows from the whole"
    ours, its = job(session, method), job(session, method, run)
    assert np.array_equal(ours.coefficients, its.coefficients)
    said = json.loads(ours.comment)["light"]
    assert said["only"] is False
    assert np.array_equal(load_mask(base64.b64decode(said["mark"])), session.scene.mark.mask)
    assert "light" not in json.loads(job(session, "reinhard", run).comment)


def test_the_papers_networks_borrow_from_all_of_it_and_say_no_other(session):
    """These networks take no reference, so a mark changes nothing for them, in a run, a download or a project."""
    method = "paper-srin"
    before = compared(session, method).picture(method)
    click(session, LEFT)
    run = compared(session, method)
    assert np.array_equal(run.picture(method), before) and not run.outcomes[method].problem
    ours, its = job(session, method), job(session, method, run)
    assert np.array_equal(ours.coefficients, its.coefficients) and ours.label == "Paper: SRIN"
    assert "light" not in json.loads(ours.comment)
    composite = session.scene.preview(PLACE)
    with pytest.raises(SrinError, match="takes no reference: only the networks baseline, bain, srin do"):
        Harmonizer.from_pretrained(method).harmonize_composite(composite, reference=session.scene.allowed(composite))


@pytest.mark.parametrize("method", ["baseline", "srin"])
def test_what_is_excluded_has_no_influence(session, tmp_path, method):
    """With other colours and other shapes on the right side, the network decides the same, to the bit."""
    generator = np.random.default_rng(0)
    patches = generator.integers(40, 216, (6, 9, 3), np.uint8).repeat(100, 0).repeat(100, 1)  # more than regions may be
    session.scene = replace(session.scene, background=Photo.load(write(tmp_path / "patches.png", patches), "background"))
    stage.take_light(session, {"path": painted(session, lambda mask: mask[:, :300].fill(255)), "only": True})
    before, on_canvas, run = job(session, method).coefficients, live(session, method), compared(session, method)
    patches[:, 700:] = (10, 250, 10)  # beyond the object's soft edge
    session.scene = replace(session.scene, background=Photo.load(write(tmp_path / "green.png", patches), "background"))
    session.scene.background.segmentation.automatic_map()
    assert np.array_equal(job(session, method).coefficients, before)
    assert np.array_equal(live(session, method), on_canvas)
    assert np.array_equal(compared(session, method).outcomes[method].patch, run.outcomes[method].patch)
    session.scene = replace(session.scene, light=None)
    assert not np.array_equal(job(session, method).coefficients, before)


def painted(session, paint):
    """The path of an upload: a mark of the page."""
    height, width = session.scene.backdrop.live.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    paint(mask)
    path = new_file("mask.png")
    return str(write(path, np.dstack([np.full((height, width, 3), 200, np.uint8), mask])))


def test_where_nothing_is_left_it_is_said_and_nothing_is_lost(session):
    """The mark lies beneath the object: networks fail, others don't, and networks work with the object elsewhere."""
    stage.take_light(session, {"path": painted(session, lambda mask: mask[160:180, 230:270].fill(255)), "only": True})
    before = session.scene
    with pytest.raises(SrinError, match=NOTHING):
        live(session)
    run = compared(session, "reinhard", "srin")
    assert run.done == ["reinhard"] and NOTHING in run.outcomes["srin"].problem
    with pytest.raises(SrinError, match=NOTHING):
        job(session)
    assert session.scene is before
    live_preview.harmonized(session.scene, Placement(0.2, 0.2, 0.2), "srin", Offsets())


def test_slivers_beyond_a_border_do_not_lend(session):
    """If a region's border is off by a pixel, colours in another light beyond it are not used."""
    click(session, LEFT)
    mark = session.scene.mark
    exact = job(session, "baseline").coefficients
    wider = mark.mask.copy()
    edge = np.flatnonzero(wider[0])[-1]
    wider[:, edge + 1] = 255
    session.take_light(wider, True)
    assert np.abs(job(session, "baseline").coefficients - exact).max() < 0.01
    thin = np.zeros_like(wider)
    thin[:, 3] = 255
    session.take_light(thin, True)
    job(session, "baseline")  # a mark that is nothing but rim lends


def test_undo_goes_back_to_a_former_mark_and_forged_ones_are_refused(session):
    for point in (LEFT, RIGHT):
        click(session, point)
    photos, mask = session.photos, session.scene.mask.version
    first, second = sorted(session.lights)
    stage.restore(session, {"photos": photos, "version": mask, "light": first})
    assert session.scene.mark is session.lights[first]
    stage.restore(session, {"photos": photos, "version": mask, "light": None})
    assert session.scene.mark is None
    stage.restore(session, {"photos": photos, "version": mask, "light": second})
    assert session.scene.mark.mask.all()
    before = session.scene
    for forged in (77, "1", [1], {}, float("nan"), -3):
        with pytest.raises(SrinError, match="too long ago"):
            stage.restore(session, {"photos": photos, "version": mask, "light": forged})
        assert session.scene is before
    stage.add_photo(session, {"role": "background", "path": upload(session.scene.object.path)})
    assert session.scene.mark is None, "of another photo"
    with pytest.raises(SrinError, match="too long ago"):
        stage.restore(session, {"photos": session.photos, "version": mask, "light": first})
    stage.restore(session, {"photos": photos, "version": mask, "light": first})
    assert session.scene.mark.version == first


def upload(path):
    copy = new_file(path.name)
    copy.write_bytes(path.read_bytes())
    return str(copy)


def test_a_mark_is_part_of_what_the_browser_keeps_and_of_projects(session, tmp_path):
    click(session, LEFT, only=False)
    mark = session.scene.mark
    files = {}
    for name, file in work.kept(session)["files"].items():
        copy = new_file(file.get("name", "mask.png"))
        copy.write_bytes(open(file["url"].removeprefix("gradio_api/file="), "rb").read())
        files[name] = {**file, "path": str(copy)}
    later = SessionState()
    work.resume(later, {"files": files, "way": "pair", "placement": asdict(PLACE)})
    assert np.array_equal(later.scene.mark.mask, mark.mask) and later.scene.mark.only is False
    saved = work._saved_project(later, {"placement": asdict(PLACE), "settings": {"method": "srin"}})
    path = saved["url"].removeprefix("gradio_api/file=")
    opened = SessionState()
    work.open_project(opened, {"path": path})
    assert np.array_equal(opened.scene.mark.mask, mark.mask) and opened.scene.mark.only is False
    # The command line takes the light from where the page does.
    out = tmp_path / "out.png"
    assert cli.main(["harmonize", path, "-o", str(out)]) == 0
    project = Project.open(path)
    composite = project.composite()
    harmonizer = Harmonizer.from_pretrained("srin")
    reference = project.allowed(composite)
    expected = harmonizer.harmonize_composite(
        composite, harmonizer.map_for(composite, reference=reference), reference=reference
    )
    assert np.array_equal(load_image(out), expected)
    assert np.abs(expected - np.asarray(harmonizer.harmonize_composite(composite), int)).max() > 1
    for method in ("reinhard", "paper-srin"):
        assert cli.main(["harmonize", path, "-o", str(out), "--method", method]) == 0


def test_marks_may_be_anything_and_any_size(session):
    before = session.scene
    for data in ({"path": "/etc/passwd"}, {"path": None}, {"path": upload_of(b"no picture")}):
        with pytest.raises(SrinError):
            stage.take_light(session, {**data, "only": True})
        assert session.scene is before
    path = new_file("mark.png")
    stage.take_light(session, {"path": str(write(path, np.full((3, 7, 4), 255, np.uint8))), "only": "yes"})
    assert session.scene.mark.mask.shape == session.scene.background.live.shape[:2] and session.scene.mark.only is False
    for data in ({"x": "a", "y": []}, {"x": float("nan"), "y": 10**400}):
        stage.take_light(session, {**data, "placement": 7})
    empty = SessionState()
    for data in ({"x": 0.5, "y": 0.5}, {"path": str(path)}, {"only": True, "clear": True}, {}):
        with pytest.raises(SrinError, match="Add a background photo first"):
            stage.take_light(empty, data)
    assert light.painted(session.scene, path).all()


def upload_of(content):
    path = new_file("mark.png")
    path.write_bytes(content)
    return str(path)


def test_in_a_finished_composite_too(photos):
    """The regions are those of the composite, since there is no photo beneath its object."""
    session = SessionState()
    stage.set_way(session, {"way": "ready"})
    picture = load_image(photos["background"])
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[200:400, 400:520] = 255
    picture[mask > 0] = (110, 90, 110)
    path = new_file("pasted.png")
    stage.add_photo(session, {"role": "picture", "path": str(write(path, picture)), "name": "pasted.png"})
    session.select(mask, "mask file")
    click(session, LEFT)
    assert session.scene.light is None and session.scene.picture_light is session.scene.mark
    marked = session.scene.mark.mask > 0
    across = marked[:30].mean(0)
    assert across[:200].min() == 1 and across[300:].max() == 0
    run = compared(session, "srin")
    assert run.done == ["srin"]
    kept = work.kept(session)["files"]
    assert "picture light" in kept and "background light" not in kept
