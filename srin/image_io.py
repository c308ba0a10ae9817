"""Pictures in (limits before decoding, EXIF, alpha, colour profiles) and out (whole or not at all)."""

import errno
import io
import os
import time
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError, features
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngInfo

from srin.errors import ImageError, OutputError
from srin.limits import DECODE_SECONDS, MAX_FILE, MAX_PIXELS, MAX_SIDE

Source = str | os.PathLike | bytes | Image.Image | np.ndarray

MAX_READ = 8  # times a file's size that decoding it may read
MAX_EXIF = 1 << 16  # bytes, what cameras can write; Pillow may need memory by its square

# Only what Pillow decodes by itself and people keep photos in: EPS, for one, would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM")
EXIF_IFD, GPS_IFD = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
SAVE_OPTIONS: dict[str, dict] = {
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
    """As `load_image`, with the alpha: (uint8 (H, W, 3), uint8 (H, W)); alpha is None where all is opaque.

    The colours are straight, not premultiplied. An array may be returned without a copy.
    """
    if isinstance(source, np.ndarray):
        array = _checked_array(source, what)
        rgb = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else np.ascontiguousarray(array[..., :3])
        return rgb, _unless_opaque(array[..., 3]) if array.shape[2] == 4 else None
    image = _decoded(source, what)
    colour, alpha = _split_alpha(image)
    return np.array(_to_srgb(colour, image.info.get("icc_profile"), what)), alpha


def load_mask(source: Source, what: str = "mask") -> np.ndarray:
    """Decode a mask to uint8 (H, W), upright: 0 is background, 255 foreground, soft edges lie between.

    A picture with transparency gives its alpha, any other its luminance. Masks of 0 and 1 (bool, or label
    files) become 0 and 255. Colour profiles are ignored: a mask is not a colour. Sources and errors are those
    of `load_image`.
    """
    if isinstance(source, np.ndarray):
        array = _checked_array(source.astype(np.uint8) if source.dtype == bool else source, what)
        alpha = _unless_opaque(array[..., 3]) if array.shape[2] == 4 else None
        gray = array[..., 0] if array.shape[2] == 1 else cv2.cvtColor(array[..., :3], cv2.COLOR_RGB2GRAY)
    else:
        colour, alpha = _split_alpha(_decoded(source, what))
        gray = np.array(_convert(colour, "L", what))
    mask = gray if alpha is None else alpha
    return np.ascontiguousarray(mask * np.uint8(255) if mask.max() == 1 else mask)


def load_labels(source: Source, what: str = "map") -> np.ndarray:
    """Decode a label map to int32 (H, W): the stored integers of an 8-bit, 16-bit or palette picture.

    source: as in `load_image`, but an array is (H, W) of any integer type.
    Raises ImageError, also for colour pictures.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or source.dtype.kind not in "biu":
            raise ImageError(
                f"The {what} must be an array of integers (height, width), not {source.dtype} {source.shape}."
            )
        _check_size(source.shape[1], source.shape[0], what)
        return source.astype(np.int32)
    image = _decoded(source, what)
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise ImageError(f"The {what} is stored as {image.mode}; labels need one channel of 8 or 16 bits.")
    return np.array(image).astype(np.int32)


def save_photo(array: np.ndarray, path: str | os.PathLike, original: str | os.PathLike, comment: str) -> None:
    """Write a picture made from a photo, with that photo's colour profile and EXIF, without its place.

    array: uint8 (H, W, 3), sRGB; converted into the profile that is embedded. original: the photo's file. comment: kept
    as EXIF user comment. Extensions and errors as in `save_image`; ImageError when the original can't be read.
    """
    with _opened(original, Path(original).name) as photo:
        exif, profile = _exif(photo), photo.info.get("icc_profile")
    picture, profile = _into_profile(Image.fromarray(array), profile)
    exif.pop(GPS_IFD, None)
    details = exif.get_ifd(EXIF_IFD)
    details.pop(ExifTags.Base.MakerNote, None)  # its offsets would be wrong, and it may know the place
    details[ExifTags.Base.UserComment] = b"ASCII\0\0\0" + comment.encode("ascii", "replace")
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = picture.size
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.Software] = "SRIN Studio"
    _save(picture, Path(path), exif=exif.tobytes(), icc_profile=profile)


def _into_profile(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes]:
    """An sRGB picture in a photo's own colours, and the profile that says so: sRGB where there is none that fits."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    if profile:
        try:
            own = ImageCms.getOpenProfile(io.BytesIO(profile))
            if ImageCms.getProfileDescription(own).startswith("sRGB"):
                return image, profile
            transform = ImageCms.buildTransform(
                srgb,
                own,
                "RGB",
                "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            return transform.apply(image), profile
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # broken, or for other channels: it was ignored when the photo was read
    return image, srgb.tobytes()


def save_image(array: np.ndarray, path: str | os.PathLike, text: Mapping[str, str] | None = None) -> None:
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
    try:
        image.save(encoded, **options, **extra)
    except (OSError, ValueError) as error:
        raise OutputError(f"Can't save {path} as {options['format']}: {error}. PNG may work.") from error
    write_whole(encoded.getbuffer(), path)


def write_whole(content: bytes | memoryview, path: Path) -> None:
    """Writes a file, or replaces it, so that nobody ever finds a part of it, even after a crash.

    Raises OutputError when the folder is missing or can't be written, or the disk is full; see `save_image`.
    """
    # A short name of its own: the target's may already be as long as the file system allows.
    temporary = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)  # after a success it has its final name already
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


def _check_size(width: int, height: int, what: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"The {what} has no pixels ({width} x {height}).")
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"The {what} is too {'wide' if width >= height else 'high'}: it has {width} x {height} pixels, "
            f"and a side may have {MAX_SIDE} at most. Make it smaller first."
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"The {what} is too large: {width} x {height} = {width * height / 1e6:.1f} million pixels, and "
            f"{MAX_PIXELS / 1e6:.0f} million are allowed. Make it smaller first."
        )


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
    _check_size(array.shape[1], array.shape[0], what)
    return array


