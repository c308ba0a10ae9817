"""Segment Anything from checkpoint to mask, with the tiny model of tiny_sam.py: its masks are noise.

So these tests prove plumbing (loading, caching, prompts, painting), and nothing about the quality of masks.
"""

import os
import pickle
import threading

import cv2
import numpy as np
import pytest
import segment_anything
import skimage.data
import torch
from segment_anything import sam_model_registry

from srin.errors import SegmentationError
from srin.segmentation import sam, sam_model
from srin.segmentation.checkpoints import CHECKPOINTS, download
from srin.segmentation.sam import SamSession
from srin.segmentation.sam_model import load_sam
from srin.segmentation.semantic_map import segment

pytest_plugins = ["tiny_sam"]


@pytest.fixture
def photo():
    return cv2.resize(skimage.data.coffee(), (320, 200), interpolation=cv2.INTER_AREA)


@pytest.fixture
def encodings(monkeypatch):
    """Counts the runs of the image encoder."""
    runs = []
    forward = segment_anything.modeling.ImageEncoderViT.forward

    def counted(self, x):
        runs.append(torch.is_inference_mode_enabled())
        return forward(self, x)

    monkeypatch.setattr(segment_anything.modeling.ImageEncoderViT, "forward", counted)
    return runs


@pytest.fixture
def session(tiny, photo):
    return SamSession(photo, download(tiny))


def test_the_model_is_recognised_by_its_tensors_and_loaded_once(tiny, tmp_path):
    renamed = tmp_path / "my model.pth"
    renamed.write_bytes(download(tiny).read_bytes())
    loaded = load_sam(renamed, "cpu")
    assert loaded.architecture == "tiny"
    assert not loaded.model.training
    saved = torch.load(renamed, weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in loaded.model.state_dict().items())
    assert load_sam(str(renamed), "cpu") is loaded

    load_sam("tiny", "cpu")
    assert len(sam_model._loaded) == 1
    assert load_sam(renamed, "cpu") is not loaded


def test_a_replaced_file_is_loaded_again(tiny, tmp_path):
    path = download(tiny)
    first = load_sam(path, "cpu")
    os.utime(path, (0, 0))
    assert load_sam(path, "cpu") is not first


