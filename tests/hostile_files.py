"""Malformed and tricky files for the tests, the same ones every time: `hostile_files()`."""

import gzip
import io
import pickle
import random
import struct
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 64, 48
KINDS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "gif": "GIF", "bmp": "BMP", "ppm": "PPM"}
KINDS |= {"avif": "AVIF"}
# Files that take seconds, being as large as pictures may be, or running into the time limit.
SLOW = {"really_98_megapixels_png.png", "header_of_96_megapixels_jpg.jpg", "ten_thousand_scans_jpg.jpg"}
SLOW |= {"extensions_without_end_gif.gif", "comments_without_end_ppm.ppm", "directory_of_65535_tif.tif"}
CUTS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
FLIPS = 8  # variants of each kind with bits flipped


@cache
def hostile_files(seed: int = 0) -> dict[str, bytes]:
    """Contents of files by name. No two stems are equal, and the extension is that of what a file claims to be."""
    rng = random.Random(seed)
    files: dict[str, bytes] = {}
    for parts in (_damaged(rng), _bombs(), _wrong_extensions(), _not_pictures(rng), _metadata(rng), _tricky()):
        for name, content in parts.items():
            stem, _, extension = name.rpartition(".")
            files[f"{stem}_{extension}.{extension}"] = content
    return files


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(3).integers(0, 60, (height, width, 3))
    return Image.fromarray((np.dstack([x * 3, y * 4, x + y]) % 190 + noise).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _damaged(rng: random.Random) -> dict[str, bytes]:
    """Files cut short, and files with flipped bits, also in the header."""
    files = {}
    for extension, kind in KINDS.items():
        whole = encoded(photo(), kind)
        for share in CUTS:
            files[f"cut_{round(100 * share)}.{extension}"] = whole[: int(share * len(whole))]
        for i in range(FLIPS):
            broken = bytearray(whole)
            reach = 64 if i % 2 else len(broken)
            for _ in range(3 + i):
                broken[rng.randrange(reach)] ^= 1 << rng.randrange(8)
            files[f"flipped_{i}.{extension}"] = bytes(broken)
        swapped = bytearray(whole)
        middle = len(swapped) // 2
        swapped[middle:] = rng.randbytes(len(swapped) - middle)
        files[f"second_half_random.{extension}"] = bytes(swapped)
        files[f"a_megabyte_behind.{extension}"] = whole + rng.randbytes(1_000_000)
    return files


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, body: bytes, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG of these dimensions around a compressed body, whatever that holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff(entries: list[tuple[int, int, int, int]], after: int = 0, tail: bytes = b"") -> bytes:
    """A little-endian TIFF with one directory of (tag, type, count, value); `after`: offset of the next directory."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", after) + tail


def _tiff_of(width: int, height: int, **changes: int) -> list[tuple[int, int, int, int]]:
    """The directory of an uncompressed RGB picture in one strip."""
    tags = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offset": 273}
    tags |= {"samples": 277, "rows": 278, "bytes": 279}
    values = {"width": width, "height": height, "bits": 8, "compression": 1, "photometric": 2, "offset": 8}
    values |= {"samples": 3, "rows": height, "bytes": (width * height * 3) % 2**32} | changes
    return [(tags[name], 4, 1, value) for name, value in values.items()]


def _bombs() -> dict[str, bytes]:
    """Small files that promise, or really unpack to, very large ones; and endless ones."""
    zeros = zlib.compress(bytes(50_000_000), 9)
    small = zlib.compress((b"\0" + bytes(3 * 8)) * 8)
    one_bit = zlib.compress((b"\0" + bytes(2048)) * 6000, 9)
    text = b"Comment\0\0" + zeros
    text_chunks = chunk(b"zTXt", text) + chunk(b"iTXt", b"Comment\0\1\0\0\0" + zeros)
    gif = encoded(photo(8, 8), "GIF")
    first_frame = gif.index(b",\0\0\0\0")
    jpeg = bytearray(encoded(photo(), "JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    huge_jpeg = jpeg[:size] + struct.pack(">HH", 65_500, 65_500) + jpeg[size + 4 :]
    wide_jpeg = jpeg[:size] + struct.pack(">HH", 6_000, 16_000) + jpeg[size + 4 :]
    progressive = encoded(Image.new("L", (2000, 2000), 90), "JPEG", progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    vp8x = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + b"\xff\xff\xff" * 2
    frames = 2**31 - 1
    animated = chunk(b"acTL", struct.pack(">II", frames, 0))
    tall = _tiff_of(64, 2**31)
    strips = [(273, 4, 2**30, 200), (279, 4, 2**30, 200)]
    return {
        "promises_a_gigapixel.png": png(32_000, 32_000, small),
        "promises_four_billion.png": png(2**31 - 1, 2**31 - 1, small),
        "a_line_of_gigabytes.png": png(2**31 - 1, 1, small),
        "really_400_megapixels.png": png(20_000, 20_000, zlib.compress((b"\0" + bytes(2500)) * 20_000, 9), 1, 0),
        "really_98_megapixels.png": png(16_384, 6_000, one_bit, 1, 0),
        "more_data_than_pixels.png": png(8, 8, zeros),
        "text_of_100_megabytes.png": png(8, 8, small, extra=text_chunks),
        "profile_of_50_megabytes.png": png(8, 8, small, extra=chunk(b"iCCP", b"big\0\0" + zeros)),
        "ten_thousand_text_chunks.png": png(8, 8, small, extra=chunk(b"tEXt", b"a\0b") * 10_000),
        "two_billion_frames.png": png(8, 8, small, extra=animated),
        "chunk_longer_than_the_file.png": png(8, 8, small)[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT",
        "no_end_of_chunks.png": png(8, 8, small)[:-12] + chunk(b"IDAT", b"") * 20_000,
        "four_gigapixels.jpg": bytes(huge_jpeg),
        "header_of_96_megapixels.jpg": bytes(wide_jpeg),
        "ten_thousand_scans.jpg": progressive[:-2] + last_scan * 10_000 + b"\xff\xd9",
        "thousands_of_comments.jpg": bytes(jpeg[:2] + b"\xff\xfe\xff\xff" + bytes(65_533) * 1 + jpeg[2:]) * 20,
        "markers_only.jpg": b"\xff\xd8" + b"\xff\xda\0\2" * 100_000,
        "canvas_of_16_million.webp": b"RIFF" + struct.pack("<I", len(vp8x)) + vp8x,
        "four_thousand_frames.gif": gif[:first_frame] + gif[first_frame:-1] * 4_000 + b";",
        "screen_of_four_gigapixels.gif": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "extensions_without_end.gif": gif[:first_frame] + b"!\xfe\x01a\0" * 200_000,
        "eight_billion_pixels.bmp": _with_size(encoded(photo(), "BMP"), 18, 2**31 - 1, 2**31 - 1),
        "negative_size.bmp": _with_size(encoded(photo(), "BMP"), 18, -64, -48),
        "upside_down.bmp": _with_size(encoded(photo(), "BMP"), 18, WIDTH, -HEIGHT),
        "trillions.ppm": b"P6\n999999999999 999999999999\n255\n" + bytes(1000),
        "a_number_without_end.ppm": b"P6\n" + b"9" * 1_000_000,
        "comments_without_end.ppm": b"P6\n" + b"# nothing\n" * 200_000,
        "plain_and_long.ppm": b"P3\n4000 4000\n255\n" + b"7 " * 10_000,
        "no_values.ppm": b"P6\n64 48\n0\n" + bytes(64 * 48 * 3),
        "many_values.ppm": b"P6\n64 48\n4294967295\n" + bytes(64 * 48 * 3),
        "four_gigapixels.tif": tiff(_tiff_of(65_535, 65_535), tail=bytes(100)),
        "very_tall.tif": tiff(tall, tail=bytes(100)),
        "strip_beyond_the_file.tif": tiff(_tiff_of(64, 48, offset=2**32 - 10)),
        "strip_of_gigabytes.tif": tiff(_tiff_of(64, 48, bytes=2**32 - 1), tail=bytes(10_000)),
        "a_billion_strips.tif": tiff([e for e in _tiff_of(64, 48) if e[0] not in (273, 279)] + strips),
        "sixty_thousand_samples.tif": tiff(_tiff_of(64, 48, samples=60_000), tail=bytes(10_000)),
        "directories_in_a_circle.tif": tiff(_tiff_of(64, 48), after=8, tail=bytes(10_000)),
        "unknown_compression.tif": tiff(_tiff_of(64, 48, compression=34_712), tail=bytes(10_000)),
        "empty_deflate.tif": tiff(_tiff_of(64, 48, compression=8, bytes=50_000_000), tail=zeros),
        "no_directory.tif": b"II*\0" + struct.pack("<I", 2**32 - 1),
        "directory_of_65535.tif": b"II*\0" + struct.pack("<IH", 8, 65_535) + bytes(12 * 65_535),
        "big.tif": b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**62),
    }


def _with_size(content: bytes, at: int, width: int, height: int) -> bytes:
    return content[:at] + struct.pack("<ii", width, height) + content[at + 8 :]


def _wrong_extensions() -> dict[str, bytes]:
    """Whole pictures under another kind's name."""
    extensions = list(KINDS)
    return {
        f"really_{extension}.{other}": encoded(photo(), KINDS[extension])
        for extension, other in zip(extensions, extensions[3:] + extensions[:3], strict=True)
    }


class _Payload:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("unpickled"),)


