"""Weights are read as they were written, and errors in a file are told in a sentence."""

import json
import os
import pickle
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from srin import __version__
from srin.errors import WeightsError
from srin.models import build, checkpoint
from srin.models.checkpoint import load_weights, save_weights
from srin.models.config import ModelConfig

CONFIG = ModelConfig("srin", "paper", head="rgb", width=2, working_size=96)
NOTES = {"licence": "CC-BY-4.0", "run": "a short one"}


def state(config=CONFIG):
    torch.manual_seed(0)
    network = build(config)
    return {name: torch.randn_like(value) for name, value in network.state_dict().items()}


def written(path, tensors, config=None, **metadata):
    """A weights file of any content, past the checks of `save_weights`."""
    if config is not None:
        metadata["config"] = config if isinstance(config, str) else json.dumps(config)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata or None)
    return path


def refused(path, *words):
    """Checks that a file is refused in a sentence that names it and contains these words."""
    with pytest.raises(WeightsError) as raised:
        load_weights(path)
    message = str(raised.value)
    assert message.startswith(f"The weights file {path.name} "), message
    assert "\n" not in message and "\t" not in message and len(message) < 400, f"not a sentence: {message!r}"
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        ModelConfig("rain", "paper", head="residual", width=3, working_size=64),
        ModelConfig("bain", "paper", head="rgb", width=2, working_size=256),
        ModelConfig("srin", "default", members=2, working_size=128),
    ],
    ids=lambda config: f"{config.slot}-{config.preset}-{config.head}",
)
def test_what_is_written_comes_back(config, tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = state(config)
    save_weights(path, config, tensors, torch.float16, NOTES)
    network = load_weights(path)
    assert network.config == config
    loaded = network.state_dict()
    assert loaded.keys() == tensors.keys()
    for name, value in tensors.items():
        assert loaded[name].dtype == torch.float32 and torch.equal(loaded[name], value.half().float()), name
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert [item.name for item in tmp_path.iterdir()] == ["weights.safetensors"]


OLD = {"slot": "srin", "preset": "paper", "head": "rgb", "width": 2, "working_size": 96}  # as in version 0.2


@pytest.mark.parametrize(
    "config",
    [
        OLD,
        OLD | {"painting": "mean", "keys": "all"},
        OLD | {"preset": "default", "head": "affine", "painting": "mean", "keys": "background"},
        asdict(CONFIG) | {"painting": "mean", "keys": "all"},
    ],
    ids=["0.2", "0.4 paper", "0.4 default", "between 0.4 and 0.5"],
)
def test_a_file_of_an_older_version(config, tmp_path):
    path = written(tmp_path / "w.safetensors", state(), config)
    refused(path, "made by an older version", "not supported", "the weights that come with this version")


def test_the_file_is_half_precision_and_tells_what_it_is(tmp_path):
    path = str(tmp_path / "weights.safetensors")
    save_weights(path, CONFIG, state(), torch.float16, NOTES)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}
    assert json.loads(metadata.pop("config")) == asdict(CONFIG)
    assert metadata == NOTES | {"version": __version__}
    assert os.path.getsize(path) < 2 * sum(value.numel() for value in state().values()) + 20_000


def test_full_precision_keeps_every_bit(tmp_path):
    save_weights(tmp_path / "w.safetensors", CONFIG, state(), torch.float32, {})
    loaded = load_weights(tmp_path / "w.safetensors").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state().items())


def test_a_loaded_network_gives_the_same_picture(tmp_path):
    source = build(CONFIG)
    source.load_state_dict({name: value.half().float() * 0.1 for name, value in state().items()})
    save_weights(tmp_path / "w.safetensors", CONFIG, source.state_dict(), torch.float32, {})
    composite, mask = torch.rand(1, 3, 32, 32) * 2 - 1, torch.rand(1, 1, 32, 32)
    regions = torch.arange(32).expand(1, 32, 32) // 8
    with torch.no_grad():
        expected = source(composite, mask, regions)
    assert torch.equal(load_weights(tmp_path / "w.safetensors")(composite, mask, regions), expected)


def test_a_missing_tensor(tmp_path):
    tensors = state()
    del tensors["decoder.2.weight"]
    refused(written(tmp_path / "w.safetensors", tensors, asdict(CONFIG)), "decoder.2.weight", "issing")


