"""Reads pictures (limits before decoding, EXIF, alpha, colour profiles), and writes them atomically."""

import errno
import io
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngInfo

from srin import budget, heic
from srin.colour import OwnColours, profile_of, to_srgb
from srin.errors import ImageError, OutputError
from srin.formats import HDR, HDR_TRANSFERS, HEAD, PILLOW_FORMATS, advice, coded_colour, misread, signature
from srin.limits import DECODE_SECONDS, MAX_FILE, MAX_PIXELS, check_size
from srin.mask_values import from_colours, from_deep, from_palette, is_mask
from srin.parts import replacing
from srin.remarks import remark
from srin.rights import rights_of

Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

PHOTOMETRIC, MIN_IS_WHITE = 262, 0  # a tag of TIFF, and its value where 0 is white
HALVED = 2.5  # a JPEG of up to this times MAX_PIXELS is decoded at half its size
MAX_READ = 8  # decoding may read a file's size this many times
SIDEWAYS = (5, 6, 7, 8)  # EXIF's orientations that swap width and height
MAX_EXIF = 1 << 16  # bytes, the most that cameras can write; Pillow may need memory that grows with its square

EXIF_IFD, GPS_IFD = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
SOFTWARE = "SRIN Studio"  # in EXIF, marks a file that we made
# TIFF tags that describe how its pixels are stored, and tags of metadata that are not read here.
LAYOUT_TAGS = {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 292, 293, 297, 301, 317}
LAYOUT_TAGS |= {320, 321, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532}
LAYOUT_TAGS |= {700, 33723, 34377, 34675, 37724}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95},
}


def load_image(source: Source, what: str = "image") -> np.ndarray:
    """Decode a picture to uint8 RGB (H, W, 3), upright and in sRGB; alpha is dropped, see `load_rgba`.

    source: a path, the bytes of a file, a PIL image, or a uint8 array (H, W) or (H, W, 1 | 3 | 4).
    what: how messages name the picture ("The background is empty ...").
    Raises ImageError for anything that is not a readable picture within the limits of srin.limits.
    """
    return load_rgba(source, what)[0]


def load_rgba(source: Source, what: str = "image") -> tuple[np.ndarray, np.ndarray | None]:
    """Like `load_image`, with the alpha: (uint8 (H, W, 3), uint8 (H, W)); alpha is None if all pixels are opaque.

    The colours are straight, not premultiplied. An array may be returned without a copy.
    """
    if isinstance(source, np.ndarray):
        array = _checked_array(source, what)
        rgb = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else np.ascontiguousarray(array[..., :3])
        return rgb, _unless_opaque(array[..., 3]) if array.shape[2] == 4 else None
    image = _decoded(source, what)
    colour, alpha = _split_alpha(image)
    return np.array(_to_srgb(colour, image.info.get("icc_profile"), what)), alpha


def load_preview(
    path: str | os.PathLike[str], what: str, side: int
) -> tuple[np.ndarray, np.ndarray | None, tuple[int, int]]:
    """Like `load_rgba`, but perhaps smaller; also returns the (width, height) that `load_rgba` would give.

    side: pixels of the longer side that are enough. A JPEG is decoded at the smallest of a half, a quarter and an eighth
    of its size that still has as many, in a fraction of the time and memory; other pictures at their own size.
    """
    image = _decoded(path, what, enough=side)
    colour, alpha = _split_alpha(image)
    return np.array(_to_srgb(colour, image.info.get("icc_profile"), what)), alpha, image.info["full size"]


def header_size(path: Path) -> tuple[int, int]:
    """Width and height from a file's header, before any rotation. Pixels are not decoded. Raises ImageError."""
    with _opened(path, "file") as image:
        return image.size


def load_mask(source: Source, what: str = "mask") -> np.ndarray:
    """Decode a mask to uint8 (H, W), upright: 0 is background, 255 foreground, soft edges lie between.

    The mask is the picture's alpha, if it has one that doesn't select everything, and its luminance otherwise. Masks of 0
    and 1 (bool, or label files) become 0 and 255. Files with palettes, colours, or 16 and more bits whose brightest value
    is not white are rescaled to off and on, with a remark (srin.remarks); 8-bit grey files and arrays never are. Colour
    profiles are ignored, since a mask holds no colours. Sources and errors are those of `load_image`.
    """
    if isinstance(source, np.ndarray):
        array = _checked_array(source.astype(np.uint8) if source.dtype == bool else source, what)
        gray = array[..., 0] if array.shape[2] == 1 else cv2.cvtColor(array[..., :3], cv2.COLOR_RGB2GRAY)
        has_alpha = array.shape[2] == 4 and is_mask(array[..., 3], lambda: gray)
        mask = array[..., 3] if has_alpha else gray
    else:
        image = _decoded(source, what)
        what = _named(source, what)
        colour, alpha = _split_alpha(image)
        if alpha is not None and is_mask(alpha, lambda: np.array(_convert(colour, "L", what))):
            mask = alpha
        else:
            mask, problem = _mask_values(image, colour, what)
            if problem:
                remark(f"The {what} {problem}.")
    return np.ascontiguousarray(mask * np.uint8(255) if mask.max() == 1 else mask)


