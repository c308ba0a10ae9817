"""From the working size to the photo's own pixels: exact where it must be, without seams, in bounded memory."""

import subprocess
import sys
from itertools import product

import cv2
import numpy as np
import pytest
import torch

from srin import full_resolution
from srin.composite import Composite
from srin.full_resolution import apply_coefficients, fit_coefficients
from srin.harmonizer import Harmonizer
from srin.metrics import fpsnr
from srin.models import build
from srin.models.config import ModelConfig
from srin.models.network import HarmonizationNet

IDENTITY = torch.eye(3, 4).flatten()[None, :, None, None]


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def disc(height, width, feather=0):
    """A mask of 0 and 255, or one whose edge takes `feather` pixels."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 2, height // 2), min(height, width) // 3, 255, -1)
    return cv2.blur(mask, (feather, feather)) if feather else mask


def transforms(h=6, w=8, seed=0):
    return IDENTITY + 0.2 * torch.randn(1, 12, h, w, generator=torch.Generator().manual_seed(seed))


def network(slot="rain", head=None, seed=0):
    """A small network that changes pictures: one of ours or, with `head`, one of the paper's."""
    torch.manual_seed(seed)
    if head is None:
        net = build(ModelConfig(slot, working_size=64))
        for member in net.heads:
            torch.nn.init.normal_(member.transform.joint[-1].weight, std=0.03)
    else:
        net = build(ModelConfig(slot, "paper", head=head, width=4, working_size=64))
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("feather", [0, 3, 31], ids=["hard", "soft", "feathered"])
def test_each_pixel_gets_its_interpolated_transform_as_much_as_the_mask_says(feather):
    """Against the written definition, pixel by pixel, at an odd size over several tiles."""
    image, mask = photo(277, 301), disc(277, 301, feather)
    cells = transforms()
    actual = apply_coefficients(cells, Composite(image, mask), 0.7)
    assert np.array_equal(actual[mask == 0], image[mask == 0])
    share = cv2.resize(mask, (8, 6), interpolation=cv2.INTER_AREA) / 255 + full_resolution.FAINT
    rng = np.random.default_rng(1)
    inside = np.argwhere(mask > 0)
    for y, x in inside[rng.integers(len(inside), size=200)]:
        row, column = np.clip((y + 0.5) * 6 / 277 - 0.5, 0, 5), np.clip((x + 0.5) * 8 / 301 - 0.5, 0, 7)
        matrix, total = np.zeros(12), 0
        for i in range(6):
            for j in range(8):
                weight = max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j)) * share[i, j]
                matrix, total = matrix + weight * cells[0, :, i, j].double().numpy(), total + weight
        matrix = (matrix / total).reshape(3, 4)
        colour = image[y, x].astype(float)
        changed = np.clip(((matrix[:, :3] @ (colour / 127.5 - 1) + matrix[:, 3]) + 1) * 127.5, 0, 255)
        expected = colour + 0.7 * mask[y, x] / 255 * (changed - colour)
        assert np.abs(actual[y, x] - expected).max() < 0.51


