"""The paper's three networks trained side by side: what they share, what they write, and that a run goes on."""

import csv
import dataclasses
import json

import pytest
import torch
from safetensors import safe_open

from srin.models.checkpoint import load_weights
from tests.made_up_photos import write_photos
from train import paper_trio as module
from train.config import CONFIGS, read_settings
from train.data.feed import PhotoFeed
from train.objective import fpsnr, has_task
from train.paper_trio import METHODS, Learner, Stage, load_trio, paper_trio, shared_settings
from train.schedule import learning_rate
from train.train import load, run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def config(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trio")
    changes = [f"data.root={photos}", "data.more=null", f"data.cache={folder / 'cache'}", f"output_dir={folder / 'run'}"]
    changes += ["data.workers=0", "data.photo_side=72", "data.source_weights={}", "data.part_weights={}"]
    changes += ["model.width=2", "batch=4", "warm_up=2", "precision=no", "evaluate_every=4", "save_every=3"]
    changes += ["stages=[{size: 32, steps: 5, lr: 1.0e-3, descent: 0.5}, {size: 48, steps: 3, lr: 1.0e-3, descent: 1}]"]
    return load("paper_trio", changes)


@pytest.fixture(scope="module")
def trained(config):
    """The config, its run finished."""
    run(config)
    return config


def test_the_config_that_comes_along_is_the_papers_trio():
    config = load_trio(read_settings("paper_trio", []))
    assert (config.base.model.preset, config.base.model.head) == ("paper", "residual")
    sizes = [stage.size for stage in config.stages]
    assert (sizes[0], sizes[-1]) == (64, 128) and sizes == sorted(sizes)
    assert list(METHODS.values()) == ["rain", "bain", "srin"] and (CONFIGS / "paper_trio.yaml").is_file()
    # What is trained is literal: none of the variations.
    for slot in METHODS.values():
        model = config.model(slot)
        assert (model.logits, model.shift, model.decoder_norm) == ("plain", "relu", "rain")
        assert model.working_size == 192


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.preset=default", "model.head=residual", "model.width=16"], "preset paper"),
        (["stages=[]"], "needs a stage"),
        (["stages=[{size: 64}]"], "missing setting"),
        (["precision=fp16"], "precision no or bf16"),
        (["accumulate=2"], "accumulate=1"),
        (["ema=0"], "moving average"),
    ],
)
def test_settings_that_make_no_trio(changes, message):
    with pytest.raises(ValueError, match=message):
        load_trio(read_settings("paper_trio", changes))


def test_the_three_begin_with_the_same_unet(config):
    learners = {method: Learner(config, slot, CPU) for method, slot in METHODS.items()}
    unet = learners["paper-baseline"].network.state_dict()
    for method, learner in learners.items():
        state = learner.network.state_dict()
        assert all(torch.equal(state[name], value) for name, value in unet.items())
        assert all(name.startswith("between.") for name in state.keys() - unet.keys()), method
    between = {method: learner.network.between for method, learner in learners.items()}
    assert between["paper-baseline"] is None
    assert type(between["paper-bain"]) is not type(between["paper-srin"])


def test_each_learns_from_the_same_composites(trained, monkeypatch, tmp_path):
    seen = {}

    def step(self, batch, lr, number):
        seen.setdefault(number, []).append((batch.composite.clone(), lr))

    monkeypatch.setattr(Learner, "step", step)
    paper_trio(dataclasses.replace(trained, base=dataclasses.replace(trained.base, output_dir=tmp_path)))
    assert list(seen) == list(range(8)) and all(len(of_step) == len(METHODS) for of_step in seen.values())
    for of_step in seen.values():
        first, lr = of_step[0]
        assert all(torch.equal(first, other) and lr == rate for other, rate in of_step)
    assert [tuple(of_step[0][0].shape[2:]) for of_step in seen.values()] == [(32, 32)] * 5 + [(48, 48)] * 3
    pictures = [of_step[0][0][:, :, :8, :8] for of_step in seen.values()]
    assert all(not torch.equal(a, b) for a, b in zip(pictures, pictures[1:], strict=False)), "no composite comes twice"
    # Warm-up and descent belong to a stage.
    rates = [of_step[0][1] for of_step in seen.values()]
    assert rates[0] == rates[5] == pytest.approx(5e-4) and rates[1] == pytest.approx(1e-3) and rates[4] < rates[2]


