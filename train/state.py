"""Saves the state that a run continues from, atomically; only the newest few are kept."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from srin.parts import replacing

NAME = re.compile(r"state_(\d+)\.pt")


def save_state(folder: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Writes FOLDER/state_STEP.pt atomically, then deletes all but the `keep` newest states. Raises OSError."""
    write_whole(state, folder / f"state_{step:08d}.pt")
    for _, old in _states(folder)[:-keep]:
        old.unlink(missing_ok=True)


def write_whole(values: Any, path: Path) -> None:
    """torch.save to a temporary file that is then renamed, so that `path` is never incomplete. Raises OSError."""
    with replacing(path) as part:
        torch.save(values, part)


def load_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest state in a folder, or None when there is none.

    Raises:
        ValueError: the file is damaged; the message says what to do.
    """
    states = _states(folder)
    if not states:
        return None
    path = states[-1][1]
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # damaged files make torch raise nearly anything
        raise ValueError(f"{path} can't be read; delete it to go on from the state before it") from error


def append_row(path: Path, columns: Sequence[str], row: Sequence[object]) -> None:
    """Adds a line to a log, a CSV file that begins with its columns; floats get five significant digits."""
    new = not path.exists()
    with open(path, "a", newline="") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(columns)
        writer.writerow([f"{value:.5g}" if isinstance(value, float) else value for value in row])


def _states(folder: Path) -> list[tuple[int, Path]]:
    found = [(NAME.fullmatch(path.name), path) for path in folder.glob("state_*.pt")]
    return sorted((int(match[1]), path) for match, path in found if match)
