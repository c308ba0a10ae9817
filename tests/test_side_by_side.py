"""Collected statistics, the loss that follows from them, and the three methods trained side by side."""

import csv
import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from safetensors import safe_open

from srin.models.checkpoint import load_weights
from srin.models.config import FOREGROUND_REGIONS, ModelConfig
from srin.models.network import HarmonizationNet
from srin.models.units import foreground_regions
from tests.made_up_photos import write_photos
from train.config import DataConfig
from train.data.composites import KINDS
from train.side_by_side import (
    FLOOR,
    METHODS,
    OPPONENT,
    SideBySideConfig,
    chroma_bias,
    gain_by_kind,
    learning_rate_share,
    objective,
    shared_settings,
    side_by_side,
)
from train.statistics import collect, load_collected, of_batch, shard_path, squared_error

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), side=(96, 120))


@pytest.fixture(scope="module")
def config(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    data = DataConfig(root=folder, cache=out / "cache", size=SIZE, photo_side=96, workers=1)
    return SideBySideConfig(out, data, composites=48, held_out=16, seeds=(0, 1), passes=3, batch=16, lr=5e-3)


@pytest.fixture(scope="module")
def trained(config):
    side_by_side(config)
    return config


@pytest.fixture(scope="module")
def batch():
    """Random composites, truths, masks and maps, and what is collected of them."""
    generator = torch.Generator().manual_seed(0)
    composite, real = torch.rand(2, 4, 3, SIZE, SIZE, generator=generator) * 2 - 1
    mask = torch.zeros(4, 1, SIZE, SIZE)
    mask[..., 10:50, 20:55] = 1
    regions = torch.randint(0, 4, (4, SIZE // 16, SIZE // 16), generator=generator)
    regions = regions.repeat_interleave(16, 1).repeat_interleave(16, 2) + 4 * mask[:, 0].long()
    network = HarmonizationNet(ModelConfig(slot="rain")).eval()
    with torch.inference_mode():
        return composite, real, mask, regions, of_batch(network, composite, real, mask, regions)


def test_the_error_of_a_transform_follows_from_moments(batch):
    composite, real, mask, regions, collected = batch
    generator = torch.Generator().manual_seed(1)
    whole = torch.eye(3, 4) + 0.2 * torch.randn(4, 3, 4, generator=generator)
    each = torch.eye(3, 4) + 0.2 * torch.randn(4, FOREGROUND_REGIONS, 3, 4, generator=generator)
    labels = foreground_regions(mask, regions)
    for transforms, at in ((whole, None), (whole[:, None], None), (each, labels)):
        found = squared_error(transforms, collected)
        for b in range(4):
            t = transforms[b].double()
            t = t[at[b]] if at is not None else t.view(3, 4).expand(SIZE, SIZE, 3, 4)
            x = composite[b].permute(1, 2, 0).double()
            y = (t[..., :3] @ x[..., None])[..., 0] + t[..., 3]
            error = ((y - real[b].permute(1, 2, 0)) / 2)[mask[b, 0] > 0].square().mean()
            assert float(found[b]) == pytest.approx(float(error), rel=1e-4)


def test_the_bias_of_chroma_by_hand(batch):
    composite, _, mask, _, collected = batch
    identity = torch.eye(3, 4).expand(4, 1, 3, 4)
    inside = mask[:, 0] > 0

    def chroma(pictures):
        opponent = torch.einsum("ij,bjhw->bihw", OPPONENT, pictures)
        return torch.stack([opponent[b][:, inside[b]].square().sum(0).mean().sqrt() / 2 for b in range(4)])

    true = chroma(batch[1])
    off = chroma(composite) - true
    thirds = torch.argsort(true).argsort() * 3 // 4
    expected = sum(off[thirds == i].mean().abs() for i in range(3)) / 3
    assert float(chroma_bias(identity, collected)) == pytest.approx(float(expected), rel=1e-4)
    grey = torch.full((4, 1, 3, 4), 1 / 3)
    grey[..., 3] = 0
    assert float(chroma_bias(grey, collected)) == pytest.approx(
        float(sum(true[thirds == i].mean() for i in range(3)) / 3), rel=1e-3
    )


def test_the_objective_is_root_error_and_bias(batch):
    collected = batch[4]
    identity = torch.eye(3, 4).expand(4, 1, 3, 4)
    error = (squared_error(identity, collected) + FLOOR).sqrt().mean()
    same = [1.0] * len(KINDS)
    assert float(objective(identity, collected, 0.0, same)) == pytest.approx(float(error))
    bias = chroma_bias(identity, collected)
    assert float(objective(identity, collected, 2.0, same)) == pytest.approx(float(error + 2 * bias))
    # All four of this batch are of the first kind.
    assert float(objective(identity, collected, 0.0, [3.0, *same[1:]])) == pytest.approx(float(3 * error))


@pytest.mark.slow
def test_statistics_are_collected_once_and_belong_to_their_data(config, tmp_path):
    folder = tmp_path / "train"
    collect(config.data, "train", 3, 20, folder)
    first = shard_path(folder, 0)
    written, when = load_collected(folder, 20), first.stat().st_mtime_ns
    collect(config.data, "train", 3, 20, folder)
    assert first.stat().st_mtime_ns == when
    assert len(written) == 20 and set(written.kind.tolist()) <= set(range(len(KINDS)))
    with pytest.raises(ValueError, match="statistics of other data"):
        collect(dataclasses.replace(config.data, free_masks=0.0), "train", 3, 20, folder)
    with pytest.raises(ValueError, match="statistics of other data"):
        collect(config.data, "train", 4, 20, folder)
    again = tmp_path / "again"
    again.mkdir()
    (again / "projection.safetensors").write_bytes((tmp_path / "projection.safetensors").read_bytes())
    collect(config.data, "train", 3, 20, again / "train")
    assert torch.equal(load_collected(again / "train", 20).units.colour, written.units.colour)


def test_a_worker_ends_with_its_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text("""
import time
from multiprocessing import get_context
from train.statistics import _end_with_parent

def work():
    _end_with_parent()
    print("watching", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    get_context("spawn").Process(target=work).start()
    time.sleep(600)
""")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "watching\n"
        parent.kill()
        parent.communicate(timeout=60)  # the worker holds the other end of the pipe


def test_training_gains_on_what_it_has_seen(trained):
    """Discs that all have one colour: where they should come back to is soon known."""
    training = load_collected(trained.output_dir / "train", trained.composites)
    for method in METHODS:
        network = load_weights(trained.output_dir / f"{method}.safetensors")
        assert network.config.slot == METHODS[method] and network.config.members == 2
        assert gain_by_kind(network.heads[0], training)[0] > 0.1


def test_a_file_for_each_seed_and_one_of_all(trained):
    for method in METHODS:
        both = load_weights(trained.output_dir / f"{method}.safetensors")
        for number, seed in enumerate(trained.seeds):
            one = load_weights(trained.output_dir / f"{method}_seed_{seed}.safetensors")
            for name, value in one.heads[0].state_dict().items():
                assert torch.equal(value, both.heads[number].state_dict()[name])
        first, second = (head.state_dict()["transform.joint.1.weight"] for head in both.heads)
        assert not torch.equal(first, second)


def test_a_file_says_how_it_was_made(trained):
    with safe_open(trained.output_dir / "srin.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["settings"]) == shared_settings(trained)
    assert metadata["command"].startswith("python ")
    about = json.loads((trained.output_dir / "train" / "about.json").read_text())
    assert metadata["data"] == about["photos"]


def test_the_log_has_a_line_a_pass_and_method(trained):
    with open(trained.output_dir / "log.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(trained.seeds) * trained.passes * len(METHODS)
    assert {row["method"] for row in rows} == set(METHODS) and all(float(row["loss"]) > 0 for row in rows)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(trained, tmp_path):
    for part in ("train", "validation"):
        (tmp_path / part).mkdir()
        for file in (trained.output_dir / part).iterdir():
            (tmp_path / part / file.name).write_bytes(file.read_bytes())
    (tmp_path / "projection.safetensors").write_bytes((trained.output_dir / "projection.safetensors").read_bytes())
    stopped = dataclasses.replace(trained, output_dir=tmp_path, minutes=0.0)
    for _ in range(50):  # a step at a time
        side_by_side(stopped)
        if (tmp_path / "srin.safetensors").exists():
            break
    assert sum(1 for _ in tmp_path.glob("fit_*")) == len(trained.seeds)
    for method in METHODS:
        ours, expected = (load_weights(path / f"{method}.safetensors") for path in (tmp_path, trained.output_dir))
        for name, value in expected.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name


def test_twins_lend_by_area_alone(trained, tmp_path):
    twin = dataclasses.replace(trained, uniform=True, seeds=(0,))
    side_by_side(twin)
    network = load_weights(twin.output_dir / "srin_uniform.safetensors")
    score = network.heads[0].slot.score
    assert not score[-1].weight.any() and not score[-1].bias.any()


@pytest.mark.slow
def test_a_run_goes_on_from_another_with_other_composites(trained, tmp_path):
    # The learning rate is almost 0, so the weights stay as they began.
    further = dataclasses.replace(trained, output_dir=tmp_path, start=trained.output_dir, seed=100, lr=1e-9, passes=1)
    side_by_side(further)
    for method in METHODS:
        begun, ended = (load_weights(path / f"{method}.safetensors") for path in (trained.output_dir, tmp_path))
        for name, value in begun.state_dict().items():
            assert torch.allclose(ended.state_dict()[name], value, atol=1e-4), name
    with safe_open(tmp_path / "srin.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["settings"])["seed"] == 100
    assert json.loads(json.loads(metadata["start"])["settings"]) == shared_settings(trained)
    learnt = dataclasses.replace(further, lr=1e-2)
    side_by_side(learnt)
    networks = (load_weights(path / "srin.safetensors") for path in (trained.output_dir, tmp_path))
    begun, ended = (network.heads[1].transform.joint[4].weight for network in networks)
    assert not torch.allclose(ended, begun, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 0}, "learnt from the composites of seed 0"),
        ({"seeds": (0,)}, "has 2 heads; 1 seeds can't go on"),
    ],
)
def test_a_start_that_does_not_fit(trained, tmp_path, change, message):
    further = dataclasses.replace(trained, output_dir=tmp_path, start=trained.output_dir, **{"seed": 100, **change})
    with pytest.raises(ValueError, match=message):
        side_by_side(further)


def test_the_learning_rate_rises_and_falls():
    shares = [learning_rate_share(step, 100) for step in range(100)]
    assert shares[0] < 0.2 and max(shares) == pytest.approx(1, abs=0.01) and shares[-1] < 0.01
    assert all(a <= b for a, b in zip(shares[:10], shares[1:10], strict=False))
    assert all(a >= b for a, b in zip(shares[11:], shares[12:], strict=False))