def _mask_values(image: Image.Image, colour: Image.Image, what: str) -> tuple[np.ndarray, str | None]:
    """A mask from a file's values other than its alpha, uint8 (H, W); and what was guessed, or None."""
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return from_palette(np.array(image), np.concatenate([palette, np.zeros((256 - len(palette), 3), np.uint8)]))
    if image.mode.startswith("I"):
        return from_deep(np.array(image))
    if colour.mode in ("RGB", "CMYK", "YCbCr", "LAB"):
        if image.info.get("deep"):
            remark(f"The {what} has 16 bits a colour, of which the upper 8 were read. Save masks as grey.")
        return from_colours(np.array(_convert(colour, "RGB", what)), np.array(_convert(colour, "L", what)))
    return np.array(_convert(colour, "L", what)), None


def load_labels(source: Source, what: str = "map") -> np.ndarray:
    """Decode a label map to int32 (H, W): the stored integers of an 8-bit, 16-bit or palette picture.

    source: as in `load_image`, but an array is (H, W) of any integer type.
    Raises ImageError, also for colour pictures, and for JPEG, which changes labels.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or source.dtype.kind not in "biu":
            raise ImageError(
                f"The {what} must be an array of integers (height, width), not {source.dtype} {source.shape}."
            )
        check_size(source.shape[1], source.shape[0], what)
        return source.astype(np.int32)
    image = _decoded(source, what, lossless=True)
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise ImageError(f"The {what} is stored as {image.mode}; labels need one channel of 8 or 16 bits.")
    return np.array(image).astype(np.int32)


class Original:
    """A photo, decoded once: its pixels, and the profile, resolution and EXIF data that `save_photo` takes over."""

    def __init__(self, source: str | os.PathLike[str] | bytes, what: str) -> None:
        """Raises ImageError."""
        with _opened(source, what) as file:
            self._photo: Image.Image | None = _upright(file, what)
            rights, self.dpi = rights_of(file), file.info.get("dpi")
            self.exif = _described(_exif(file))  # last, since it changes the file's own
        for tag, text in rights.items():
            self.exif.setdefault(tag, text)
        self._what = what
        self.own = OwnColours(self._photo.info.get("icc_profile"))

    def rgba(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Like `load_rgba`; the arrays must not be written to. If the photo is in sRGB, its own copy of the pixels is
        released, so that this can be called only once."""
        colour, alpha = _split_alpha(self._held)
        rgb = np.asarray(_to_srgb(colour, self._held.info.get("icc_profile"), self._what))
        if self.own.is_srgb:
            self._photo = None
        return rgb, alpha

    def in_own_colours(self, rgb: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """A picture made from the photo, uint8 (H, W, 3), in the colours of the photo's file; see `save_photo`."""
        if self.own.is_srgb:
            return rgb
        colour, _ = _split_alpha(self._held)
        if colour.size != (rgb.shape[1], rgb.shape[0]):
            return self.own.converted(rgb)
        plain = colour.convert("RGB") if colour.mode in ("P", "1") else colour
        stored = np.array(_convert(plain, "RGB", self._what))
        before = np.array(_to_srgb(colour, self._held.info.get("icc_profile"), self._what))
        return self.own.kept(rgb, before, stored, mask)

    @property
    def _held(self) -> Image.Image:
        assert self._photo is not None, "the pixels were given away"
        return self._photo


def save_photo(
    array: np.ndarray,
    path: str | os.PathLike[str],
    original: str | os.PathLike[str] | bytes | Original,
    comment: str,
    mask: np.ndarray | None = None,
) -> None:
    """Write a picture made from a photo, with the photo's colour profile, resolution and EXIF data, but not its place.

    Author and copyright that the photo's file stores elsewhere (`srin.rights`) become EXIF data.

    Pixels whose colours were not changed keep the values that the photo's file stores, even if these lie outside sRGB.

    Args:
        array: uint8 (H, W, 3) or with alpha (H, W, 4), sRGB, of the photo's size.
        original: the photo's file, its bytes, or the photo as an `Original`.
        comment: kept as EXIF user comment.
        mask: uint8 (H, W), how much of each pixel may have changed; colours outside sRGB fade out with it.

    Extensions and errors as in `save_image`; ImageError when the original can't be read.
    """
    if not isinstance(original, Original):
        original = Original(original, Path(original).name if isinstance(original, str | os.PathLike) else "photo")
    exif, dpi = original.exif, original.dpi
    rgb = original.in_own_colours(np.ascontiguousarray(array[..., :3]), mask)
    picture = Image.fromarray(rgb if array.shape[2] == 3 else np.dstack([rgb, array[..., 3]]))
    details = exif.get_ifd(EXIF_IFD)
    details[ExifTags.Base.UserComment] = b"ASCII\0\0\0" + comment.encode("ascii", "replace")
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = picture.size
    exif[ExifTags.Base.Software] = SOFTWARE
    data = exif.tobytes()
    if len(data) > MAX_EXIF - 256:  # more than a JPEG can hold
        exif = Image.Exif()
        exif[ExifTags.Base.Software] = SOFTWARE
        exif.get_ifd(EXIF_IFD)[ExifTags.Base.UserComment] = details[ExifTags.Base.UserComment]
        data = exif.tobytes()
    extra: dict[str, Any] = {"exif": data, "icc_profile": original.own.profile}
    if dpi:
        extra["dpi"] = tuple(float(number) for number in dpi)
    _save(picture, Path(path), **extra)


def _described(exif: Image.Exif) -> Image.Exif:
    """Reduces a photo's EXIF data, or a TIFF's tags, to what applies to a picture made from it. Changes them in place."""
    for tag in set(exif) & LAYOUT_TAGS:
        del exif[tag]
    exif.pop(GPS_IFD, None)
    # Its offsets would be wrong, and it may hold the place where the photo was taken.
    exif.get_ifd(EXIF_IFD).pop(ExifTags.Base.MakerNote, None)
    exif[ExifTags.Base.Orientation] = 1
    return exif


def save_image(array: np.ndarray, path: str | os.PathLike[str], text: Mapping[str, str] | None = None) -> None:
    """Write an array as PNG, JPEG or WebP, by the extension (quality 95). An existing file is replaced.

    array: uint8 (H, W), (H, W, 3) or (H, W, 4), or uint16 (H, W) for PNG.
    text: notes for programs, kept in a PNG and left out of other formats.
    Raises OutputError when the extension is unknown, the folder is missing or can't be written, or the disk
    is full; then nothing is left behind, and an existing file is as it was.
    """
    notes = PngInfo()
    for key, value in (text or {}).items():
        notes.add_text(key, value)
    _save(Image.fromarray(array), Path(path), **({"pnginfo": notes} if text else {}))


def _save(image: Image.Image, path: Path, **extra: Any) -> None:
    """`save_image` for a PIL image, with more of Pillow's options."""
    options = SAVE_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise OutputError(f"Can't save {path}: its name must end in one of {', '.join(SAVE_OPTIONS)}.")
    if not path.parent.is_dir():
        raise OutputError(f"Can't save {path}: the folder {path.parent} does not exist. Create it first.")
    encoded = io.BytesIO()  # in memory, because Pillow hides the reason when its own write fails
    if options["format"] == "JPEG" and image.mode == "RGBA":
        raise OutputError(f"Can't save {path} as JPEG: it holds no transparency, and the picture has some. PNG may work.")
    try:
        image.save(encoded, **options, **extra)
    except (OSError, ValueError) as error:
        raise OutputError(f"Can't save {path} as {options['format']}: {error}. PNG may work.") from error
    write_whole(encoded.getbuffer(), path)


def write_whole(content: bytes | memoryview, path: Path) -> None:
    """Writes or replaces a file atomically: a reader never finds a part of it, even after a crash.

    Raises OutputError when the folder is missing or can't be written, or the disk is full; see `save_image`.
    """
    try:
        with replacing(path) as part, open(part, "wb") as file:
            file.write(content)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError):
            reason = "no file can have this name"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"no space is left on the disk ({len(content) / 1e6:.1f} MB are needed). Free some and try again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = "writing there is not permitted. Choose another folder"
        else:
            reason = str(error.strerror or error)
        raise OutputError(f"Can't save {path}: {reason}.") from error


