"""Exports networks as ONNX files with inputs of any size, checked against PyTorch before they are written.

    import cv2, numpy as np, onnxruntime

    session = onnxruntime.InferenceSession("baseline.onnx")
    composite = cv2.imread("composite.png")[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
    mask = cv2.imread("mask.png", 0)[None, None].astype(np.float32) / 255
    (harmonized,) = session.run(None, {"composite": composite, "mask": mask})  # srin: and "regions", int64 (1, H, W)

The network runs at the size of its input; results are best near the working size. The default networks take sides that
are multiples of 32. The paper's networks take any; the memory of their BAIN grows with the fourth power of the side,
because an exported graph can't compute attention in chunks.
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from srin.errors import OutputError, SrinError
from srin.models.encoder import STRIDE
from srin.models.units import EXPORTED_REGIONS

if TYPE_CHECKING:
    from srin.models import Network

OPSET = 18
TOLERANCE = 1 / 255  # of colours in [0, 1]
CHECKED_SIZES = ((64, 64), (72, 120), (61, 83), (149, 97))  # for the paper's networks
CHECKED_MULTIPLES = ((64, 64), (96, 128), (160, 96))  # for the default networks


def export_onnx(network: "Network", path: str | os.PathLike[str]) -> float:
    """Writes a network's `forward` as ONNX, for one picture of any size, with "regions" as an input for SRIN.

    Args:
        network: on the CPU, ready for inference.
        path: ends in .onnx; its folder exists.

    Returns:
        The largest difference from PyTorch on random pictures, masks and maps of several sizes, for colours in [0, 1].

    Raises:
        SrinError: the packages are missing (requirements-export.txt), or the results differ by more than 1/255;
            then nothing is written.
        OutputError: the file can't be written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx needs it, and says so less clearly)
    except ImportError as error:
        raise SrinError("Exporting needs more packages: pip install -r requirements-export.txt") from error
    path = Path(path)
    if path.suffix != ".onnx" or not path.parent.is_dir():
        raise OutputError(f"Can't export to {path}: its name must end in .onnx, and its folder must exist.")
    paper = network.config.preset == "paper"
    example = _example(network, *((104, 136) if paper else (96, 160)), seed=0)
    names = ["composite", "mask", "regions"][: len(example)]
    sides: list[Any] = [torch.export.Dim.DYNAMIC] * 2
    if not paper:
        sides = [STRIDE * torch.export.Dim(side, min=1, max=128) for side in ("rows", "columns")]
    sizes = {name: {x.ndim - 2: sides[0], x.ndim - 1: sides[1]} for name, x in zip(names, example, strict=True)}
    program = torch.onnx.export(
        _Forward(network).eval(),
        example,
        dynamic_shapes=sizes,
        input_names=names,
        output_names=["harmonized"],
        opset_version=OPSET,
        dynamo=True,
        optimize=False,  # onnxruntime does that when it loads the file, in a fraction of the time
        verbose=False,
    )
    assert program is not None
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            program.save(part)
            difference = _largest_difference(network, onnxruntime.InferenceSession(part), names)
            if difference > TOLERANCE:
                raise SrinError(f"The exported network differs from the original by {difference * 255:.2f} of 255.")
            os.replace(part, path)
    except OSError as error:
        raise OutputError(f"Can't write {path}: {error.strerror}.") from error
    return difference


class _Forward(nn.Module):
    """Names the inputs, and leaves "regions" out for a network that uses no map."""

    def __init__(self, network: "Network") -> None:
        super().__init__()
        self.network = network

    def forward(self, composite: Tensor, mask: Tensor, regions: Tensor | None = None) -> Tensor:
        return self.network(composite, mask, regions)


def _example(network: "Network", height: int, width: int, seed: int) -> tuple[Tensor, ...]:
    """A picture of random patches, a soft mask, and for SRIN a map of random blocks."""
    generator = torch.Generator().manual_seed(seed)

    def enlarged(coarse: Tensor, mode: str) -> Tensor:
        return nn.functional.interpolate(coarse, size=(height, width), mode=mode)

    composite = enlarged(torch.rand(1, 3, 9, 9, generator=generator) * 2 - 1, "bilinear")
    mask = (4 * enlarged(torch.rand(1, 1, 5, 5, generator=generator), "bilinear") - 1.5).clamp(0, 1)
    if network.config.slot != "srin":
        return composite, mask
    blocks = torch.randint(EXPORTED_REGIONS, (1, 1, 6, 6), generator=generator)
    return composite, mask, enlarged(blocks.float(), "nearest").long()[:, 0]


def _largest_difference(network: "Network", session: Any, names: list[str]) -> float:
    largest = 0.0
    checked = CHECKED_SIZES if network.config.preset == "paper" else CHECKED_MULTIPLES
    for seed, (height, width) in enumerate(checked, start=1):
        inputs = _example(network, height, width, seed)
        with torch.inference_mode():
            expected = network(*inputs).numpy()
        (actual,) = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        largest = max(largest, float(np.abs(actual - expected).max()) / 2)
    return largest
