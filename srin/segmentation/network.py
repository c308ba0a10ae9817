"""The embedded segmenter's network. A photo is encoded once; prompts enter only in the decoder, so that a click is cheap.

    features = network.encode(picture)            # EfficientNet-Lite0 and a feature pyramid: once for each photo
    logits, quality = network(features, prompts)  # a light decoder: for every click

Besides the clicks themselves, the decoder gets the similarity of every place to the places under positive and under
negative clicks, and to what the box or the previous mask encloses.
"""

import os
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srin.errors import WeightsError
from srin.models.checkpoint import filled, read_weights
from srin.models.encoder import MEANING_STAGES, STAGES, Encoder

ANSWERS = 4  # masks for each prompt: one for any prompt, and three for the meanings of a single click
DISK = 3.0  # radius of a click's disk, in cells at a quarter of the picture's size
HALO = 24.0  # standard deviation of a click's Gaussian halo, in the same cells
MAPS = 7  # of a prompt: disks of positive and negative clicks, their halos, inside and outside the box, previous mask
SIMILARITIES = 3  # to positive clicks, to negative clicks, to what is enclosed
GROUPS = 8  # of group normalization


@dataclass(frozen=True)
class SegmenterConfig:
    """Channels at a quarter, an eighth and a sixteenth of the picture's size: multiples of 8, at most 512."""

    quarter: int = 32
    eighth: int = 64
    sixteenth: int = 128

    def __post_init__(self) -> None:
        for name in ("quarter", "eighth", "sixteenth"):
            value = getattr(self, name)
            if type(value) is not int or not 8 <= value <= 512 or value % GROUPS:
                raise ValueError(f"{name} must be a multiple of {GROUPS} from {GROUPS} to 512, not {value!r}")


class Features(NamedTuple):
    """Features of B pictures at a quarter, an eighth and a sixteenth of their size: (B, C, H/4, W/4) and so on."""

    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor

    def of(self, owners: Tensor) -> "Features":
        """Features for N prompts. owners: int64 (N,), the index of each prompt's picture."""
        return Features(*(level[owners] for level in self))


class Prompts(NamedTuple):
    """N prompts on pictures of the size H, W.

    Attributes:
        points: (N, K, 2), x and y of clicks as fractions of width and height; ignored where the label is -1.
        labels: (N, K), 1 on the object, 0 beside it, -1 no click.
        boxes: (N, 4), x0, y0, x1, y1 as fractions; all 0: no box.
        previous: (N, 1, H/4, W/4), probabilities of a mask to be corrected; all 0: none.
    """

    points: Tensor
    labels: Tensor
    boxes: Tensor
    previous: Tensor


