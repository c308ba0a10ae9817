"""Settings, the loss, and a training run that resumes."""

import csv
import dataclasses
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors import safe_open
from torch import nn

from srin import __version__
from srin.image_io import load_labels
from srin.models import build
from srin.models.checkpoint import load_weights
from srin.models.config import ModelConfig
from srin.models.network import HarmonizationNet
from srin.segmentation.semantic_map import segment
from tests.made_up_photos import write_photos
from train import train as loop
from train.config import CONFIGS, convert, load_config, read_settings
from train.data.composites import Batch
from train.data.feed import IHarmony4Feed, Order, PhotoFeed
from train.data.iharmony4 import samples
from train.data.maps import map_path
from train.data.photos import fingerprint, load_photos
from train.make_composites import make_composites
from train.objective import AREA_FLOOR, Objective, fpsnr, has_task
from train.precompute_maps import find_pictures, precompute
from train.runs import claim
from train.schedule import learning_rate
from train.segmenter import load as load_segmenter_config
from train.side_by_side import SideBySideConfig
from train.state import load_state, save_state
from train.train import calibrate, data_fingerprint, main, start, train

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos_folder(tmp_path_factory):
    """Forty made-up photos, each with a disc on a gradient, in the form of a corpus. All discs have one colour."""
    return write_photos(tmp_path_factory.mktemp("corpus"))


# ---------------------------------------------------------------------------------------------------- settings


def test_every_config_can_be_read():
    for path in CONFIGS.glob("*.yaml"):
        if path.stem in ("ablation", "paper_ablation", "paper_trio", "sources"):
            continue  # lists of variants and stages: see test_ablation.py and test_paper_trio.py; no whole config
        if path.stem in ("shipped", "shipped_further"):
            assert convert(SideBySideConfig, read_settings(path.stem, [])).composites > 0
            continue
        if path.stem in ("segmenter", "segmenter_further"):
            assert load_segmenter_config(path.stem, []).steps > 0
            continue
        config = load_config(path.stem, [])
        assert config.steps > 0 or config.epochs > 0
    paper = load_config("paper", [])
    assert (paper.lr, paper.batch, paper.epochs, paper.model.width, paper.loss) == (1e-3, 12, 120, 32, "l1")
    steps = 1200
    rates = [round(learning_rate(step, steps, paper), 9) for step in (0, 999, 1000, 1099, 1100, 1199)]
    assert rates == [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    assert load_config("paper_1024", []).data.subsets == ("HAdobe5k",)


@pytest.mark.parametrize(
    "change, named",
    [
        ("sise=96", "sise"),
        ("data.sise=96", "data.sise"),
        ("steps=many", "steps"),
        ("steps=1.5", "steps"),
        ("data.size=true", "data.size"),
        ("model.slot=wrong", "model.slot"),
        ("model.width=0", "width"),
        ("model.members=2", "model.members=2 belongs to preset default"),
        ("loss=l2", "loss"),
        ("data.source_weights={cat: much}", "data.source_weights.cat"),
        ("model=3", "model"),
        ("batch", "key=value"),
    ],
)
def test_a_wrong_setting_is_named(change, named):
    with pytest.raises(ValueError, match=named):
        load_config("smoke", [change])


def test_epochs_are_not_ignored_where_there_are_none(photos_folder, tmp_path):
    config = load_config("smoke", [f"data.root={photos_folder}", f"data.cache={tmp_path}", "epochs=3"])
    with pytest.raises(ValueError, match="epochs"):
        PhotoFeed(config, CPU, 0, 1)


def test_a_config_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="smoak.*smoke"):
        load_config("smoak", [])
    (tmp_path / "own.yaml").write_text("extends: smoke\nsteps: 7\nmodel: {width: 3}\n")
    own = load_config(str(tmp_path / "own.yaml"), [])
    assert (own.steps, own.model.width, own.model.slot) == (7, 3, "srin")
    (tmp_path / "own.yaml").write_text("steps: 7\n")
    with pytest.raises(ValueError, match="missing setting: output_dir, model, data"):
        load_config(str(tmp_path / "own.yaml"), [])


