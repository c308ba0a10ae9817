"""Runs Segment Anything's image encoder: interruptible, and in half precision where that changes no mask."""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from srin.segmentation.checkpoints import cache_folder
from srin.segmentation.sam_model import LoadedSam
from srin.shipped import ASSETS

REQUIRED_IOU = 0.99  # mean over a picture's masks, on each test picture
EXAMPLES = ASSETS / "examples"
TEST_PICTURES = ("osprey.jpg", "otter.jpg")
GRID = 4  # points per side at which masks are compared


def encode(sam: LoadedSam, image: np.ndarray, precision: Any, proceed: Callable[[float], None]) -> np.ndarray:
    """Runs the image encoder. Only one call may run at a time: otherwise `proceed` would get the others' progress too.

    Args:
        image: uint8 (h, w, 3), sRGB.
        precision: dtype of the encoder's arithmetic, torch.float32 or a shorter one.
        proceed: called with the share that is done, every few seconds on a CPU; may raise an exception to stop.

    Returns:
        float32 (1, C, g, g), the embedding.
    """
    import torch
    from segment_anything.utils.transforms import ResizeLongestSide

    model = sam.model
    resized = ResizeLongestSide(model.image_encoder.img_size).apply_image(image)
    tensor = torch.as_tensor(resized, device=model.device).permute(2, 0, 1).contiguous()[None]
    reduced = torch.autocast(model.device.type, precision, enabled=precision != torch.float32)
    with torch.inference_mode(), reduced, _interruptible(model.image_encoder.blocks, proceed):
        return model.image_encoder(model.preprocess(tensor)).float().cpu().numpy()


@contextmanager
def _interruptible(blocks: Any, proceed: Callable[[float], None]) -> Iterator[None]:
    """Calls `proceed` before each of the encoder's blocks, which take seconds."""

    def tell(number: int) -> Callable[..., None]:
        return lambda *args: proceed(number / len(blocks))

    hooks = [block.register_forward_pre_hook(tell(number)) for number, block in enumerate(blocks)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def precision_of(sam: LoadedSam) -> Any:
    """The dtype to encode with: a short one only after `check_precision` found that the masks agree."""
    import torch

    short = short_precision(sam.model.device)
    return short if short is not None and _verdict(sam, short) else torch.float32


def needs_check(sam: LoadedSam) -> bool:
    """Whether a short dtype would be faster here, and `check_precision` has not run with it yet."""
    short = short_precision(sam.model.device)
    return short is not None and _verdict(sam, short) is None


def short_precision(device: Any) -> Any:
    """The dtype with which a device computes faster than with fp32, or None."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type != "cpu":
        return None
    # A processor without bf16 instructions emulates them, and is slower.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch cannot tell
    native = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if native else None


def check_precision(sam: LoadedSam, proceed: Callable[[float], None]) -> float:
    """Compares masks of the short dtype with those of fp32 on the test pictures, and stores whether they agree.

    It takes two encodings for each picture. `proceed` as in `encode`.

    Returns:
        The mean IoU on the picture where they agree least.
    """
    import torch

    short = short_precision(sam.model.device)
    overlaps = []
    for name in TEST_PICTURES:
        image = np.array(Image.open(EXAMPLES / name).convert("RGB"))
        exact, hasty = (_grid_masks(sam, encode(sam, image, dtype, proceed)) for dtype in (torch.float32, short))
        shared, either = (exact & hasty).sum((1, 2)), (exact | hasty).sum((1, 2))
        overlaps.append(float((shared / either.clip(1))[either > 0].mean()) if either.any() else 0.0)
    _remember(sam, short, min(overlaps) >= REQUIRED_IOU)
    return min(overlaps)


def _grid_masks(sam: LoadedSam, embedding: np.ndarray) -> np.ndarray:
    """bool (N, s, s): for each point of a grid, the mask with the highest predicted IoU."""
    import torch

    model = sam.model
    side = model.image_encoder.img_size
    places = (torch.stack(torch.meshgrid(*[torch.arange(GRID)] * 2, indexing="xy"), -1).view(-1, 1, 2) + 0.5) / GRID
    with torch.inference_mode():
        clicks = (places * side).to(model.device), torch.ones(len(places), 1, device=model.device)
        sparse, dense = model.prompt_encoder(points=clicks, boxes=None, masks=None)
        logits, scores = model.mask_decoder(
            image_embeddings=torch.from_numpy(embedding).to(model.device),
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return (logits[torch.arange(len(places)), scores.argmax(1)] > 0).cpu().numpy()


_verdicts: dict[str, bool] = {}


def _verdict_key(sam: LoadedSam, short: Any) -> str:
    return hashlib.sha256(f"{sam.key} {sam.model.device.type} {short}".encode()).hexdigest()


def _verdict(sam: LoadedSam, short: Any) -> bool | None:
    key = _verdict_key(sam, short)
    if key not in _verdicts:
        try:
            _verdicts[key] = json.loads((cache_folder() / f"precision-{key}.json").read_text()) is True
        except (OSError, ValueError):
            return None
    return _verdicts[key]


def _remember(sam: LoadedSam, short: Any, agrees: bool) -> None:
    """Stores the result for this process, and in the cache folder, if it can be written, for later ones."""
    key = _verdict_key(sam, short)
    _verdicts[key] = agrees
    unfinished = cache_folder() / f".{uuid.uuid4().hex}.part"
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(agrees))
        os.replace(unfinished, cache_folder() / f"precision-{key}.json")
    except OSError as error:
        logging.warning("The comparison of precisions can't be kept in %s (%s).", cache_folder(), error)
