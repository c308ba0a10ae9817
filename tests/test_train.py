"""Composites with the remedies that they promise, settings, and a training run that resumes."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from srin.image_io import load_labels, load_mask
from srin.models.checkpoint import load_weights
from srin.models.unet import HarmonizationNet
from srin.segmentation.semantic_map import segment
from train.config import CONFIGS, DataConfig, load_config
from train.data import composites
from train.data.composites import make_batch
from train.data.feed import Order, PhotoFeed
from train.data.iharmony4 import samples
from train.data.maps import map_path
from train.data.photos import find_photos, load_photos, split_photos
from train.first_guess import first_guess
from train.make_composites import make_composites
from train.objective import Objective
from train.precompute_maps import find_pictures, precompute
from train.state import load_state, save_state
from train.train import learning_rate, main, train

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def photos_folder(tmp_path_factory):
    """Forty made-up photos, each with a disc on a gradient, in the form of a corpus. All discs have one colour."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        ramp = np.linspace(0, 1, 80)[None, :, None] * rng.uniform(60, 160, 3)
        image = np.broadcast_to(ramp + rng.uniform(20, 60, 3), (64, 80, 3)) + rng.normal(0, 6, (64, 80, 3))
        mask = np.zeros((64, 80), np.uint8)
        cv2.circle(mask, (int(rng.integers(25, 55)), 32), int(rng.integers(10, 18)), 255, -1)
        image = np.where(mask[..., None] > 0, np.array([60, 110, 190]) + rng.normal(0, 12, image.shape), image)
        cv2.imwrite(str(folder / f"img{i}.png"), np.clip(image, 0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / f"img{i}_mask.png"), mask)
        row = {"source": "here", "image": f"img{i}.png", "mask": f"img{i}_mask.png", "segments": "", "split": "train"}
        rows.append(row)
    rows[0]["split"] = "test"
    with open(folder / "manifest.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def data(folder, cache, **more):
    return DataConfig(root=folder, cache=cache, size=48, cached_size=64, **more)


@pytest.fixture(scope="module")
def photos(photos_folder, tmp_path_factory):
    return load_photos(data(photos_folder, tmp_path_factory.mktemp("cache")), "train")


@pytest.fixture(scope="module")
def batch(photos):
    return make_batch(photos, 64, 48, torch.Generator().manual_seed(0))


# ------------------------------------------------------------------------------------------------------ photos


def test_test_and_held_out_photos_are_not_trained_on(photos_folder):
    training, held_out = split_photos(find_photos(photos_folder))
    assert len(training) + len(held_out) == 39 and held_out
    names = {photo.image.name for photo in training}
    assert "img0.png" not in names and not names & {photo.image.name for photo in held_out}


@pytest.mark.parametrize("form", ["side by side", "two folders"])
def test_folders_without_a_manifest(photos_folder, tmp_path, form):
    for i in range(1, 5):
        image = (photos_folder / f"img{i}.png").read_bytes()
        mask = (photos_folder / f"img{i}_mask.png").read_bytes()
        if form == "side by side":
            (tmp_path / f"img{i}.png").write_bytes(image)
            (tmp_path / f"img{i}_mask.png").write_bytes(mask)
        else:
            files = {f"images/img{i}.png": image, f"masks/img{i}__0.png": mask, f"masks/img{i}__1.png": mask}
            for name, content in files.items():
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_bytes(content)
    found = find_photos(tmp_path)
    assert [photo.image.stem for photo in found] == ["img1", "img2", "img3", "img4"]
    assert {len(photo.masks) for photo in found} == {1 if form == "side by side" else 2}
    loaded = load_photos(data(tmp_path, tmp_path / "cache"), "train")
    assert len(loaded.images) == 3  # one is held out, however few there are
    expected = cv2.resize(load_mask(found[1].masks[0]), (64, 64), interpolation=cv2.INTER_AREA) > 127
    assert any(np.array_equal(mask, expected) for mask in loaded.masks.numpy())


def test_what_is_wrong_with_a_folder_is_listed(photos_folder, tmp_path):
    with pytest.raises(ValueError, match="no photos with masks"):
        find_photos(tmp_path)
    (tmp_path / "lonely_mask.png").write_bytes((photos_folder / "img1_mask.png").read_bytes())
    with pytest.raises(ValueError, match="lonely_mask.png"):
        find_photos(tmp_path)
    (tmp_path / "lonely_mask.png").unlink()
    for i in (1, 2, 3):
        (tmp_path / f"img{i}.png").write_bytes((photos_folder / f"img{i}.png").read_bytes()[:300])
        (tmp_path / f"img{i}_mask.png").write_bytes((photos_folder / f"img{i}_mask.png").read_bytes())
    with pytest.raises(ValueError, match="2 photos can't be used: img.*img"):
        load_photos(data(tmp_path, tmp_path / "cache"), "train")
    with pytest.raises(ValueError, match="no weight for here"):
        load_photos(data(photos_folder, tmp_path / "cache", source_weights={"elsewhere": 1.0}), "train")


def test_sources_and_parts_are_drawn_by_their_weights(photos_folder, tmp_path):
    rows = list(csv.DictReader(open(photos_folder / "manifest.csv", newline="")))[1:13]
    for i, row in enumerate(rows):
        row["source"] = "many" if i < 9 else "few"
    rows += [row | {"mask": "img12_mask.png"} for row in rows[:9]]  # a second mask of each photo
    for row in rows:
        row |= {key: str(photos_folder / row[key]) for key in ("image", "mask")}
    with open(tmp_path / "manifest.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    config = data(tmp_path, tmp_path / "cache", source_weights={"many": 0.25, "few": 0.75}, part_weights={"many": 0.5})
    photos = load_photos(config, "train")
    sources = [photo.source for photo in split_photos(find_photos(tmp_path))[0]]
    many = torch.tensor([sources[i] == "many" for i in photos.photo_of.tolist()])
    assert photos.chance[many].sum().item() == pytest.approx(0.25)
    assert photos.chance[~many].sum().item() == pytest.approx(0.75)
    first, second = photos.chance[many][:2].tolist()
    assert second == pytest.approx(0.5 * first)


# -------------------------------------------------------------------------------------------------- composites


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
    real, mask, _ = composites._crop(photos, torch.arange(24), 48, torch.Generator().manual_seed(1))
    clean = composites._clean_rim(real, mask, 48, torch.Generator().manual_seed(2))
    ring = (torch.nn.functional.max_pool2d(mask, 3, 1, 1) - mask) > 0.5
    far = torch.nn.functional.max_pool2d(mask, 9, 1, 4) < 0.5
    assert torch.equal(clean[far.expand_as(clean)], real[far.expand_as(real)])
    assert (clean - real).abs()[ring.expand_as(clean)].mean() > 0.01


def test_maps_are_mixed_coarser_and_finer():
    """Merged and split maps keep to the borders of the map they came from, but for one straight line."""
    columns = torch.arange(32).repeat_interleave(2).expand(200, 64, 64).contiguous()
    mixed = composites._merged_and_split(columns, torch.Generator().manual_seed(0))
    counts = torch.tensor([len(m.unique()) for m in mixed])
    assert 0.2 < (counts < 14).float().mean() < 0.5  # at most twelve after a merge
    assert 0.1 < (counts > 32).float().mean() < 0.35  # cut
    same = torch.tensor([torch.equal(m // 2, c) for m, c in zip(mixed, columns, strict=True)])
    assert 0.55 < same.float().mean() < 0.85


# ---------------------------------------------------------------------------------------------------- settings


def test_every_config_can_be_read():
    for path in CONFIGS.glob("*.yaml"):
        if path.stem == "ablation":
            continue  # a list of variants: see test_ablation.py
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
        ("loss=l2", "loss"),
        ("data.source_weights={cat: much}", "data.source_weights.cat"),
        ("model=3", "model"),
        ("batch", "key=value"),
    ],
)
def test_a_wrong_setting_is_named(change, named):
    with pytest.raises(ValueError, match=named):
        load_config("trunk", [change])


def test_epochs_are_not_ignored_where_there_are_none(photos_folder, tmp_path):
    config = load_config("trunk", [f"data.root={photos_folder}", f"data.cache={tmp_path}", "epochs=3"])
    with pytest.raises(ValueError, match="epochs"):
        PhotoFeed(config, torch.device("cpu"), 0, 1)


def test_a_config_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="smoak.*smoke"):
        load_config("smoak", [])
    (tmp_path / "own.yaml").write_text("extends: smoke\nsteps: 7\nmodel: {width: 3}\n")
    own = load_config(str(tmp_path / "own.yaml"), [])
    assert (own.steps, own.model.width, own.model.slot) == (7, 3, "srin")
    (tmp_path / "own.yaml").write_text("steps: 7\n")
    with pytest.raises(ValueError, match="missing setting: output_dir, model, data"):
        load_config(str(tmp_path / "own.yaml"), [])


# ---------------------------------------------------------------------------------------------------- training


def changes(folder: Path, output: Path, *more: str) -> list[str]:
    small = ["data.size=32", "data.cached_size=64", "data.source_weights={}", "data.leave_out=[]", "batch=4"]
    small += ["model.width=2", "evaluate_every=100", "warm_up=1", "init=null"]
    return [f"data.root={folder}", f"data.cache={folder / 'cache'}", f"output_dir={output}", *small, *more]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "weights.safetensors").state_dict()


def same(a: dict, b: dict, tolerance: float = 1e-3) -> bool:
    return all(torch.allclose(a[key], b[key], atol=tolerance) for key in a)


def command(*arguments: str, processes: int = 1) -> subprocess.Popen:
    launcher = [sys.executable, "-m"]
    if processes > 1:
        # `accelerate launch --cpu` starts one process only; this is what it calls for several.
        launcher += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen([*launcher, "train.train", *arguments], cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def test_rejected_composites_teach_nothing(batch):
    config = load_config("smoke", ["model.slot=rain"])
    objective = Objective(HarmonizationNet(config.model), config)
    weight = torch.zeros_like(batch.weight)
    weight[:4] = 1
    kept = dataclasses.replace(batch, weight=weight, total=4.0)
    real = batch.real.clone()
    real[4:] = 0
    changed = dataclasses.replace(kept, real=real)
    assert torch.equal(objective(kept), objective(changed))
    assert not torch.equal(objective(kept), objective(dataclasses.replace(changed, weight=batch.weight)))


def test_the_network_learns(photos_folder, tmp_path):
    """That all discs have the same colour is easily learnt."""
    more = ["steps=60", "batch=16", "descent=0.5", "ema=0.9", "lr=4e-3", "keep_guess=false"]
    train(load_config("trunk", changes(photos_folder, tmp_path, *more)))
    rows = list(csv.DictReader(open(tmp_path / "log.csv", newline="")))
    assert float(rows[-1]["fpsnr"]) > float(rows[-1]["copy_paste_fpsnr"]) + 1
    assert list(tmp_path.glob("tensorboard/events*")) and (tmp_path / "best.safetensors").exists()


def test_the_first_guess_is_fitted_once_and_taken_up_where_it_stopped(photos_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("train.first_guess.SHARD", 4)
    settings = changes(photos_folder, tmp_path, "batch=16", "lr=4e-3")
    first_guess(load_config("guess", [*settings, "steps=4"]))
    shard = tmp_path / "statistics_0000000_4.pt"
    collected = shard.stat().st_mtime_ns
    gain = first_guess(load_config("guess", [*settings, "steps=12"]))
    assert gain > 1 and shard.stat().st_mtime_ns == collected and len(list(tmp_path.glob("statistics_*"))) == 3
    guessed = load_weights(tmp_path / "weights.safetensors")
    # Training goes on from it, and leaves it alone.
    init = f"init={tmp_path / 'weights.safetensors'}"
    train(load_config("trunk", changes(photos_folder, tmp_path / "trunk", init, "steps=2")))
    gone_on = load_weights(tmp_path / "trunk" / "weights.safetensors")
    for name, value in guessed.state_dict().items():
        if name.startswith(("head.guess", "head.texture")):
            assert torch.equal(value, gone_on.state_dict()[name]), name
    with pytest.raises(ValueError, match="affine head"):
        first_guess(load_config("guess", [*settings, "model.head=rgb"]))


def test_a_run_that_was_stopped_ends_as_one_that_was_not(photos_folder, tmp_path):
    """Stopped in order once, then killed without warning in the middle, then finished."""
    arguments = ["trunk", *changes(photos_folder, tmp_path / "parts", "steps=40", "save_every=1", "lr=1e-2")]
    train(load_config("trunk", changes(photos_folder, tmp_path / "whole", "steps=40", "lr=1e-2")))
    train(load_config("trunk", [*arguments[1:], "minutes=0"]))  # saves before its first step
    process = command(*arguments)
    while not any(int(path.stem[6:]) >= 5 for path in (tmp_path / "parts").glob("state_*.pt")):
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = load_state(tmp_path / "parts", torch.device("cpu"))["step"]
    assert 5 <= reached < 40
    train(load_config("trunk", arguments[1:]))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert len(list((tmp_path / "parts").glob("state_*.pt"))) == 2  # the newest are kept
    fresh = load_config("trunk", changes(photos_folder, tmp_path / "fresh", "steps=0", "lr=1e-2"))
    train(fresh)
    assert not same(weights(tmp_path / "whole"), weights(tmp_path / "fresh")), "nothing was trained"


def test_two_processes_train_as_one(photos_folder, tmp_path):
    more = ["steps=6", "lr=1e-2", "model.slot=srin", "evaluate_every=6", "batch=8"]
    two = command("trunk", *changes(photos_folder, tmp_path / "two", *more), processes=2)
    train(load_config("trunk", changes(photos_folder, tmp_path / "one", *more)))
    error = two.communicate(timeout=120)[1].decode()
    assert two.returncode == 0, error
    assert "processes=2" in error
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    losses = [next(csv.DictReader(open(tmp_path / n / "log.csv", newline="")))["loss"] for n in ("one", "two")]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-3)


def test_accumulated_gradients_are_those_of_the_large_batch(photos_folder, tmp_path, monkeypatch):
    """Two halves, one after the other, where the feed gives the halves of the same batch."""
    from train.data import feed

    whole = feed.PhotoFeed.batches

    def halves(self, start):
        object.__setattr__(self._config, "batch", 8)
        for batch in whole(self, start // 2):
            for i in range(2):
                half = batch.share(i, 2)
                half.weight[:] = 1
                half.total = 4.0
                yield half

    def uniform(self, start):
        for batch in whole(self, start):
            batch.weight[:] = 1
            batch.total = 8.0
            yield batch

    common = ["steps=3", "lr=1e-2", "ema=0"]
    monkeypatch.setattr(feed.PhotoFeed, "batches", uniform)
    train(load_config("trunk", changes(photos_folder, tmp_path / "one", *common, "batch=8")))
    monkeypatch.setattr(feed.PhotoFeed, "batches", halves)
    train(load_config("trunk", changes(photos_folder, tmp_path / "two", *common, "batch=4", "accumulate=2")))
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_bain_and_srin_go_on_from_rain(photos_folder, tmp_path):
    train(load_config("trunk", changes(photos_folder, tmp_path / "trunk", "steps=2")))
    init = f"init={tmp_path / 'trunk' / 'weights.safetensors'}"
    for slot in ("bain", "srin"):
        train(load_config("trunk", changes(photos_folder, tmp_path / slot, "steps=2", init, f"model.slot={slot}")))
        assert load_weights(tmp_path / slot / "weights.safetensors").config.slot == slot
    with pytest.raises(ValueError, match="another architecture"):
        train(load_config("trunk", changes(photos_folder, tmp_path / "wide", "steps=2", init, "model.width=3")))
    with pytest.raises(ValueError, match="another architecture; choose another folder"):
        train(load_config("trunk", changes(photos_folder, tmp_path / "trunk", "steps=4", "model.width=3")))


def test_a_loss_that_is_no_number_stops_the_run(photos_folder, tmp_path):
    train(load_config("trunk", changes(photos_folder, tmp_path, "steps=1")))
    with pytest.raises(FloatingPointError, match="not finite at step"):
        train(load_config("trunk", changes(photos_folder, tmp_path, "steps=60", "lr=1e30", "clip=0")))
    state = load_state(tmp_path, torch.device("cpu"))
    assert all(value.isfinite().all() for value in state["network"].values())


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["smoke", "data.root=nowhere"], "there are no photos with masks in nowhere"),
        (["smoke", "stepz=3"], "unknown setting: stepz"),
        (["smoke", "init=missing.safetensors"], "missing.safetensors can't be read"),
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
    assert load_state(tmp_path, torch.device("cpu")) == {"step": 3}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        save_state(tmp_path, 4, {"step": 4}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state_00000002.pt", "state_00000003.pt"]
    (tmp_path / "state_00000003.pt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="state_00000003.pt can't be read; delete it"):
        load_state(tmp_path, torch.device("cpu"))


# --------------------------------------------------------------------------- iHarmony4, composites and maps on disk


@pytest.fixture(scope="module")
def iharmony4(photos_folder, tmp_path_factory):
    """A small iHarmony4-style folder, made by our own command."""
    folder = tmp_path_factory.mktemp("iharmony4")
    make_composites(load_config("trunk", changes(photos_folder, folder / "unused")), folder, 24)
    return folder


def test_composites_on_disk_are_composites(iharmony4):
    found = samples(iharmony4, "train", None)
    assert len(found) == 24 and len(samples(iharmony4, "test", None)) == 2
    for sample in found:
        composite, real, mask = (cv2.imread(str(p)).astype(int) for p in (sample.composite, sample.real, sample.mask))
        difference = np.abs(composite - real)
        assert difference[mask == 0].max() == 0 and difference[mask == 255].mean() > 1


def test_training_on_iharmony4_sees_every_picture_once_an_epoch_and_resumes(iharmony4, tmp_path):
    more = ["model.slot=srin", "data.kind=iharmony4", "data.workers=0", "data.subsets=[photos]", "data.size=32"]
    more += ["steps=0", "epochs=2", "batch=6"]
    train(load_config("trunk", changes(iharmony4, tmp_path / "whole", *more)))
    train(load_config("trunk", [*changes(iharmony4, tmp_path / "parts", *more), "minutes=0"]))
    train(load_config("trunk", changes(iharmony4, tmp_path / "parts", *more)))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))

    def indices(start, share=(0, 1)):
        batches = iter(Order(23, 4, 0, start, share))
        return [next(batches) for _ in range(10 - start)]

    whole = indices(0)
    assert len({i for part in whole[:5] for i in part}) == 20 and len({i for part in whole[5:] for i in part}) == 20
    assert whole[:5] != whole[5:] and indices(3) == whole[3:]
    assert [a + b for a, b in zip(indices(0, (0, 2)), indices(0, (1, 2)), strict=True)] == whole


def test_precomputed_maps_are_found_by_content_and_bad_pictures_are_listed(iharmony4, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    sources = [sample.composite for sample in samples(iharmony4, "train", None)[:3]]
    for i, source in enumerate(sources):
        (pictures / f"renamed{i}.png").write_bytes(source.read_bytes())
    (pictures / "broken.jpg").write_bytes(b"no picture")
    call = [sys.executable, "-m", "train.precompute_maps", str(pictures), str(tmp_path / "maps"), "--segmenter", "colour"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "3 of 4 pictures" in done.stdout and "broken.jpg" in done.stderr
    maps = [map_path(tmp_path / "maps", source) for source in sources]
    image = cv2.cvtColor(cv2.imread(str(sources[0])), cv2.COLOR_BGR2RGB)
    assert np.array_equal(load_labels(maps[0], what="map"), segment(image, "colour").labels)
    maps[1].write_bytes(b"kept")  # a second run makes what is missing and leaves the rest
    maps[2].unlink()
    assert precompute(find_pictures(pictures), tmp_path / "maps", "colour", False)
    assert maps[1].read_bytes() == b"kept" and maps[2].exists()
