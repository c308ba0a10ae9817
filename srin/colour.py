"""Colour profiles: converts a picture to sRGB when it is read, and a result back to the picture's own colours when saved.

Whether a profile is sRGB is decided by what it does to colours, not by its name.
"""

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image, ImageCms

Matrix = tuple[tuple[float, float, float], ...]

# Red, green and blue in XYZ under D50, as rows, from the specifications' chromaticities by Bradford's adaptation.
ADOBE_RGB: Matrix = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3: Matrix = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
REC_2020: Matrix = ((0.67346, 0.27903, -0.00193), (0.16566, 0.67534, 0.02998), (0.12510, 0.04563, 0.79716))
ADOBE_GAMMA = 563 / 256
# By the number of the primaries in ITU-T H.273, which HEIC, AVIF and PNG may name instead of a profile.
CODED = {9: (REC_2020, "Rec. 2020"), 12: (DISPLAY_P3, "Display P3")}
# A profile this close to sRGB counts as sRGB, since makers of sRGB profiles round differently. The limits are levels of
# 255: the mean difference over all colours, and the largest over colours whose channels differ by less than MUTED.
# Gamma 2.2 differs by 1.8 and 9, Display P3 by 11 and 70.
SAME_ON_AVERAGE, SAME_AT_MOST, MUTED = 1.0, 2, 100
BAND = 512  # rows that are converted at a time
UNCALIBRATED = 65535  # EXIF's ColorSpace where it is not sRGB


def _srgb() -> ImageCms.ImageCmsProfile:
    """sRGB's profile without its time of creation, so that the same picture always gives the same file."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = bytes(12)
    return ImageCms.ImageCmsProfile(io.BytesIO(bytes(made)))


SRGB = _srgb()


def matrix_profile(primaries: Matrix, gamma: float | None, name: str) -> bytes:
    """A version 2 ICC profile of an RGB space (ICC.1:2001-04). gamma: None for the curve of sRGB."""
    if gamma is not None:
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    else:
        x = np.linspace(0, 1, 1024)
        table = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        curve = b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *np.rint(table * 65535).astype(int))
    ascii_name = name.encode() + b"\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(ascii_name)) + ascii_name + bytes(78),
        b"cprt": b"text\0\0\0\0No copyright\0",
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
    }
    for letter, primary in zip(b"rgb", primaries, strict=True):
        tags[b"%cXYZ" % letter] = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(part * 65536) for part in primary))
        tags[b"%cTRC" % letter] = curve
    index, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        index += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s", 128 + len(index + data), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s28x3i48x", 2026, 1, 1, 0, 0, 0, b"acsp", 63190, 65536, 54061)
    return head + index + data


def profile_of(image: Image.Image, exif: Image.Exif) -> tuple[bytes | None, str | None]:
    """A picture's colour profile, None for sRGB; and what is odd about it, as the end of a sentence, or None.

    Without an embedded profile, the primaries in the image's `info` are used, then EXIF: ColorSpace
    "uncalibrated" with the interoperability index R03 is Adobe RGB (DCF 2.0, section 5.3). Without that index the
    colour space is unknown, and sRGB is assumed.
    """
    profile = image.info.get("icc_profile")
    if profile:
        return profile, None
    if image.info.get("primaries") in CODED:
        matrix, name = CODED[image.info["primaries"]]
        return matrix_profile(matrix, None, name), None
    details = exif.get_ifd(ExifTags.IFD.Exif)
    if details.get(ExifTags.Base.ColorSpace) != UNCALIBRATED:
        return None, None
    index = ""
    if ExifTags.IFD.Interop in details:
        index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex, "")
    index = index.decode("ascii", "replace") if isinstance(index, bytes) else str(index)
    if index.strip("\0 ") == "R03":
        return matrix_profile(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998) compatible"), None
    return None, "says that its colours are not sRGB, and not what they are; they are read as sRGB"


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """The picture converted to sRGB, as RGB. None where there is nothing to convert, or where the profile is broken or
    for other channels: such a profile is ignored, as in browsers."""
    transform = _into_srgb(profile, image.mode) if profile else None
    return transform.apply(image) if transform else None


class OwnColours:
    """Converts from sRGB to the RGB space of a profile.

    Attributes:
        profile: the profile to embed: the given one, or sRGB's if the given one is broken or no RGB space.
        is_srgb: whether there is nothing to convert.
    """

    def __init__(self, profile: bytes | None) -> None:
        back = _out_of_srgb(profile) if profile else None
        self.is_srgb = back is None
        self.profile = profile if profile and (back or _is_srgb(profile)) else SRGB.tobytes()
        self._back = back

    def converted(self, array: np.ndarray) -> np.ndarray:
        """Converts uint8 (H, W, 3) from sRGB to the profile's space."""
        if self._back is None:
            return array
        return np.asarray(self._back.apply(Image.fromarray(array)))

    def kept(self, array: np.ndarray, before: np.ndarray, stored: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Converts a result to a photo's own colours. Pixels that did not change keep the file's stored values.

        Args:
            array: uint8 (H, W, 3) in sRGB, the result. before: the picture before the change, likewise. stored: `before`
                as the file stores it, in the profile's space, which may lie outside sRGB.
            mask: uint8 (H, W), how much of each pixel may have changed. The difference between `stored` and `before`
                (colours outside sRGB) fades out with it. None: that difference is dropped.
        """
        if self.is_srgb:
            return array
        out = np.empty_like(array)
        for start in range(0, len(array), BAND):
            rows = slice(start, start + BAND)
            own = self.converted(np.ascontiguousarray(array[rows]))
            if mask is not None and mask[rows].any():
                beyond = stored[rows] - self.converted(np.ascontiguousarray(before[rows])).astype(np.float32)
                share = 1 - mask[rows, :, None] / np.float32(255)
                own = np.rint((own + share * beyond).clip(0, 255)).astype(np.uint8)
            same = (array[rows] == before[rows]).all(axis=2, keepdims=True)
            out[rows] = np.where(same, stored[rows], own)
        return out


def is_rgb(profile: bytes) -> bool:
    return profile[16:20] == b"RGB "


@lru_cache(maxsize=32)
def _into_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where no conversion is needed, or none is possible."""
    try:
        transform = _transform(ImageCms.getOpenProfile(io.BytesIO(profile)), SRGB, mode)
        return None if mode == "RGB" and _changes_nothing(transform) else transform
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


@lru_cache(maxsize=32)
def _out_of_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    if not is_rgb(profile) or _into_srgb(profile, "RGB") is None:
        return None
    try:
        return _transform(SRGB, ImageCms.getOpenProfile(io.BytesIO(profile)), "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _is_srgb(profile: bytes) -> bool:
    """Whether the profile is intact and converts colours as sRGB's does."""
    try:
        return _changes_nothing(_transform(ImageCms.getOpenProfile(io.BytesIO(profile)), SRGB, "RGB"))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


def _transform(
    source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile, mode: str
) -> ImageCms.ImageCmsTransform:
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(source, target, mode, "RGB", intent, flags)


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    moved = np.abs(np.asarray(transform.apply(Image.fromarray(colours))).astype(int) - colours)
    muted = np.ptp(colours.astype(int), axis=2) < MUTED
    return bool(moved.mean() <= SAME_ON_AVERAGE and moved[muted].max() <= SAME_AT_MOST)
