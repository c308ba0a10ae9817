"""The command that trains variants alike and compares them."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT

from srin.models.config import ModelConfig
from tests.made_up_photos import write_photos
from train import ablation
from train.config import DataConfig
from train.data.feed import VALIDATION_BATCH
from train.objective import fpsnr, has_task


def test_the_list_that_is_shipped_differs_where_it_may(tmp_path):
    """Within a group only the slot differs. The two presets share data, budget and tuning."""
    loaded = ablation.load_ablation("ablation", [f"output_dir={tmp_path}"])
    assert set(loaded.groups) == {"default", "paper"}
    models, common = {}, set()
    for name, runs in loaded.runs.items():
        assert [(run.seed, run.output_dir) for run in runs] == [(s, tmp_path / name / f"seed_{s}") for s in (0, 1, 2)]
        models[name] = runs[0].model
        alike = dataclasses.replace(runs[0], seed=0, output_dir=tmp_path, model=ModelConfig("srin"))
        common.add(json.dumps(dataclasses.asdict(alike), default=str))
    assert len(common) == 1
    for preset, prefix in (("default", ""), ("paper", "paper-")):
        group = loaded.groups[preset]
        assert group.reference == f"{prefix}baseline"
        slots = {"baseline": "rain", "bain": "bain", "srin": "srin"}
        for name, slot in slots.items():
            assert models[prefix + name] == dataclasses.replace(models[prefix + "srin"], slot=slot)
        assert set(group.variants) == {prefix + name for name in slots}
        assert (models[prefix + "srin"].preset, models[prefix + "srin"].head) == (preset, "residual")
    left = ablation.load_ablation("ablation", [f"output_dir={tmp_path}", "groups.default=null", "seeds=[4]"])
    assert "srin" not in left.runs and [run.seed for run in left.runs["paper-srin"]] == [4]


def test_the_papers_list_changes_one_thing_at_a_time(tmp_path):
    loaded = ablation.load_ablation("paper_ablation", [f"output_dir={tmp_path}"])
    literal = {"paper-baseline": "rain", "paper-bain": "bain", "paper-srin": "srin"}
    models = {name: dataclasses.asdict(runs[0].model) for name, runs in loaded.runs.items()}
    for name, slot in literal.items():
        assert models[name] == dataclasses.asdict(ModelConfig(slot, "paper", working_size=64))
    assert loaded.groups["methods"].variants == tuple(literal)
    for group in ("bain", "srin"):
        reference = models[loaded.groups[group].reference]
        for name in loaded.groups[group].variants[1:]:
            changed = [key for key, value in models[name].items() if value != reference[key]]
            assert len(changed) == 1, (name, changed)
    assert loaded.base.data.size == 64 and [run.seed for run in loaded.runs["srin-signed"]] == [0, 1, 2]


def tiny(folder, **more):
    """A config of two variants of the smoke run, as a file."""
    settings = {
        "extends": "smoke",
        "output_dir": str(folder / "runs"),
        "data": {"cache": str(folder / "cache"), "root": str(ROOT / "assets" / "examples"), "size": 32},
        "model": {"slot": "rain", "width": 2},
        "steps": 2,
        "batch": 4,
        "seeds": [0, 1],
        "variants": {"rain": {}, "srin": {"model": {"slot": "srin"}}, "unused": {"model": {"slot": "bain"}}},
        "groups": {"slot": {"reference": "rain", "variants": ["rain", "srin"]}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings | more))
    return str(folder / "tiny.yaml")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train.ablation", *arguments])
    ablation.main()


def test_variants_are_trained_once_and_compared_on_the_same_composites(tmp_path, monkeypatch, capsys):
    config, trained = tiny(tmp_path), []
    train = ablation.train

    def stopped_in_the_second(settings):
        trained.append(settings.output_dir)
        train(dataclasses.replace(settings, minutes=0) if len(trained) == 2 else settings)

    monkeypatch.setattr(ablation, "BATCHES", 2)
    monkeypatch.setattr("train.data.feed.VALIDATION_BATCHES", 1)
    monkeypatch.setattr(ablation, "train", stopped_in_the_second)
    run(monkeypatch, config)
    assert "Stopped; 1 of 4 runs are finished" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "ablation.md").exists()
    run(monkeypatch, config)
    names = [f"{path.parent.name}/{path.name}" for path in trained]
    assert names == ["rain/seed_0", "srin/seed_0", "srin/seed_0", "rain/seed_1", "srin/seed_1"]
    assert not (tmp_path / "runs" / "unused").exists()
    first = capsys.readouterr().out
    found = json.loads((tmp_path / "runs" / "ablation.json").read_text())
    assert (tmp_path / "runs" / "ablation.md").read_text().strip() == first.strip()

    group = found["groups"]["slot"]["variants"]
    difference = group["srin"]["difference"]
    assert group["rain"]["difference"]["seeds"] == [0, 0] and "| rain |" in first
    gains = {name: entry["gain"] for name, entry in group.items()}
    by_hand = np.subtract(gains["srin"]["seeds"], gains["rain"]["seeds"])
    assert np.allclose(difference["seeds"], by_hand) and np.isclose(difference["mean"], by_hand.mean())
    assert difference["low"] <= difference["mean"] <= difference["high"] and difference["low"] < difference["high"]
    assert set(found["maps"]) == {"srin"} and set(found["maps"]["srin"]) == {"shuffled", "one-region"}
    assert found["composites"] > 10 and found["seeds"] == [0, 1]

    # Nothing is left to train, so the table is the same. Other settings are another run.
    monkeypatch.setattr(ablation, "train", None)
    run(monkeypatch, config)
    assert capsys.readouterr().out == first
    with pytest.raises(SystemExit, match="train.ablation: .*seed_0 holds a run with another lr"):
        run(monkeypatch, config, "lr=0.1")
    (tmp_path / "runs" / "rain" / "seed_0" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(TypeError):  # an empty file is trained again, by the function that this test has replaced by None
        run(monkeypatch, config)
    photos = tmp_path / "photos"
    photos.mkdir()
    write_photos(photos)
    with pytest.raises(SystemExit, match="among the pictures"):
        run(monkeypatch, config, f"data.root={photos}", f"output_dir={photos}")


def test_maps_of_others_and_one_region_tell_the_network_something_else(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "BATCHES", 2)
    config = DataConfig(root=write_photos(tmp_path), cache=tmp_path / "cache", size=48, photo_side=64)
    batches = ablation.held_out(config, torch.device("cpu"))
    assert [len(batch.mask) for batch in batches] == [VALIDATION_BATCH] * 2
    assert not torch.equal(batches[0].composite, batches[1].composite)
    batch = batches[0].share(0, 4)
    inside = batch.mask[:, 0] > 0.5
    own, others, one = (ablation._regions(batch, kind) for kind in ("true", "shuffled", "one-region"))
    assert own is batch.regions and torch.equal(one, inside.long())
    for b in range(4):
        assert not set(others[b][inside[b]].tolist()) & set(others[b][~inside[b]].tolist())
        assert set(others[b].flatten().tolist()) == set(range(int(others[b].max()) + 1))
        # But for the names of regions, it is the neighbour's map.
        pairs = torch.stack([others[b][~inside[b]], batch.regions[b - 1][~inside[b]]], 1)
        assert len(pairs.unique(dim=0)) == len(pairs[:, 0].unique()) == len(pairs[:, 1].unique())

    def painted(composite, mask, regions):
        """A network that adds to each region by its number."""
        return composite + 0.05 * (regions[:, None] % 5) * mask

    gains = {kind: ablation._gains(painted, [batch], kind) for kind in ("true", "shuffled", "one-region")}
    for kind, maps in (("true", own), ("shuffled", others), ("one-region", one)):
        output = painted(batch.composite, batch.mask, maps)
        assert np.allclose(gains[kind], (fpsnr(output, batch) - fpsnr(batch.composite, batch))[has_task(batch)])
    assert not np.allclose(gains["true"], gains["shuffled"]) and not np.allclose(gains["true"], gains["one-region"])


@pytest.mark.parametrize(
    "more, named",
    [
        ({"variants": {"rain": {"model": {"slto": "srin"}}}}, "variants.rain: unknown setting: model.slto"),
        ({"variants": {"rain": {"model": {"head": "some"}}}}, "variants.rain: model.head must be one of"),
        ({"variants": {"rain": {"lr": 0.1}}}, "variants.rain: lr may not change"),
        ({"variants": {"rain": {"data": {"size": 48}}}}, "variants.rain: data.size may not change"),
        ({"variants": {"rain": {"data": {"source_weights": {}}}}}, "data.source_weights may not change"),
        ({"variants": {"rain": 3}}, "variants.rain must be of type"),
        ({"variants": {"a/b": {}}}, "variants.a/b: a name of letters"),
        ({"variants": {"rain": {"init": "missing.safetensors"}}}, "variants.rain: .*missing.safetensors can't be read"),
        ({"groups": {"slot": {"reference": "rain", "variants": ["rain", "sirn"]}}}, "groups.slot.variants: .* sirn;"),
        ({"groups": {"slot": {"reference": "bain", "variants": ["rain"]}}}, "groups.slot.reference: 'bain'"),
        ({"groups": {"slot": {"referenz": "rain", "variants": ["rain"]}}}, "groups.slot.referenz"),
        ({"groups": {"slot": None}}, "no variant to train"),
        ({"seeds": [1, 1]}, "seeds must be different"),
        ({"seeds": ["one"]}, "seeds must be of type"),
        ({"stepz": 3}, "unknown setting: stepz"),
    ],
)
def test_a_mistake_is_named_before_anything_is_trained(more, named, tmp_path, monkeypatch):
    groups = {"groups": {"slot": {"reference": "rain", "variants": ["rain"]}}}
    config = tiny(tmp_path, **(groups | more))
    with pytest.raises(SystemExit, match=named):
        run(monkeypatch, config)
    assert not (tmp_path / "runs").exists()


def test_a_plain_training_config_is_no_list(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="train.ablation: missing setting: variants, groups"):
        run(monkeypatch, "smoke", f"output_dir={tmp_path}")
