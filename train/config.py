"""Training settings: a YAML file read into dataclasses, with key=value changes from the command line."""

import argparse
import shlex
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from srin.batch import Processes
from srin.errors import SrinError
from srin.models.config import ModelConfig

CONFIGS = Path(__file__).parent / "configs"
T = TypeVar("T")
# Types, as messages name them.
NAMES = {str: "text", Path: "path", dict: "mapping", tuple: "list", int: "int", float: "float", bool: "bool"}


@dataclass(frozen=True)
class DataConfig:
    """The training data.

    Attributes:
        kind: "photos": composites made on the fly from photos with object masks. "iharmony4": the data set as it is
            on disk.
        root: folder of the data, see `train.data.photos`. more: a second folder of photos, only for training.
        found: folder of masks from `train.find_objects`, for photos without masks, or None. They are shrunk twice as far.
        cache: folder for resized pictures.
        size: pixels a side of the square pictures that the network sees; no crop of a photo is smaller. photo_side:
            photos are kept with at most this many pixels on the shorter side.
        maps: for iHarmony4, folder of label maps from `train.precompute_maps`, or None: colour regions.
        subsets: for iHarmony4, the sub-datasets to use.
        free_masks: share of composites with another photo's mask: their foreground is not an object.
        source_weights: how often photos of a source are drawn, relative to the others; 1 for sources not named.
        part_weights: for sources where a photo's first mask is the object and the others are parts of it: the weight of
            such a part.
        loose_masks: sources whose masks are inaccurate at the edge; they are shrunk twice as far.
        leave_out: sources not to use.
        workers: number of processes that make composites, or read iHarmony4.
    """

    root: Path
    cache: Path
    kind: Literal["photos", "iharmony4"] = "photos"
    more: Path | None = None
    found: Path | None = None
    size: int = 128
    photo_side: int = 192
    maps: Path | None = None
    subsets: tuple[str, ...] = ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night")
    free_masks: float = 0.25
    source_weights: dict[str, float] = field(default_factory=dict)
    part_weights: dict[str, float] = field(default_factory=dict)
    loose_masks: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    workers: int = 2


@dataclass(frozen=True)
class TrainConfig:
    """How one network is trained.

    Attributes:
        output_dir: folder for weights, the resumable state and the logs.
        model: architecture. data: the training data.
        init: a weights file to start from; layers of the slot that it lacks start afresh.
        batch: pictures a step, over all processes. accumulate: steps whose gradients are averaged before an update.
        steps: updates. epochs: passes over the data, instead of steps (iHarmony4 only).
        lr: of Adam, betas 0.9 and 0.999. weight_decay: decoupled (AdamW); with 0 it is plain Adam.
        descent: share of the steps, at the end, over which the learning rate falls to 0.
        warm_up: steps over which it rises from 0.
        drops: epochs (or steps, without epochs) at which the learning rate falls to a tenth.
        loss: "l1": over the picture, the paper's equation 1. "foreground_l1": divided by the foreground's area, which is
            bounded from below, so that small objects count.
        clip: largest norm of the gradient; 0: no limit. ema: decay of the averaged weights that are saved; 0: no average.
        precision: "no" (fp32), "bf16" or "fp16"; statistics are always fp32.
        seed: of everything random. minutes: stop (resumably) after this long.
        evaluate_every, save_every: steps. keep: how many of the newest states are kept.
    """

    output_dir: Path
    model: ModelConfig
    data: DataConfig
    init: Path | None = None
    batch: int = 16
    accumulate: int = 1
    steps: int = 1000
    epochs: int = 0
    lr: float = 2e-3
    weight_decay: float = 1e-4
    descent: float = 0.5
    warm_up: int = 100
    drops: tuple[int, ...] = ()
    loss: Literal["l1", "foreground_l1"] = "foreground_l1"
    clip: float = 1.0
    ema: float = 0.999
    precision: Literal["no", "bf16", "fp16"] = "no"
    seed: int = 0
    minutes: float = 1e9
    evaluate_every: int = 250
    save_every: int = 250
    keep: int = 2


def load_config(name: str, changes: list[str]) -> TrainConfig:
    """Reads `train/configs/NAME.yaml`, or a YAML file by its path, and applies changes such as `model.width=8`.

    With `extends: NAME`, a file starts from another config and changes it.

    Raises:
        ValueError: an unknown key, a wrong type, or a missing setting; the message names it.
        FileNotFoundError: no such config; the message lists those in `train/configs`.
    """
    return convert(TrainConfig, read_settings(name, changes))


