"""Kinds of picture files: their extensions, their signatures, and messages about those that can't be read."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

# Formats of photos that Pillow decodes by itself (for EPS it would start Ghostscript). HEIC is read by srin/heic.py.
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM")
READABLE = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF, BMP or PPM"
EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .avif .avifs .heic .heif .hif .tif .tiff .gif .bmp .dib .ppm .pgm .pbm "
    ".pnm".split()
)
# Picture formats that can't be read. In a folder, such files are reported, not skipped silently.
UNREAD = {
    ".jxl": "JPEG XL", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".jpx": "JPEG 2000", ".psd": "Photoshop",
    ".psb": "Photoshop", ".xcf": "GIMP", ".svg": "SVG", ".exr": "OpenEXR", ".hdr": "Radiance HDR", ".tga": "Targa",
    ".pcx": "PCX", ".ico": "icon", ".pfm": "floating-point PFM", ".pam": "PAM", ".qoi": "QOI", ".dng": "camera raw",
    ".cr2": "camera raw", ".cr3": "camera raw", ".nef": "camera raw", ".arw": "camera raw", ".raf": "camera raw",
    ".orf": "camera raw", ".rw2": "camera raw", ".pef": "camera raw", ".srw": "camera raw",
}  # fmt: skip
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"}
AVIF_BRANDS = {b"avif", b"avis"}
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes
SAVE_TIFF = "Save it with 8 or 16 bits a channel, as RGB or grey, interleaved, or as PNG."
HDR_TRANSFERS = (16, 18)  # PQ and HLG, in ITU-T H.273
HDR = (
    "is an HDR picture (PQ or HLG), which is not read here. Open it on the phone or computer that made it, and export it "
    "as JPEG."
)
HEAD = 4096  # bytes that `signature` looks at

RAW = re.compile(rb"(II\*\0\x10\0\0\0CR|FUJIFILMCCD-RAW|II(RO|RS|U\0))")
PPM = re.compile(rb"P[1-6][\s#]")
SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"gimp xcf", "GIMP"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"%PDF-", "PDF"),
    (b"qoif", "QOI"),
    (b"PF\n", "floating-point PFM"),
    (b"Pf\n", "floating-point PFM"),
    (b"P7\n", "PAM"),
)


def signature(head: bytes) -> str | None:
    """The format that a file's first bytes claim: one that is read, one of UNREAD's names, or None."""
    if RAW.match(head):
        return "camera raw"
    for start, name in SIGNATURES:
        if head.startswith(start):
            return name
    if head[4:8] == b"ftyp":
        brands = {head[8:12]} | {head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4], "big"), 128), 4)}
        # HEIC and AVIF may both name the general brand mif1, so AVIF's own brand decides.
        if brands & AVIF_BRANDS:
            return "AVIF"
        if head[8:12] == b"crx ":
            return "camera raw"
        return "HEIC" if brands & HEIC_BRANDS else None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "BMP"
    if PPM.match(head):
        return "PPM"
    if re.match(rb"(<\?xml[^>]*>)?\s*(<!--.*?-->\s*)*<svg[\s>]", head, re.DOTALL):
        return "SVG"
    return None


def advice(content: bytes, name: str) -> str:
    """Says what an unreadable file is and what to do about it, to follow "The image ". name: the file's name, or ""."""
    kind = signature(content[:HEAD]) or UNREAD.get(Path(name).suffix.lower())
    if kind == "TIFF":
        return f"is a TIFF{_tiff_kind(content)} that can't be read. {SAVE_TIFF}"
    if kind is None or kind in READABLE:
        return f"is not an image that can be read. Use {READABLE}."
    if kind == "camera raw":
        return "is a camera's raw file, which is not read here. Develop it, and export it as TIFF, PNG or JPEG."
    return f"is a {kind} file, which is not read here. Export it as PNG or JPEG from a program that opens it."


def coded_colour(content: bytes) -> tuple[int | None, int | None]:
    """The primaries and transfer characteristics (numbers of ITU-T H.273) in an AVIF's colour box or a PNG's cICP chunk.

    (None, None) if there is none, and for other formats.
    """
    kind = signature(content[:HEAD])
    if kind == "PNG":
        at = content.find(b"\0\0\0\4cICP", 8, content.find(b"IDAT"))
        return (content[at + 8], content[at + 9]) if at > 0 else (None, None)
    at = content[: 1 << 16].find(b"colrnclx") if kind == "AVIF" else -1
    if at < 0 or len(content) < at + 12:
        return None, None
    return int.from_bytes(content[at + 8 : at + 10], "big"), int.from_bytes(content[at + 10 : at + 12], "big")


def _tiff_kind(content: bytes) -> str:
    """Describes a TIFF's pixels, to follow "a TIFF"; "" if its directory can't be read."""
    if content.startswith(b"MM\0+"):
        return " of the large kind (BigTIFF) with its bytes in big-endian order"  # which Pillow doesn't know
    try:
        file = io.BytesIO(content[: 1 << 20])
        tags = ImageFileDirectory_v2(file.read(16 if content.startswith(b"II+\0") else 8))
        file.seek(tags.next)
        tags.load(file)
        return f" of {_pixels(tags)}"
    except Exception:  # anything, on a damaged one
        return ""


def _pixels(tags: ImageFileDirectory_v2) -> str:
    """How a TIFF's pixels are stored."""
    bits = np.ravel(tags.get(258, 1))
    kind = {2: "whole numbers with a sign", 3: "floating-point numbers", 5: "complex numbers", 6: "complex numbers"}
    form = kind.get(np.ravel(tags.get(339, 1))[0], "whole numbers")
    apart = " in planes apart" if tags.get(284) == 2 and len(bits) > 1 else ""
    white = " where 0 is white" if tags.get(262) == 0 else ""
    return f"{len(bits)} x {bits[0]} bits, {form}{apart}{white},"


def misread(image: ImageFile.ImageFile) -> str | None:
    """Why Pillow would read this TIFF wrongly, to follow "The image "; None if it reads it correctly.

    Pillow reads uncompressed 16-bit planes that are stored separately as 8 bits; this function corrects `image.tile`.
    """
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return None
    if 50706 in tags or (330 in tags and int(tags.get(254, 0)) & 1):
        return "is a camera's raw file, of which only the preview could be read. Export it as TIFF, PNG or JPEG."
    bits = np.ravel(tags.get(258, 1))
    if tags.get(284) == 2 and len(bits) > 1:
        raw = all(tile.codec_name == "raw" for tile in image.tile)
        premultiplied = 1 in np.ravel(tags.get(338, 0))
        deep = bits[0] == 16
        unknown = premultiplied or len(bits) != len(image.getbands()) or (deep and image.mode not in ("RGB", "RGBA"))
        if image.mode == "LA" or (raw and unknown):
            return f"is a TIFF of {_pixels(tags)} that can't be read. {SAVE_TIFF}"
        if deep and raw:
            order = ";16L" if tags.prefix == b"II" else ";16B"
            image.tile = [tile._replace(args=_with_depth(tile.args, order)) for tile in image.tile]
    return None


def _with_depth(args: Any, order: str) -> tuple[Any, ...]:
    """Changes a raw tile's arguments for Pillow's decoder to 16 bits a value, in the byte order `order`."""
    return (args[0] + order, *args[1:])
