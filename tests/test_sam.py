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
from tiny_sam import build_tiny_sam

from srin.errors import SegmentationError
from srin.segmentation import automatic, encoder, sam, sam_model
from srin.segmentation.cache import ArrayCache
from srin.segmentation.checkpoints import CHECKPOINTS, download
from srin.segmentation.embedded import EmbeddedEngine
from srin.segmentation.sam import SamEngine
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
def engine(tiny, photo):
    return SamEngine(photo, load_sam(download(tiny)))


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
        segment(np.zeros((64, 64, 3), np.uint8), "sam")


def test_clicks_and_boxes_give_the_predictors_masks(engine, photo):
    """The reference is the library's own predictor, used as its documentation says."""
    predictor = segment_anything.SamPredictor(load_sam("tiny").model)
    predictor.set_image(photo)
    former = engine.candidates([(30, 40)], [1])[0]
    cases = [
        ([(100.0, 50.0)], [1], None, None),
        ([(100.0, 50.0), (10.0, 10.0)], [1, 0], None, None),
        ([], [], (20, 30, 200, 150), None),
        ([(100.0, 50.0)], [1], (20, 30, 200, 150), None),
        ([(100.0, 50.0)], [0], (20, 30, 200, 150), former),
    ]
    for points, labels, box, previous in cases:
        ambiguous = len(points) == 1 and box is None
        masks, scores, _ = predictor.predict(
            np.array(points) if points else None,
            np.array(labels) if points else None,
            None if box is None else np.array(box),
            None if previous is None else engine._as_prompt(previous)[0],
            multimask_output=ambiguous,
        )
        found = engine.candidates(points, labels, box, previous)
        mask = found[0].mask(*photo.shape[:2])
        assert mask.dtype == np.uint8 and mask.shape == photo.shape[:2] and np.isin(mask, (0, 255)).all()
        expected = masks[scores.argmax()]
        # We enlarge the decoder's answer in one step and not in two: edges of noise move by a pixel.
        assert iou(mask > 0, expected) > 0.9
        assert found[0].score == pytest.approx(scores.max(), abs=1e-4)
        if ambiguous:
            assert [one.score for one in found] == pytest.approx(sorted(scores, reverse=True)[: len(found)], abs=1e-4)
        assert 1 <= len(found) <= 3


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_a_mask_given_back_changes_the_answer(engine, photo):
    click = {"points": [(100, 50), (10, 190)], "labels": [1, 0]}
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[40:160, 60:200] = 255
    plain, corrected = (engine.candidates(**click, previous=previous)[0].logits for previous in (None, mask))
    assert not np.allclose(plain, corrected)


def test_masks_of_a_narrow_photo_are_not_shifted(tiny):
    """57.25 of 64 rows of the decoder belong to the picture: its answer must not be stretched to 57."""
    photo = np.zeros((229 * 8, 256 * 8, 3), np.uint8)
    engine = SamEngine(photo, load_sam(download(tiny)))
    ramp = np.tile(np.arange(64, dtype=np.float32)[:, None] + 0.5, (1, 64))
    expected = (np.arange(57) + 0.5) * 57.25 / 57
    assert np.allclose(engine._valid(ramp)[:, 0], expected, atol=0.05)
    assert not np.allclose(ramp[:57, 0], expected, atol=0.1), "what cutting off would give"


