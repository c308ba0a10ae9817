"""Composites: a picture with the mask of what was pasted into it. Placing a cut-out on a background makes one.

Geometry is in pixel edges: a picture of width W spans 0 to W, and pixel i covers i to i + 1.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from srin.errors import ImageError, MaskError, PlacementError, SrinError
from srin.image_io import Source, load_mask, load_rgba
from srin.mask_values import extent, remark_if_inverted
from srin.remarks import remark
from srin.resizing import shrunk_size

MIN_SCALE, MAX_SCALE = 0.01, 10.0
FILL_SIDE = 256  # pixels of the longer side at which replacements for hidden colours are computed
MAX_STRENGTH = 2.0  # above 1 a method's change is extrapolated
BAND = 512  # rows mixed at a time, so that there is never a floating-point copy of a whole large picture


@dataclass(frozen=True)
class Composite:
    """image: uint8 (H, W, 3) sRGB; mask: uint8 (H, W), 0 = background, 255 = pasted foreground, soft edges between.

    alpha: uint8 (H, W) where the picture has transparent parts, else None. Colours where alpha is 0 are not visible:
    `load` replaces them in `image`, and sets the mask to 0 there.

    Foreground is where mask > 127. Raises ImageError for arrays of another kind, and MaskError when the sizes
    differ or when the mask selects nothing or everything.
    """

    image: np.ndarray
    mask: np.ndarray
    alpha: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_rgb(self.image, "image")
        _check_pair(self.image, self.mask, "image")
        share = np.count_nonzero(self.mask > 127) / self.mask.size
        if share == 0:
            raise MaskError("The mask is empty: no pixel is above 127. Paint the pasted object white.")
        if share == 1:
            raise MaskError("The mask covers the whole picture. Leave all but the object black.")

    @classmethod
    def load(cls, image: Source, mask: Source, invert_mask: bool = False) -> "Composite":
        """Decode both as `load_rgba` and `load_mask` do. Raises ImageError and MaskError.

        A mask that looks inverted gets a remark (srin.remarks). invert_mask: white is the background.
        """
        (rgb, alpha), selected = load_rgba(image), load_mask(mask)
        if invert_mask:
            selected = 255 - selected
        else:
            remark_if_inverted(selected)
        return cls.of(rgb, selected, alpha)

    @classmethod
    def of(cls, rgb: np.ndarray, mask: np.ndarray, alpha: np.ndarray | None) -> "Composite":
        """A composite with this alpha; see the class for what happens where it is 0. Raises ImageError and MaskError.

        Where the mask equals the alpha or its inversion, the alpha marks the object and hides nothing; it is dropped.
        """
        _check_pair(rgb, mask, "image")
        if alpha is not None and not alpha.any():
            remark("The picture is transparent everywhere; its transparency is ignored.")
            alpha = None
        if alpha is None or np.array_equal(mask, alpha) or np.array_equal(mask, 255 - alpha):
            return cls(rgb, mask)
        mask = np.where(alpha > 0, mask, np.uint8(0))
        return cls(_visible(rgb, mask, alpha), mask, alpha)

    def with_alpha(self, picture: np.ndarray) -> np.ndarray:
        """Adds this composite's alpha to a result, uint8 (H, W, 3): (H, W, 4), or the result itself if there is none."""
        return picture if self.alpha is None else np.dstack([picture, self.alpha])

    def shrunk(self, side: int) -> "Composite":
        """The composite with at most `side` pixels on its longer side, averaged over areas.

        Returns the composite itself if it is no larger, or if its foreground or background would be lost.
        """
        height, width = self.mask.shape
        size = shrunk_size(width, height, side)
        if size == (width, height):
            return self
        image, mask = (cv2.resize(array, size, interpolation=cv2.INTER_AREA) for array in (self.image, self.mask))
        kept = np.count_nonzero(mask > 127)
        return Composite(image, mask) if 0 < kept < mask.size else self


@dataclass(frozen=True)
class Placement:
    """Where and how a foreground lies on a background.

    x, y: the centre of the foreground's picture, in fractions of the background's width and height.
    scale: height of the foreground's picture over the height of the background, 0.01 to 10.
    rotation: degrees clockwise, after the flip. flip: mirrored left to right.
    """

    x: float = 0.5
    y: float = 0.5
    scale: float = 0.5
    rotation: float = 0.0
    flip: bool = False


