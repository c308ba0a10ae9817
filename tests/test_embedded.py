"""The embedded network with its shipped weights: what clicks, boxes and no prompt select."""

import gc
import weakref

import cv2
import numpy as np
import pytest
from conftest import ROOT

from benchmarks.measure import megabytes
from srin.composite import Placement, crop_to_mask, place
from srin.errors import SegmentationError, WeightsError
from srin.image_io import load_image, load_mask
from srin.segmentation import PhotoSegmenter, embedded
from srin.segmentation.candidate import Candidate
from srin.segmentation.embedded import EmbeddedEngine
from srin.segmentation.regions import FINE_SIDE, joined_regions
from train.data.prompts import correction
from train.data.prompts import place as deepest

EXAMPLES = ROOT / "assets" / "examples"
MASKED = ("otter", "osprey")


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def selected(candidate, truth):
    return candidate.mask(*truth.shape) > 127


def deep(truth):
    """The place deepest inside an object, as (x, y) in pixels."""
    row, column = deepest(truth)
    return column + 0.5, row + 0.5


def box_of(truth):
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


# The masks include what the animals sit on. In pixels: the otter's outline from below, and where there is only branch.
OTTER_FROM_BELOW = [(500, 200), (690, 300), (700, 330), (655, 345), (760, 380), (790, 395), (860, 395), (900, 415)]
OTTER_FROM_BELOW += [(1000, 432), (1200, 455), (1300, 455), (1420, 430), (1480, 410), (1520, 370), (1560, 320)]
OTTER_FROM_BELOW += [(1580, 290)]
BRANCH_FROM = (0.22, 0.66)  # of the osprey's width and height, towards the lower right


def animal(name):
    mask = load_mask(EXAMPLES / f"{name}_mask.png") > 127
    height, width = mask.shape
    if name == "otter":
        above = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(above, [np.array([*OTTER_FROM_BELOW, (1580, 0), (500, 0)])], 1)
        return mask & (above > 0)
    mask[round(BRANCH_FROM[1] * height) :, round(BRANCH_FROM[0] * width) :] = False
    return mask


@pytest.fixture(scope="module")
def photos():
    """The repository's photos with masks: name -> (photo, the animal's mask)."""
    return {name: (load_image(EXAMPLES / f"{name}.jpg"), animal(name)) for name in MASKED}


@pytest.fixture(scope="module")
def engines(photos):
    return {name: EmbeddedEngine(image) for name, (image, _) in photos.items()}


@pytest.mark.parametrize("name", MASKED)
def test_one_click_a_box_and_no_prompt_find_the_object(name, photos, engines):
    truth, engine = photos[name][1], engines[name]
    clicked = engine.candidates([deep(truth)], [1])[0]
    assert clicked.segmenter == "embedded network"
    assert iou(selected(clicked, truth), truth) > FLOORS[name][0]
    assert iou(selected(engine.candidates(box=box_of(truth))[0], truth), truth) > FLOORS[name][1]
    assert iou(selected(engine.subject(), truth), truth) > FLOORS[name][2]


FLOORS = {"otter": (0.8, 0.8, 0.8), "osprey": (0.8, 0.8, 0.8)}  # one click, a box, no prompt


def test_another_click_gives_another_object(photos):
    """Two photos side by side. A network that only looks for salient objects would answer both clicks alike."""
    (one, first), (other, second) = (
        (cv2.resize(image, (600, 420)), cv2.resize(mask.astype(np.uint8), (600, 420)) > 0)
        for image, mask in (photos[name] for name in MASKED)
    )
    engine = EmbeddedEngine(np.concatenate([one, other], 1))
    truths = [np.concatenate([first, second & False], 1), np.concatenate([first & False, second], 1)]
    answers = [selected(engine.candidates([deep(truth)], [1])[0], truth) for truth in truths]
    for own, foreign in ((0, 1), (1, 0)):
        assert iou(answers[own], truths[own]) > 0.6 and iou(answers[own], truths[foreign]) < 0.05


