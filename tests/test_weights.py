"""The shipped weights: present, whole, small, of the networks that they claim to be, and better than no change."""

import csv
import json

import numpy as np
import pytest
from safetensors import safe_open

from srin import __version__
from srin.composite import Composite
from srin.harmonizer import NETWORKS, PAPER_NETWORKS, WEIGHTS, Harmonizer, training_notes, unavailable
from srin.image_io import load_image, load_mask
from srin.metrics import fpsnr
from srin.ui.compare.compare import _trained
from train.config import convert, read_settings
from train.paper_trio import load_trio
from train.paper_trio import shared_settings as shared_settings_of_the_trio
from train.side_by_side import SideBySideConfig, shared_settings

SLOTS = {"baseline": "rain", "bain": "bain", "srin": "srin"}
LIMIT = 10 * 2**20  # bytes; larger files need LFS on a Space


@pytest.mark.parametrize("method", NETWORKS)
def test_each_network_comes_with_its_own_weights(method):
    assert unavailable(method) is None
    path = WEIGHTS / f"{method}.safetensors"
    assert path.stat().st_size < LIMIT
    config = Harmonizer.from_pretrained(method)._network.config
    assert (config.slot, config.preset) == (SLOTS[method], "default")
    with safe_open(path, "pt") as file:
        assert "research" in file.metadata()["licence"]


def test_the_three_differ_in_the_slot_alone():
    shapes = {}
    for method in NETWORKS:
        with safe_open(WEIGHTS / f"{method}.safetensors", "pt") as file:
            shapes[method] = {key: file.get_slice(key).get_shape() for key in file.keys() if ".slot." not in key}
            same_run = {key: file.metadata()[key] for key in ("command", "data", "settings", "config")}
        same_run["config"] = same_run["config"].replace(f'"slot": "{SLOTS[method]}"', "")
        shapes[method]["run"] = same_run
    assert shapes["baseline"] == shapes["bain"] == shapes["srin"]


@pytest.mark.parametrize("method", NETWORKS)
def test_the_files_were_made_by_the_config_in_the_tree(method):
    config = convert(SideBySideConfig, read_settings("shipped", []))
    with safe_open(WEIGHTS / f"{method}.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["settings"]) == shared_settings(config)
    model = json.loads(metadata["config"])
    assert (model["members"], model["working_size"]) == (len(config.seeds), config.working_size)
    assert "train.train shipped" in metadata["command"] and len(metadata["data"]) == 12
    made_by, now = ([int(part) for part in version.split(".")] for version in (metadata["version"], __version__))
    assert len(made_by) == 3 and made_by <= now


@pytest.mark.parametrize("method", PAPER_NETWORKS)
def test_the_papers_networks_come_beside_them(method):
    path = WEIGHTS / f"{method}.safetensors"
    assert path.stat().st_size < LIMIT
    config = Harmonizer.from_pretrained(method)._network.config
    # The paper's equations, none of the variations; the residual is our choice, see docs/method.md.
    assert (config.slot, config.preset, config.head) == (SLOTS[method.removeprefix("paper-")], "paper", "residual")
    assert (config.logits, config.shift, config.decoder_norm) == ("plain", "relu", "rain")
    notes = training_notes(method)
    assert "research" in notes["licence"] and "train.train paper_trio" in notes["command"] and len(notes["data"]) == 12
    trio = load_trio(read_settings("paper_trio", []))
    assert json.loads(notes["settings"]) == json.loads(json.dumps(shared_settings_of_the_trio(trio)))
    done, total = notes["steps"].split(" of ")
    assert done == total == str(sum(stage.steps for stage in trio.stages)), "a run that was not finished"
    assert int(notes["images"]) == int(total) * trio.base.batch


def test_the_papers_three_share_a_run():
    notes = [training_notes(method) for method in PAPER_NETWORKS]
    for name in ("command", "data", "settings", "images", "version"):
        assert len({of_one[name] for of_one in notes}) == 1


@pytest.fixture(scope="module")
def recoloured(corpus):
    """Twelve test photos whose object is darkened and turned bluish, or brightened and warmed: (Composite, real)."""
    with open(corpus / "manifest.csv", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["split"] == "test" and r["source"] == "voc_animals"]
    rows = [r for r in rows if 0.1 < float(r["fg_ratio"]) < 0.4][:12]
    pairs = []
    for i, row in enumerate(rows):
        real, mask = load_image(corpus / row["image"]), load_mask(corpus / row["mask"])
        gain = np.array([0.5, 0.6, 0.75]) if i % 2 else np.array([2.2, 1.8, 1.4])
        changed = np.clip((real / 255) ** 2.2 * gain, 0, 1) ** (1 / 2.2) * 255
        image = np.where(mask[..., None] > 127, changed.round().astype(np.uint8), real)
        pairs.append((Composite(image, mask), real))
    return pairs


@pytest.mark.parametrize("method", [*NETWORKS, *PAPER_NETWORKS])
def test_they_undo_a_part_of_what_a_camera_did(method, recoloured):
    harmonizer = Harmonizer.from_pretrained(method)
    gains = []
    for composite, real in recoloured:
        harmonized = harmonizer.harmonize_composite(composite)
        before, after = (fpsnr(x, real, composite.mask) for x in (composite.image, harmonized))
        gains.append(after - before)
        assert np.array_equal(harmonized[composite.mask == 0], composite.image[composite.mask == 0])
    assert np.mean(gains) > (1 if method in NETWORKS else 0.5), gains


def test_the_page_says_how_the_papers_were_trained():
    said = _trained(training_notes("paper-srin"))
    trio = load_trio(read_settings("paper_trio", []))
    composites = trio.base.batch * sum(stage.steps for stage in trio.stages)
    assert f"{composites:,} composites" in said and "minutes" in said
    assert _trained({}) == "" and training_notes("reinhard") == {}
