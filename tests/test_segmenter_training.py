"""The embedded segmenter's network and how it is trained: prompts, crops, simulated clicks, runs that go on."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from srin.errors import WeightsError
from srin.segmentation.embedded import WEIGHTS, picture_tensor
from srin.segmentation.network import ANSWERS, Prompts, SegmenterConfig, SegmenterNet, _maps, load_segmenter
from tests.made_up_photos import write_photos
from train.config import DataConfig
from train.data.photos import load_photos
from train.data.prompts import Clicks, Crops, correction, is_one_thing, kinds, place
from train.segmenter import (
    SegmenterTrainConfig,
    answers_loss,
    learning_rate,
    load,
    mask_loss,
    settings_of,
    step_loss,
    train,
)

TINY = SegmenterConfig(8, 8, 16)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SegmenterNet(TINY).eval()


@pytest.fixture(scope="module")
def features(network):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    with torch.inference_mode():
        return network.encode(picture_tensor(pictures))


def prompts(count=1, clicks=2, **given):
    empty = Prompts(
        torch.full((count, clicks, 2), 0.5), torch.full((count, clicks), -1), torch.zeros(count, 4),
        torch.zeros(count, 1, 16, 24),
    )  # fmt: skip
    return empty._replace(**given)


def answered(network, features, asked, owners=(0,)):
    with torch.inference_mode():
        return network(features.of(torch.tensor(owners)), asked)


def test_every_kind_of_prompt_reaches_the_answer(network, features):
    nothing, quality = answered(network, features, prompts())
    assert nothing.shape == (1, ANSWERS, 16, 24) and quality.shape == (1, ANSWERS)
    previous = torch.zeros(1, 1, 16, 24)
    previous[..., 4:9, 5:12] = 1
    changes = {
        "a click": {"labels": torch.tensor([[1, -1]])},
        "a negative click": {"labels": torch.tensor([[0, -1]])},
        "a box": {"boxes": torch.tensor([[0.2, 0.2, 0.7, 0.9]])},
        "a former mask": {"previous": previous},
    }
    answers = [nothing]
    for given in changes.values():
        answers.append(answered(network, features, prompts(**given))[0])
    for i, one in enumerate(answers):
        for other in answers[:i]:
            assert (one - other).abs().max() > 1e-4
    moved = prompts(labels=torch.tensor([[1, -1]]), points=torch.tensor([[[0.1, 0.2], [0.5, 0.5]]]))
    assert (answered(network, features, moved)[0] - answers[1]).abs().max() > 1e-4


def test_what_a_person_drew_as_pictures():
    like = torch.zeros(1, 1, 16, 24)
    points = torch.tensor([[[6.5 / 24, 4.5 / 16], [20.5 / 24, 12.5 / 16]]])
    box = torch.tensor([[3 / 24, 2 / 16, 12 / 24, 10 / 16]])
    drawn = prompts(points=points, labels=torch.tensor([[1, 0]]), boxes=box)
    positive, halo, negative, _, inside, outside, previous = _maps(drawn, like)[0]
    assert positive[4, 6] == positive[4, 9] == 1 and positive[4, 10] == positive[12, 20] == 0
    assert negative[12, 20] == 1 and negative[4, 6] == 0
    assert halo.argmax() == 4 * 24 + 6 and 0 < halo[12, 20] < halo[4, 12] < 1
    assert inside.sum() == 9 * 8 and torch.equal(inside, 1 - outside) and inside[2, 3] == 1 and inside[10, 3] == 0
    assert not previous.any() and not _maps(prompts(), like)[0, :6].any(), "nothing where nothing was drawn"


def test_prompts_of_a_batch_do_not_mix_and_missing_clicks_are_nothing(network, features):
    points = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1, -1], [0, 1], [1, 1]])
    owners = (0, 1, 0)
    together = answered(network, features, prompts(3, points=points, labels=labels), owners)
    for number, owner in enumerate(owners):
        part = slice(number, number + 1)
        alone = answered(network, features, prompts(points=points[part], labels=labels[part]), (owner,))
        for one, other in zip(alone, together, strict=True):
            assert torch.allclose(one, other[part], atol=1e-4)
    elsewhere = points.clone()
    elsewhere[0, 1] = 0.9
    again = answered(network, features, prompts(3, points=elsewhere, labels=labels), owners)
    assert torch.equal(again[0][0], together[0][0])


def test_weights_say_what_is_wrong_with_them(tmp_path, network):
    from srin.models.checkpoint import save_weights

    path = tmp_path / "some.safetensors"
    save_weights(path, TINY, network.state_dict(), torch.float16, {})
    assert load_segmenter(path).config == TINY
    save_weights(path, SegmenterConfig(8, 8, 24), network.state_dict(), torch.float16, {})
    with pytest.raises(WeightsError, match="some.safetensors doesn't fit its own configuration"):
        load_segmenter(path)
    for wrong in ({"eighth": 7}, {"eighth": "8"}):
        with pytest.raises(ValueError, match="eighth must be a multiple of 8"):
            SegmenterConfig(**{"quarter": 8, **wrong})
    with pytest.raises(WeightsError, match="broken configuration"):
        load_segmenter(WEIGHTS.with_name("srin.safetensors"))


def blob(height, width, x0, y0, x1, y1):
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_clicks_go_into_the_largest_error():
    truth = blob(40, 60, 10, 10, 31, 31)
    assert place(truth) == (20, 20)
    assert correction(truth, truth) is None
    missing = truth & ~blob(40, 60, 10, 10, 15, 31)
    too_much = missing | blob(40, 60, 40, 5, 59, 30)
    (row, column), label = correction(truth, too_much)
    assert label == 0 and not truth[row, column] and too_much[row, column]
    (row, column), label = correction(truth, missing)
    assert label == 1 and truth[row, column] and not missing[row, column]
    rng = np.random.default_rng(0)
    places = {place(truth, rng) for _ in range(50)}
    assert len(places) > 10 and all(truth[at] for at in places)


def test_simulated_prompts():
    truth = np.stack([blob(40, 60, 10, 10, 31, 31)] * 4).astype(np.float32)
    clicks = Clicks(truth, np.random.default_rng(0))
    for number, kind in enumerate(("click", "box", "both", "none")):
        clicks.begin(number, kind)
    assert (clicks.labels == 1).sum(1).tolist() == [1, 0, 1, 0] and clicks.single.tolist() == [True, False, False, False]
    assert (clicks.boxes.any(1)).tolist() == [False, True, True, False]
    x, y = clicks.points[0, 0] * (60, 40)
    assert 10 <= x <= 31 and 10 <= y <= 31
    near = np.abs(clicks.boxes[1:3] * (60, 40, 60, 40) - (10, 10, 31, 31)).max()
    assert near < 6, "noise, or some room, but no other box"
    clicks.correct(np.zeros((4, 40, 60), bool))
    assert (clicks.labels == 1).sum(1).tolist() == [2, 1, 2, 1] and not clicks.single.any()
    for _ in range(20):
        clicks.correct(np.ones((4, 40, 60), bool))
    assert (clicks.labels >= 0).all(), "and no more than there is room for"


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    config = DataConfig(root=write_photos(tmp_path / "photos"), cache=tmp_path / "cache", photo_side=64)
    return config, load_photos(config, "train")


def test_crops_keep_objects_and_say_which_is_the_subject(photos):
    crops = Crops(photos[1], {}, {}, ("here",))
    rng = np.random.default_rng(0)
    sizes = set()
    subjects = 0
    for _ in range(60):
        crop = crops.draw(rng, (64, 96))
        assert crop.picture.shape == (64, 96, 3) and crop.masks.shape[1:] == (16, 24)
        shares = (crop.masks > 0.5).mean((1, 2))
        assert ((shares > 0) & (shares <= 0.85)).all()
        sizes.add(round(float(shares[0]), 2))
        subjects += crop.subject >= 0
        wanted = list(kinds(crop, rng, 6, 0.5))
        assert len(wanted) == 6 and all(number < len(crop.masks) for number, _ in wanted)
    assert len(sizes) > 10 and subjects > 0
    assert all(Crops(photos[1], {}, {}, ()).draw(rng, (64, 64)).subject == -1 for _ in range(10))


def test_masks_in_pieces_are_left_out():
    two = blob(40, 60, 2, 2, 20, 20) | blob(40, 60, 30, 2, 48, 20)
    assert not is_one_thing(two) and is_one_thing(two | blob(40, 60, 2, 10, 48, 12))
    assert not is_one_thing(np.zeros((4, 4), bool))


def test_losses_prefer_what_is_right():
    truth = torch.from_numpy(blob(16, 24, 4, 4, 14, 12).astype(np.float32))[None]
    right, wrong = (truth * 2 - 1) * 6, (1 - truth * 2) * 6
    assert mask_loss(right, truth) < 0.1 < mask_loss(wrong, truth)
    single = torch.tensor([True])
    sure, unsure = torch.full((1, ANSWERS), 5.0), torch.full((1, ANSWERS), -5.0)
    one_right = torch.stack([right, wrong, right, wrong], 1)
    none_right = torch.stack([right, wrong, wrong, wrong], 1)
    first_wrong = torch.stack([wrong, wrong, right, wrong], 1)
    said = torch.where(torch.tensor([[True, False, True, False]]), sure, unsure)
    best = answers_loss(one_right, said, truth, single)
    assert best < answers_loss(none_right, unsure, truth, single), "one of three is enough for a single click"
    assert best < answers_loss(first_wrong, said, truth, single), "the answer for any prompt counts always"
    assert best < answers_loss(one_right, -said, truth, single), "and so does knowing which"
    several = torch.tensor([False])
    assert torch.equal(answers_loss(one_right, said, truth, several), answers_loss(none_right, said, truth, several)), (
        "other prompts have one answer"
    )


def run_config(data, folder, **more):
    small = {"shapes": ((64, 64),), "batch": 2, "prompts": 2, "steps": 4, "network": TINY, "save_every": 2}
    return SegmenterTrainConfig(output_dir=folder, data=data, evaluate_every=4, precision="no", **(small | more))


def test_training_goes_on_where_it_stopped(photos, tmp_path, monkeypatch):
    whole, parts = run_config(photos[0], tmp_path / "whole"), run_config(photos[0], tmp_path / "parts")
    train(whole)
    steps = []

    def failing(network, crops, config, step):
        if step == 3 and not steps:
            steps.append(step)
            raise KeyboardInterrupt
        return step_loss(network, crops, config, step)

    monkeypatch.setattr("train.segmenter.step_loss", failing)
    with pytest.raises(KeyboardInterrupt):
        train(parts)
    train(parts)
    networks = [load_segmenter(config.output_dir / "weights.safetensors") for config in (whole, parts)]
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    fresh = SegmenterNet(TINY)
    fresh.encoder.load_pretrained()
    for (name, before), after in zip(fresh.encoder.named_parameters(), networks[0].encoder.parameters(), strict=True):
        frozen = name.startswith(("stem", "stages.0.", "stages.1.", "stages.2."))
        assert torch.equal(before.half().float(), after) == frozen or not frozen
    with open(whole.output_dir / "log.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["step"] == "4" and 0 <= float(row["one_click"]) <= 1


def test_training_goes_on_from_weights(photos, tmp_path):
    train(run_config(photos[0], tmp_path / "first"))
    start = tmp_path / "first" / "weights.safetensors"
    further = {"start": start, "lr": 1e-8, "encoder_lr": 1e-8, "boxes": 1.0, "rounds": (0,)}
    train(run_config(photos[0], tmp_path / "second", **further))
    second = tmp_path / "second" / "weights.safetensors"
    for one, other in zip(load_segmenter(start).parameters(), load_segmenter(second).parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    with safe_open(second, "pt") as file:
        assert json.loads(json.loads(file.metadata()["start"])["settings"])["boxes"] == 0.28
    with pytest.raises(ValueError, match="has other channels"):
        train(run_config(photos[0], tmp_path / "other", start=start, network=SegmenterConfig(8, 16, 16)))


def test_a_share_of_the_prompts_has_a_box(photos):
    rng = np.random.default_rng(0)
    crop = Crops(photos[1], {}, {}, ()).draw(rng, (64, 64))
    for boxes, least, most in ((0.05, 0, 0.1), (0.5, 0.4, 0.6), (1.0, 1, 1)):
        drawn = [kind for _, kind in kinds(crop, rng, 400, boxes)]
        assert least <= np.mean([kind != "click" for kind in drawn]) <= most


def test_the_rate_rises_and_falls():
    config = SegmenterTrainConfig(output_dir=None, data=None, steps=1000, warm_up=100)
    rates = [learning_rate(step, config) for step in (0, 50, 99, 500, 999)]
    assert rates[0] < rates[1] < rates[2] and rates[2] > rates[3] > rates[4] and rates[4] < 1e-4


def test_the_shipped_weights_were_made_by_the_config_in_the_tree():
    assert WEIGHTS.stat().st_size < 10 * 2**20
    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    config = load("segmenter_further", [])
    assert json.loads(metadata["settings"]) == settings_of(config)
    assert "train.segmenter segmenter_further" in metadata["command"] and len(metadata["data"]) == 12
    assert "train.segmenter segmenter" in json.loads(metadata["start"])["command"]
    assert "research" in metadata["licence"] and metadata["steps"] == f"{config.steps} of {config.steps}"
    assert load_segmenter(WEIGHTS).config == config.network


@pytest.mark.slow
def test_learning_a_single_object():
    """One picture, one object: after some steps a click on it selects it, and a click beside it doesn't."""
    torch.manual_seed(0)
    network = SegmenterNet(TINY)
    network.encoder.load_pretrained()
    picture = np.full((64, 64, 3), (60, 120, 50), np.uint8)
    cv2.circle(picture, (20, 30), 12, (200, 40, 40), -1)
    cv2.rectangle(picture, (42, 10), (58, 50), (40, 60, 210), -1)
    truth = torch.zeros(2, 16, 16)
    truth[0] = torch.from_numpy(cv2.resize((picture[..., 0] > 150).astype(np.float32), (16, 16)))
    truth[1] = torch.from_numpy(cv2.resize((picture[..., 2] > 150).astype(np.float32), (16, 16)))
    asked = Prompts(
        torch.tensor([[[20 / 64, 30 / 64]], [[50 / 64, 30 / 64]]]), torch.ones(2, 1, dtype=torch.int64),
        torch.zeros(2, 4), torch.zeros(2, 1, 16, 16),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(60):
        features = network.encode(picture_tensor(picture[None])).of(torch.tensor([0, 0]))
        logits, quality = network(features, asked)
        loss = answers_loss(logits, quality, truth, torch.tensor([True, True]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = (logits[:, 0] > 0).float()
    for number in (0, 1):
        own, other = (truth[number] > 0.5).float(), (truth[1 - number] > 0.5).float()
        assert (found[number] * own).sum() > 0.8 * own.sum() and (found[number] * other).sum() < 0.1 * other.sum()