def _decoded(source: str | os.PathLike | bytes | Image.Image, what: str) -> Image.Image:
    """A fully read, upright picture in its own mode."""
    if isinstance(source, Image.Image):
        return _upright(source, what)
    if isinstance(source, str | os.PathLike):
        what = f"{what} ({Path(source).name})"
    with _opened(source, what) as image:
        return _upright(image, what)


class _Costly(Exception):
    """A file that is built to take forever, or all memory."""


class _Measured(io.BytesIO):
    """A file in memory that stops decoders which read on and on, as some formats let a small file make them do."""

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
        if data.startswith(b"Exif\0"):  # a JPEG's: Pillow joins any number of them, and parses them on opening
            self._exif_left -= len(data)
            if self._exif_left < 0:
                raise _Costly(f"it carries more than {MAX_EXIF >> 10} KB of EXIF data")
        return data


def _opened(source: str | os.PathLike | bytes, what: str) -> Image.Image:
    """The picture behind a path or bytes, with only its header read."""
    content = source if isinstance(source, bytes) else _read(source, what)
    if not content:
        raise ImageError(f"The {what} is an empty file (0 bytes).")
    try:
        _check_avif(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_check_size` decides
            image = Image.open(_Measured(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"The {what} is too large, {MAX_PIXELS / 1e6:.0f} million pixels are allowed ({error})"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"The {what} is not an image that can be read. Use JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP."
        ) from error
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise ImageError(f"The {what} is damaged, its header can't be read ({error}).") from error
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = 4096  # a JPEG may draw the whole picture anew every few bytes: look at the clock often
    return image


def _read(path: str | os.PathLike, what: str) -> bytes:
    """A file's content. Raises ImageError, also for what is no ordinary file."""
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
    """Raises _Costly for an AVIF with more than MAX_EXIF, which Pillow parses on opening."""
    if content[4:8] == b"ftyp" and features.check("avif"):
        from PIL import _avif

        exif = _avif.AvifDecoder(content, "auto", 1).get_info()[4]
        if exif and len(exif) > MAX_EXIF:
            raise _Costly(f"it carries more than {MAX_EXIF >> 10} KB of EXIF data")


def _exif(image: Image.Image) -> Image.Exif:
    """A picture's EXIF data; none where there are more than MAX_EXIF."""
    image.load()  # PNGs may hold them behind the pixels
    for key, size in (("exif", MAX_EXIF), ("Raw profile type exif", 2 * MAX_EXIF)):  # the second is in hexadecimal
        if len(image.info.get(key, b"")) > size:
            del image.info[key]
    return image.getexif()


def _upright(image: Image.Image, what: str) -> Image.Image:
    """A decoded copy, rotated as EXIF says. The header's size is checked before any pixel is decoded."""
    _check_size(image.width, image.height, what)
    try:
        _exif(image)
        return ImageOps.exif_transpose(image)
    except Exception as error:  # as in `_opened`
        raise ImageError(
            f"The {what} is damaged or cut short ({error}). Download or export it again."
        ) from error


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
    """RGB in sRGB. A profile that is broken, or for other channels, is ignored, as in browsers."""
    if image.mode in ("P", "1"):
        image = image.convert("RGB")
    if not icc_profile:
        return _convert(image, "RGB", what)
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(icc_profile))
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return _convert(image, "RGB", what)  # makers' roundings would shift some values by one
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            image.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return _convert(image, "RGB", what)