def test_a_config_without_a_model_trains_side_by_side(photos_folder, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(loop, "train", ran.append)
    monkeypatch.setattr(loop, "side_by_side", ran.append)
    for name in ("shipped", "photos"):
        monkeypatch.setattr(sys, "argv", ["train.train", name, f"data.root={photos_folder}", f"output_dir={tmp_path}"])
        main()
    assert [type(config).__name__ for config in ran] == ["SideBySideConfig", "TrainConfig"]
    assert {config.output_dir for config in ran} == {tmp_path}


# ------------------------------------------------------------------------------------------------------- loss


class Constant(nn.Module):
    """A network that gives the same picture whatever it sees."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, composite, mask, regions):
        return self.output


@pytest.fixture
def batch():
    """Four composites of 20 x 20 pixels: a large object, a soft one, one far below the floor, and one unaltered."""
    generator = torch.Generator().manual_seed(0)
    composite, real = (torch.rand(4, 3, 20, 20, generator=generator) * 2 - 1 for _ in range(2))
    mask = torch.zeros(4, 1, 20, 20)
    mask[0, :, 5:15, 2:18] = 1
    mask[1] = torch.rand(1, 20, 20, generator=generator)
    mask[2, :, 3, 4] = 1
    mask[3, :, 5:9, 5:9] = 1
    composite = torch.where(mask > 0, composite, real)
    composite[3] = real[3]
    return Batch(composite, real, mask, torch.zeros(4, 20, 20, dtype=torch.long), torch.ones(4, dtype=torch.long), 4.0)


@pytest.mark.parametrize("loss", ["l1", "foreground_l1"])
def test_the_loss_is_the_equations(loss, batch):
    config = load_config("smoke", [f"loss={loss}"])
    output = torch.rand(batch.real.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = 0.0
    for b in range(4):
        absolute = 0.0
        for c, y, x in np.ndindex(3, 20, 20):
            absolute += abs(float(output[b, c, y, x] - batch.real[b, c, y, x])) * float(batch.mask[b, 0, y, x])
        area = 400.0 if loss == "l1" else max(float(batch.mask[b].sum()), AREA_FLOOR * 400)
        expected += absolute / (3 * area) / 4
    assert Objective(Constant(output), config)(batch).item() == pytest.approx(expected, rel=1e-5)
    # The shares of two processes add up to the whole.
    shares = [Objective(Constant(output[2 * i : 2 * i + 2]), config)(batch.share(i, 2)) for i in range(2)]
    assert float(sum(shares)) == pytest.approx(expected, rel=1e-5)


def test_scores_are_those_of_the_foreground_and_of_what_has_a_task(batch):
    decibels = fpsnr(batch.composite * 1.5, batch)
    clipped = (batch.composite[0] * 1.5).clamp(-1, 1)
    inside = batch.mask[0, 0] > 0
    mse = float((((clipped - batch.real[0]) / 2)[:, inside] ** 2).mean())
    assert decibels[0].item() == pytest.approx(-10 * np.log10(mse), rel=1e-5)
    assert has_task(batch).tolist() == [True, True, True, False]


def test_unaltered_composites_are_not_scored(batch):
    class OneBatch:
        def validation(self):
            yield batch

    ours, nothing, grid = loop.validate(Constant(batch.composite), OneBatch())
    expected = float(fpsnr(batch.composite, batch)[:3].mean())
    assert ours == nothing == pytest.approx(expected)
    assert grid.shape == (4, 20, 60, 3) and grid.dtype == torch.uint8
    assert torch.equal(grid[:, :, :20], grid[:, :, 20:40]) and not torch.equal(grid[:, :, :20], grid[:, :, 40:])


# ---------------------------------------------------------------------------------------------------- training


def changes(folder: Path, output: Path, *more: str) -> list[str]:
    small = ["data.size=32", "data.photo_side=48", "batch=4", "evaluate_every=100", "warm_up=1"]
    return [f"data.root={folder}", f"data.cache={folder / 'cache'}", f"output_dir={output}", *small, *more]


PAPER = ("model.width=2", "model.slot=rain", "save_every=250")


def settings(folder: Path, output: Path, *more: str):
    """Of a tiny network of the paper's."""
    return load_config("smoke", changes(folder, output, *PAPER, *more))


def default_settings(folder: Path, output: Path, *more: str):
    """Of preset "default"."""
    return load_config("photos", changes(folder, output, "data.workers=0", "ema=0", *more))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "weights.safetensors").state_dict()


def same(a: dict, b: dict, tolerance: float = 1e-3) -> bool:
    return all(torch.allclose(a[key], b[key], atol=tolerance) for key in a)


