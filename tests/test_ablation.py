"""What can be left out or exchanged does what it says, and the command that compares such variants."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from test_models import CHANNELS, COLUMNS, ROWS, blob, close, differ, features, network, pictures, quarters, randomise
from test_models import scene_batch as scenes

from srin.explain import _record
from srin.models.checkpoint import save_weights
from srin.models.config import ModelConfig
from srin.models.scene import Scene
from srin.models.srin import SRIN, PaperSRIN
from srin.models.unet import HarmonizationNet
from train import ablation
from train.config import load_config
from train.data.composites import make_batch
from train.data.photos import COLOUR, PEOPLE, Photos

# ----------------------------------------------------------------------------------------------------- options


def test_random_colours_differ_between_regions_and_pictures_and_are_the_same_again():
    composite, mask, regions = scenes()
    colours = Scene(composite, mask, regions, 1, "random").region_colours
    assert colours.abs().max() <= 1 and colours.shape == (5, 8, 3)
    there = [colours[b, regions[b].unique()] for b in range(5)]
    for painted in there:
        distance = torch.cdist(painted, painted) + 9 * torch.eye(len(painted))
        assert distance.min() > 0.05
    assert differ(there[1][0], there[2][-1])
    # Neither the other pictures of the batch, nor colours, nor names make a difference.
    renamed = torch.tensor([4, 6, 0, 2, 7, 3, 1, 5])[regions]
    again = Scene(-composite[2:3], mask[2:3], renamed[2:3], 1, "random").region_colours
    assert torch.equal(again[0, [4, 6, 0, 2, 7, 3, 1, 5]], colours[2])
    # Spread over the whole cube, also where regions are single pixels.
    many = Scene(pictures(1, 64, 64), torch.zeros(1, 1, 64, 64), torch.arange(4096).view(1, 64, 64), 1, "random")
    drawn = many.region_colours[0].double().numpy()
    assert np.abs(drawn.mean(0)).max() < 0.05 and np.abs(drawn.std(0) - 3**-0.5).max() < 0.03
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06


@pytest.mark.parametrize("kind", [SRIN, PaperSRIN])
def test_only_mean_colours_tell_queries_and_keys_of_colours(kind):
    """Whose features stay the same borrows the same, whatever its regions' colours, once these don't paint them."""
    composite, mask, regions = scenes()
    module, x = randomise(kind(CHANNELS), 1, 0.5 if kind is SRIN else 0.3), features(5)

    def results(painting):
        given = (composite, composite.flip(1) * 0.7)
        return [module(x, Scene(c, mask, regions, 1, painting).at(ROWS, COLUMNS)) for c in given]

    (mean, changed), (random, same), (constant, also) = map(results, ("mean", "random", "constant"))
    assert differ(mean, changed) and torch.equal(random, same) and torch.equal(constant, also)
    assert differ(random, mean) and differ(constant, mean) and differ(random, constant)


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_network_paints_and_looks_as_its_config_says(preset):
    own = ModelConfig("srin", preset, "rgb", 2)
    assert own.keys == {"default": "background", "paper": "all"}[preset]
    other = {"all": "background", "background": "all"}[own.keys]
    mask = blob(32, 32, (12, 14), 9)[None]
    composite = torch.nn.functional.interpolate(pictures(1, 4, 4), (32, 32))
    state = network("srin", preset, "rgb").state_dict()
    results = []
    for changes in ({}, {"keys": own.keys}, {"keys": other}, {"painting": "random"}, {"painting": "constant"}):
        net = HarmonizationNet(dataclasses.replace(own, **changes))
        net.load_state_dict(state)
        with torch.no_grad():
            results.append(net(composite, mask, quarters(mask)))
    assert torch.equal(results[0], results[1])
    for i, j in ((0, 2), (0, 3), (0, 4), (3, 4)):
        assert differ(results[i], results[j], 1e-4), (i, j)


def test_all_keys_are_both_sides_but_not_the_rim():
    """A silent query then takes the statistics of both; and what explains the attention counts both too."""
    composite, mask, regions = (part[1:2] for part in scenes())
    scene = Scene(composite, mask, regions, 1)
    level, x = scene.at(ROWS, COLUMNS), features(1)
    module = SRIN(CHANNELS, "all")
    weight = (level.foreground + level.background).flatten(2)
    mean = (x.flatten(2) * weight).sum(2) / weight.sum(2)
    std = ((x.flatten(2) ** 2 * weight).sum(2) / weight.sum(2) - mean**2 + 1e-5).sqrt()
    ones = torch.ones(1, CHANNELS, len(level.inside))
    got = module.borrow(x.flatten(2), ones, (mean[..., None], std[..., None]), level)
    for actual, expected in zip(got, (mean, std), strict=True):
        close(actual, expected[..., None].expand_as(actual))
    assert differ(SRIN(CHANNELS).borrow(x.flatten(2), ones, (mean[..., None], std[..., None]), level)[0], got[0])

    records = _record(HarmonizationNet(ModelConfig("srin", width=2, keys="all")), (composite, mask, regions))
    level = records[-1].level
    close(records[-1].weight, (level.foreground_regions + level.background_regions).sum((2, 3))[0])


@pytest.fixture(scope="module")
def photos():
    """Four photos with a square each; the map of colours is columns, people's rows, a segmenter's a checkerboard."""
    images = (torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 200 + 20).byte()
    masks = torch.zeros(4, 64, 64, dtype=torch.uint8)
    masks[:, 20:44, 20:44] = 1
    columns = (torch.arange(64) // 8).byte().expand(64, 64)
    checkers = (torch.arange(64)[:, None] // 16 + torch.arange(64) // 16).byte() % 2
    maps = torch.stack([columns, columns.T, checkers])[:, None].expand(3, 4, 64, 64).contiguous()
    return Photos(images, masks, maps, torch.arange(4), torch.ones(4))


def test_the_source_of_maps_changes_maps_and_nothing_else(photos):
    assert (COLOUR, PEOPLE) == (0, 1)
    mixed, colour, people, one = (
        make_batch(photos, 16, 48, torch.Generator().manual_seed(3), source)
        for source in ("mixed", "colour", "people", "one")
    )
    for batch in (colour, people, one):
        for name in ("composite", "real", "mask", "weight"):
            assert torch.equal(getattr(batch, name), getattr(mixed, name)), name
    for b in range(16):
        assert len(one.regions[b].unique()) <= 2
        assert torch.equal(one.regions[b] > 0, mixed.mask[b, 0] > 0.5)
        # Columns don't change downwards, but at the mask; rows not sideways.
        top, left = colour.regions[b, 0], people.regions[b, :, 0]
        background = mixed.mask[b, 0] == 0
        assert torch.equal(colour.regions[b][background], top.expand(48, 48)[background])
        assert torch.equal(people.regions[b][background], left[:, None].expand(48, 48)[background])
        assert len(top.unique()) > 4 and len(left.unique()) > 4
    assert not torch.equal(mixed.regions, colour.regions)


# ----------------------------------------------------------------------------------------------------- command


def test_the_list_that_is_shipped_differs_where_it_may(tmp_path):
    """Its runs differ in what their groups are about; those from scratch need nothing, the others are given weights."""
    net = HarmonizationNet(load_config("shipped", []).model)
    save_weights(tmp_path / "trunk.safetensors", net.config, net.state_dict(), torch.float16, {})
    loaded = ablation.load_ablation("ablation", [f"init={tmp_path / 'trunk.safetensors'}", f"output_dir={tmp_path}"])
    assert set(loaded.groups) == {"slot", "head", "painting", "region source", "keys"}
    common = set()
    for name, runs in loaded.runs.items():
        assert [(run.seed, run.output_dir) for run in runs] == [(s, tmp_path / name / f"seed_{s}") for s in (0, 1, 2)]
        fresh = name in loaded.groups["head"].variants
        assert all((run.init is None, not run.keep_guess) == (fresh, fresh) for run in runs)
        common.add((runs[0].steps, runs[0].batch, runs[0].lr, runs[0].data.size))
    assert len(common) == 1
    configs = {name: runs[0].model for name, runs in loaded.runs.items()}
    assert configs["keys-all"].keys == "all" and configs["srin-paper"].preset == "paper"
    assert {configs[name].painting for name in loaded.groups["painting"].variants} == {"mean", "random", "constant"}
    assert {configs[name].head for name in loaded.groups["head"].variants} == {"rgb", "residual", "affine"}
    left = ablation.load_ablation("ablation", [f"init={tmp_path / 'trunk.safetensors'}", "groups.head=null", "seeds=[4]"])
    assert "rgb" not in left.runs and [run.seed for run in left.runs["rain"]] == [4]


def tiny(folder, **more):
    """A config of two variants of the smoke run, as a file."""
    settings = {
        "extends": "smoke",
        "output_dir": str(folder / "runs"),
        "data": {"cache": str(folder / "cache"), "root": str(ROOT / "assets" / "examples"), "size": 32},
        "model": {"slot": "rain", "head": "residual", "width": 2},
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

    # Nothing is left to train: the same table once more. Other settings are another run.
    monkeypatch.setattr(ablation, "train", None)
    run(monkeypatch, config)
    assert capsys.readouterr().out == first
    with pytest.raises(SystemExit, match="train.ablation: .*seed_0 holds a run with another lr"):
        run(monkeypatch, config, "lr=0.1")


def test_maps_of_others_and_one_region_tell_the_network_something_else(photos):
    batch = make_batch(photos, 4, 48, torch.Generator().manual_seed(1))
    inside = batch.mask[:, 0] > 0.5
    own, others, one = (ablation._regions(batch, kind) for kind in ("true", "shuffled", "one-region"))
    assert own is batch.regions and torch.equal(one, inside.long())
    for b in range(4):
        assert not set(others[b][inside[b]].tolist()) & set(others[b][~inside[b]].tolist())
        # Names apart it is the neighbour's map.
        pairs = torch.stack([others[b][~inside[b]], batch.regions[b - 1][~inside[b]]], 1)
        assert len(pairs.unique(dim=0)) == len(pairs[:, 0].unique()) == len(pairs[:, 1].unique())
    net = network("srin").requires_grad_(False)
    gains = [ablation._gains(net, [batch], kind) for kind in ("true", "shuffled", "one-region")]
    assert all(np.isfinite(g).all() for g in gains) and not np.allclose(gains[0], gains[1])


@pytest.mark.parametrize(
    "more, named",
    [
        ({"variants": {"rain": {"model": {"slto": "srin"}}}}, "variants.rain: unknown setting: model.slto"),
        ({"variants": {"rain": {"model": {"keys": "some"}}}}, "variants.rain: model.keys must be one of"),
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
