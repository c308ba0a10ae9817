"""Canvas and download are one picture: the same map and coefficients, and inside the object the same colours."""

import base64
import time

import cv2
import numpy as np
import pytest
from page_parts import write

from srin.composite import Placement
from srin.full_resolution import apply_coefficients
from srin.harmonizer import NETWORKS
from srin.image_io import load_image, load_mask
from srin.offsets import Offsets
from srin.ui.compare import downloads
from srin.ui.gallery.examples import FOLDER
from srin.ui.session.previews import LIVE_SIDE, PROXY_SIDE, shrink
from srin.ui.session.scene import Photo, Scene
from srin.ui.session.session_state import SessionState
from srin.ui.stage import stage

PLACEMENT = Placement(0.45, 0.55, 0.6, 15, True)
BACKGROUND_SIDE, OBJECT_SIDE = 4600, 3000  # pixels


def enlarged(image, side):
    factor = side / max(image.shape)
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A background of 12 megapixels with an object on it, and the same as a finished composite with its mask."""
    folder = tmp_path_factory.mktemp("photos")
    background = enlarged(load_image(FOLDER / "mountain_lake.jpg"), BACKGROUND_SIDE)
    photo = enlarged(load_image(FOLDER / "osprey.jpg"), OBJECT_SIDE)
    mask = enlarged(load_mask(FOLDER / "osprey_mask.png"), OBJECT_SIDE)
    pair, ready = SessionState(), SessionState()
    pair.scene = Scene(
        background=Photo.load(write(folder / "lake.jpg", background), "background"),
        object=Photo.load(write(folder / "osprey.jpg", photo), "object"),
    )
    pair.select(mask, "mask file")
    full = pair.scene.composite(PLACEMENT)
    ready.scene = Scene(ready=True, picture=Photo.load(write(folder / "paste.png", full.image), "composite"))
    ready.select(full.mask, "mask file")
    scenes = {"pair": pair.scene, "ready": ready.scene}
    deadline = time.monotonic() + 120
    while any(scene.awaits_regions for scene in scenes.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return scenes, full


@pytest.mark.parametrize("side", [LIVE_SIDE, PROXY_SIDE])
@pytest.mark.parametrize("way", ["pair", "ready"])
@pytest.mark.parametrize(
    "method", [*(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[:-1]), NETWORKS[-1]]
)
def test_the_canvas_shows_what_a_download_has(scenes, method, way, side):
    scenes, full = scenes
    scene = scenes[way]
    job = downloads._job(scene, PLACEMENT, downloads.Choice("picture", method, "png", 1.0, 0.0), None)
    download = apply_coefficients(job.coefficients, full)
    live = stage._live(scene, PLACEMENT, method, Offsets(), side)
    canvas = cv2.imdecode(np.frombuffer(base64.b64decode(live["urls"][0].partition(",")[2]), np.uint8), -1)[..., 2::-1]
    (x, y, width, height), shown = live["window"], shrink(download, side)
    rows, columns = shown.shape[:2]
    left, top = round(x * columns), round(y * rows)
    window = (slice(top, top + round(height * rows)), slice(left, left + round(width * columns)))
    inside = shrink(full.mask, side)[window] > 250
    off = np.abs(canvas.astype(int) - shown[window])[inside]
    figure = off.mean(), np.percentile(off, 99)
    sent = f"{side} px, {live['ms']} ms, {len(live['urls'][0]) >> 10} kB"
    print(f"{way}, {method}, {sent}: {figure[0]:.2f} grey levels on average, {figure[1]:.0f} at the 99th percentile")
    assert not live["awaits"] and inside.sum() > 5000
    assert figure[0] <= 1 and figure[1] <= 4
