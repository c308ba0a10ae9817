"""Compares ways to bring a network's result to full resolution, on composites with known truth, scored at full size.

    python -m benchmarks.full_resolution FOLDER [--method baseline] [--json FILE]

FOLDER holds composite/, mask/ and real/ with files of equal names, preferably of 1,000 pixels and more. The same network:

- carried: runs at a working size, and its transform is applied to the original pixels (what `Harmonizer` does),
- bilinear: the same, without weighing by the mask,
- enlarged: its small result is enlarged bilinearly and pasted,
- native: runs on the picture at full size.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from srin.models.heads import apply_affine
from srin.models.unet import HarmonizationNet

from srin.composite import Composite, blend
from srin.full_resolution import apply_coefficients
from srin.harmonizer import NETWORKS, load_network
from srin.image_io import load_image
from srin.metrics import delta_e, fpsnr
from srin.segmentation.semantic_map import draw
from srin.working_size import seen

SIZES: tuple[int | None, ...] = (None, 128, 256, 512)  # working sizes; None: as the photo's size requires


def ways(network: HarmonizationNet, composite: Composite) -> dict[str, Callable[[], np.ndarray]]:
    """Results at full size, uint8 (H, W, 3), by name."""
    height, width = composite.mask.shape
    labels = draw(composite, "colour").labels if network.config.slot == "srin" else None

    def inputs(size: int | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        return seen(network.config, composite, labels, size).tensors(torch.device("cpu"))[:3]

    def coefficients(size: int | None) -> torch.Tensor:
        return network.coefficients(*inputs(size))

    def bilinear(size: int | None) -> np.ndarray:
        full = torch.from_numpy(composite.image).permute(2, 0, 1)[None].float() / 127.5 - 1
        spread = F.interpolate(coefficients(size), (height + -height % 32, width + -width % 32), mode="bilinear")
        return blend(_pixels(apply_affine(spread, full)), composite)

    def enlarged(size: int | None) -> np.ndarray:
        return blend(cv2.resize(_pixels(network(*inputs(size))), (width, height)), composite)

    found: dict[str, Callable[[], np.ndarray]] = {"copy-paste": lambda: composite.image}
    for size in SIZES:
        name = f"carried from {size or 'the chosen size'}"
        found[name] = lambda size=size: apply_coefficients(coefficients(size), composite)  # type: ignore[misc]
    found["bilinear from the chosen size"] = lambda: bilinear(None)
    found["enlarged from the chosen size"] = lambda: enlarged(None)
    found["enlarged from 512"] = lambda: enlarged(512)
    if network.config.slot != "bain":  # whose attention at full size takes minutes
        found["native"] = lambda: apply_coefficients(coefficients(max(height, width)), composite)
    return found


def _pixels(image: torch.Tensor) -> np.ndarray:
    return ((image[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", choices=NETWORKS, default="baseline")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    network = load_network(arguments.method)
    scores: dict[str, list[tuple[float, float]]] = {}
    with torch.inference_mode():
        for path in sorted((arguments.folder / "composite").iterdir()):
            composite = Composite.load(path, arguments.folder / "mask" / path.name)
            real = load_image(arguments.folder / "real" / path.name)
            for name, way in ways(network, composite).items():
                result = way()
                score = fpsnr(result, real, composite.mask), delta_e(result, real, composite.mask)
                scores.setdefault(name, []).append(score)
    means = {name: tuple(np.mean(values, axis=0)) for name, values in scores.items()}
    print(f"{arguments.method}, {len(next(iter(scores.values())))} composites     fPSNR   dE2000")
    for name, (decibel, difference) in means.items():
        print(f"{name:24} {decibel:12.2f} {difference:8.2f}")
    if arguments.json:
        figures = {name: {"fpsnr": decibel, "delta_e": difference} for name, (decibel, difference) in means.items()}
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