class SegmenterNet(nn.Module):
    """Predicts ANSWERS masks for clicks, a box and a previous mask; without any prompt, for the photo's subject."""

    def __init__(self, config: SegmenterConfig = SegmenterConfig()) -> None:
        super().__init__()
        self.config = config
        c4, c8, c16 = config.quarter, config.eighth, config.sixteenth
        self.encoder = Encoder()
        middle, last = (STAGES[i][-1] for i in MEANING_STAGES)
        self.from_last, self.from_middle = nn.Conv2d(last, c16, 1), nn.Conv2d(middle, c16, 1)
        self.overview = nn.Linear(last, c16)
        self.from_eighth, self.from_quarter = nn.Conv2d(STAGES[2][-1], c8, 1), nn.Conv2d(STAGES[1][-1], c4, 1)
        self.down_to_eighth, self.down_to_quarter = nn.Conv2d(c16, c8, 1), nn.Conv2d(c8, c4, 1)
        self.smooth16, self.smooth8, self.smooth4 = _block(c16, c16), _block(c8, c8), _block(c4, c4)

        self.context = nn.Sequential(nn.Linear(c8 + 2 * c16, c16), nn.ReLU(), nn.Linear(c16, c16 + c8))
        self.join8 = nn.Conv2d(c8 + MAPS + 2 * SIMILARITIES, c8, 3, padding=1)
        self.norm8 = nn.GroupNorm(GROUPS, c8)
        self.shrink = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.join16 = nn.Conv2d(c16 + MAPS + 2 * SIMILARITIES, c16, 3, padding=1)
        self.norm16 = nn.GroupNorm(GROUPS, c16)
        self.think = nn.ModuleList([_Residual(c16, 1), _Residual(c16, 2)])
        self.everywhere = nn.Linear(c16, c16)
        self.grow8 = nn.Conv2d(c16, c8, 1)
        self.refine8 = _Residual(c8, 1)
        self.grow4 = nn.Conv2d(c8, c4, 1)
        self.join4 = nn.Conv2d(MAPS, c4, 3, padding=1)
        self.refine4 = _block(c4, c4)
        self.masks = nn.Conv2d(c4, ANSWERS, 3, padding=1)
        self.quality = nn.Sequential(nn.Linear(c8 + c16 + 3 + ANSWERS, 64), nn.ReLU(), nn.Linear(64, 1))

    def encode(self, picture: Tensor) -> Features:
        """Encodes pictures (B, 3, H, W) in [-1, 1]; H and W multiples of `srin.models.encoder.STRIDE`."""
        (_, quarter, eighth), (middle, last) = self.encoder(picture)
        x = _doubled(self.from_last(last), middle) + self.from_middle(middle)
        x16 = self.smooth16(x + self.overview(last.mean((2, 3)))[..., None, None])
        x8 = self.smooth8(self.from_eighth(eighth) + _doubled(self.down_to_eighth(x16), eighth))
        x4 = self.smooth4(self.from_quarter(quarter) + _doubled(self.down_to_quarter(x8), quarter))
        return Features(x4, x8, x16)

    def forward(self, features: Features, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Answers N prompts.

        Args:
            features: of N pictures, see `Features.of`.

        Returns:
            logits (N, ANSWERS, H/4, W/4), above 0 inside the mask: first the answer for any prompt, then three for a
            single click; and (N, ANSWERS), logits of the estimated IoU of each mask with what was meant.
        """
        x4, x8, x16 = features
        maps4 = _maps(prompts, x4)
        maps8, maps16 = F.avg_pool2d(maps4, 2), F.avg_pool2d(maps4, 4)
        enclosed = _enclosed(maps8)
        enclosed16 = F.avg_pool2d(enclosed, 2)
        like8, like16 = _similarities(x8, prompts, enclosed), _similarities(x16, prompts, enclosed16)
        seen = [_mean(x8, enclosed), _mean(x16, enclosed16), x16.mean((2, 3))]
        context = self.context(torch.cat(seen, 1))[..., None, None]
        for_16, for_8 = context[:, : x16.shape[1]], context[:, x16.shape[1] :]

        y8 = self.join8(torch.cat([x8, maps8, like8, _doubled(like16, x8)], 1))
        y8 = F.relu(self.norm8(y8) + for_8)
        y16 = self.join16(torch.cat([x16, maps16, F.avg_pool2d(like8, 2), like16], 1)) + self.shrink(y8)
        y16 = F.relu(self.norm16(y16) + for_16)
        for block in self.think:
            y16 = block(y16)
        y16 = y16 + self.everywhere(y16.mean((2, 3)))[..., None, None]
        y8 = self.refine8(y8 + _doubled(self.grow8(y16), y8))
        y4 = F.relu(_doubled(self.grow4(y8), x4) + x4 + self.join4(maps4))
        logits = self.masks(self.refine4(y4)).float()
        return logits, self._quality(logits, y8, y16)

    def _quality(self, logits: Tensor, y8: Tensor, y16: Tensor) -> Tensor:
        """Estimates each mask's IoU from the features under it, its certainty and its size: logits (N, ANSWERS)."""
        inside = logits.detach().sigmoid()
        small = F.avg_pool2d(inside, 2).to(y8.dtype)
        under = torch.einsum("nahw,nchw->nac", small, y8) / (small.sum((2, 3)) + 1e-3)[..., None]
        sure = (inside - 0.5).abs().mean((2, 3))
        firm = (inside * (inside > 0.5)).sum((2, 3)) / ((inside > 0.5).sum((2, 3)) + 1)
        which = torch.eye(ANSWERS, device=logits.device, dtype=y8.dtype).expand(len(logits), -1, -1)
        whole = y16.mean((2, 3))[:, None].expand(-1, ANSWERS, -1)
        numbers = torch.stack([inside.mean((2, 3)).sqrt(), sure, firm], 2).to(y8.dtype)
        return self.quality(torch.cat([under, whole, numbers, which], 2))[..., 0].float()


def load_segmenter(path: str | os.PathLike[str]) -> SegmenterNet:
    """The network of a weights file, on the CPU, in fp32, ready for inference. Raises WeightsError."""
    name, values, state = read_weights(path)
    try:
        config = SegmenterConfig(**values)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"The weights file {name} has a broken configuration: {error}") from error
    return filled(SegmenterNet(config), name, state)


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.norm(self.first(x)))))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(GROUPS, outputs), nn.ReLU())


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _maps(prompts: Prompts, like: Tensor) -> Tensor:
    """Draws prompts as maps, (N, MAPS, H/4, W/4), in the order given at MAPS."""
    height, width = like.shape[2:]
    x = torch.arange(width, device=like.device) + 0.5
    y = torch.arange(height, device=like.device) + 0.5
    points, labels = prompts.points, prompts.labels[..., None, None]
    across = (x - points[..., :1] * width) ** 2  # (N, K, W/4)
    down = (y - points[..., 1:] * height) ** 2
    distance = down[..., :, None] + across[..., None, :]
    found = []
    for kind in (1, 0):
        of_kind = distance.masked_fill(labels != kind, torch.inf).amin(1)
        found += [(of_kind <= DISK**2).float(), torch.exp(-of_kind / (2 * HALO**2))]
    x0, y0, x1, y1 = (side[:, None] for side in prompts.boxes.unbind(1))
    in_x = (torch.minimum(x + 0.5, x1 * width) - torch.maximum(x - 0.5, x0 * width)).clamp(0, 1)
    in_y = (torch.minimum(y + 0.5, y1 * height) - torch.maximum(y - 0.5, y0 * height)).clamp(0, 1)
    inside = in_y[:, :, None] * in_x[:, None, :]
    given = (x1 > x0).float()[..., None]
    maps = torch.stack([*found, inside, (1 - inside) * given], 1)
    return torch.cat([maps, prompts.previous], 1).to(like.dtype)