def _not_pictures(rng: random.Random) -> dict[str, bytes]:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script>'
    svg += b'<image href="file:///etc/passwd"/><image href="http://169.254.169.254/"/></svg>'
    entities = b'<!DOCTYPE l [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../../escaped.png", encoded(photo(), "PNG"))
    image = photo()
    others = {
        f"really_{kind.lower()}.png": encoded(image, kind)
        for kind in ("ICO", "TGA", "PCX", "SGI", "JPEG2000", "PDF", "EPS")
    }
    return others | {
        "drawing.svg.png": svg,
        "drawing.jpg": b'<?xml version="1.0"?>' + svg,
        "laughs.png": b'<?xml version="1.0"?>' + entities + b"]><svg>&j;</svg>",
        "page.png": b"<!doctype html><script>alert(document.cookie)</script>",
        "page_behind_a_magic_number.gif": b"GIF89a=1;/*" + bytes(20) + b"*/alert(1)",
        "script.jpg": b"#!/bin/sh\ntouch executed\n",
        "postscript.tif": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(executed) (w) file\nshowpage\n",
        "mvg.png": b"push graphic-context\nviewbox 0 0 9 9\nfill 'url(https://127.0.0.1/\"|touch executed\")'\n",
        "payload.png": pickle.dumps(_Payload()),
        "archive.png": archive.getvalue(),
        "compressed.png": gzip.compress(encoded(photo(), "PNG")),
        "gigabyte.png": gzip.compress(bytes(20_000_000)),
        "psd.tif": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(20),
        "empty.png": b"",
        "one_byte.jpg": b"\xff",
        "zeros.png": bytes(10_000),
        "ones.tif": b"\xff" * 10_000,
        "random.webp": rng.randbytes(10_000),
        "random_behind_the_magic_number.webp": b"RIFF\x10\x27\0\0WEBPVP8 " + rng.randbytes(10_000),
        "random_behind_the_magic_number.png": b"\x89PNG\r\n\x1a\n" + rng.randbytes(10_000),
        "random_behind_the_magic_number.jpg": b"\xff\xd8\xff\xe0" + rng.randbytes(10_000),
        "random_behind_the_magic_number.bmp": b"BM" + rng.randbytes(10_000),
        "random_behind_the_magic_number.gif": b"GIF89a" + rng.randbytes(10_000),
        "random_behind_the_magic_number.avif": b"\0\0\0\x1cftypavif" + rng.randbytes(10_000),
        "text.png": "Kein Bild, nur Text: \N{SNOWMAN}\n".encode(),
        "path.png": b"/etc/passwd\n",
        "address.png": b"http://127.0.0.1/picture.png\n",
    }