def crop_to_mask(rgb: np.ndarray, mask: np.ndarray, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Crop a picture to the mask's bounding box, so that a `Placement` refers to the object itself.

    rgb: uint8 (H, W, 3); mask: uint8 (H, W); margin: pixels kept around the box, as far as the picture has them.
    Returns views (h, w, 3) and (h, w) of the mask's `extent`: the object with its soft edges. Raises MaskError on an
    empty mask.
    """
    _check_pair(rgb, mask, "foreground")
    x, y, width, height = extent(mask)
    if not width:
        raise MaskError("The foreground's mask is empty: nothing is selected. Select the object first.")
    rows = slice(max(y - margin, 0), y + height + margin)
    columns = slice(max(x - margin, 0), x + width + margin)
    return rgb[rows, columns], mask[rows, columns]


def placement_matrix(
    background_size: tuple[int, int], foreground_size: tuple[int, int], placement: Placement
) -> np.ndarray:
    """The affine map (2, 3) from foreground to background, both in pixel edges; sizes are (height, width).

    p' = R(rotation) * scale * flip * (p - centre of the foreground) + (x * width, y * height).
    Raises PlacementError when a number is not finite or the scale is outside 0.01 to 10.
    """
    numbers = (placement.x, placement.y, placement.scale, placement.rotation)
    if not all(math.isfinite(number) for number in numbers):
        raise PlacementError(f"The placement needs finite numbers, not {placement}.")
    if not MIN_SCALE <= placement.scale <= MAX_SCALE:
        raise PlacementError(
            f"The foreground's scale is {placement.scale:g}; it must be from {MIN_SCALE} to {MAX_SCALE:g}."
        )
    height, width = foreground_size
    factor = placement.scale * background_size[0] / height
    turn = math.radians(placement.rotation % 360)
    cos, sin = factor * math.cos(turn), factor * math.sin(turn)
    mirror = -1 if placement.flip else 1
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    centre = np.array([placement.x * background_size[1], placement.y * background_size[0]])
    return np.column_stack([linear, centre - linear @ (width / 2, height / 2)])


def place(background: np.ndarray, foreground: np.ndarray, foreground_mask: np.ndarray, placement: Placement) -> Composite:
    """Paste a cut-out onto a background.

    background: uint8 (H, W, 3); foreground: uint8 (h, w, 3); foreground_mask: uint8 (h, w).
    Returns a Composite of the background's size, equal to the background where its mask is 0.
    Raises PlacementError when the cut-out misses or hides the whole background, and as `placement_matrix`
    does; MaskError when foreground and mask differ in size.
    """
    _check_rgb(background, "background")
    _check_rgb(foreground, "foreground")
    _check_pair(foreground, foreground_mask, "foreground")
    matrix = placement_matrix(background.shape[:2], foreground.shape[:2], placement)
    mask = np.zeros(background.shape[:2], np.uint8)
    image = background.copy()
    window = _landing(matrix, foreground.shape[:2], background.shape[:2])
    if window is not None:
        colour, mask[window] = _warp(foreground, foreground_mask, matrix, window)
        image[window] = _mix(background[window], colour, mask[window], 1.0)
    share = np.count_nonzero(mask > 127) / mask.size
    if share == 0:
        raise PlacementError(
            "Nothing of the foreground lands on the background: it lies outside or is too small. "
            "Move it into the picture or make it larger."
        )
    if share == 1:
        raise PlacementError("The foreground hides the whole background. Make it smaller or move it aside.")
    return Composite(image, mask)


def blend(harmonized: np.ndarray, composite: Composite, strength: float = 1.0) -> np.ndarray:
    """composite + strength * mask / 255 * (harmonized - composite), rounded and clipped: uint8 (H, W, 3).

    harmonized: uint8, of the composite's shape; strength: 0 (the composite), 1 (as harmonized), to 2 (twice the change).
    Identical to composite.image where the mask is 0. Raises SrinError on another strength, ImageError on
    another size.
    """
    _check_rgb(harmonized, "harmonized picture")
    if harmonized.shape != composite.image.shape:
        sizes = f"{_size(harmonized)} pixels and the composite {_size(composite.image)}"
        raise ImageError(f"The harmonized picture has {sizes}. Both must have the same size.")
    check_strength(strength)
    return _mix(composite.image, harmonized, composite.mask, strength)


def mixed(harmonized: np.ndarray, composite: Composite, strength: float, feather: float) -> np.ndarray:
    """Scales the change between composite and harmonized picture by `strength`, and fades it at the mask's edge.

    harmonized: uint8 (H, W, 3), equal to the composite where the mask is 0. strength: 0 to 2. feather: the change is
    weighted by the mask, blurred with this standard deviation in pixels; 0: not weighted. Returns uint8 (H, W, 3).
    """
    if strength == 1 and feather == 0:
        return harmonized
    weight = cv2.GaussianBlur(composite.mask, (0, 0), feather) if feather else np.full_like(composite.mask, 255)
    out = composite.image.copy()
    x, y, width, height = cv2.boundingRect(composite.mask)
    window = (slice(y, y + height), slice(x, x + width))
    out[window] = _mix(out[window], harmonized[window], weight[window], strength)
    return out


def check_strength(strength: float) -> None:
    """Raises SrinError unless the strength lies between 0 and MAX_STRENGTH."""
    if not 0 <= strength <= MAX_STRENGTH:
        raise SrinError(f"The strength is {strength:g}; it must lie between 0 and {MAX_STRENGTH:g}.")


def _visible(rgb: np.ndarray, mask: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Replaces the colours where alpha is 0 by those of the nearest visible background: uint8 (H, W, 3).

    Methods look at the whole background, so colours hidden in a file would change the result otherwise.
    Raises MaskError where no background is visible.
    """
    hidden = alpha == 0
    if not hidden.any():
        return rgb
    weight = np.where(mask > 127, np.uint8(0), alpha)
    if not weight.any():
        raise MaskError("The picture shows nothing but the object: all of its background is transparent.")
    height, width = alpha.shape
    size = shrunk_size(width, height, FILL_SIDE)
    share: np.ndarray = cv2.resize(weight.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    colour = np.zeros((*share.shape, 3), np.float32)
    for channel in range(3):
        seen = np.where(weight > 0, rgb[..., channel], np.uint8(0)).astype(np.float32) * weight
        colour[..., channel] = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
    colour /= np.maximum(share, 1e-6)[..., None]
    # Every cell without visible background takes the colour of the nearest cell that has some.
    empty = (share <= 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros((int(nearest.max()) + 1, 3), np.float32)
    table[nearest[empty == 0]] = colour[empty == 0]
    filled = np.rint(table[nearest].clip(0, 255)).astype(np.uint8)
    out = rgb.copy()
    out[hidden] = cv2.resize(filled, (width, height), interpolation=cv2.INTER_NEAREST)[hidden]
    return out


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"


def _check_rgb(image: np.ndarray, what: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"The {what} must be uint8 (height, width, 3), not {image.dtype} {image.shape}.")


def _check_pair(image: np.ndarray, mask: np.ndarray, what: str) -> None:
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise MaskError(f"The mask must be uint8 (height, width), not {mask.dtype} {mask.shape}.")
    if image.shape[:2] != mask.shape:
        raise MaskError(f"The mask has {_size(mask)} pixels and the {what} {_size(image)}. Both must have the same size.")


def _mix(base: np.ndarray, top: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
    """base + strength * mask / 255 * (top - base), rounded and clipped: uint8 (H, W, 3)."""
    mixed = base.copy()
    for start in range(0, len(base), BAND):
        rows = slice(start, start + BAND)
        if not mask[rows].any():
            continue
        weight = mask[rows, :, None] * np.float32(strength / 255)
        below = base[rows].astype(np.float32)
        mixed[rows] = np.rint(below + weight * (top[rows] - below)).clip(0, 255)
    return mixed


def _landing(
    matrix: np.ndarray, foreground_size: tuple[int, int], background_size: tuple[int, int]
) -> tuple[slice, slice] | None:
    """Rows and columns of the background that the foreground's rectangle can touch, or None if it misses it."""
    height, width = foreground_size
    corners = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    reach = 2 + np.abs(matrix[:, :2]).max()  # the cubic kernel spreads two pixels of the coarser grid
    limits = np.array([background_size[1], background_size[0]])
    x0, y0 = np.clip(np.floor(corners.min(axis=1) - reach), 0, limits).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=1) + reach), 0, limits).astype(int)
    return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None


def _warp(
    rgb: np.ndarray, mask: np.ndarray, matrix: np.ndarray, window: tuple[slice, slice]
) -> tuple[np.ndarray, np.ndarray]:
    """Colour (h, w, 3) and mask (h, w), uint8, of the foreground as it appears inside `window`."""
    # Premultiplied, so that colours from outside the mask never bleed into the edge. Halved, because the
    # cubic kernel overshoots there by up to a third, and a 16-bit alpha that clips would brighten the edge.
    layer = np.empty((*mask.shape, 4), np.uint16)
    for start in range(0, len(mask), BAND):
        rows = slice(start, start + BAND)
        alpha = mask[rows].astype(np.uint16)
        layer[rows, :, :3], layer[rows, :, 3] = rgb[rows] * alpha[..., None], 255 * alpha
        layer[rows] //= 2
    height, width = mask.shape
    factor = math.hypot(*matrix[:, 0])
    if factor < 1:  # an interpolating warp would skip pixels, so they are averaged first
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        layer = cv2.resize(layer, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    # OpenCV's coordinates refer to pixel centres, and here to the window's upper left corner.
    offset = matrix[:, :2].sum(axis=1) / 2 - 0.5 - (window[1].start, window[0].start)
    centred = np.column_stack([matrix[:, :2], matrix[:, 2] + offset])
    target = (window[1].stop - window[1].start, window[0].stop - window[0].start)
    warped = cv2.warpAffine(layer, centred, target, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    del layer
    colour, opacity = np.empty((*warped.shape[:2], 3), np.uint8), np.empty(warped.shape[:2], np.uint8)
    for start in range(0, len(warped), BAND):
        rows = slice(start, start + BAND)
        share = np.maximum(warped[rows, :, 3:], 1).astype(np.float32)
        colour[rows] = np.rint(np.minimum(warped[rows, :, :3] * (255 / share), 255))
        opacity[rows] = np.rint(np.minimum(warped[rows, :, 3] / np.float32(127.5), 255))
    return colour, opacity