def _checked_array(array: np.ndarray, what: str) -> np.ndarray:
    """uint8 (H, W, 1 | 3 | 4), a view of `array` within the limits."""
    if array.dtype != np.uint8:
        raise ImageError(f"The {what} is an array of {array.dtype}; convert it to uint8, 0 to 255, first.")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(
            f"The {what} is an array of shape {array.shape}; it must be (height, width) or "
            "(height, width, channels) with 1, 3 or 4 channels."
        )
    check_size(array.shape[1], array.shape[0], what)
    return array


def _named(source: Source, what: str) -> str:
    """`what`, with the file's name where there is one."""
    return f"{what} ({Path(source).name})" if isinstance(source, str | os.PathLike) else what


def _decoded(
    source: str | os.PathLike[str] | bytes | Image.Image, what: str, lossless: bool = False, enough: int | None = None
) -> Image.Image:
    """A fully read, upright picture in its own mode; its colour profile is in `info["icc_profile"]`.

    lossless: refuse JPEG, which changes values. enough: see `_upright`.
    """
    what = _named(source, what)
    if isinstance(source, Image.Image):
        return _upright(source, what)
    with _opened(source, what) as image:
        upright = _upright(image, what, enough)
        if lossless and image.format == "JPEG":
            raise ImageError(f"The {what} is a JPEG, which changes labels. Save label maps as PNG.")
        return upright