def test_candidates_are_few_different_and_the_best_comes_first(photos, engines):
    counts = []
    for name in MASKED:
        height, width = photos[name][1].shape
        for x, y in np.random.default_rng(0).uniform(0.1, 0.9, (6, 2)):
            found = engines[name].candidates([(x * width, y * height)], [1])
            counts.append(len(found))
            scores = [candidate.score for candidate in found]
            assert scores == sorted(scores, reverse=True) and all(0 < score < 1 for score in scores)
            masks = [candidate.mask(210, 300) > 127 for candidate in found]
            pairs = [(i, k) for i in range(len(masks)) for k in range(i)]
            assert all(iou(masks[i], masks[k]) < 0.97 for i, k in pairs)
    assert max(counts) == 3, "a click has several meanings"
    name = MASKED[0]
    truth = photos[name][1]
    assert len(engines[name].candidates([deep(truth)], [1], box=box_of(truth))) == 1, "a box leaves no doubt"


def test_more_clicks_correct_the_mask(photos, engines):
    """The first click is at the object's rim, each further one in the largest error."""
    name = MASKED[1]
    truth, engine = photos[name][1], engines[name]
    rim = np.argwhere(truth & ~cv2.erode(truth.astype(np.uint8), np.ones((25, 25))).astype(bool))
    points, labels, scores = [tuple(rim[len(rim) // 3][::-1] + 0.5)], [1], []
    for _ in range(4):
        mask = selected(engine.candidates(points, labels)[0], truth)
        scores.append(iou(mask, truth))
        (row, column), label = correction(truth, mask)
        points.append((column + 0.5, row + 0.5))
        labels.append(label)
    assert max(scores[1:]) > scores[0] and scores[-1] > 0.8


def test_a_negative_click_takes_away(photos, engines):
    truth, engine = photos["otter"][1], engines["otter"]
    body, head = deep(truth), (630, 60)
    before = selected(engine.candidates([body], [1])[0], truth)
    after = selected(engine.candidates([body, head], [1, 0])[0], truth)
    assert before[60, 630] and not after[60, 630] and after[round(body[1]), round(body[0])]


def test_a_former_mask_is_corrected(photos, engines):
    name = MASKED[0]
    truth, engine = photos[name][1], engines[name]
    half = truth.copy()
    half[:, : int(np.median(np.nonzero(truth)[1]))] = False
    missing = deep(truth & ~half)
    found = engine.candidates([missing], [1], previous=half.astype(np.uint8) * 255)
    assert len(found) == 1 and iou(selected(found[0], truth), truth) > iou(half, truth) + 0.2
    logits = cv2.resize(half.astype(np.float32) * 20 - 10, (96, 64))
    again = engine.candidates([missing], [1], previous=Candidate(logits, 0.5, "anybody"))
    assert iou(selected(again[0], truth), selected(found[0], truth)) > 0.9
    nearly = engine.candidates([missing], [1], previous=truth.astype(np.uint8) * 255)
    assert not np.array_equal(nearly[0].logits, found[0].logits), "another former mask, another answer"


@pytest.fixture
def encodings(monkeypatch):
    """Sizes of what the network encodes."""
    sizes = []
    network = embedded._network()
    encode = type(network).encode
    monkeypatch.setattr(type(network), "encode", lambda self, x: sizes.append(tuple(x.shape[2:])) or encode(self, x))
    return sizes


def test_a_photo_is_encoded_once(photos, encodings):
    image, truth = photos[MASKED[0]]
    engine = EmbeddedEngine(image)
    for _ in range(3):
        engine.candidates([deep(truth)], [1])
        engine.subject()
    engine.candidates(box=box_of(truth))
    assert len(encodings) == 1


def test_a_small_object_is_looked_at_again(photos, encodings, monkeypatch):
    """An object of 1 % of the photo is looked at again from closer by, which gives a better mask."""
    image, truth = photos[MASKED[1]]
    scenery = load_image(EXAMPLES / "mountain_lake.jpg")
    rgb, alpha = crop_to_mask(image, truth.astype(np.uint8) * 255)
    composite = place(scenery, rgb, alpha, Placement(x=0.4, y=0.4, scale=0.2))
    small = composite.mask > 127
    assert 0.002 < small.mean() < embedded.SMALL
    engine = EmbeddedEngine(composite.image)
    close = iou(selected(engine.candidates([deep(small)], [1])[0], small), small)
    assert len(encodings) == 2
    engine.candidates([deep(small)], [1])
    assert len(encodings) == 2, "the crop is kept for the next click"
    monkeypatch.setattr(embedded, "SMALL", 0.0)
    far = iou(selected(engine.candidates([deep(small)], [1])[0], small), small)
    assert close > far and close > 0.6


def test_proposals_and_regions(photos, engines):
    name = MASKED[0]
    image, truth = photos[name]
    found = engines[name].automatic()
    assert (found.segmenter, found.finder) == ("colour regions", "embedded network")
    small = cv2.resize(truth.astype(np.uint8), found.objects.shape[:0:-1], interpolation=cv2.INTER_AREA) > 0
    assert max(iou(mask, small) for mask in found.objects) > 0.75
    regions = engines[name].regions()
    assert regions.segmenter == "embedded network" and regions.labels.max() >= 1
    assert np.array_equal(np.unique(regions.labels), np.arange(regions.labels.max() + 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (400, 3), (37, 53)])
def test_photos_of_any_size_get_an_answer_or_a_sentence(size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    engine = EmbeddedEngine(image)
    for ask in (lambda: engine.candidates([(0.5, 0.5)], [1])[0], engine.subject):
        try:
            assert ask().mask(*size).shape == size
        except SegmentationError as error:
            assert str(error).endswith(".")
    assert engine.automatic().labels.shape


def test_one_colour_has_no_object():
    engine = EmbeddedEngine(np.full((200, 300, 3), 128, np.uint8))
    for ask in (lambda: engine.candidates(box=(50, 50, 200, 150)), engine.subject):
        with pytest.raises(SegmentationError, match="The photo is of one colour"):
            ask()
    assert len(engine.automatic().objects) == 0 and engine.regions().labels.max() == 0


def test_broken_weights_are_said(tmp_path, monkeypatch, photos):
    broken = tmp_path / "segmenter.safetensors"
    broken.write_bytes(embedded.WEIGHTS.read_bytes()[:1000])
    monkeypatch.setattr(embedded, "WEIGHTS", broken)
    embedded._network.cache_clear()
    try:
        with pytest.raises(WeightsError, match="segmenter.safetensors can't be read"):
            EmbeddedEngine(photos[MASKED[0]][0]).candidates([(5, 5)], [1])
    finally:
        embedded._network.cache_clear()


@pytest.mark.slow
def test_memory_stays_flat_over_two_hundred_photos():
    rng = np.random.default_rng(0)
    after = []
    engine = None
    for number in range(200):
        engine = EmbeddedEngine(rng.integers(0, 256, (90, 360, 3), dtype=np.uint8))
        try:
            engine.candidates([(100, 40)], [1])
        except SegmentationError:
            pass
        if number in (40, 199):
            gc.collect()
            after.append(megabytes("VmRSS"))
    assert after[1] < after[0] + 60, "each photo takes a megabyte and a half"
    gone = weakref.ref(engine._whole)
    del engine
    gc.collect()
    assert gone() is None


def test_a_photo_segmenter_takes_files_and_answers_at_once(photos):
    name = MASKED[0]
    truth = photos[name][1]
    one = PhotoSegmenter(EXAMPLES / f"{name}.jpg")
    assert iou(selected(one.candidates([deep(truth)], [1])[0], truth), truth) > FLOORS[name][0]
    assert iou(selected(one.subject(), truth), truth) > FLOORS[name][2]


def test_regions_are_joined_where_the_answers_and_the_colours_agree():
    """Four stripes, of which the answers hold the first two together, and the last two have nearly one colour."""
    image = np.zeros((80, 160, 3), np.uint8)
    image[:] = np.repeat([(150, 90, 90), (90, 90, 150), (90, 150, 90), (96, 156, 96)], 40, axis=0)[None]
    answers = np.zeros((4, 20, 40), np.float32)
    answers[:2, :, :20] = 1
    answers[2:, :, 20:] = 1
    alike = joined_regions(image, answers)
    assert alike.dtype == np.int32 and max(alike.shape) == FINE_SIDE
    columns = alike[alike.shape[0] // 2, [18, 56, 93, 131]]
    assert columns[0] == columns[1] != columns[2] == columns[3]
    answers[0, :, 10:20] = answers[1, :, :10] = 0  # now no answer holds the first two together
    columns = joined_regions(image, answers)[40, [18, 56, 93, 131]]
    assert len({*columns[:3]}) == 3 and columns[2] == columns[3]