def command(*arguments: str, processes: int = 1) -> subprocess.Popen:
    launcher = [sys.executable, "-m"]
    if processes > 1:
        # `accelerate launch --cpu` starts one process only; this is what it calls for several.
        launcher += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen([*launcher, "train.train", *arguments], cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def test_the_network_learns(photos_folder, tmp_path, monkeypatch):
    """It learns eight composites by heart."""
    batches = PhotoFeed.batches
    monkeypatch.setattr(PhotoFeed, "batches", lambda feed, start: itertools.repeat(next(batches(feed, 0))))
    monkeypatch.setattr(PhotoFeed, "validation", lambda feed: itertools.islice(feed.batches(0), 1))
    train(settings(photos_folder, tmp_path, "steps=50", "batch=8", "ema=0.9", "lr=1e-2"))
    rows = list(csv.DictReader(open(tmp_path / "log.csv", newline="")))
    assert float(rows[-1]["fpsnr"]) > float(rows[-1]["copy_paste_fpsnr"]) + 1
    assert list(tmp_path.glob("tensorboard/events*")) and (tmp_path / "best.safetensors").exists()


def test_weights_say_where_they_come_from(photos_folder, tmp_path):
    arguments = ["smoke", *changes(photos_folder, tmp_path, *PAPER, "steps=1")]
    process = command(*arguments)
    error = process.communicate(timeout=600)[1].decode()
    assert process.returncode == 0, error
    config = load_config("smoke", arguments[1:])
    for name in ("weights", "best"):
        with safe_open(tmp_path / f"{name}.safetensors", "pt") as file:
            metadata = file.metadata()
        assert metadata["command"].startswith("python -m train.train smoke ") and "steps=1" in metadata["command"]
        assert metadata["data"] == fingerprint(load_photos(config.data, "train")) == data_fingerprint(config.data)
        assert (metadata["version"], metadata["steps"], metadata["images"]) == (__version__, "1 of 1", "4")
    assert load_weights(tmp_path / "weights.safetensors").config == config.model


def test_a_run_that_was_stopped_ends_as_one_that_was_not(photos_folder, tmp_path):
    """Stopped in order once, then killed without warning in the middle, then finished."""
    more = ("steps=24", "save_every=1", "lr=1e-2")
    train(settings(photos_folder, tmp_path / "whole", *more))
    parts = tmp_path / "parts"
    claim(settings(photos_folder, parts, *more))  # as the command does
    train(settings(photos_folder, parts, *more, "minutes=0"))  # saves before its first step
    process = command("smoke", *changes(photos_folder, parts, *PAPER, *more))
    while not any(int(path.stem[6:]) >= 5 for path in parts.glob("state_*.pt")):
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = load_state(parts, CPU)["step"]
    assert 5 <= reached < 24
    train(settings(photos_folder, parts, *more))
    assert same(weights(tmp_path / "whole"), weights(parts))
    assert len(list(parts.glob("state_*.pt"))) == 2  # the newest are kept
    train(settings(photos_folder, tmp_path / "fresh", "steps=0", "lr=1e-2"))
    assert not same(weights(tmp_path / "whole"), weights(tmp_path / "fresh")), "nothing was trained"


@pytest.mark.slow
def test_two_processes_train_as_one(photos_folder, tmp_path):
    more = (*PAPER, "steps=4", "lr=1e-2", "model.slot=srin", "batch=8")
    two = command("smoke", *changes(photos_folder, tmp_path / "two", *more), processes=2)
    train(load_config("smoke", changes(photos_folder, tmp_path / "one", *more)))
    error = two.communicate(timeout=600)[1].decode()
    assert two.returncode == 0, error
    assert "processes=2" in error
    # Sums in another order: where a gradient is nearly 0, Adam takes a whole step in either direction.
    one, other = weights(tmp_path / "one"), weights(tmp_path / "two")
    apart = torch.cat([(one[key] - other[key]).abs().flatten() for key in one])
    assert (apart > 1e-3).float().mean() < 0.01
    losses = [next(csv.DictReader(open(tmp_path / n / "log.csv", newline="")))["loss"] for n in ("one", "two")]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-3)