class _Costly(Exception):
    """A file would take far more time or memory to decode than its size justifies."""


class _Measured(io.BytesIO):
    """A file in memory that limits how much a decoder may read: small files of some formats make it read endlessly."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._bytes_left = MAX_READ * len(content) + (1 << 20)
        self._exif_left = MAX_EXIF
        self._deadline = time.thread_time() + DECODE_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._bytes_left -= len(data)
        if self._bytes_left < 0 or time.thread_time() > self._deadline:
            raise _Costly("decoding it takes far longer than a picture of its size should")
        if data.startswith(b"Exif\0"):  # Pillow joins any number of a JPEG's EXIF segments, and parses them on opening
            self._exif_left -= len(data)
            if self._exif_left < 0:
                raise _Costly(f"it carries more than {MAX_EXIF >> 10} KB of EXIF data")
        return data


def _opened(source: str | os.PathLike[str] | bytes, what: str) -> Image.Image:
    """The picture behind a path or bytes, with only its header read."""
    content = source if isinstance(source, bytes) else read_file(source, what)
    if not content:
        raise ImageError(f"The {what} is an empty file (0 bytes).")
    name = str(source) if isinstance(source, str | os.PathLike) else ""
    if signature(content[:HEAD]) == "HEIC":
        return heic.decode(content, what, MAX_EXIF)
    try:
        _check_avif(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `check_size` decides
            image = Image.open(_Measured(content), formats=PILLOW_FORMATS)
        image.info["deep"] = any(";16" in str(tile[3]) for tile in image.tile)
        image.info["primaries"], transfer = coded_colour(content)
        problem = HDR if transfer in HDR_TRANSFERS and "icc_profile" not in image.info else misread(image)
    except Image.DecompressionBombError as error:
        if signature(content[:HEAD]) != "JPEG":
            raise ImageError(
                f"The {what} is too large, {MAX_PIXELS / 1e6:.0f} million pixels are allowed ({error})"
            ) from error
        image, problem = JpegImageFile(_Measured(content)), None  # it can be read at half its size, see `_reduce`
    except UnidentifiedImageError as error:
        raise ImageError(f"The {what} {advice(content, name)}") from error
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise ImageError(f"The {what} is damaged, its header can't be read ({error}).") from error
    if problem:
        raise ImageError(f"The {what} {problem}")
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = 4096  # short reads, to check the time often: a JPEG may redraw everything every few bytes
    return image


def read_file(path: str | os.PathLike[str], what: str) -> bytes:
    """A file's content. Raises ImageError, also for anything but an ordinary file."""
    if not isinstance(path, str | os.PathLike):
        raise ImageError(f"The {what} must be a path, bytes, a PIL image or an array, not {type(path).__name__}.")
    if not Path(path).is_file():
        raise ImageError(f"The {what} can't be opened: there is no such file.")
    try:
        size = Path(path).stat().st_size
        if size > MAX_FILE:
            raise ImageError(f"The {what} is a file of {size / 1e6:,.0f} MB, and {MAX_FILE / 1e6:,.0f} MB are allowed.")
        return Path(path).read_bytes()
    except PermissionError as error:
        raise ImageError(f"The {what} can't be opened: reading it is not permitted.") from error
    except OSError as error:
        raise ImageError(f"The {what} can't be read: {error.strerror}.") from error


