"""Composites with the remedies that they promise, settings, and a training run that resumes."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from srin.models.checkpoint import load_weights
from train.config import load_config
from train.data.composites import make_batch
from train.data.photos import load_photos
from train.train import train


@pytest.fixture(scope="module")
def photos_folder(tmp_path_factory):
    """Forty made-up photos, each with a bright disc on a gradient, in the form of a corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        ramp = np.linspace(0, 1, 80)[None, :, None] * rng.uniform(60, 160, 3)
        image = np.broadcast_to(ramp + rng.uniform(20, 60, 3), (64, 80, 3)) + rng.normal(0, 6, (64, 80, 3))
        mask = np.zeros((64, 80), np.uint8)
        cv2.circle(mask, (int(rng.integers(25, 55)), 32), int(rng.integers(10, 18)), 255, -1)
        image = np.where(mask[..., None] > 0, image * 0.5 + rng.uniform(40, 110, 3), image)
        cv2.imwrite(str(folder / f"img{i}.png"), np.clip(image, 0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / f"img{i}_mask.png"), mask)
        rows.append({"source": "balloon", "image": f"img{i}.png", "mask": f"img{i}_mask.png", "segments": "", "split": "train"})
    rows[0]["split"] = "test"
    with open(folder / "manifest.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def photos(photos_folder, tmp_path_factory):
    return load_photos(photos_folder, tmp_path_factory.mktemp("cache"), 64, "train")


@pytest.fixture(scope="module")
def batch(photos):
    return make_batch(photos, 64, 48, torch.Generator().manual_seed(0))


def test_test_and_held_out_photos_are_not_trained_on(photos_folder, photos, tmp_path):
    held_out = load_photos(photos_folder, tmp_path, 64, "validation")
    assert len(photos.images) + len(held_out.images) == 39
    assert len(held_out.images) > 0


def test_a_composite_differs_from_its_truth_under_the_mask_only(batch):
    outside = (batch.composite - batch.real) * (1 - batch.mask)
    assert outside.abs().max() == 0
    changed = (batch.composite - batch.real).abs().amax((1, 2, 3)) > 0.02
    assert 0.75 < changed.float().mean() < 1  # some are left unchanged on purpose


def test_accepted_composites_have_an_error_in_the_promised_range(batch):
    error = ((batch.composite - batch.real) / 2) ** 2 * batch.mask
    error = error.sum((1, 2, 3)) / (3 * batch.mask.sum((1, 2, 3)).clamp_min(1)) * 255**2
    kept = error[(batch.weight > 0) & (error > 0)]
    assert len(kept) > 20
    assert kept.min() > 35 and kept.max() < 4600


def test_foreground_and_background_share_no_region(batch):
    for mask, regions in zip(batch.mask[:, 0], batch.regions, strict=True):
        assert not set(regions[mask > 0.5].tolist()) & set(regions[mask <= 0.5].tolist())
        assert set(regions.flatten().tolist()) == set(range(int(regions.max()) + 1))


def test_half_of_the_rims_do_not_show_the_photo(photos):
    """Just outside the mask, about half of the samples differ from the other half's sharp ring."""
    from train.data import composites

    real, mask, _ = composites._crop(photos, torch.arange(24), 48, torch.Generator().manual_seed(1))
    clean = composites._clean_rim(real, mask, 48, torch.Generator().manual_seed(2))
    ring = (torch.nn.functional.max_pool2d(mask, 3, 1, 1) - mask) > 0.5
    far = torch.nn.functional.max_pool2d(mask, 9, 1, 4) < 0.5
    assert torch.equal(clean[far.expand_as(clean)], real[far.expand_as(real)])
    assert (clean - real).abs()[ring.expand_as(clean)].mean() > 0.01


def test_a_wrong_setting_is_named():
    with pytest.raises(ValueError, match="sise"):
        load_config("trunk", ["sise=96"])
    with pytest.raises(ValueError, match="steps"):
        load_config("trunk", ["steps=many"])
    with pytest.raises(ValueError, match="slot"):
        load_config("trunk", ["model.slot=wrong"])


def settings(folder: Path, output: Path, *more: str):
    common = ["size=32", "cached_size=64", "batch=4", "model.width=2", "evaluate_every=100", "minutes=5"]
    return load_config("trunk", [f"corpus={folder}", f"cache={output}/cache", f"output_dir={output}", *common, *more])


def test_a_run_that_was_stopped_ends_as_one_that_was_not(photos_folder, tmp_path):
    train(settings(photos_folder, tmp_path / "whole", "steps=6"))
    train(settings(photos_folder, tmp_path / "parts", "steps=6", "minutes=0"))  # saves before its first step
    train(settings(photos_folder, tmp_path / "parts", "steps=6"))
    whole, parts = (load_weights(tmp_path / name / "weights.safetensors").state_dict() for name in ("whole", "parts"))
    assert all(torch.allclose(whole[key], parts[key], atol=1e-5) for key in whole)


def test_bain_and_srin_go_on_from_rain(photos_folder, tmp_path):
    train(settings(photos_folder, tmp_path / "trunk", "steps=2"))
    init = f"init={tmp_path / 'trunk' / 'weights.safetensors'}"
    for slot in ("bain", "srin"):
        train(settings(photos_folder, tmp_path / slot, "steps=2", init, f"model.slot={slot}"))
        assert load_weights(tmp_path / slot / "weights.safetensors").config.slot == slot
    with pytest.raises(ValueError, match="another architecture"):
        train(settings(photos_folder, tmp_path / "wide", "steps=2", init, "model.width=3"))