def test_a_picture_is_encoded_once_for_everybody(tiny, photo, encodings):
    sam_loaded = load_sam(download(tiny))
    engines = [SamEngine(photo.copy(), sam_loaded) for _ in range(3)]
    threads = [threading.Thread(target=one.prepare) for one in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engines[0].candidates([(10, 10)], [1])
    engines[1].automatic()
    assert encodings == [True], "one run, under inference_mode"
    SamEngine(255 - photo, sam_loaded).prepare()
    assert len(encodings) == 2


def test_pictures_of_equal_bytes_and_other_shape_are_told_apart(tiny, encodings):
    for shape in [(64, 32, 3), (32, 64, 3)]:
        SamEngine(np.zeros(shape, np.uint8), load_sam(download(tiny))).prepare()
    assert len(encodings) == 2


def test_the_cache_forgets_the_least_recently_used(tiny, encodings, monkeypatch):
    embedding = 32 * 16 * 16 * 4
    monkeypatch.setattr(sam, "cache", ArrayCache(2 * embedding))
    pictures = [np.full((32, 32, 3), value, np.uint8) for value in range(3)]
    first, second, third = (SamEngine(picture, load_sam(download(tiny))) for picture in pictures)
    first.prepare()
    second.prepare()
    first.prepare()
    assert len(encodings) == 2
    third.prepare()
    first.prepare()
    assert len(encodings) == 3
    second.prepare()
    assert len(encodings) == 4


def test_what_is_larger_than_the_cache_is_not_kept():
    cache = ArrayCache(100)
    cache.put("small", {"a": np.zeros(60, np.uint8)})
    cache.put("large", {"a": np.zeros(90, np.uint8), "b": np.zeros(90, np.uint8)})
    assert cache.get("large") is None and cache.get("small") is not None


def test_the_disk_remembers_and_forgives(tiny, photo, encodings, tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    monkeypatch.setenv("SRIN_SEGMENT_CACHE", str(folder))
    loaded = load_sam(download(tiny))
    expected = SamEngine(photo, loaded).automatic()
    sam.cache.clear()
    again = SamEngine(photo, loaded).automatic()
    assert len(encodings) == 1 and np.array_equal(again.labels, expected.labels)
    files = list(folder.iterdir())
    assert len(files) == 2 and all(path.suffix == ".safetensors" for path in files)
    for path in files:
        path.write_bytes(path.read_bytes()[:50])
    sam.cache.clear()
    assert np.array_equal(SamEngine(photo, loaded).automatic().labels, expected.labels)
    assert len(encodings) == 2, "damaged files are computed again"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRIN_SEGMENT_CACHE", str(tmp_path / "file"))
    SamEngine(255 - photo, loaded).prepare()
    assert len(encodings) == 3, "a folder that can't be made is no error"


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
def test_wrong_prompts_are_explained(engine, photo, prompt, message):
    for segmenter in (engine, EmbeddedEngine(photo)):
        with pytest.raises(SegmentationError, match=message):
            segmenter.candidates(**prompt)


def test_two_thousand_clicks(engine, photo):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, (320, 200), (2000, 2))
    labels = (points[:, 0] > 160).astype(int)
    for segmenter in (engine, EmbeddedEngine(photo)):
        assert segmenter.candidates(points, labels)


def test_an_empty_answer_is_an_error(engine, monkeypatch):
    nothing = np.full((1, 4, 64, 64), -1, np.float32), np.zeros((1, 4), np.float32)
    monkeypatch.setattr(SamEngine, "_decode", lambda *args: nothing)
    with pytest.raises(SegmentationError, match="found nothing there"):
        engine.candidates(box=(0, 0, 10, 10))


def test_a_line_of_pixels_is_refused(tiny):
    with pytest.raises(SegmentationError, match="600 x 1 pixels are too narrow"):
        SamEngine(np.zeros((1, 600, 3), np.uint8), load_sam(download(tiny)))


def test_the_automatic_map_labels_every_pixel(engine, photo):
    found = engine.automatic()
    assert found.labels.shape == engine.logits_size == (40, 64) and found.labels.dtype == np.int32
    assert np.array_equal(np.unique(found.labels), np.arange(found.labels.max() + 1))
    assert 0 < found.decoded_points <= 102
    assert found.objects.shape[1:] == found.labels.shape
    labels = segment(photo, "sam").labels
    assert labels.shape == photo.shape[:2]


def test_the_librarys_own_generator_still_works(engine, monkeypatch):
    asked = []
    forward = segment_anything.modeling.MaskDecoder.predict_masks
    monkeypatch.setattr(automatic, "FULL_GRID", 2)

    def counted(self, **arguments):
        asked.append(len(arguments["sparse_prompt_embeddings"]))
        return forward(self, **arguments)

    monkeypatch.setattr(segment_anything.modeling.MaskDecoder, "predict_masks", counted)
    labels = engine.full_grid_map()
    assert labels.shape == engine.logits_size and labels.max() > 0
    assert sum(asked) == 4


def test_a_photo_of_one_colour_and_no_confident_mask_at_all(tiny, tmp_path):
    state = sam_model_registry["tiny"]().state_dict()
    state["mask_decoder.iou_prediction_head.layers.2.bias"] -= 10
    torch.save(state, tmp_path / "unsure.pth")
    plain = np.full((200, 320, 3), 90, np.uint8)
    found = SamEngine(plain, load_sam(tmp_path / "unsure.pth")).automatic()
    assert (found.labels == 0).all() and len(found.objects) == 0
    embedded = EmbeddedEngine(plain).automatic()
    assert (embedded.labels == 0).all()


def test_shorter_numbers_only_where_masks_agree(tiny, cache, monkeypatch):
    loaded = load_sam(download(tiny))
    assert encoder.precision_of(loaded) is torch.float32
    monkeypatch.setattr(encoder, "short_precision", lambda device: torch.bfloat16)
    assert encoder.needs_check(loaded) and encoder.precision_of(loaded) is torch.float32
    overlap = encoder.check_precision(loaded, lambda done: None)
    assert 0 < overlap < 1, "bf16 changes something"
    assert encoder.precision_of(loaded) is (torch.bfloat16 if overlap >= 0.99 else torch.float32)
    monkeypatch.setattr(encoder, "REQUIRED_IOU", 0.0)
    encoder.check_precision(loaded, lambda done: None)
    monkeypatch.setattr(encoder, "_verdicts", {})
    assert not encoder.needs_check(loaded) and encoder.precision_of(loaded) is torch.bfloat16, "read from the disk"


def test_a_model_of_another_size_is_built_from_its_tensors(tiny_weights, cache, photo):
    """As in a fresh clone, where no model is registered."""
    loaded = load_sam(tiny_weights, "cpu")
    assert loaded.architecture == "32 channels wide"
    assert loaded.model.image_encoder.img_size == 256
    built, ours = build_tiny_sam().eval(), loaded.model
    built.load_state_dict(ours.state_dict())
    picture = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        # The normalization's epsilon leaves no trace in the file: ours is the official models'.
        assert torch.allclose(built.image_encoder(picture), ours.image_encoder(picture), atol=1e-3)
    assert segment(photo, "sam", tiny_weights).segmenter == "sam (32 channels wide)"


def test_smaller_masks_are_painted_over_larger_ones():
    small, large, hidden = np.zeros((3, 6, 6), bool)
    hidden[0, 0] = small[:2, :2] = large[:4, :] = True
    labels = automatic.painted(np.array([small, large]))
    assert labels[0, 0] == 2 and labels[3, 3] == 1 and labels[5, 5] == 0
    twins = automatic.painted(np.array([hidden, hidden, ~hidden]))
    assert np.array_equal(np.unique(twins), [0, 1]), "labels that nothing shows are closed up"
    assert np.array_equal(automatic.painted(np.zeros((0, 6, 6), bool)), np.zeros((6, 6)))


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