def test_an_unexpected_tensor(tmp_path):
    tensors = state() | {"decoder.99.weight": torch.zeros(1)}
    refused(written(tmp_path / "w.safetensors", tensors, asdict(CONFIG)), "decoder.99.weight", "nexpected")


def test_a_tensor_of_another_shape(tmp_path):
    tensors = state() | {"encoder.0.weight": torch.zeros(2, 3, 3, 3)}
    refused(written(tmp_path / "w.safetensors", tensors, asdict(CONFIG)), "encoder.0.weight", "2, 3, 3, 3")


@pytest.mark.parametrize("other", [{"slot": "rain"}, {"slot": "bain"}, {"width": 3}])
def test_weights_of_another_network(other, tmp_path):
    refused(written(tmp_path / "w.safetensors", state(), asdict(CONFIG) | other), "configuration")


@pytest.mark.parametrize("keep", [0, 5, 200, 0.5, -1], ids=["empty", "5-bytes", "header", "half", "last-byte"])
def test_a_truncated_file(keep, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, CONFIG, state(), torch.float16, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    refused(path, "read")


def test_a_text_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\nsize 4884048\n" * 20)
    refused(path, "read")


def test_a_torch_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save({"model": state()}, path)
    refused(path, "read")


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


def test_a_pickle_is_refused_and_never_run(tmp_path):
    path, trace = tmp_path / "weights.safetensors", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Bomb(str(trace))))
    refused(path, "read")
    assert not trace.exists()


def test_no_file_and_a_folder(tmp_path):
    refused(tmp_path / "nothing.safetensors", "read")
    (tmp_path / "folder.safetensors").mkdir()
    refused(tmp_path / "folder.safetensors", "read")


@pytest.mark.parametrize("metadata", [{}, {"licence": "CC0"}], ids=["none", "others"])
def test_no_configuration(metadata, tmp_path):
    refused(written(tmp_path / "w.safetensors", state(), **metadata), "which network")


@pytest.mark.parametrize(
    "config, word",
    [
        ("{not json", "configuration"),
        ("", "configuration"),
        ("[]", "configuration"),
        ("7", "configuration"),
        ("null", "configuration"),
        ({}, "slot"),
        (asdict(CONFIG) | {"slot": "adain"}, "adain"),
        (asdict(CONFIG) | {"head": None}, "head"),
        (asdict(CONFIG) | {"preset": "default"}, "width=2 belongs to preset paper"),
        (asdict(CONFIG) | {"members": 2}, "members=2"),
        (asdict(CONFIG) | {"preset": ["paper"]}, "preset"),
        (asdict(CONFIG) | {"width": 0}, "width"),
        (asdict(CONFIG) | {"width": "2"}, "width"),
        (asdict(CONFIG) | {"working_size": 96.5}, "working_size"),
        (asdict(CONFIG) | {"depth": 4}, "depth"),
    ],
)
def test_a_broken_configuration(config, word, tmp_path):
    refused(written(tmp_path / "w.safetensors", state(), config), "configuration", word)


@pytest.mark.parametrize("width", [10**12, 10**30])
def test_a_configuration_that_no_machine_can_hold(width, tmp_path):
    refused(written(tmp_path / "w.safetensors", state(), asdict(CONFIG) | {"width": width}), "configuration")


def failing_save(content):
    """A `save_file` that writes a part of the file and fails, as on a full disk."""

    def save(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(content)
        raise OSError(28, "No space left on device")

    return save


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_weights(path, CONFIG, state(), torch.float16, {})
    before = path.read_bytes()
    monkeypatch.setattr(checkpoint, "save_file", failing_save(before[:100]))
    with pytest.raises(OSError, match="No space left"):
        save_weights(path, CONFIG, state(), torch.float32, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_weights(path, CONFIG, state(), torch.float16, {})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_onto_a_folder_leaves_nothing(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.mkdir()
    with pytest.raises(OSError):
        save_weights(path, CONFIG, state(), torch.float16, {})
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    save_weights(path, CONFIG, state(), torch.float16, {})
    assert load_weights(path).config == CONFIG
    assert list(tmp_path.iterdir()) == [path]
