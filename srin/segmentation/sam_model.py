"""Loads Segment Anything: one model in memory, shared by all users.

torch and segment_anything are imported only when a model is loaded: most visitors never need them.
"""

import os
import re
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from srin.device import best_device
from srin.errors import SegmentationError
from srin.gpu import is_lent
from srin.segmentation.checkpoints import CHECKPOINTS

DECODER_HEADS = 8


@dataclass(frozen=True)
class LoadedSam:
    """A model ready for use.

    Attributes:
        model: segment_anything.modeling.Sam, in evaluation mode.
        architecture: its key in the library's registry, such as "vit_b", or a description if it has another size.
        key: identifies the checkpoint file (path, size and time of change), for caches.
    """

    model: Any
    architecture: str
    key: str


_load_lock = threading.Lock()
_loaded: dict[tuple[str, str], LoadedSam] = {}  # at most one entry


def load_sam(source: str | os.PathLike[str], device: str | None = None) -> LoadedSam:
    """Loads a checkpoint, or returns the model if it is in memory already.

    The architecture is derived from the file's tensors, so that renamed files work. Only tensors are unpickled.

    Args:
        source: name of a downloaded checkpoint (a key of CHECKPOINTS), or path of any checkpoint file.
        device: where to put the model; by default a CUDA GPU, if there is one that isn't lent for single calls: photos
            are encoded in the background, outside of any call.

    Raises:
        SegmentationError: there is no such file; it is damaged, cut short or holds more than tensors; or it
            holds another model's weights.
    """
    path = Path(CHECKPOINTS[source].path if source in CHECKPOINTS else source)
    if not path.is_file():
        names = ", ".join(CHECKPOINTS)
        raise SegmentationError(
            f"There is no checkpoint {path}. Download one of {names}, or give the path of a checkpoint file."
        )
    device = device or ("cpu" if is_lent else best_device(("cuda",)))
    status = path.stat()
    key = f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"
    with _load_lock:
        if (key, device) not in _loaded:
            _loaded.clear()  # before loading, because two large models may not fit in memory
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
        f"{path} holds no Segment Anything weights of a known architecture ({', '.join(CHECKPOINTS)}, or others "
        "built from the library's own classes)."
    )
    try:
        embed_dim = len(state["image_encoder.patch_embed.proj.weight"])
        names = [name for name, checkpoint in CHECKPOINTS.items() if checkpoint.embed_dim == embed_dim]
        if names:
            model, architecture = sam_model_registry[names[0]](), names[0]
        else:
            model, architecture = _built_like(state), f"{embed_dim} channels wide"
        model.load_state_dict(state, strict=True)
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
        raise wrong from error
    return model, architecture


def _built_like(state: dict[str, Any]) -> Any:
    """Builds a Sam of another size than the official ones, from the shapes of its tensors.

    The decoder's number of attention heads and the normalization's epsilon can't be derived from them; the official
    values are used.
    """
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    def shape(name: str) -> list[int]:
        return list(state[name].shape)

    def count(pattern: str) -> int:
        return len({found.group(1) for name in state if (found := re.match(pattern, name))})

    embed_dim, _, patch, _ = shape("image_encoder.patch_embed.proj.weight")
    grid = shape("image_encoder.pos_embed")[1]
    depth = count(r"image_encoder\.blocks\.(\d+)\.")
    reaches = [(len(state[f"image_encoder.blocks.{i}.attn.rel_pos_h"]) + 1) // 2 for i in range(depth)]
    windows = [reach for reach in reaches if reach != grid]
    prompt_dim = shape("prompt_encoder.no_mask_embed.weight")[1]
    iou_head = "mask_decoder.iou_prediction_head.layers"
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=grid * patch,
            patch_size=patch,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=embed_dim // shape("image_encoder.blocks.0.attn.rel_pos_h")[1],
            mlp_ratio=shape("image_encoder.blocks.0.mlp.lin1.weight")[0] / embed_dim,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            out_chans=prompt_dim,
            use_rel_pos=True,
            window_size=windows[0] if windows else 0,
            global_attn_indexes=tuple(i for i, reach in enumerate(reaches) if reach == grid),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(grid * patch, grid * patch),
            mask_in_chans=shape("prompt_encoder.mask_downscaling.3.weight")[0],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=shape("mask_decoder.mask_tokens.weight")[0] - 1,
            transformer=TwoWayTransformer(
                depth=count(r"mask_decoder\.transformer\.layers\.(\d+)\."),
                embedding_dim=prompt_dim,
                mlp_dim=shape("mask_decoder.transformer.layers.0.mlp.lin1.weight")[0],
                num_heads=DECODER_HEADS,
            ),
            transformer_dim=prompt_dim,
            iou_head_depth=count(r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
            iou_head_hidden_dim=shape(f"{iou_head}.0.weight")[0],
        ),
    )
