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
from srin.ui import light, preview, saving, stage, work
from srin.ui.files import new_file
from srin.ui.harmonizing import run_steps
from srin.ui.scene import Photo, Scene
from srin.ui.visit import Visit

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


@pytest.fixture
def visit(photos):
    visit = Visit()
    background, foreground = (Photo.load(photos[role], role) for role in ("background", "object"))
    visit.change(Scene(background, foreground))
    visit.select(load_mask(photos["mask"]), "mask file")
    for photo in (visit.scene.background, visit.scene.object):
        photo.segmentation.automatic_map()
    return visit


def click(visit, point, only=True, place=PLACE):
    stage.take_light(visit, {"x": point[0], "y": point[1], "only": only, "placement": asdict(place)})


def live(visit, method="srin"):
    return preview.harmonized(visit.scene, PLACE, method, Offsets())[0][0]


def compared(visit, *methods):
    *_, last = run_steps(visit.scene, PLACE, "auto", methods, "")
    return last.run


def job(visit, method="srin", run=None):
    return saving._job(visit.scene, PLACE, saving.Choice("picture", method, "png", 1.0, 0.0), run)


def test_a_click_takes_a_region_with_what_the_object_hides_and_another_gives_it_back(visit):
    click(visit, LEFT)
    mask = visit.scene.mark.mask
    across = (mask > 0).mean(0)
    middle = mask.shape[1] // 2
    assert across[: middle - 3].min() == 1 and across[middle + 3 :].max() == 0, "the left half, beneath the object too"
    click(visit, RIGHT, place=Placement(0.2, 0.5, 0.3))
    assert visit.scene.mark.mask.all()
    click(visit, LEFT)
    assert np.array_equal(visit.scene.mark.mask > 0, mask == 0)
    before = visit.scene
    with pytest.raises(SrinError, match="Click on the background"):
        click(visit, (0.45, 0.6))
    assert visit.scene is before
    click(visit, RIGHT)
    assert visit.scene.mark is None, "nothing is marked any more"


