"""Synthetic composites with known truth, made from photos with object masks.

In about half of them, the object is recoloured in its own photo. In most others, the whole photo gets another light, and
the object stays as it was, like an object pasted into a night street, a sunset or an unretouched photo. Masks are shrunk,
so that no pixel of the true background lies inside them, where its change would reveal the recolouring. A ring around
them is filled from the background beyond, so that no pixel of the object lies outside.

Composite number n of a seed is always the same, in every process and in any order.
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from srin.composite import Composite
from srin.segmentation.semantic_map import draw, fitted
from train.config import DataConfig
from train.data import lights, recolour
from train.data.photos import Photos

# Kinds of composites.
UNCHANGED, SCENE, BOTH, OBJECT, TWO_LIGHTS = range(5)
KINDS = ("unchanged", "scene", "both", "object", "two lights")
# Shares of the kinds. A fifth of the composites with a relit scene alone have two lights.
SHARES = {UNCHANGED: 0.08, SCENE: 0.36, TWO_LIGHTS: 0.09, BOTH: 0.07, OBJECT: 0.40}
RECOLOURINGS = {
    "lab": 0.18,
    "rgb": 0.18,
    "camera": 0.18,
    "grade": 0.10,
    "strong": 0.06,
    "tone": 0.15,
    "curves": 0.05,
    "uneven": 0.10,
}
STRONG = 0.67  # share of the scenes whose light is strong
MILD = 0.08  # share of all composites that hardly change, so that small corrections are learnt too
GRADED = 0.3  # share whose whole photo, object included, is graded first
MIN_CROP = 0.6  # of the photo's shorter side, and never smaller than the working size
MAX_ASPECT = 1.35
MIN_AREA, MAX_AREA = 0.02, 0.7  # share of the crop that the object covers
MIN_PIXELS, MIN_OUTSIDE = 150, 800  # pixels, of 128 x 128, of the shrunk object, and of the background beyond the ring
SHRINK, RING = (1, 3), (4, 8)  # pixels of 128, drawn at random
# Mean squared error (of 255) on the object between composite and truth: below, there is no task; above, it is no photo.
MIN_ERROR, MAX_ERROR = 40, 9000
MAX_CLIPPED = 0.15
INPAINTED = 0.3  # share of rings filled with OpenCV's inpainting, which is slow; the others by averages


@dataclass
class Batch:
    """A batch of B composites, or one process's share of it.

    Attributes:
        composite, real: (B, 3, S, S) in [-1, 1]; equal outside the mask. mask: (B, 1, S, S), 0 or 1 (iHarmony4: 0 to 1).
        regions: int64 (B, S, S), foreground and background never share an id. kind: int64 (B,), see KINDS.
        total: composites of the whole batch, over all processes.
    """

    composite: Tensor
    real: Tensor
    mask: Tensor
    regions: Tensor
    kind: Tensor
    total: float

    def share(self, process: int, processes: int) -> "Batch":
        """The part of the batch that one of several processes trains on. `processes` must divide B."""
        size = len(self.mask) // processes
        part = slice(process * size, (process + 1) * size)
        return Batch(
            self.composite[part], self.real[part], self.mask[part], self.regions[part], self.kind[part], self.total
        )

    def to(self, device: torch.device) -> "Batch":
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "total"}
        return Batch(**{name: x.to(device, non_blocking=True) for name, x in tensors.items()}, total=self.total)


@dataclass(frozen=True)
class Sample:
    """One synthetic composite.

    Attributes:
        composite, real: uint8 (S, S, 3). mask: bool (S, S), shrunk. kind: index into KINDS.
    """

    composite: np.ndarray
    real: np.ndarray
    mask: np.ndarray
    kind: int


class Maker:
    """Makes composites of photos.

    Args:
        photos: the photos to use. config: its `free_masks`, `source_weights`, `part_weights` and `loose_masks` are used.
        size: S, pixels a side of the composites.
    """

    def __init__(self, photos: Photos, config: DataConfig, size: int) -> None:
        self._photos, self._size, self._free = photos, size, config.free_masks
        weights = np.array([config.source_weights.get(source, 1.0) for source in photos.sources])
        has_mask = np.array(photos.masks) > 0
        self._any = np.cumsum(weights) / weights.sum()
        self._masked = np.cumsum(weights * has_mask) / (weights * has_mask).sum()
        self._parts, self._loose = config.part_weights, set(config.loose_masks)

    def make(self, seed: int, number: int) -> Sample:
        """Composite `number` of a seed."""
        rng = np.random.default_rng((seed, number))
        while True:
            drawn = self._draw(rng)
            if drawn is not None:
                sample = self._composite(*drawn, rng)
                if sample is not None:
                    return sample

    def _photo(self, among: np.ndarray, rng: np.random.Generator) -> int:
        return int(np.searchsorted(among, rng.random(), side="right"))

    def _object(self, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """Draws a photo and one of its masks, bool (h, w)."""
        photo = self._photo(self._masked, rng)
        count = self._photos.masks[photo]
        number = 0
        if count > 1:
            chance = np.array([1.0] + [self._parts.get(self._photos.sources[photo], 1.0)] * (count - 1))
            number = int(rng.choice(count, p=chance / chance.sum()))
        return photo, self._photos.mask(photo, number)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Draws a crop of a photo, float32 (S, S, 3), the shrunk mask, and the grown one; or None."""
        if rng.random() < self._free:
            photo = self._photo(self._any, rng)
            image = self._photos.image(photo)
            rows, columns = self._crop(image.shape[:2], rng)
            small, mask = self._resized(image[rows, columns]), self._free_mask(rng)
            loose = False
        else:
            photo, whole = self._object(rng)
            image = self._photos.image(photo)
            for _ in range(8):
                rows, columns = self._crop(image.shape[:2], rng)
                cut = whole[rows, columns]
                if MIN_AREA < cut.mean() < MAX_AREA and cut.sum() > 0.6 * whole.sum():
                    break
            else:
                return None
            small = self._resized(image[rows, columns])
            mask = self._resized(cut.astype(np.uint8) * 255) > 127
            loose = self._photos.sources[photo] in self._loose or self._photos.found[photo]
        if rng.random() < 0.5:
            small, mask = small[:, ::-1], mask[:, ::-1]
        shrink = rng.integers(SHRINK[0], SHRINK[1] + 1) * (2 if loose else 1)
        shrunk, grown = shrunk_and_grown(mask, int(shrink), int(rng.integers(RING[0], RING[1] + 1)))
        of_128 = (128 / self._size) ** 2
        if shrunk.sum() * of_128 < MIN_PIXELS or (~grown).sum() * of_128 < MIN_OUTSIDE:
            return None
        return np.ascontiguousarray(small, np.float32) / 255, shrunk, grown

    def _crop(self, shape: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
        """Rows and columns of a crop, with an aspect ratio of at most MAX_ASPECT, and no smaller than the composites."""
        height, width = shape
        shorter = min(height, width)
        least = min(1.0, max(MIN_CROP, self._size / shorter))
        side = shorter if rng.random() < 0.4 else max(1, round(shorter * rng.uniform(least, 1)))
        longer = min(max(height, width), round(side * rng.uniform(1, MAX_ASPECT)))
        down, across = (side, longer) if height <= width else (longer, side)
        top, left = rng.integers(0, height - down + 1), rng.integers(0, width - across + 1)
        return slice(top, top + down), slice(left, left + across)

    def _resized(self, x: np.ndarray) -> np.ndarray:
        return cv2.resize(x, (self._size, self._size), interpolation=cv2.INTER_AREA)

    def _free_mask(self, rng: np.random.Generator) -> np.ndarray:
        """Another photo's mask at a random size and place."""
        _, mask = self._object(rng)
        size = self._size
        ys, xs = np.nonzero(mask)
        cut = mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.uint8) * 255
        factor = rng.uniform(0.2, 0.75) * size / (cut.shape[0] * cut.shape[1]) ** 0.5
        width, height = (max(4, round(side * factor)) for side in cut.shape[::-1])
        shape = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA) > 127
        canvas = np.zeros((3 * size, 3 * size), bool)  # a margin, so that it may stick out
        top, left = (size + int(rng.uniform(-0.2, 1) * (size - 0.8 * side)) for side in shape.shape)
        part = canvas[top : top + height, left : left + width]
        part |= shape[: part.shape[0], : part.shape[1]]
        return canvas[size : 2 * size, size : 2 * size]

    def _composite(
        self, photo: np.ndarray, mask: np.ndarray, grown: np.ndarray, rng: np.random.Generator
    ) -> Sample | None:
        kind = int(rng.choice(list(SHARES), p=list(SHARES.values())))
        mild = rng.random() < MILD
        if rng.random() < GRADED:
            photo = lights.grade(photo, 0.5, rng)
        real = pasted = photo
        if kind in (SCENE, TWO_LIGHTS):
            real = self._lit(photo, mild, rng)
            if kind == TWO_LIGHTS:
                share = lights.border(mask.shape, rng)
                real = real * (1 - share) + self._lit(photo, mild, rng) * share
        elif kind == BOTH:
            real, pasted = self._lit(photo, mild, rng), self._recoloured(photo, mask, mild, rng)
        elif kind == OBJECT:
            pasted = self._recoloured(photo, mask, mild, rng)
        real, pasted = (np.rint(255 * np.clip(np.nan_to_num(x), 0, 1)).astype(np.uint8) for x in (real, pasted))
        if kind != UNCHANGED:
            error = ((pasted[mask].astype(np.float32) - real[mask]) ** 2).mean()
            if error > MAX_ERROR or (error < MIN_ERROR and not mild) or error == 0:
                return None
            before = np.rint(255 * photo[mask])
            clipped = ((pasted[mask] <= 1) | (pasted[mask] >= 254)).mean() - ((before <= 1) | (before >= 254)).mean()
            if clipped > MAX_CLIPPED:
                return None
        background = filled(real, grown, rng.random() < INPAINTED)
        inside = mask[..., None]
        return Sample(np.where(inside, pasted, background), np.where(inside, real, background), mask, kind)

    def _lit(self, photo: np.ndarray, mild: bool, rng: np.random.Generator) -> np.ndarray:
        strong = rng.random() < STRONG
        return lights.grade(photo, 0.2 if mild else 1.0 if strong else 0.5, rng)

    def _recoloured(self, photo: np.ndarray, mask: np.ndarray, mild: bool, rng: np.random.Generator) -> np.ndarray:
        if mild:
            return lights.grade(photo, 0.2, rng)
        name = str(rng.choice(list(RECOLOURINGS), p=list(RECOLOURINGS.values())))
        if name in ("lab", "rgb"):
            other, other_mask = self._object(rng)
            pixels = self._photos.image(other)[other_mask][:: max(1, other_mask.sum() // 4000)]
            transfer = recolour.statistics_lab if name == "lab" else recolour.statistics_rgb
            return transfer(photo, mask, pixels.astype(np.float32) / 255, rng)
        if name == "tone":
            return recolour.tone(photo, mask, rng)
        if name == "curves":
            return recolour.curves(photo, rng)
        if name == "uneven":
            changed = lights.grade(photo, 0.5, rng) if rng.random() < 0.5 else photo
            return recolour.uneven(photo, changed, mask, rng)
        if name == "camera":
            return lights.camera(photo, rng)
        return lights.grade(photo, 1.0 if name == "strong" else 0.6, rng)


class Composites(Dataset[tuple[Tensor, ...]]):
    """Composites `numbers` of a seed, each with its semantic map, see `drawn_map`.

    An item is composite and real (3, S, S) in [-1, 1], mask (1, S, S), regions int64 (S, S), and the kind.
    """

    def __init__(self, maker: Maker, seed: int, numbers: range, map_source: str = "colour") -> None:
        self._maker, self._seed, self._numbers, self._map = maker, seed, numbers, map_source

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        number = self._numbers[index]
        sample = self._maker.make(self._seed, number)
        regions = torch.from_numpy(drawn_map(sample, self._map, number).astype(np.int64))
        pictures = (torch.from_numpy(x).permute(2, 0, 1).float() / 127.5 - 1 for x in (sample.composite, sample.real))
        composite, real = pictures
        return composite, real, torch.from_numpy(sample.mask)[None].float(), regions, torch.tensor(sample.kind)


def drawn_map(sample: Sample, source: str, number: int) -> np.ndarray:
    """The semantic map of a composite, int32 (S, S). source: "colour", as the app draws it without a checkpoint, or
    "voronoi", a control with as many random regions on each side, which don't depend on the picture's content."""
    composite = Composite(sample.composite, sample.mask.astype(np.uint8) * 255)
    labels = fitted(composite, draw(composite, "colour")).labels
    return labels if source == "colour" else _voronoi(labels, sample.mask, number)


def _voronoi(labels: np.ndarray, mask: np.ndarray, number: int) -> np.ndarray:
    rng = np.random.default_rng((7, number))
    yy, xx = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    out, first = np.zeros_like(labels), 0
    for side in (~mask, mask):
        count = len(np.unique(labels[side]))
        ys, xs = np.nonzero(side)
        seeds = rng.choice(len(ys), min(count, len(ys)), replace=False)
        distance = (yy[..., None] - ys[seeds]) ** 2 + (xx[..., None] - xs[seeds]) ** 2
        out[side] = first + distance.argmin(-1)[side]
        first += count
    return out


def shrunk_and_grown(mask: np.ndarray, shrink: int, grow: int) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks a bool mask (H, W) by `shrink` >= 1 pixels, and grows it by `grow`: two bool masks.

    At the picture's border, the mask isn't shrunk. The first pixel is removed in all eight directions, because the edge
    pixels of a resized mask may be half background, also at diagonal edges.
    """

    def disk(radius: int) -> np.ndarray:
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

    binary = mask.astype(np.uint8)
    shrunk = cv2.erode(cv2.erode(binary, np.ones((3, 3), np.uint8), borderValue=1), disk(shrink - 1), borderValue=1)
    return shrunk > 0, cv2.dilate(binary, disk(grow)) > 0


def filled(image: np.ndarray, hole: np.ndarray, inpainted: bool) -> np.ndarray:
    """Fills a hole, bool (H, W), of a picture, uint8 (H, W, 3), from its surroundings.

    inpainted: true for OpenCV's inpainting, false for averages over growing neighbourhoods.
    """
    if inpainted:
        return cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    known = (~hole).astype(np.float32)
    out = image.astype(np.float32)
    colours = out * known[..., None]
    left = hole.copy()
    reach = 3
    while left.any():
        size = (2 * reach + 1, 2 * reach + 1)
        weight = cv2.blur(known, size, borderType=cv2.BORDER_CONSTANT)
        mean = cv2.blur(colours, size, borderType=cv2.BORDER_CONSTANT) / np.maximum(weight, 1e-6)[..., None]
        found = left & (weight * size[0] * size[1] > 0.5)
        out[found] = mean[found]
        left &= ~found
        reach *= 2
    return np.rint(out).astype(np.uint8)