def _enclosed(maps: Tensor) -> Tensor:
    """(N, 1, h, w): weights of places that belong to the object: under positive clicks and the previous mask, or, without
    a previous mask, faintly inside the box.
    """
    positive, inside, previous = maps[:, 0:1], maps[:, 4:5], maps[:, 6:7]
    has_previous = (previous.amax((2, 3), keepdim=True) > 0).to(maps.dtype)
    return positive + previous + inside * (1 - has_previous) * 0.1


def _mean(x: Tensor, weights: Tensor) -> Tensor:
    return (x * weights).sum((2, 3)) / (weights.sum((2, 3)) + 1e-3)


def _similarities(x: Tensor, prompts: Prompts, enclosed: Tensor) -> Tensor:
    """(N, SIMILARITIES, h, w): cosine similarities to the features under the most similar positive click, under the most
    similar negative one, and to the mean enclosed feature; 0 if there is none.
    """
    unit = F.normalize(x.float(), dim=1).to(x.dtype)
    places = (prompts.points * 2 - 1)[:, :, None].to(x.dtype)
    under = F.grid_sample(unit, places, mode="bilinear", padding_mode="border", align_corners=False)[..., 0]
    cosines = torch.einsum("nck,nchw->nkhw", under, unit)
    found = []
    for kind in (1, 0):
        of_kind = (prompts.labels == kind)[..., None, None]
        most = cosines.masked_fill(~of_kind, -2).amax(1)
        found.append(torch.where(of_kind.any(1), most, torch.zeros_like(most)))
    typical = F.normalize(_mean(unit, enclosed).float(), dim=1).to(x.dtype)
    found.append(torch.einsum("nc,nchw->nhw", typical, unit))
    return torch.stack(found, 1)
