"""A photo's segmenter: its work in the background, and what people are told of it."""

import threading
import time

import numpy as np
import pytest

from srin.composite import Placement, crop_to_mask, place
from srin.segmentation import photo_segmenter, sam
from srin.segmentation.checkpoints import download
from srin.segmentation.embedded import EmbeddedEngine
from srin.segmentation.photo_segmenter import PhotoSegmenter
from srin.segmentation.sam import SamEngine
from srin.segmentation.semantic_map import compose, crop_labels

pytest_plugins = ["tiny_sam"]
WAIT = 30


@pytest.fixture
def photo():
    """Noise, and a bright object on it."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 70, (20, 32, 3)).astype(np.uint8)
    image[3:15, 5:20] = (220, 190, 60)
    return image.repeat(10, 0).repeat(10, 1)


@pytest.fixture
def encodings(monkeypatch):
    """Names of the threads that ran the encoder."""
    runs = []
    encode = sam.encode

    def counted(*arguments):
        runs.append(threading.current_thread().name)
        return encode(*arguments)

    monkeypatch.setattr(sam, "encode", counted)
    return runs


def settled(one):
    assert one._mapped.wait(WAIT)
    return one.status


def ready(one):
    deadline = time.monotonic() + WAIT
    while one.status.state != "ready" and time.monotonic() < deadline:
        time.sleep(0.01)
    return one.status.state == "ready"


def test_a_photo_is_prepared_in_the_background_and_clicks_encode_nothing(tiny, photo, encodings):
    download(tiny)
    one = PhotoSegmenter(photo)
    assert settled(one).state == "ready" and one.status.reason == "" and one.status.progress == 1
    assert one.status.segmenter == one.status.map_segmenter == "sam (tiny)"
    assert encodings == ["segmentation"]
    for number in range(5):
        assert one.candidates([(20 + number, 30)], [1])[0].segmenter == "sam (tiny)"
    assert one.automatic_map().segmenter == "sam (tiny)"
    assert encodings == ["segmentation"]


def test_a_dropped_embedding_is_made_again_in_the_background(tiny, photo, encodings):
    download(tiny)
    one = PhotoSegmenter(photo)
    settled(one)
    sam.cache.clear()
    assert one.candidates([(100, 60)], [1])[0].segmenter == "embedded network", "meanwhile, and at once"
    assert ready(one) and one.candidates([(100, 60)], [1])[0].segmenter == "sam (tiny)"
    assert encodings == ["segmentation"] * 2


def test_many_users_at_once(tiny, photo, encodings):
    download(tiny)
    segmenters = [PhotoSegmenter(np.roll(photo, 10 * (k % 3), axis=1)) for k in range(9)]
    for one in segmenters:
        settled(one)
    answers = {}

    def click(k):
        answers[k] = segmenters[k].candidates([(50, 60)], [1])[0].logits

    threads = [threading.Thread(target=click, args=(k,)) for k in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(encodings) == 3
    for k in range(9):
        assert np.array_equal(answers[k], answers[k % 3]), "everybody gets the answer on the own photo"
    assert not np.array_equal(answers[0], answers[1])


def test_without_a_checkpoint_the_embedded_network_says_so(cache, photo):
    one = PhotoSegmenter(photo)
    status = settled(one)
    assert status.state == "unavailable" and "no Segment Anything checkpoint" in status.reason
    assert "embedded network" in status.reason and "colour regions" in status.reason
    assert status.segmenter == "embedded network" and one.automatic_map().segmenter == "colour regions"
    assert one.candidates([(100, 60)], [1], box=(40, 20, 200, 150))[0].segmenter == "embedded network"


@pytest.mark.parametrize("is_mapped", [True, False])
def test_a_checkpoint_that_comes_later_is_used(tiny, photo, monkeypatch, is_mapped):
    """Open photos use it, even if it comes while the map is drawn without it."""
    begun, go_on, automatic = threading.Event(), threading.Event(), EmbeddedEngine.automatic

    def slow(engine, *arguments):
        begun.set()
        assert go_on.wait(WAIT)
        return automatic(engine, *arguments)

    monkeypatch.setattr(EmbeddedEngine, "automatic", slow)
    one = PhotoSegmenter(photo)
    one.look_again()
    assert one.status.state == "unavailable" and begun.wait(WAIT)
    if is_mapped:
        go_on.set()
        settled(one)
    download(tiny)
    one.look_again()
    assert one.status.state == "preparing" and one.status.segmenter == "embedded network"
    go_on.set()
    settled(one)
    deadline = time.monotonic() + WAIT
    while (one.status.redraws or one.status.state != "ready") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert one.status.segmenter == one.status.map_segmenter == one.automatic_map().segmenter == "sam (tiny)"
    assert one.candidates([(100, 60)], [1])[0].segmenter == "sam (tiny)"


@pytest.mark.parametrize("content", [b"", b"anything"])
def test_a_broken_checkpoint_fails_with_its_reason(cache, photo, tmp_path, monkeypatch, content):
    (tmp_path / "broken.pth").write_bytes(content)
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", str(tmp_path / "broken.pth"))
    status = settled(PhotoSegmenter(photo))
    assert status.state == "failed" and "broken.pth can't be read as a checkpoint" in status.reason
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", str(tmp_path / "none.pth"))
    assert "there is no such file" in settled(PhotoSegmenter(photo)).reason


def test_out_of_memory_loses_nothing(tiny, photo, monkeypatch):
    download(tiny)

    def fail(*arguments):
        raise RuntimeError("not enough memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(sam, "encode", fail)
    one = PhotoSegmenter(photo)
    status = settled(one)
    assert status.state == "failed" and "not enough memory" in status.reason and status.segmenter == "embedded network"
    assert one.candidates(box=(40, 20, 200, 150))
    monkeypatch.undo()


def test_the_embedded_network_answers_until_segment_anything_is_ready(tiny, photo, monkeypatch):
    download(tiny)
    go_on = threading.Event()
    encode = sam.encode
    monkeypatch.setattr(sam, "encode", lambda *arguments: go_on.wait(WAIT) and encode(*arguments))
    one = PhotoSegmenter(photo)
    assert one.candidates([(100, 60)], [1])[0].segmenter == one.status.segmenter == "embedded network"
    assert one.status.state == "preparing"
    go_on.set()
    assert ready(one) and one.candidates([(100, 60)], [1])[0].segmenter == "sam (tiny)"


def test_cancelling_stops_the_encoder_and_frees_the_queue(tiny, photo, monkeypatch):
    download(tiny)
    started, go_on = threading.Event(), threading.Event()
    encode = sam.encode

    def slow(loaded, image, precision, proceed):
        started.set()
        go_on.wait(WAIT)
        return encode(loaded, image, precision, proceed)

    monkeypatch.setattr(sam, "encode", slow)
    first = PhotoSegmenter(photo)
    assert started.wait(WAIT) and first.status.state == "preparing"
    first.cancel()
    assert first.status.state == "cancelled"
    assert first.candidates(box=(40, 20, 200, 150))[0].segmenter == "embedded network", "at once"
    go_on.set()
    second = PhotoSegmenter(255 - photo)
    assert settled(second).state == "ready"
    assert settled(first).state == "cancelled" and first.status.map_segmenter == "colour regions"
    assert first._sam is None, "the encoder stopped on its way"


def test_a_click_is_more_urgent_than_a_map():
    worker = photo_segmenter._Worker()
    order, begin = [], threading.Event()
    worker.submit(photo_segmenter._ENCODE, lambda: begin.wait(WAIT))
    for name, urgency in (
        ("map", photo_segmenter._MAP),
        ("check", photo_segmenter._CHECK),
        ("encode", photo_segmenter._ENCODE),
    ):
        worker.submit(urgency, lambda name=name: order.append(name))
    worker.submit(photo_segmenter._ENCODE, lambda: 1 / 0)
    begin.set()
    deadline = time.monotonic() + WAIT
    while len(order) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert order == ["encode", "map", "check"], "and a job that fails stops nothing"


def test_forty_megapixels_leave_little_behind(cache):
    photo = np.zeros((5000, 8000, 3), np.uint8)
    photo[1000:4000, 2000:6000] = 200
    one = PhotoSegmenter(photo)
    settled(one)
    held = sum(value.nbytes for value in vars(one).values() if isinstance(value, np.ndarray))
    assert one._embedded._image is one._image
    assert held + sum(level.nbytes for level in one._embedded._whole._features) < 6e6
    mask = one.candidates(box=(1500, 800, 6500, 4300))[0].mask(5000, 8000)
    truth = photo[..., 0] > 0
    assert ((mask > 0) & truth).sum() / ((mask > 0) | truth).sum() > 0.9


def test_placing_encodes_nothing(tiny, photo, encodings):
    download(tiny)
    background, foreground = PhotoSegmenter(photo), PhotoSegmenter(255 - photo)
    settled(background), settled(foreground)
    assert len(encodings) == 2
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[50:150, 80:240] = 255
    crop = crop_to_mask(255 - photo, mask)
    labels = crop_labels(foreground.automatic_map().labels, mask)
    for number in range(5):
        placement = Placement(x=0.3 + 0.1 * number, scale=0.4, rotation=20 * number)
        made = compose(place(photo, *crop, placement), background.automatic_map(), labels, placement, crop[1].shape)
        assert made.segmenter == "sam (tiny)"
    assert len(encodings) == 2


def test_engines_hold_their_own_copy(tiny, photo):
    download(tiny)
    engine = SamEngine(photo, sam_loaded())
    photo[:] = 0
    assert engine._image.any()


def sam_loaded():
    from srin.segmentation.sam_model import load_sam

    return load_sam("tiny")