def test_threads_share_one_model(tiny):
    path = download(tiny)
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(load_sam(path, "cpu"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 4 and len({id(one) for one in loaded}) == 1


class Payload:
    def __reduce__(self):
        return os.mkdir, (os.environ["SRIN_TEST_PAYLOAD"],)


def test_a_pickle_with_code_is_refused_and_not_run(tiny, tmp_path, monkeypatch):
    marker = tmp_path / "the code ran"
    monkeypatch.setenv("SRIN_TEST_PAYLOAD", str(marker))
    torch.save({"image_encoder.patch_embed.proj.weight": Payload()}, tmp_path / "zip.pth")
    (tmp_path / "legacy.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    for name in ("zip.pth", "legacy.pth"):
        with pytest.raises(SegmentationError, match="holds more than weights, which is refused"):
            load_sam(tmp_path / name)
    assert not marker.exists()


@pytest.mark.parametrize("size", [0, 100, 300_000])
def test_a_truncated_checkpoint_is_refused(tiny_weights, tmp_path, size):
    path = tmp_path / "cut.pth"
    path.write_bytes(tiny_weights.read_bytes()[:size])
    with pytest.raises(SegmentationError, match="can't be read as a checkpoint: it is damaged, cut short"):
        load_sam(path)


def test_weights_of_other_models_are_refused(tiny, tmp_path):
    state = sam_model_registry["tiny"]().state_dict()
    other_width = {**state, "image_encoder.patch_embed.proj.weight": torch.zeros(48, 3, 16, 16)}
    missing = {name: value for name, value in state.items() if "iou_token" not in name}
    no_tensor = {**state, "mask_decoder.iou_token.weight": "text"}
    surplus = {**state, "surplus": torch.zeros(1)}
    for number, wrong in enumerate(
        [{"weight": torch.zeros(3)}, torch.zeros(3), [], other_width, missing, surplus, no_tensor]
    ):
        path = tmp_path / f"{number}.pth"
        torch.save(wrong, path)
        with pytest.raises(SegmentationError, match="holds no Segment Anything weights of a known"):
            load_sam(path)


def test_missing_files_are_named(tiny):
    with pytest.raises(SegmentationError, match="There is no checkpoint .*sam_tiny.pth. Download"):
        load_sam("tiny")
    with pytest.raises(SegmentationError, match="There is no checkpoint nowhere.pth"):
        load_sam("nowhere.pth")
    with pytest.raises(SegmentationError, match="no Segment Anything checkpoint on this machine"):
        SamSession(np.zeros((64, 64, 3), np.uint8))


def test_clicks_and_boxes_give_the_predictors_masks(session, photo):
    """The reference is the library's own predictor, used as its documentation says."""
    predictor = segment_anything.SamPredictor(load_sam("tiny").model)
    predictor.set_image(photo)
    cases = [
        ([(100.0, 50.0)], [1], None),
        ([(100.0, 50.0), (10.0, 10.0)], [1, 0], None),
        ([], [], (20, 30, 200, 150)),
        ([(100.0, 50.0)], [1], (20, 30, 200, 150)),
    ]
    for points, labels, box in cases:
        masks, scores, _ = predictor.predict(
            np.array(points) if points else None,
            np.array(labels) if points else None,
            None if box is None else np.array(box),
            multimask_output=len(points) == 1 and box is None,
        )
        mask = session.mask(points, labels, box)
        assert mask.dtype == np.uint8 and mask.shape == photo.shape[:2]
        assert np.array_equal(mask, masks[scores.argmax()] * np.uint8(255))


def test_a_picture_is_encoded_once_for_everybody(tiny, photo, encodings):
    path = download(tiny)
    sessions = [SamSession(photo.copy(), path) for _ in range(3)]
    threads = [threading.Thread(target=session.encode) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions[0].mask([(10, 10)], [1])
    sessions[1].automatic_map()
    assert encodings == [True], "one run, under inference_mode"
    other = photo.copy()
    other[0, 0] ^= 1
    SamSession(other, path).encode()
    assert len(encodings) == 2


def test_pictures_of_equal_bytes_and_other_shape_are_told_apart(tiny, encodings):
    for shape in [(64, 32, 3), (32, 64, 3)]:
        SamSession(np.zeros(shape, np.uint8), download(tiny)).encode()
    assert len(encodings) == 2


def test_the_cache_forgets_the_least_recently_used(tiny, encodings, monkeypatch):
    embedding = 32 * 16 * 16 * 4
    monkeypatch.setattr(sam, "CACHE_BYTES", 2 * embedding)
    pictures = [np.full((32, 32, 3), value, np.uint8) for value in range(3)]
    first, second, third = (SamSession(picture, download(tiny)) for picture in pictures)
    first.encode()
    second.encode()
    first.encode()
    assert len(encodings) == 2
    third.encode()
    first.encode()
    assert len(encodings) == 3
    second.encode()
    assert len(encodings) == 4


def test_a_picture_larger_than_the_cache_still_works(session, encodings, monkeypatch):
    monkeypatch.setattr(sam, "CACHE_BYTES", 0)
    session.mask([(10, 10)], [1])
    session.mask([(10, 10)], [1])
    assert len(encodings) == 2


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "Click on the object or draw a box"),
        ({"points": [(1, 1)], "labels": []}, "1 points, but 0 labels"),
        ({"points": [(1, 1)], "labels": [2]}, "label of a point is 1 .* or 0"),
        ({"points": [(321, 1)], "labels": [1]}, r"\(321, 1\) is outside the picture, which has 320 x 200"),
        ({"points": [(float("nan"), 1)], "labels": [1]}, "outside the picture"),
        ({"box": (1, 2, 3)}, "four numbers"),
        ({"box": (1, 2, float("inf"), 3)}, "four numbers"),
        ({"box": (400, 0, 500, 100)}, "covers nothing of the picture, which has 320 x 200 pixels"),
    ],
)
def test_wrong_prompts_are_explained(session, prompt, message):
    with pytest.raises(SegmentationError, match=message):
        session.mask(**prompt)


def test_an_empty_answer_is_an_error(session, monkeypatch):
    nothing = np.zeros((1, 200, 320), bool), np.zeros(1), None
    monkeypatch.setattr(segment_anything.SamPredictor, "predict", lambda *args, **kwargs: nothing)
    with pytest.raises(SegmentationError, match="found nothing there"):
        session.mask(box=(0, 0, 10, 10))


def test_a_line_of_pixels_is_refused(tiny):
    with pytest.raises(SegmentationError, match="600 x 1 pixels are too narrow"):
        SamSession(np.zeros((1, 600, 3), np.uint8), download(tiny))


def test_the_automatic_map_labels_every_pixel(session, photo):
    labels = session.automatic_map()
    assert labels.shape == photo.shape[:2] and labels.dtype == np.int32
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert labels.max() > 0
    sam._cache.clear()
    assert np.array_equal(session.automatic_map(), labels)


def test_the_automatic_map_is_cached(session, monkeypatch):
    labels = session.automatic_map()
    monkeypatch.setattr(segment_anything, "SamAutomaticMaskGenerator", None)
    assert np.array_equal(session.automatic_map(), labels)


def test_the_automatic_map_asks_only_where_nothing_is_found(session, monkeypatch):
    asked = []

    class LeftHalf:
        """Finds the left half of the picture, whatever the points are."""

        def __init__(self, model, **options):
            pass

        def generate(self, image):
            asked.append(self.point_grids[0])
            mask = np.zeros(image.shape[:2], bool)
            mask[:, : image.shape[1] // 2] = True
            return [{"segmentation": mask}]

    monkeypatch.setattr(segment_anything, "SamAutomaticMaskGenerator", LeftHalf)
    labels = session.automatic_map()
    assert [len(points) for points in asked] == [2 * 2, 4 * 4 // 2]
    assert all((points[:, 0] > 0.5).all() for points in asked[1:])
    assert (labels[:, :160] == 1).all() and (labels[:, 160:] == 0).all()


def test_smaller_masks_are_painted_over_larger_ones():
    small, large, hidden = np.zeros((3, 6, 6), bool)
    hidden[0, 0] = small[:2, :2] = large[:4, :] = True
    labels = sam._paint(np.array([small, large]))
    assert labels[0, 0] == 2 and labels[3, 3] == 1 and labels[5, 5] == 0
    twins = sam._paint(np.array([hidden, hidden, ~hidden]))
    assert np.array_equal(np.unique(twins), [0, 1]), "labels that nothing shows are closed up"
    assert np.array_equal(sam._paint(np.zeros((0, 6, 6), bool)), np.zeros((6, 6)))


def test_no_confident_mask_at_all_is_one_region(tiny, tmp_path, photo):
    state = sam_model_registry["tiny"]().state_dict()
    state["mask_decoder.iou_prediction_head.layers.2.bias"] -= 10
    torch.save(state, tmp_path / "unsure.pth")
    assert (SamSession(photo, tmp_path / "unsure.pth").automatic_map() == 0).all()


def test_segment_uses_and_names_sam_where_there_is_a_checkpoint(tiny, photo):
    assert segment(photo, "auto").segmenter == "colour regions"
    with pytest.raises(SegmentationError, match="no Segment Anything checkpoint on this machine"):
        segment(photo, "sam")
    download(tiny)
    assert segment(photo, "auto").segmenter == "sam (tiny)"
    assert segment(photo, "sam").segmenter == "sam (tiny)"
    assert segment(photo, "colour").segmenter == "colour regions"


def test_a_broken_checkpoint_is_an_error_and_no_silent_substitute(tiny, photo, tmp_path, monkeypatch):
    (tmp_path / "broken.pth").write_bytes(b"broken")
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", str(tmp_path / "broken.pth"))
    with pytest.raises(SegmentationError, match="can't be read as a checkpoint"):
        segment(photo, "auto")


def test_the_three_official_architectures_are_told_apart_by_their_width():
    """Against the library's builders, on the meta device: no memory for 2.5 GB of weights."""
    with torch.device("meta"):
        for name, checkpoint in CHECKPOINTS.items():
            model = sam_model_registry[name]()
            assert len(model.state_dict()["image_encoder.patch_embed.proj.weight"]) == checkpoint.embed_dim