@pytest.mark.parametrize("method", ["baseline", "srin"])
def test_canvas_comparison_and_download_take_the_light_from_there(visit, method):
    everywhere = live(visit, method).astype(int)
    click(visit, LEFT)
    left = live(visit, method).astype(int)
    stage.take_light(visit, {"only": False})
    right = live(visit, method).astype(int)
    opaque = left[..., 3] > 0
    warmth = [(picture[..., 0] - picture[..., 2])[opaque].mean() for picture in (left, everywhere, right)]
    assert warmth[0] + 1 < warmth[1] < warmth[2] - 1, "from the blue side, from both, from the orange one"
    composite = visit.scene.preview(PLACE)
    orange = np.ones(composite.mask.shape, bool)
    orange[:, : orange.shape[1] // 2] = False
    allowed = visit.scene.allowed(composite)
    assert (allowed == (orange | (composite.mask > 0))).mean() > 0.99
    semantic_map = visit.scene.semantic_map(composite, PLACE)
    expected = Harmonizer.from_pretrained(method).harmonize_composite(composite, semantic_map, reference=allowed)
    run = compared(visit, method, "reinhard")
    assert np.array_equal(run.picture(method), expected)
    reinhard = Harmonizer.from_pretrained("reinhard").harmonize_composite(composite)
    assert np.array_equal(run.picture("reinhard"), reinhard), "which borrows from the whole"
    ours, its = job(visit, method), job(visit, method, run)
    assert np.array_equal(ours.coefficients, its.coefficients)
    said = json.loads(ours.comment)["light"]
    assert said["only"] is False
    assert np.array_equal(load_mask(base64.b64decode(said["mark"])), visit.scene.mark.mask)
    assert "light" not in json.loads(job(visit, "reinhard", run).comment)


def test_the_papers_networks_borrow_from_all_of_it_and_say_no_other(visit):
    """They have no way to be told who lends; a mark changes nothing about them, in a run, a download or a project."""
    method = "paper-srin"
    before = compared(visit, method).picture(method)
    click(visit, LEFT)
    run = compared(visit, method)
    assert np.array_equal(run.picture(method), before) and not run.outcomes[method].problem
    ours, its = job(visit, method), job(visit, method, run)
    assert np.array_equal(ours.coefficients, its.coefficients) and ours.label == "Paper: SRIN"
    assert "light" not in json.loads(ours.comment)
    composite = visit.scene.preview(PLACE)
    with pytest.raises(SrinError, match="takes no reference: only the networks baseline, bain, srin do"):
        Harmonizer.from_pretrained(method).harmonize_composite(composite, reference=visit.scene.allowed(composite))


def test_what_is_excluded_has_no_influence(visit, photos, tmp_path):
    """With another right side, the network decides the same, to the bit."""
    stage.take_light(visit, {"path": painted(visit, lambda mask: mask[:, :200].fill(255)), "only": True})
    before = job(visit, "baseline").coefficients
    scene = load_image(photos["background"])
    scene[:, 700:] = (10, 250, 10)  # beyond the object's soft edge
    photo = Photo.load(write(tmp_path / "green.png", scene), "background")
    visit.scene = replace(visit.scene, background=photo)
    assert np.array_equal(job(visit, "baseline").coefficients, before)
    visit.scene = replace(visit.scene, light=None)
    assert not np.array_equal(job(visit, "baseline").coefficients, before)


def painted(visit, paint):
    """The path of an upload: a mark of the page."""
    height, width = visit.scene.backdrop.live.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    paint(mask)
    path = new_file("mask.png")
    return str(write(path, np.dstack([np.full((height, width, 3), 200, np.uint8), mask])))


def test_where_nothing_is_left_it_is_said_and_nothing_is_lost(visit):
    """The mark lies beneath the object: networks can't, the others can, and elsewhere it would do."""
    stage.take_light(visit, {"path": painted(visit, lambda mask: mask[160:180, 230:270].fill(255)), "only": True})
    before = visit.scene
    with pytest.raises(SrinError, match=NOTHING):
        live(visit)
    run = compared(visit, "reinhard", "srin")
    assert run.done == ["reinhard"] and NOTHING in run.outcomes["srin"].problem
    with pytest.raises(SrinError, match=NOTHING):
        job(visit)
    assert visit.scene is before
    preview.harmonized(visit.scene, Placement(0.2, 0.2, 0.2), "srin", Offsets())


def test_slivers_beyond_a_border_do_not_lend(visit):
    """A region's border is off by a pixel, and the colours beyond it are another light's."""
    click(visit, LEFT)
    mark = visit.scene.mark
    exact = job(visit, "baseline").coefficients
    wider = mark.mask.copy()
    edge = np.flatnonzero(wider[0])[-1]
    wider[:, edge + 1] = 255
    visit.take_light(wider, True)
    assert np.abs(job(visit, "baseline").coefficients - exact).max() < 0.01
    thin = np.zeros_like(wider)
    thin[:, 3] = 255
    visit.take_light(thin, True)
    job(visit, "baseline")  # all of it is rim, and lends


def test_undo_goes_back_to_a_former_mark_and_forged_ones_are_refused(visit):
    for point in (LEFT, RIGHT):
        click(visit, point)
    photos, mask = visit.photos, visit.scene.mask.version
    first, second = sorted(visit.lights)
    stage.restore(visit, {"photos": photos, "version": mask, "light": first})
    assert visit.scene.mark is visit.lights[first]
    stage.restore(visit, {"photos": photos, "version": mask, "light": None})
    assert visit.scene.mark is None
    stage.restore(visit, {"photos": photos, "version": mask, "light": second})
    assert visit.scene.mark.mask.all()
    before = visit.scene
    for forged in (77, "1", [1], {}, float("nan"), -3):
        with pytest.raises(SrinError, match="too long ago"):
            stage.restore(visit, {"photos": photos, "version": mask, "light": forged})
        assert visit.scene is before
    stage.add_photo(visit, {"role": "background", "path": upload(visit.scene.object.path)})
    assert visit.scene.mark is None, "of another photo"
    with pytest.raises(SrinError, match="too long ago"):
        stage.restore(visit, {"photos": visit.photos, "version": mask, "light": first})
    stage.restore(visit, {"photos": photos, "version": mask, "light": first})
    assert visit.scene.mark.version == first


def upload(path):
    copy = new_file(path.name)
    copy.write_bytes(path.read_bytes())
    return str(copy)


def test_a_mark_is_part_of_what_the_browser_keeps_and_of_projects(visit, tmp_path):
    click(visit, LEFT, only=False)
    mark = visit.scene.mark
    files = {}
    for name, file in work.kept(visit)["files"].items():
        copy = new_file(file.get("name", "mask.png"))
        copy.write_bytes(open(file["url"].removeprefix("gradio_api/file="), "rb").read())
        files[name] = {**file, "path": str(copy)}
    later = Visit()
    work.resume(later, {"files": files, "way": "pair", "placement": asdict(PLACE)})
    assert np.array_equal(later.scene.mark.mask, mark.mask) and later.scene.mark.only is False
    saved = work._saved_project(later, {"placement": asdict(PLACE), "settings": {"method": "srin"}})
    path = saved["url"].removeprefix("gradio_api/file=")
    opened = Visit()
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


def test_marks_may_be_anything_and_any_size(visit):
    before = visit.scene
    for data in ({"path": "/etc/passwd"}, {"path": None}, {"path": upload_of(b"no picture")}):
        with pytest.raises(SrinError):
            stage.take_light(visit, {**data, "only": True})
        assert visit.scene is before
    path = new_file("mark.png")
    stage.take_light(visit, {"path": str(write(path, np.full((3, 7, 4), 255, np.uint8))), "only": "yes"})
    assert visit.scene.mark.mask.shape == visit.scene.background.live.shape[:2] and visit.scene.mark.only is False
    for data in ({"x": "a", "y": []}, {"x": float("nan"), "y": 10**400}):
        stage.take_light(visit, {**data, "placement": 7})
    empty = Visit()
    for data in ({"x": 0.5, "y": 0.5}, {"path": str(path)}, {"only": True, "clear": True}, {}):
        with pytest.raises(SrinError, match="Add a background photo first"):
            stage.take_light(empty, data)
    assert light.painted(visit.scene, path).all()


def upload_of(content):
    path = new_file("mark.png")
    path.write_bytes(content)
    return str(path)


def test_in_a_finished_composite_too(photos):
    """There the regions are those of the composite, which has no photo beneath its object."""
    visit = Visit()
    stage.set_way(visit, {"way": "ready"})
    picture = load_image(photos["background"])
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[200:400, 400:520] = 255
    picture[mask > 0] = (110, 90, 110)
    path = new_file("pasted.png")
    stage.add_photo(visit, {"role": "picture", "path": str(write(path, picture)), "name": "pasted.png"})
    visit.select(mask, "mask file")
    click(visit, LEFT)
    assert visit.scene.light is None and visit.scene.picture_light is visit.scene.mark
    marked = visit.scene.mark.mask > 0
    across = marked[:30].mean(0)
    assert across[:200].min() == 1 and across[300:].max() == 0
    run = compared(visit, "srin")
    assert run.done == ["srin"]
    kept = work.kept(visit)["files"]
    assert "picture light" in kept and "background light" not in kept
