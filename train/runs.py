"""Notes settings and data in a run's folder, so that it holds only one run."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from srin.errors import SrinError
from srin.image_io import write_whole
from srin.outputs import check_folder, check_inputs
from srin.parts import sweep
from train.config import DataConfig, TrainConfig
from train.data.identity import data_files, files_digest

NOTE = "settings.json"
FREE = ("output_dir", "minutes", "save_every", "keep")  # may change from one start to the next
DATA_FREE = ("root", "cache", "workers", "maps", "found")  # paths of the data may change, their content may not


def claim(config: TrainConfig, more: dict[str, Any] | None = None) -> None:
    """Notes a run's settings, data and initial weights in its folder. If there is a note already, it must be the same.

    Args:
        more: further settings to note, as plain values.

    Raises:
        ValueError: the folder holds a run with other settings or data; the message names them. OutputError: it can't be
            written, or results would replace an input.
    """
    folder, data = config.output_dir, config.data
    check_place(folder, data)
    check_inputs((folder / name for name in ("weights.safetensors", "best.safetensors")), (config.init,))
    settings = asdict(config) | (more or {})
    for key in FREE:
        del settings[key]
    for key in DATA_FREE:
        del settings["data"][key]
    settings["init"] = config.init and hashlib.sha256(config.init.read_bytes()).hexdigest()
    settings["data"]["content"] = files_digest(data_files(data), data.root)
    text = json.dumps(settings, indent=1, default=str) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    path = folder / NOTE
    if not path.exists():
        if any(folder.glob("state_*.pt")) or (folder / "weights.safetensors").exists():
            raise ValueError(f"{folder} holds a run that doesn't say how it was made; choose another output_dir")
        write_whole(text.encode(), path)
        return
    differ = _differences(_read(path), json.loads(text))
    if differ:
        raise ValueError(f"{folder} holds a run with another {', '.join(differ)}; choose another output_dir")


def check_alone() -> None:
    """Raises SrinError if a launcher started several processes, each of which would do the same work."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise SrinError("This command runs in one process; start it with python -m, not torchrun or accelerate launch")


def check_place(folder: Path, data: DataConfig) -> None:
    """Raises OutputError if results can't be written into a folder, or if it holds the data."""
    check_folder(folder, [data.root, data.more, data.maps, data.found, *{file.parent for file in data_files(data)}])


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged; choose another output_dir") from error
    return found if isinstance(found, dict) else {}


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Names of the settings that differ, such as model.slot."""
    names: list[str] = []
    for key in {**now, **before}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            names.append(prefix + key)
    return names


def notes_of(path: Path) -> dict[str, str]:
    """A weights file's training notes, for the file of a run that goes on from it. Raises OSError."""
    with safe_open(path, "pt") as file:
        return {name: text for name, text in file.metadata().items() if name not in ("config", "licence")}