@pytest.mark.parametrize("size", [(96, 131), (300, 517)])
def test_tile_borders_are_invisible(size, monkeypatch):
    composite = Composite(photo(*size), disc(*size, 5))
    tiled = apply_coefficients(transforms(), composite)
    monkeypatch.setattr(full_resolution, "TILE", 10_000)
    whole = apply_coefficients(transforms(), composite)
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    monkeypatch.setattr(full_resolution, "TILE", 37)
    assert np.abs(apply_coefficients(transforms(), composite).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("slot, head", [*product(["rain", "bain", "srin"], [None, "rgb"]), ("srin", "residual")])
def test_the_background_stays_to_the_bit_at_odd_sizes(slot, head):
    harmonizer = Harmonizer(slot, network(slot, head))
    for (height, width), feather in (((333, 517), 0), ((517, 65), 9), ((71, 73), 3)):
        image, mask = photo(height, width), disc(height, width, feather)
        composite = Composite(image, mask)
        result = harmonizer.harmonize_composite(composite)
        assert result.shape == image.shape and np.array_equal(result[mask == 0], image[mask == 0])
        assert not np.array_equal(result, image)
        assert np.array_equal(harmonizer.harmonize_composite(composite, strength=0), image)


def test_what_the_network_says_of_the_background_does_not_reach_the_object():
    """In cells without foreground the transform gives black, so bilinear interpolation would draw a dark rim."""
    image, mask = np.full((240, 320, 3), 150, np.uint8), np.zeros((240, 320), np.uint8)
    mask[80:160, 80:240] = 255  # whole cells of 40 pixels
    cells = (torch.zeros(1, 12, 6, 8) + IDENTITY).clone()
    cells[:, 3::4] = -1
    cells[:, 3::4, 2:4, 2:6] = 0.1
    result = apply_coefficients(cells, Composite(image, mask))
    assert np.ptp(result[mask > 0].astype(int)) <= 1 and result[120, 160, 0] == 163


def test_a_fit_carries_a_change_of_colours_without_blur():
    """Texture at full size is kept, far better than by enlarging the small result, which has none."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.uniform(40, 200, (12, 16, 3)), (640, 480), interpolation=cv2.INTER_CUBIC)
    real = np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)
    mask = disc(480, 640)
    recoloured = np.clip(real * (0.6, 0.8, 0.7) + (30, 10, 0), 0, 255).astype(np.uint8)
    composite = Composite(np.where(mask[..., None] > 0, recoloured, real), mask)
    small = [cv2.resize(a, (128, 96), interpolation=cv2.INTER_AREA) for a in (real, composite.image, mask)]
    tensors = [torch.from_numpy(a).permute(2, 0, 1)[None].float() / 127.5 - 1 for a in small[:2]]
    fitted = fit_coefficients(*tensors, torch.from_numpy(small[2])[None, None].float() / 255)
    carried = apply_coefficients(fitted, composite)
    enlarged = np.where(mask[..., None] > 0, cv2.resize(small[0], (640, 480)), composite.image)
    assert fpsnr(carried, real, mask) > fpsnr(enlarged, real, mask) + 10


@pytest.mark.parametrize("size, shape", [((300, 400), (48, 64)), ((400, 300), (64, 48)), ((500, 100), (64, 32))])
def test_the_papers_networks_see_every_picture_at_the_size_they_know(size, shape, monkeypatch):
    """The longer side has the configuration's pixels, both are multiples of 8, the aspect is about the picture's."""
    mask = cv2.circle(np.zeros(size, np.uint8), (50, 150), 40, 255, -1)
    harmonizer, seen = Harmonizer("paper-baseline", network(head="residual")), []
    forward = type(harmonizer._network).forward
    monkeypatch.setattr(
        type(harmonizer._network), "forward", lambda *a: seen.append(tuple(a[1].shape[2:])) or forward(*a)
    )
    harmonizer.harmonize_composite(Composite(photo(*size), mask))
    harmonizer.harmonize_composite(Composite(photo(*size), mask), working_size=320)
    assert seen[0] == shape and max(seen[1]) == 320


@pytest.mark.parametrize("size, shape", [((300, 400), (64, 64)), ((300, 900), (32, 96)), ((500, 100), (96, 32))])
def test_our_networks_see_every_picture_at_about_the_size_they_know(size, shape, monkeypatch):
    """Both sides are multiples of 32, the area is about 64 x 64, the aspect about the picture's."""
    mask = cv2.circle(np.zeros(size, np.uint8), (50, 150), 40, 255, -1)
    harmonizer, seen = Harmonizer("baseline", network()), []
    forward = HarmonizationNet.coefficients
    monkeypatch.setattr(HarmonizationNet, "coefficients", lambda *a: seen.append(tuple(a[1].shape[2:])) or forward(*a))
    harmonizer.harmonize_composite(Composite(photo(*size), mask))
    harmonizer.harmonize_composite(Composite(photo(*size), mask), working_size=256)
    assert seen[0] == shape
    assert 0.6 < seen[1][0] * seen[1][1] / 256**2 < 1.6 and not any(side % 32 for side in seen[1])


PEAK = """
import numpy as np
from pathlib import Path
from benchmarks.measure import peak_megabytes
from srin.composite import Composite
from srin.harmonizer import Harmonizer
from tests.test_full_resolution import network
side = 5000
image = np.zeros((side, side, 3), np.uint8); image[::3] = 90
mask = np.zeros((side, side), np.uint8); mask[100:-100, 100:-100] = 255
composite = Composite(image, mask)
harmonizer = Harmonizer("srin", network("srin"))
print(peak_megabytes(lambda: harmonizer.harmonize_composite(composite)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux's /proc")
def test_memory_stays_near_one_copy_of_the_picture():
    """25 megapixels, with drawing the map. The result takes 75 MB. 2 GB at 100 megapixels would mean 500 MB here."""
    said = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True).stdout
    assert 70 < float(said) < 400