def read_settings(name: str, changes: list[str]) -> dict[str, Any]:
    """A config's settings with changes applied, as `load_config` reads them, but not checked."""
    values = _read(name)
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise ValueError(f"changes look like key=value, not {change!r}")
        nested: Any = _given(key, text)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        values = merged(values, nested)
    return values


class _Text(str):
    """A value as typed on the command line. It is parsed as YAML unless its setting is a text or a path."""

    def parsed(self, key: str) -> Any:
        """The value parsed as YAML; texts inside a list or a mapping stay as typed. Raises ValueError."""
        try:
            # This loader leaves all texts as they are.
            value = yaml.load(self, yaml.BaseLoader)
            return _typed(value) if isinstance(value, list | dict) else yaml.safe_load(self)
        except yaml.YAMLError as error:
            raise ValueError(f"{key} can't be {str(self)!r}, which is no YAML") from error


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        return {name: _typed(item) for name, item in value.items()}
    return _Text(value)


def _given(key: str, text: str) -> Any:
    """Parses a mapping, such as {a: 1}, whose settings are merged one by one; leaves other values for `_convert`."""
    typed = _Text(text)
    if text.startswith("{") and text.rstrip().endswith("}"):
        mapping = typed.parsed(key)
        return mapping if isinstance(mapping, dict) else typed
    return typed


def convert(kind: type[T], values: dict[str, Any]) -> T:
    """Converts settings to a dataclass. Raises ValueError as `load_config`."""
    return _convert("", kind, values)


def command_line(
    program: str,
    description: str | None,
    work: Callable[[T], None],
    load: Callable[[str, list[str]], T] = load_config,  # type: ignore[assignment]
) -> None:
    """Parses the command line, loads the settings, and calls `work` with them. Exits with a message on errors."""
    parser = argparse.ArgumentParser(
        program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a name in train/configs, or a YAML file")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="such as batch=8 or steps=1000")
    arguments = parser.parse_args()
    try:
        Processes.launched()  # under a launcher without a GPU, each process would take itself for the only one
        work(load(arguments.config, arguments.changes))
    except (ValueError, OSError, SrinError, FloatingPointError) as error:
        sys.exit(f"{program}: {error}")


def command() -> str:
    """The command that started this process, to be stored with its results."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def _read(name: str) -> dict[str, Any]:
    path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise FileNotFoundError(f"there is no config {name!r}; there are {known}, or give a YAML file")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no settings")
    base = values.pop("extends", None)
    return values if base is None else merged(_read(base), values)


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with changes applied, mapping by mapping; an empty mapping replaces the one that was there."""
    both = dict(values)
    for key, value in changes.items():
        inner = both.get(key)
        both[key] = merged(inner, value) if value and isinstance(inner, dict) and isinstance(value, dict) else value
    return both


def _convert(key: str, kind: Any, value: Any) -> Any:
    """Converts a value to the annotated type `kind`. Raises ValueError, naming the key."""
    name = "mapping" if is_dataclass(kind) else NAMES.get(typing.get_origin(kind) or kind, kind)
    wrong = ValueError(f"{key or 'the settings'} must be of type {name}, not {value!r}")
    if isinstance(value, _Text) and kind is not str and kind is not Path and typing.get_origin(kind) is not Literal:
        optional = typing.get_origin(kind) is types.UnionType
        texts = (str, Path)
        if not optional or value == "null" or typing.get_args(kind)[0] not in texts:
            value = value.parsed(key)
    if kind is Any:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise wrong
        return _dataclass(key, kind, value)
    if origin is Literal:
        value = str(value) if isinstance(value, _Text) else value
        # YAML reads a bare no as False.
        value = "no" if value is False else value
        if value not in inner:
            raise ValueError(f"{key} must be one of {', '.join(map(str, inner))}, not {value!r}")
        return value
    if origin is types.UnionType:
        return None if value is None else _convert(key, inner[0], value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise wrong
        return tuple(_convert(key, inner[0], item) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise wrong
        return {str(name): _convert(f"{key}.{name}", inner[1], item) for name, item in value.items()}
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as a string
        except ValueError:
            raise wrong from None
    if kind is str and isinstance(value, _Text):
        return str(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    raise wrong


def _dataclass(key: str, kind: Any, values: dict[str, Any]) -> Any:
    dot = f"{key}." if key else ""
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"unknown setting: {', '.join(dot + name for name in unknown)}")
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = [dot + name for name in required if name not in values]
    if missing:
        raise ValueError(f"missing setting: {', '.join(missing)}")
    try:
        return kind(**{name: _convert(dot + name, hints[name], value) for name, value in values.items()})
    except ValueError as error:  # a dataclass may check more than types
        raise error if dot and dot in str(error) else ValueError(f"{dot}{error}") from error
