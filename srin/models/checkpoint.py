"""Weights on disk: safetensors, with the network's configuration in the file's own metadata."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from srin.errors import WeightsError
from srin.models.config import ModelConfig
from srin.models.network import HarmonizationNet


def save_weights(
    path: str | os.PathLike[str],
    config: ModelConfig,
    state: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
    notes: Mapping[str, str],
) -> None:
    """Writes a weights file atomically.

    Args:
        path: ends in .safetensors; its folder exists.
        state: a `HarmonizationNet(config).state_dict()`.
        dtype: stored precision, usually torch.float16.
        notes: further metadata, such as the licence and the training run.
    """
    metadata = {"config": json.dumps(asdict(config)), **notes}
    part = Path(f"{os.fspath(path)}.part")
    try:
        save_file({k: v.detach().to("cpu", dtype).contiguous() for k, v in state.items()}, part, metadata)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_weights(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> HarmonizationNet:
    """Builds the network that a weights file describes and loads it strictly, in fp32, ready for inference.

    Raises:
        WeightsError: not a safetensors file, no or a broken configuration, missing, unexpected or misshapen tensors.
    """
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
        config = ModelConfig.from_dict(json.loads(metadata["config"]))
    except (ValueError, TypeError) as error:
        raise WeightsError(f"The weights file {name} has a broken configuration: {error}") from error
    network = HarmonizationNet(config)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]  # torch lists the tensors, over many lines
        raise WeightsError(f"The weights file {name} doesn't fit its own configuration: {reason}") from error
    return network.eval().requires_grad_(False).to(device)
