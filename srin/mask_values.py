"""What the values of a mask mean: files that were saved as labels or colours, and masks that look inverted."""

import cv2
import numpy as np

from srin.remarks import remark

OBJECT = 127  # above it a mask's pixel is foreground
BORDER_SHARE = 0.5  # of the picture's border that is foreground, above which a mask looks inverted
ALMOST_WHITE = 250  # after JPEG, say
FLAT_COLOURS = 24  # of a label picture, at most
POOL_SIDE = 1024  # cells of the longer side at which the object's parts are told apart


def selects_nothing(alpha: np.ndarray) -> bool:
    """Whether an alpha, uint8 (H, W), is opaque or nearly so everywhere: then it is no mask."""
    return int(alpha.min()) > OBJECT


def from_palette(indices: np.ndarray, luminance: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A palette file's mask, uint8 (H, W), from its indices and its colours' luminance; and what was guessed.

    Palettes that are grey ramps from black to white are masks as they are; in any other, index 0 is off.
    """
    if luminance.max() == 255 and _is_ramp(indices, luminance):
        return luminance, None
    if luminance.max() == 255 and luminance.min() == 0 and len(np.unique(indices)) == 2:
        return luminance, None  # black and white, in whichever order
    return _switched(indices != 0), "is a picture of labels: label 0 was taken for off, every other for on"


def _is_ramp(indices: np.ndarray, luminance: np.ndarray) -> bool:
    """Whether brightness rises with the index, as in grey pictures that were saved with a palette."""
    values = np.zeros(256, np.int64)
    values[indices.ravel()] = luminance.ravel()
    used = values[np.unique(indices)]
    return len(used) > 2 and bool((np.diff(used) > 0).all())


def from_deep(values: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A mask of 16 or 32 bits a pixel, (H, W), as uint8 (H, W); and what was guessed.

    Up to a 16-bit file's white it is scaled down; a file that has no white holds labels, or 8 bits in a wider frame.
    """
    highest = int(values.max())
    if values.min() < 0 or highest > 65535:
        return _switched(values != 0), "has values of 32 bits: 0 was taken for off, all others for on"
    if highest >= 65535 - 256:
        return np.rint(values / np.float32(257)).astype(np.uint8), None
    if highest == 0:
        return np.zeros(values.shape, np.uint8), None
    if highest == 255 and (values > 1).any() and len(np.unique(values)) > 2:
        return values.astype(np.uint8), "has 16 bits a pixel of which 8 are used; it was read as 8 bits"
    if len(np.unique(values)) <= 256:
        return _switched(values != 0), "has no white, as a picture of labels: 0 was taken for off, all others for on"
    scaled = np.rint(values * np.float32(255 / highest)).astype(np.uint8)
    return scaled, "has no white: its brightest value was taken for on"


def from_colours(rgb: np.ndarray, luminance: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A colour file's mask, uint8 (H, W), from uint8 (H, W, 3) and (H, W); and what was guessed.

    Its luminance, unless it shows a few flat colours on black, none of them white: then black is off and they are on.
    """
    if luminance.max() >= ALMOST_WHITE:
        return luminance, None
    code = (rgb >> 4).astype(np.int32) @ np.array([256, 16, 1])
    counts = np.bincount(code.ravel(), minlength=4096)
    common = np.argsort(counts)[::-1][:FLAT_COLOURS]
    common = common[counts[common] > code.size / 1000]
    if counts[common].sum() < 0.95 * code.size or 0 not in common or len(common) < 2:
        return luminance, None
    value = rgb.max(axis=2)
    sentence = "is a colour picture: black was taken for off, its colours for on"
    if len(common) == 2:  # one colour, whose soft edges stay soft
        on = value[code == common[common != 0][0]].mean()
        return np.rint((value * np.float32(255 / on)).clip(0, 255)).astype(np.uint8), sentence
    return _switched(value > 15), sentence


def _switched(on: np.ndarray) -> np.ndarray:
    return on.astype(np.uint8) * np.uint8(255)


def looks_inverted(mask: np.ndarray) -> bool:
    """Whether a mask, uint8 (H, W), selects most of the picture's border: pasted objects hardly ever do.

    On the corpus's 13,550 masks it says so of one in 300, and of 99.6 % of their inversions.
    """
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool((border > OBJECT).mean() > BORDER_SHARE)


def remark_if_inverted(mask: np.ndarray, what: str = "mask") -> None:
    if looks_inverted(mask):
        remark(
            f"The {what} looks inverted: it selects most of the picture's border. White must be the pasted object. If it "
            "is inverted, add --invert-mask, press Invert on the page, or pass 255 - mask."
        )


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Where the object is: x, y, width, height in pixels; all 0 where there is none. The one definition of its size.

    Pixels above OBJECT with the soft edges that hang together with them. Faint specks elsewhere don't count. In masks
    larger than POOL_SIDE, what lies within a cell of the size / POOL_SIDE hangs together.

    mask: uint8 (H, W).
    """
    height, width = mask.shape
    if not (mask > OBJECT).any():
        return 0, 0, 0, 0
    everything = cv2.boundingRect(mask)
    core = cv2.boundingRect((mask > OBJECT).astype(np.uint8))
    if everything == core:
        return tuple(core)  # type: ignore[return-value]
    cell = -(-max(height, width) // POOL_SIDE)
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.zeros((rows * cell, columns * cell), np.uint8)
    padded[:height, :width] = mask
    pooled = padded.reshape(rows, cell, columns, cell).max(axis=(1, 3))
    _, parts = cv2.connectedComponents((pooled > 0).astype(np.uint8), connectivity=8)
    kept = np.isin(parts, np.unique(parts[pooled > OBJECT])) & (pooled > 0)
    x, y, w, h = (cell * side for side in cv2.boundingRect(kept.astype(np.uint8)))
    inside = cv2.boundingRect(np.ascontiguousarray(mask[y : y + h, x : x + w]))
    return x + inside[0], y + inside[1], inside[2], inside[3]