def test_a_file_of_each_says_how_it_was_made(trained):
    for method, slot in METHODS.items():
        path = trained.base.output_dir / f"{method}.safetensors"
        network = load_weights(path)
        assert network.config == trained.model(slot) and network.config.working_size == 192
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        assert json.loads(metadata["settings"]) == json.loads(json.dumps(shared_settings(trained)))
        assert metadata["command"].startswith("python ") and len(metadata["data"]) == 12
        assert (metadata["steps"], metadata["images"]) == ("8 of 8", "32") and float(metadata["seconds"]) >= 0
        assert "research" in metadata["licence"]


def test_training_moves_all_of_a_network(trained):
    for method, slot in METHODS.items():
        fresh = Learner(trained, slot, CPU).network.state_dict()
        for name, value in load_weights(trained.base.output_dir / f"{method}.safetensors").state_dict().items():
            if name == "between.key.bias":
                continue  # it adds the same to all logits of a query, and the softmax takes that away
            assert not torch.allclose(value, fresh[name].half().float(), atol=1e-6), (method, name)


def test_the_log_has_a_line_for_each_evaluation_and_method(trained):
    with open(trained.base.output_dir / "log.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    steps = [(int(row["size"]), int(row["step"])) for row in rows if row["method"] == "paper-srin"]
    assert steps == [(32, 4), (32, 5), (48, 8)]
    assert len(rows) == 3 * len(METHODS) and all(float(row["loss"]) > 0 for row in rows)
    assert all(int(row["composites"]) == 4 * int(row["step"]) for row in rows)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(trained, tmp_path):
    base = dataclasses.replace(trained.base, output_dir=tmp_path)
    numbers = []

    class Stopping(PhotoFeed):
        """A feed that says that time is up after three batches, however long they take."""

        def batches(self, start):
            for number, batch in enumerate(super().batches(start)):
                numbers.append(start + number)
                clock.over = number == 2
                yield batch

    class Clock:
        over = False

        def monotonic(self):
            return 1e9 * self.over

    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PhotoFeed", Stopping)
        patch.setattr(module, "time", clock)
        for _ in range(5):
            clock.over = False
            paper_trio(dataclasses.replace(trained, base=base))
    assert len(set(numbers)) == 8
    for method in METHODS:
        ours, expected = (load_weights(path / f"{method}.safetensors") for path in (tmp_path, trained.base.output_dir))
        for name, value in expected.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name


def test_a_folder_belongs_to_its_stages(trained):
    other = dataclasses.replace(trained, stages=trained.stages[:1])
    with pytest.raises(ValueError, match="another stages"):
        paper_trio(other)


def test_a_loss_that_is_no_number_ends_the_run(config, tmp_path):
    base = dataclasses.replace(config.base, output_dir=tmp_path, model=config.base.model)
    stages = (dataclasses.replace(config.stages[0], lr=float("nan"), steps=3),)
    with pytest.raises(FloatingPointError, match="Try a lower lr"):
        paper_trio(dataclasses.replace(config, base=base, stages=stages))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_network_can_learn_one_batch_by_heart(method, config, tmp_path):
    """A network that can't fit eight composites can't learn from many."""
    base = dataclasses.replace(
        config.base, batch=8, warm_up=10, output_dir=tmp_path, model=dataclasses.replace(config.base.model, width=8)
    )
    config = dataclasses.replace(config, base=base, stages=(Stage(32, 100, 5e-3, 0.5),))
    settings = config.of_stage(0)
    batch = next(PhotoFeed(settings, CPU, 0, 1).batches(0))
    learner = Learner(config, METHODS[method], CPU)
    for number in range(100):
        learner.step(batch, learning_rate(number, 100, settings), number)
    with torch.no_grad():
        harmonized = learner.network(batch.composite, batch.mask, batch.regions)
    gains = (fpsnr(harmonized, batch) - fpsnr(batch.composite, batch))[has_task(batch)]
    assert gains.mean() > 10, gains