def memory_bomb(size: int) -> bytes:
    """EXIF data, or a TIFF, whose entries each claim half of its size: keeping them all takes size^2 / 24 bytes."""
    count = (size - 14) // 12
    rows = b"".join(struct.pack("<HHII", 1000 + i, 1, size // 2, 0) for i in range(count))
    return (b"II*\0" + struct.pack("<IH", 8, count) + rows).ljust(size, b"\0")


def _with_segments(jpeg: bytes, exif: bytes) -> bytes:
    """A JPEG with EXIF data in as many segments as needed, and without a resolution in its header."""
    parts = [exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
    segments = [b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts]
    return jpeg[:2] + b"".join(segments) + jpeg[jpeg.index(b"\xff\xdb") :]


def _metadata(rng: random.Random) -> dict[str, bytes]:
    """EXIF data and colour profiles that are huge, broken, or lie."""
    image = photo()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    files = {}
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "x" * 60_000
    files["exif_of_60_kilobytes.jpg"] = encoded(image, "JPEG", exif=exif)
    files["memory_by_the_square.tif"] = memory_bomb(300_000)
    files["memory_by_the_square.jpg"] = _with_segments(encoded(image, "JPEG"), memory_bomb(300_000))
    files["memory_by_the_square.png"] = encoded(image, "PNG", exif=b"Exif\0\0" + memory_bomb(300_000))
    files["memory_by_the_square.webp"] = encoded(image, "WEBP", exif=b"Exif\0\0" + memory_bomb(300_000))
    files["memory_by_the_square.avif"] = encoded(image, "AVIF", exif=b"Exif\0\0" + memory_bomb(80_000))
    exif[0x010E] = "x" * 3_000_000
    files["exif_of_3_megabytes.png"] = encoded(image, "PNG", exif=exif)
    files["exif_of_3_megabytes.webp"] = encoded(image, "WEBP", exif=exif)
    usual = Image.Exif()
    usual[0x0112] = 8
    usual[0x010F] = "Pinhole"
    usual.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0hello"
    usual.get_ifd(0x8825)[2] = (48.0, 51.0, 24.0)
    plain = usual.tobytes()
    for i in range(8):
        broken = bytearray(plain)
        for _ in range(4):
            broken[rng.randrange(6, len(broken))] ^= 1 << rng.randrange(8)
        files[f"exif_flipped_{i}.jpg"] = encoded(image, "JPEG", exif=bytes(broken))
        files[f"exif_flipped_{i}.png"] = encoded(image, "PNG", exif=bytes(broken))
    circle = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + bytes(4)
    files["exif_in_a_circle.jpg"] = encoded(image, "JPEG", exif=circle)
    for name, entry in {
        "text": struct.pack("<HHI4s", 0x0112, 2, 4, b"six\0"),
        "none": struct.pack("<HHII", 0x0112, 3, 0, 0),
        "many": struct.pack("<HHII", 0x0112, 3, 2**31, 26),
        "large": struct.pack("<HHII", 0x0112, 3, 1, 65_535),
        "rational": struct.pack("<HHII", 0x0112, 5, 1, 26),
    }.items():
        lying = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(12)
        files[f"orientation_is_{name}.jpg"] = encoded(image, "JPEG", exif=lying)
    for name, profile in {
        "of_16_megabytes": srgb[:128] + rng.randbytes(4_000_000),
        "empty": b"",
        "header_only": srgb[:128],
        "lab": lab,
        "text": b"no profile at all",
        "size_of_4_gigabytes": struct.pack(">I", 2**32 - 1) + srgb[4:],
        "of_4_billion_tags": srgb[:128] + struct.pack(">I", 2**32 - 1) + srgb[132:],
    }.items():
        files[f"profile_{name}.jpg"] = encoded(image, "JPEG", icc_profile=profile)
    for i in range(12):
        broken = bytearray(srgb)
        for _ in range(1 + 4 * i):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        # Another name: under sRGB's own the profile would not be read.
        renamed = bytes(broken).replace("sRGB".encode("utf-16-be"), "fuzz".encode("utf-16-be"))
        files[f"profile_flipped_{i}.{'png' if i % 2 else 'webp'}"] = encoded(
            image, "PNG" if i % 2 else "WEBP", icc_profile=renamed
        )
    return files


def _tricky() -> dict[str, bytes]:
    """Whole files of unusual kinds."""
    image = photo()
    gray = image.convert("L")
    clear = image.copy()
    clear.putalpha(0)
    palette = image.quantize(7)
    shifted = Image.new("RGB", (WIDTH, HEIGHT), "green")
    moving = {"save_all": True, "append_images": [shifted, image, gray.convert("RGB")], "duration": 40}
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    return {
        "one_pixel.png": encoded(photo(1, 1), "PNG"),
        "one_row.png": encoded(photo(16_384, 1), "PNG"),
        "one_column.png": encoded(photo(1, 16_384), "PNG"),
        "one_row_more.png": encoded(photo(16_385, 1), "PNG"),
        "one_column.jpg": encoded(photo(1, 4_000), "JPEG"),
        "quite_transparent.png": encoded(clear, "PNG"),
        "quite_transparent.webp": encoded(clear, "WEBP"),
        "gray_alpha.png": encoded(clear.convert("LA"), "PNG"),
        "palette_with_holes.png": encoded(palette, "PNG", transparency=bytes([0, 255, 3])),
        "palette_with_a_hole.gif": encoded(palette, "GIF", transparency=2),
        "sixteen_bits.png": encoded(deep, "PNG"),
        "sixteen_bits.tif": encoded(deep, "TIFF"),
        "integers.tif": encoded(Image.fromarray(np.asarray(gray).astype(np.int32) * 70_000), "TIFF"),
        "floats.tif": encoded(Image.fromarray(np.asarray(gray).astype(np.float32)), "TIFF"),
        "not_numbers.tif": encoded(Image.fromarray(np.full((HEIGHT, WIDTH), np.nan, np.float32)), "TIFF"),
        "lab.tif": encoded(ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"), "TIFF"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "cmyk.tif": encoded(image.convert("CMYK"), "TIFF"),
        "ycbcr.tif": encoded(image.convert("YCbCr"), "TIFF"),
        "one_bit.png": encoded(gray.convert("1"), "PNG"),
        "one_bit.bmp": encoded(gray.convert("1"), "BMP"),
        "one_bit.ppm": encoded(gray.convert("1"), "PPM"),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "moving.webp": encoded(image, "WEBP", **moving),
        "moving.png": encoded(image, "PNG", **moving),
        "moving.gif": encoded(image, "GIF", **moving),
        "many_pages.tif": encoded(image, "TIFF", save_all=True, append_images=[gray] * 300),
        "compressed.tif": encoded(image, "TIFF", compression="tiff_lzw"),
        "photo_in_a.tif": encoded(image, "TIFF", compression="jpeg"),
        "fax.tif": encoded(gray.convert("1"), "TIFF", compression="group4"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
    }  # fmt: skip
