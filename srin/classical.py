"""Harmonization without learning: colour statistics and gradient-domain blending.

Every method takes image (uint8 (H, W, 3) sRGB) and mask (uint8 (H, W), foreground where > 127, soft edges
allowed) and returns a recoloured uint8 (H, W, 3), meant for `srin.composite.blend`. They raise the errors of
`Composite`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from srin.composite import BAND, Composite
from srin.mask_values import occurrences

PROXY = 256  # longest side of the grid on which the gradient-domain correction is solved
FAINT = 12  # a mask value this close to 0 or 255 counts as 0 or 255: compressed masks are never quite black


def copy_paste(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The composite unchanged: what every method has to improve on."""
    return Composite(image, mask).image.copy()


def reinhard(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Gives the foreground the mean and standard deviation of the background, in CIELAB.

    E. Reinhard et al., "Color transfer between images", 2001, with CIELAB in place of l-alpha-beta.
    """
    inside = Composite(image, mask).mask > 127
    (mean, deviation), (new_mean, new_deviation) = _lab_statistics(image, inside), _lab_statistics(image, ~inside)
    gain = new_deviation / np.maximum(deviation, 1e-6)
    out = image.copy()
    for rows in _bands(image):
        touched = mask[rows] > 0
        if touched.any():
            lab = (_to_lab(image[rows][touched]) - mean) * gain + new_mean
            rgb = cv2.cvtColor(lab.astype(np.float32)[None], cv2.COLOR_LAB2RGB)[0]
            out[rows][touched] = np.rint(rgb.clip(0, 1) * 255)
    return out


def histogram(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Gives each channel of the foreground the background's histogram."""
    inside = Composite(image, mask).mask > 127
    levels = np.arange(256)
    curves = np.empty((256, 3))
    for channel in range(3):
        foreground, background = (occurrences(image[..., channel], 256, part) for part in (inside, ~inside))
        known, there = np.flatnonzero(foreground), np.flatnonzero(background)
        shares, targets = (np.cumsum(counts) / counts.sum() for counts in (foreground[known], background[there]))
        # Soft edges may hold values that the foreground lacks.
        curves[:, channel] = np.interp(levels, known, np.interp(shares, targets, there))
    changed = cv2.LUT(image, np.rint(curves).astype(np.uint8)[None])
    return np.where(mask[..., None] > 0, changed, image)


def poisson(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The foreground keeps its gradients and continues the background's colours across its outline.

    P. Perez et al., "Poisson image editing", 2003. `cv2.seamlessClone` does not fit: it needs a background
    without the object, and with the composite in its place it changes nothing. The equation adds a harmonic function
    to the foreground. On the outline, its value is the background's colour outside minus the foreground's inside. It is
    smooth, so it is solved on a grid of about PROXY cells a side around the mask, and enlarged. Detail, size and
    position of the foreground don't change.
    """
    inside = Composite(image, mask).mask > 127
    x, y, width, height = cv2.boundingRect((mask > FAINT).astype(np.uint8))
    cell = max(1.0, max(width, height) / PROXY)
    margin = int(np.ceil(2 * cell))  # background to both sides
    window = (slice(max(y - margin, 0), y + height + margin), slice(max(x - margin, 0), x + width + margin))
    image_part, inside, mask_part = image[window], inside[window], mask[window]
    size = tuple(max(1, round(side / cell)) for side in inside.shape[::-1])

    def means(selected: np.ndarray) -> np.ndarray:
        """float32 (h, w, 3): the mean of each cell's selected pixels, or the nearest mean if it has none."""
        chosen = selected.astype(np.float32)
        amount = cv2.resize(chosen, size, interpolation=cv2.INTER_AREA)
        sums = [cv2.resize(image_part[..., c] * chosen, size, interpolation=cv2.INTER_AREA) for c in range(3)]
        return _nearest(np.dstack(sums) / np.maximum(amount, 1e-6)[..., None], amount > 0)

    # Pixels of a soft edge are mixtures of both sides, so they are left out of both means.
    core, outer = mask_part >= 255 - FAINT, mask_part <= FAINT
    _, part = cv2.connectedComponents(inside.astype(np.uint8))
    has_core = np.bincount(part[core], minlength=part.max() + 1) > 0
    core |= inside & ~has_core[part]
    foreground = means(core)
    background = means(outer if outer.any() else ~inside)
    cells = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    correction = _harmonic(foreground, background, cells)
    correction = _nearest(correction, cells)  # soft edges reach beyond the cells
    out = image.copy()
    for channel in range(3):
        before = image_part[..., channel]
        spread = cv2.resize(correction[..., channel], inside.shape[::-1], interpolation=cv2.INTER_LINEAR)
        spread += before
        np.rint(spread.clip(0, 255, out=spread), out=spread)
        out[window][..., channel] = np.where(mask_part > 0, spread, before)
    return out


class Classical(NamedTuple):
    """A classical method.

    Attributes:
        apply: takes image and mask, see the module's docstring. label: its name on the page.
        work: seconds of one core for a million pixels, from which the duration of a download is estimated.
    """

    apply: Callable[[np.ndarray, np.ndarray], np.ndarray]
    label: str
    work: float


# The page, the commands and the comparisons read their classical methods from this table.
CLASSICAL = {
    "copy-paste": Classical(copy_paste, "Copy-paste", 0.01),
    "reinhard": Classical(reinhard, "Reinhard", 0.15),
    "histogram": Classical(histogram, "Histogram", 0.04),
    "poisson": Classical(poisson, "Poisson", 0.09),
}


def _bands(image: np.ndarray) -> Iterator[slice]:
    """BAND rows at a time, so that there is never a floating-point copy of a whole large picture."""
    for top in range(0, len(image), BAND):
        yield slice(top, top + BAND)


def _lab_statistics(image: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the chosen pixels' CIELAB colours, float64 (3,) each. chosen: bool (H, W)."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for rows in _bands(image):
        lab = _to_lab(image[rows][chosen[rows]]).astype(np.float64)
        count += len(lab)
        total += lab.sum(axis=0)
        squares += np.square(lab).sum(axis=0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), 0))


def _to_lab(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, 3) sRGB to float32 (N, 3) CIELAB."""
    if not len(pixels):
        return np.empty((0, 3), np.float32)
    return cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]


def _nearest(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """values (h, w, 3), where those outside `known`, bool (h, w), are replaced by the nearest known ones."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return values[rows, columns]


def _harmonic(foreground: np.ndarray, background: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """float32 (h, w, 3), the correction c on `cells` (bool (h, w)) and 0 elsewhere.

    It is the least-squares solution of c_p = background_q - foreground_p for neighbours p inside and q outside the
    cells, and c_p = c_q for neighbours that are both inside.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    index = np.full(cells.shape, -1)
    index[cells] = np.arange(np.count_nonzero(cells))
    count = index.max() + 1
    diagonal = np.full(count, 1e-6)  # where no background is near, the correction is 0
    target = np.zeros((count, 3))
    pairs = []
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[1:], np.s_[:-1]),
    ):
        p, q = index[here], index[there]
        diagonal[p[p >= 0]] += 1
        pairs.append(np.stack([p, q])[:, (p >= 0) & (q >= 0)])
        outline = (p >= 0) & (q < 0)
        target[p[outline]] += background[there][outline] - foreground[here][outline]
    rows, columns = np.concatenate(pairs, axis=1)
    links = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    correction = np.zeros((*cells.shape, 3), np.float32)
    correction[cells] = splu((sparse.diags(diagonal) - links).tocsc()).solve(target)
    return correction
