"""Loads Segment Anything: one model in memory for everybody.

torch and segment_anything are imported when a model is loaded: most visitors never need them.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srin.errors import SegmentationError
from srin.segmentation.checkpoints import CHECKPOINTS


@dataclass(frozen=True)
class LoadedSam:
    """A model ready for use.

    Attributes:
        model: segment_anything.modeling.Sam, in evaluation mode.
        architecture: its key in the library's registry, as "vit_b".
        key: identity of the checkpoint file's content, for caches.
    """

    model: Any
    architecture: str
    key: str


_load_lock = threading.Lock()
_loaded: dict[tuple[str, str], LoadedSam] = {}  # at most one entry


def load_sam(source: str | os.PathLike[str], device: str | None = None) -> LoadedSam:
    """Loads a checkpoint, or hands out the model that is in memory already.

    The architecture is read off the file's tensors, so that renamed files work. Only tensors are unpickled.

    Args:
        source: name of a downloaded checkpoint (a key of CHECKPOINTS), or path of any checkpoint file.
        device: where to put the model; by default the GPU if there is one.

    Raises:
        SegmentationError: there is no such file; it is damaged, cut short or holds more than tensors; or it
            holds another model's weights.
    """
    import torch

    path = Path(CHECKPOINTS[source].path if source in CHECKPOINTS else source)
    if not path.is_file():
        names = ", ".join(CHECKPOINTS)
        raise SegmentationError(
            f"There is no checkpoint {path}. Download one of {names}, or give the path of a checkpoint file."
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    status = path.stat()
    key = f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"
    with _load_lock:
        if (key, device) not in _loaded:
            _loaded.clear()  # before loading: two of the large ones may not fit
            model, architecture = _read_model(path)
            _loaded[key, device] = LoadedSam(model.eval().to(device), architecture, key)
        return _loaded[key, device]


def _read_model(path: Path) -> tuple[Any, str]:
    import torch
    from segment_anything import sam_model_registry

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make torch raise nearly anything
        raise SegmentationError(
            f"{path} can't be read as a checkpoint: it is damaged, cut short, or holds more than weights, "
            "which is refused because it could run code. Delete it and download it again."
        ) from error
    wrong = SegmentationError(
        f"{path} holds no Segment Anything weights of a known architecture ({', '.join(CHECKPOINTS)})."
    )
    try:
        embed_dim = len(state["image_encoder.patch_embed.proj.weight"])
    except (TypeError, KeyError, IndexError):
        raise wrong from None
    names = [name for name, checkpoint in CHECKPOINTS.items() if checkpoint.embed_dim == embed_dim]
    if not names:
        raise wrong
    model = sam_model_registry[names[0]]()
    try:
        model.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError) as error:
        raise wrong from error
    return model, names[0]
