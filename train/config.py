"""Training settings: a YAML file read into dataclasses, and key=value changes on top."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from srin.models.config import ModelConfig

CONFIGS = Path(__file__).parent / "configs"


@dataclass
class TrainConfig:
    """Attributes:
    output_dir: where weights, the resumable state and the log go.
    corpus: folder with manifest.csv, photos and masks. cache: where resized photos are kept.
    model: architecture. init: a weights file to start from; new slots start as the RAIN that they replace.
    first_guess: train only the affine head's first guess from colours and encoder, which needs no decoder.
    size: pixels of the square crops. cached_size: pixels that photos are kept at.
    batch, steps, lr, weight_decay, clip, ema: the optimizer's.
    descent: share of the steps, at the end, over which the learning rate falls to 0. A trunk that others go on from
        needs none, and may then be stopped at any time.
    smoothness: weight of the penalty on the affine transform's spatial gradient.
    seed: of everything random. minutes: stop (resumably) after this long.
    """

    output_dir: Path
    corpus: Path
    cache: Path
    model: ModelConfig
    init: Path | None = None
    first_guess: bool = False
    size: int = 96
    cached_size: int = 160
    batch: int = 16
    steps: int = 1000
    lr: float = 2e-3
    descent: float = 0.5
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.999
    smoothness: float = 1.0
    seed: int = 0
    minutes: float = 1e9
    evaluate_every: int = 250
    model_notes: dict[str, str] = field(default_factory=dict)


def load_config(name: str, changes: list[str]) -> TrainConfig:
    """Reads `train/configs/NAME.yaml`, or a YAML file of one's own, and applies changes such as `model.width=8`.

    Raises:
        ValueError: an unknown key, a wrong type, or a missing setting; the message names it.
        FileNotFoundError: no such config.
    """
    path = CONFIGS / f"{name}.yaml"
    values: dict[str, Any] = yaml.safe_load((path if path.exists() else Path(name)).read_text())
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise ValueError(f"changes look like key=value, not {change!r}")
        place = values
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = yaml.safe_load(text)
    kinds = {f.name: f.type for f in fields(TrainConfig)}
    unknown = set(values) - set(kinds)
    if unknown:
        raise ValueError(f"unknown training setting: {', '.join(sorted(unknown))}")
    for key, value in values.items():
        values[key] = _convert(key, kinds[key], value)
    try:
        return TrainConfig(**values)
    except TypeError as error:
        raise ValueError(f"a training setting is missing: {error}") from error


def _convert(key: str, kind: Any, value: Any) -> Any:
    if kind is ModelConfig:
        if not isinstance(value, dict):
            raise ValueError(f"{key} must be a mapping, not {value!r}")
        return ModelConfig.from_dict(value)
    if kind in (Path, Path | None):
        return None if value is None else Path(value)
    if kind is float and isinstance(value, int | float | str):
        try:
            return float(value)
        except ValueError:
            pass  # falls through to the message below
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif isinstance(kind, type) and isinstance(value, kind):
        return value
    elif not isinstance(kind, type) and isinstance(value, dict):
        return value
    raise ValueError(f"{key} must be of type {getattr(kind, '__name__', kind)}, not {value!r}")
