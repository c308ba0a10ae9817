"""Weights files: safetensors, with the network's configuration in the file's metadata."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from srin import __version__
from srin.errors import WeightsError
from srin.models import build
from srin.models.config import ModelConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from srin.models import Network

N = TypeVar("N", bound=torch.nn.Module)
OLD_SETTINGS = {"painting", "keys"}  # of configurations before version 0.5; none of them has `members`


def save_weights(
    path: str | os.PathLike[str],
    config: "DataclassInstance",
    state: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
    notes: Mapping[str, str],
) -> None:
    """Writes a weights file atomically. Its metadata is `config`, `version` (of this package) and the notes.

    Args:
        path: ends in .safetensors; its folder exists.
        config: the network's configuration, from which it can be built. state: its `state_dict()`.
        dtype: stored precision, usually torch.float16.
        notes: further metadata. Trained weights have `command`, the command that trained them, and `data`, a fingerprint
            of the training data; any other keys are allowed.
    """
    metadata = {"config": json.dumps(asdict(config)), "version": __version__, **notes}
    part = Path(f"{os.fspath(path)}.part")
    try:
        save_file({k: v.detach().to("cpu", dtype).contiguous() for k, v in state.items()}, part, metadata)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_weights(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> "Network":
    """Builds the network that a weights file describes and loads it strictly, in fp32, ready for inference.

    Raises:
        WeightsError: the file is missing or no safetensors file, its configuration is missing, broken or of an older
            version, or tensors are missing, unexpected or of wrong shapes.
    """
    name, values, state = read_weights(path)
    if _is_old(values):
        raise WeightsError(
            f"The weights file {name} was made by an older version, whose networks are not supported any more. "
            "Take the weights that come with this version, or train anew."
        )
    try:
        config = ModelConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"The weights file {name} has a broken configuration: {error}") from error
    return filled(build(config), name, state).to(device)


def read_weights(path: str | os.PathLike[str]) -> tuple[str, Any, dict[str, torch.Tensor]]:
    """The name of a weights file, its configuration as plain values, and its tensors in fp32. Raises WeightsError."""
    name = Path(path).name
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"The weights file {name} can't be read: {error}") from error
    if "config" not in metadata:
        raise WeightsError(f"The weights file {name} doesn't say which network it belongs to.")
    try:
        return name, json.loads(metadata["config"]), state
    except ValueError as error:
        raise WeightsError(f"The weights file {name} has a broken configuration: {error}") from error


def filled(network: N, name: str, state: dict[str, torch.Tensor]) -> N:
    """Loads the tensors of the weights file `name` into a network, and makes it ready for inference.

    Raises WeightsError if they don't fit.
    """
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]  # torch lists the tensors, over many lines
        raise WeightsError(f"The weights file {name} doesn't fit its own configuration: {reason}") from error
    return network.eval().requires_grad_(False)


def _is_old(config: Any) -> bool:
    """Whether a configuration is from a version before 0.5."""
    if not isinstance(config, dict) or "slot" not in config:
        return False
    return bool(OLD_SETTINGS & set(config)) or "members" not in config