def test_accumulated_gradients_are_those_of_the_large_batch(photos_folder, tmp_path, monkeypatch):
    """Two halves, one after the other, where the feed gives the halves of the same batch."""
    whole = PhotoFeed.batches

    def halves(self, start):
        object.__setattr__(self._config, "batch", 8)
        for batch in whole(self, start // 2):
            for i in range(2):
                yield dataclasses.replace(batch.share(i, 2), total=4.0)

    gradients = []
    step = torch.optim.AdamW.step

    def watched(self, *arguments, **more):
        gradients.append([p.grad.clone() for group in self.param_groups for p in group["params"] if p.grad is not None])
        step(self, *arguments, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    common = ("steps=3", "lr=1e-3", "ema=0")
    train(settings(photos_folder, tmp_path / "one", *common, "batch=8"))
    monkeypatch.setattr(PhotoFeed, "batches", halves)
    train(settings(photos_folder, tmp_path / "two", *common, "batch=4", "accumulate=2"))
    ones, twos = gradients[:3], gradients[3:]
    assert len(twos) == 3 and all(len(one) == len(two) > 10 for one, two in zip(ones, twos, strict=True))
    # Not weights: Adam takes a whole step even if a gradient is nothing but rounding. Later steps build on such weights.
    for number, allowed in enumerate((1e-4, 0.05, 0.05)):
        flat = [torch.cat([gradient.flatten() for gradient in each[number]]) for each in (ones, twos)]
        assert torch.linalg.vector_norm(flat[0] - flat[1]) <= allowed * torch.linalg.vector_norm(flat[0])


def test_the_average_follows_the_network(photos_folder, tmp_path):
    """After step n the average moves by 1 - min(ema, (1 + n) / (10 + n)) of the way; its weights are those written."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, *arguments, **more):
        step(self, *arguments, **more)
        seen.append([p.detach().clone() for group in self.param_groups for p in group["params"]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        config = settings(photos_folder, tmp_path, "steps=3", "lr=1e-2", "ema=0.2")
        train(config)
    expected = [p.detach().clone() for p in start(config).parameters()]
    for number, values in enumerate(seen, start=1):
        decay = min(0.2, (1 + number) / (10 + number))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, values, strict=True)]
    written = load_weights(tmp_path / "weights.safetensors").parameters()
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(expected, written, strict=True))
    # Otherwise the average would equal the network, or its first weights.
    last = seen[-1]
    assert not all(torch.allclose(a, b, atol=1e-3) for a, b in zip(expected, last, strict=True))


@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_the_papers_slots_go_on_from_its_baseline(slot, photos_folder, tmp_path):
    train(settings(photos_folder, tmp_path / "rain", "steps=2"))
    init = f"init={tmp_path / 'rain' / 'weights.safetensors'}"
    network = start(settings(photos_folder, tmp_path, init, f"model.slot={slot}"))
    state, before = network.state_dict(), weights(tmp_path / "rain")
    assert {key.split(".")[0] for key in state.keys() - before.keys()} == {"between"}
    assert all(torch.equal(state[key], value) for key, value in before.items())
    train(settings(photos_folder, tmp_path / slot, "steps=2", init, f"model.slot={slot}"))
    assert load_weights(tmp_path / slot / "weights.safetensors").config.slot == slot


def test_weights_and_runs_of_another_architecture_are_refused(photos_folder, tmp_path):
    train(settings(photos_folder, tmp_path / "rain", "steps=1"))
    init = f"init={tmp_path / 'rain' / 'weights.safetensors'}"
    with pytest.raises(ValueError, match="another architecture: its layers"):
        train(settings(photos_folder, tmp_path / "wide", init, "model.width=3"))
    with pytest.raises(ValueError, match="another architecture: .*decoder"):
        train(default_settings(photos_folder, tmp_path / "default", init))
    with pytest.raises(ValueError, match="another architecture; choose another folder"):
        train(settings(photos_folder, tmp_path / "rain", "steps=4", "model.width=3"))


def test_preset_default_trains_end_to_end_and_goes_on(photos_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CALIBRATION", 48)
    monkeypatch.setattr("train.data.feed.VALIDATION_BATCHES", 1)
    config = default_settings(photos_folder, tmp_path, "steps=4", "lr=1e-3", "model.slot=rain", "save_every=2")
    fresh = start(config).state_dict()
    train(config)
    trained = load_state(tmp_path, CPU)["network"]
    parts = {key for key in fresh if (trained[key] - fresh[key]).abs().max() > 1e-3}
    assert any(part.startswith("encoder.") for part in parts) and any(".transform." in part for part in parts)
    # Resumed after half of the steps, it ends as before, dropout included.
    (tmp_path / "state_00000004.pt").unlink()
    train(config)
    assert same(trained, load_state(tmp_path, CPU)["network"], 1e-5)
    # SRIN goes on from it, calibration included.
    init = f"init={tmp_path / 'weights.safetensors'}"
    state = start(default_settings(photos_folder, tmp_path, init, "model.slot=srin")).state_dict()
    before = weights(tmp_path)
    assert all(torch.equal(state[key], value) for key, value in before.items())
    assert all(".slot." in key for key in state.keys() - before.keys()) and state.keys() > before.keys()


def test_mixed_precision_differs_from_full_precision_by_its_rounding(photos_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("train.data.feed.VALIDATION_BATCHES", 1)
    monkeypatch.setattr(loop, "CALIBRATION", 48)
    for name, of_preset in (("paper", settings), ("default", default_settings)):
        losses, states = [], []
        for precision in ("no", "bf16"):
            AcceleratorState._reset_state(reset_partial_state=True)  # a process has one precision otherwise
            folder = tmp_path / f"{name}_{precision}"
            train(of_preset(photos_folder, folder, "steps=2", "lr=1e-3", "ema=0", f"precision={precision}"))
            row = next(csv.DictReader(open(folder / "log.csv", newline="")))
            losses.append(float(row["loss"]))
            states.append(load_state(folder, CPU)["network"])
            assert all(value.isfinite().all() for value in states[-1].values())
        assert not same(*states, 1e-6), "nothing ran in half precision"
        assert losses[0] == pytest.approx(losses[1], rel=0.05)
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_fresh_network_takes_the_first_composites_for_usual():
    generator = torch.Generator().manual_seed(0)
    batches = []
    for size in ((32, 64), (45, 61)):  # also sizes that the encoder has to fill up
        composite = nn.functional.interpolate(torch.rand(24, 3, 5, 5, generator=generator) * 2 - 1, size)
        mask = torch.zeros(24, 1, *size)
        mask[:, :, 8:24, 10:40] = 1
        batches.append((composite, mask, mask[:, 0].long()))
    network = build(ModelConfig("srin", members=2)).eval()
    assert isinstance(network, HarmonizationNet)
    network.encoder.load_pretrained()
    calibrate(network, batches)
    with torch.no_grad():
        units = network.units(*batches[0])
    for head in network.heads:
        scaled = head.scaled(units).where(units.full)
        for values in (scaled.colour, scaled.texture.flatten(1), scaled.meaning):
            assert values.mean().abs() < 0.2 and 0.5 < values.std() < 1.5


def test_a_loss_that_is_no_number_stops_the_run(photos_folder, tmp_path):
    train(settings(photos_folder, tmp_path, "steps=1"))
    with pytest.raises(FloatingPointError, match="not finite at step"):
        train(settings(photos_folder, tmp_path, "steps=60", "lr=1e30", "clip=0"))
    state = load_state(tmp_path, CPU)
    assert all(value.isfinite().all() for value in state["network"].values())


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["smoke", "data.root=nowhere"], "The folder nowhere can't be read"),
        (["smoke", "stepz=3"], "unknown setting: stepz"),
        (["smoke", "init=missing.safetensors"], "missing.safetensors"),
        (["smoke", "output_dir=app.py/x"], "app.py"),
        (["paper", "data.root=nowhere"], "There is no folder nowhere"),
    ],
)
def test_mistakes_on_the_command_line_get_a_sentence(arguments, sentence, tmp_path, monkeypatch):
    output = [] if any("output_dir" in argument for argument in arguments) else [f"output_dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["train.train", *arguments[:1], *output, *arguments[1:]])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=sentence) as stopped:
        main()
    assert str(stopped.value).startswith("train.train: ")


def test_states_are_whole_or_not_there(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        save_state(tmp_path, step, {"step": step}, keep=2)
    assert load_state(tmp_path, CPU) == {"step": 3}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        save_state(tmp_path, 4, {"step": 4}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state_00000002.pt", "state_00000003.pt"]
    (tmp_path / "state_00000003.pt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="state_00000003.pt can't be read; delete it"):
        load_state(tmp_path, CPU)


# --------------------------------------------------------------------------- iHarmony4, composites and maps on disk


@pytest.fixture(scope="module")
def iharmony4(photos_folder, tmp_path_factory):
    """A small iHarmony4-style folder, made by our own command."""
    folder = tmp_path_factory.mktemp("iharmony4")
    make_composites(settings(photos_folder, folder / "unused"), folder, 24)
    return folder


IHARMONY4 = ("model.slot=srin", "data.kind=iharmony4", "data.workers=0", "data.subsets=[photos]", "steps=0")


def test_composites_on_disk_are_composites(iharmony4):
    found = samples(iharmony4, "train", None)
    assert len(found) == 24 and len(samples(iharmony4, "test", None)) == 2
    for sample in found:
        composite, real, mask = (cv2.imread(str(p)).astype(int) for p in (sample.composite, sample.real, sample.mask))
        difference = np.abs(composite - real)
        assert difference[mask == 0].max() == 0 and difference[mask == 255].mean() > 1


def test_training_on_iharmony4_sees_every_picture_once_an_epoch_and_resumes(iharmony4, tmp_path):
    more = (*IHARMONY4, "epochs=2", "batch=6")
    train(settings(iharmony4, tmp_path / "whole", *more))
    train(settings(iharmony4, tmp_path / "parts", *more, "minutes=0"))
    train(settings(iharmony4, tmp_path / "parts", *more))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))

    def indices(start, share=(0, 1)):
        batches = iter(Order(23, 4, 0, start, share))
        return [next(batches) for _ in range(10 - start)]

    whole = indices(0)
    assert len({i for part in whole[:5] for i in part}) == 20 and len({i for part in whole[5:] for i in part}) == 20
    assert whole[:5] != whole[5:] and indices(3) == whole[3:]
    assert [a + b for a, b in zip(indices(0, (0, 2)), indices(0, (1, 2)), strict=True)] == whole


def test_processes_share_a_batch_of_iharmony4(iharmony4, tmp_path):
    """Also in the loss: each one's part is divided by the pictures of all."""
    config = settings(iharmony4, tmp_path, *IHARMONY4, "epochs=1", "batch=8")
    whole = next(IHarmony4Feed(config, CPU, 0, 1).batches(0))
    shares = [next(IHarmony4Feed(config, CPU, i, 2).batches(0)) for i in range(2)]
    assert torch.equal(torch.cat([share.composite for share in shares]), whole.composite)
    zeros = torch.zeros_like(whole.real)
    parts = [Objective(Constant(zeros[:4]), config)(share).item() for share in shares]
    assert sum(parts) == pytest.approx(Objective(Constant(zeros), config)(whole).item(), rel=1e-5)


def test_a_data_sets_fingerprint_changes_with_its_pictures(iharmony4, tmp_path):
    copied = tmp_path / "moved"
    shutil.copytree(iharmony4, copied)
    before, moved = (data_fingerprint(settings(x, tmp_path, *IHARMONY4).data) for x in (iharmony4, copied))
    assert before == moved and len(before) == 12
    one = samples(copied, "train", None)[0].composite
    one.write_bytes(one.read_bytes() + b"0")
    assert data_fingerprint(settings(copied, tmp_path, *IHARMONY4).data) != before


def test_precomputed_maps_are_found_by_content_and_bad_pictures_are_listed(iharmony4, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    sources = [sample.composite for sample in samples(iharmony4, "train", None)[:3]]
    for i, source in enumerate(sources):
        (pictures / f"renamed{i}.png").write_bytes(source.read_bytes())
    (pictures / "broken.jpg").write_bytes(b"no picture")
    call = [sys.executable, "-m", "train.precompute_maps", str(pictures), str(tmp_path / "maps"), "--segmenter", "colour"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "3 of 4 pictures" in done.stdout and "broken.jpg" in done.stderr
    maps = [map_path(tmp_path / "maps", source) for source in sources]
    image = cv2.cvtColor(cv2.imread(str(sources[0])), cv2.COLOR_BGR2RGB)
    assert np.array_equal(load_labels(maps[0], what="map"), segment(image, "colour").labels)
    maps[1].write_bytes(b"kept")  # a second run makes what is missing and leaves the rest
    maps[2].unlink()
    assert precompute(find_pictures(pictures), tmp_path / "maps", "colour", False)
    assert maps[1].read_bytes() == b"kept" and maps[2].exists()