def _check_avif(content: bytes) -> None:
    """Raises _Costly for an AVIF with more than MAX_EXIF bytes of EXIF data, which Pillow parses on opening."""
    if content[4:8] == b"ftyp" and features.check("avif"):
        from PIL import _avif

        exif = _avif.AvifDecoder(content, "auto", 1).get_info()[4]
        if exif and len(exif) > MAX_EXIF:
            raise _Costly(f"it carries more than {MAX_EXIF >> 10} KB of EXIF data")


def _exif(image: Image.Image) -> Image.Exif:
    """A picture's EXIF data; empty if there are more than MAX_EXIF bytes."""
    image.load()  # PNGs may hold them behind the pixels
    for key, size in (("exif", MAX_EXIF), ("Raw profile type exif", 2 * MAX_EXIF)):  # the second is in hexadecimal
        if len(image.info.get(key, b"")) > size:
            del image.info[key]
    return image.getexif()


def _reduce(image: Image.Image, what: str, enough: int | None) -> tuple[int, int]:
    """Makes Pillow decode a JPEG at a half, a quarter or an eighth of its size, without decoding it yet.

    It does so if the smaller size is enough, or if the JPEG has more pixels than are allowed, up to HALVED times as many.
    Returns the full width and height, or half of them, with a remark, if the JPEG has too many pixels.
    """
    width, height = image.size
    if not isinstance(image, JpegImageFile):
        return width, height
    scale = 1
    if MAX_PIXELS < width * height <= HALVED * MAX_PIXELS:
        scale, full = 2, f"{width * height / 1e6:.0f}"
        width, height = -(-width // 2), -(-height // 2)
        remark(f"The {what} has {full} million pixels. It is used at half its size, {width} x {height}.")
    while enough and scale < 8 and max(image.size) >= 2 * scale * enough:
        scale *= 2
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    return width, height


def _upright(image: Image.Image, what: str, enough: int | None = None) -> Image.Image:
    """A decoded copy, rotated as EXIF says. The header's size is checked before any pixel is decoded.

    enough: pixels of the longer side that are enough, see `_reduce`; None: all. `info["full size"]` is the width and
    height that the upright picture would have without `enough`.
    """
    full = _reduce(image, what, enough)
    check_size(*full, what)
    budget.reserve(image.width * image.height)
    tags = getattr(image, "tag_v2", {})
    try:
        exif = _exif(image)
        straight = isinstance(image, JpegImageFile) and exif.get(ExifTags.Base.Orientation, 1) == 1
        upright = image if straight else ImageOps.exif_transpose(image)  # a copy of the pixels
        if image.mode.startswith("I;16") and tags.get(PHOTOMETRIC) == MIN_IS_WHITE:  # Pillow inverts only 8 bits
            inverted = Image.fromarray(np.uint16(65535) - np.array(upright))
            inverted.info = upright.info
            upright = inverted
    except Exception as error:  # as in `_opened`
        raise ImageError(f"The {what} is damaged or cut short ({error}). Download or export it again.") from error
    try:
        profile, problem = profile_of(image, exif)
    except Exception:  # as in `_opened`: EXIF data may be broken where pixels are not
        profile, problem = image.info.get("icc_profile"), None
    upright.info["full size"] = full[::-1] if exif.get(ExifTags.Base.Orientation) in SIDEWAYS else full
    if profile:
        upright.info["icc_profile"] = profile
    if problem:
        remark(f"The {what} {problem}.")
    return upright


def _unless_opaque(alpha: np.ndarray) -> np.ndarray | None:
    return None if alpha.min() == 255 else np.ascontiguousarray(alpha)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    """The picture without its alpha, 8 bits a channel, and the alpha as in `load_rgba`."""
    if image.mode.startswith("I"):
        # 16-bit gray, which Pillow would clip at 255 instead of scaling it.
        values = np.array(image).astype(np.float32) / 257
        return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)), None
    if not image.has_transparency_data:
        return image, None
    rgba = image.convert("RGBA")
    return rgba.convert("RGB"), _unless_opaque(np.array(rgba.getchannel("A")))


def _convert(image: Image.Image, mode: str, what: str) -> Image.Image:
    if image.mode == "F":  # Pillow would convert it, as if its range were 0 to 255
        raise ImageError(f"The {what} has floating-point pixels of unknown range. Save it with 8 or 16 bits.")
    try:
        return image.convert(mode)
    except ValueError as error:
        raise ImageError(f"The {what} is stored as {image.mode}, not as RGB. Save it as RGB.") from error


def _to_srgb(image: Image.Image, icc_profile: bytes | None, what: str) -> Image.Image:
    if image.mode in ("P", "1"):
        image = image.convert("RGB")
    return to_srgb(image, icc_profile) or _convert(image, "RGB", what)
