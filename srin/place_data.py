"""Removes the place where a photo was taken from its file. Pixels, profile, orientation and camera data are unchanged.

The place may be stored in EXIF data (GPS, and the camera maker's notes), in XMP, IPTC and comments, and in what phones
append after a picture's end.
"""

import re
import struct
import zlib

from srin.errors import ImageError
from srin.formats import HEAD, signature

GPS, MAKER_NOTE, EXIF = 0x8825, 0x927C, 0x8769  # tags
WIPED = {MAKER_NOTE, 700, 33723, 34377}  # the last three hold XMP, IPTC and Photoshop's data in a TIFF
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of TIFF's types
MOST_ENTRIES, MOST_PARTS = 4096, 64  # of a directory; directories of a file
TIFF = re.compile(rb"II\*\0|MM\0\*")
XMP = re.compile(rb"<x:xmpmeta.*?</x:xmpmeta\s*>", re.DOTALL)
MARKER = re.compile(rb"\xff+([^\xff\0\xd0-\xd7])", re.DOTALL)  # the next in entropy-coded data
APP1, APP13, START_OF_SCAN, END, COMMENT = 0xE1, 0xED, 0xDA, 0xD9, 0xFE
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def without_place(content: bytes) -> bytes:
    """The file without the place. content: bytes of a picture file that can be decoded.

    Raises ImageError if the file's structure can't be parsed.
    """
    kind = signature(content[:HEAD])
    try:
        if kind == "JPEG":
            return _jpeg(content)
        if kind == "PNG":
            return _png(content)
        if kind == "WebP":
            return _webp(content)
        return _in_place(content)
    except (struct.error, IndexError) as error:
        raise ImageError("A photo's file is built so oddly that its place data can't be removed.") from error


def _jpeg(content: bytes) -> bytes:
    out, at = [content[:2]], 2
    while True:
        marker = content[at + 1]
        if content[at] != 0xFF:
            raise IndexError
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == END:
            return b"".join([*out, content[at : at + 2]])  # what follows may be another picture, or a film
        (length,) = struct.unpack_from(">H", content, at + 2)
        end = at + 2 + length
        segment = content[at:end]
        if marker == START_OF_SCAN:
            found = MARKER.search(content, end)
            if found is None:  # cut short, which decoders tolerate
                return b"".join([*out, content[at:]])
            end = found.start()
            segment = content[at:end]
        elif marker == APP1 and segment[4:10] == b"Exif\0\0":
            segment = segment[:10] + _tiff(segment[10:])
        elif marker in (APP1, APP13, COMMENT):
            segment = b""
        out.append(segment)
        at = end


def _png(content: bytes) -> bytes:
    out, at = [content[:8]], 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if kind == b"eXIf":
            data = _tiff(data)
            out.append(struct.pack(">I", length) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
        elif kind not in PNG_TEXTS:
            out.append(content[at : at + 12 + length])
        if kind == b"IEND":
            break
        at += 12 + length
    return b"".join(out)


def _webp(content: bytes) -> bytes:
    (size,) = struct.unpack_from("<I", content, 4)
    chunks, at = [], 12
    while at + 8 <= min(len(content), 8 + size):
        (length,) = struct.unpack_from("<I", content, at + 4)
        kind, data = content[at : at + 4], content[at + 8 : at + 8 + length]
        if kind == b"EXIF":
            start = 6 if data.startswith(b"Exif\0\0") else 0
            data = data[:start] + _tiff(data[start:])
        elif kind == b"VP8X":
            data = bytes([data[0] & ~0x04]) + data[1:]  # there is no XMP any more
        if kind != b"XMP ":
            chunks.append(kind + struct.pack("<I", length) + data + b"\0" * (length % 2))
        at += 8 + length + length % 2
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _in_place(content: bytes) -> bytes:
    """For formats whose parts refer to each other by offsets: data are overwritten in place, so that nothing moves."""
    out = bytearray(content)
    for found in TIFF.finditer(content):
        _blank(out, found.start())
    for found in XMP.finditer(content):
        out[found.start() : found.end()] = b" " * (found.end() - found.start())
    return bytes(out)


def _tiff(data: bytes) -> bytes:
    out = bytearray(data)
    if TIFF.match(data):
        _blank(out, 0)
    return bytes(out)


def _blank(out: bytearray, start: int) -> None:
    """Overwrites the place in the TIFF structure that begins at `start`. Does nothing if there is no such structure."""
    order = "<" if out[start : start + 2] == b"II" else ">"
    directories = [struct.unpack_from(f"{order}I", out, start + 4)[0]] if start + 8 <= len(out) else []
    for index in range(MOST_PARTS):
        if index >= len(directories):
            return
        at = start + directories[index]
        entries = _entries(out, at, order)
        if entries is None:
            continue
        for entry in entries:
            tag, kind, values, offset = struct.unpack_from(f"{order}HHII", out, entry)
            if tag == EXIF:
                directories.append(offset)
            elif tag == GPS:
                _wipe_directory(out, start, start + offset, order)
            elif tag in WIPED and not _wipe_value(out, start + offset, kind, values):
                out[entry + 8 : entry + 12] = bytes(4)
        end = entries.stop
        if end + 4 <= len(out) and (following := struct.unpack_from(f"{order}I", out, end)[0]):
            directories.append(following)


def _wipe_directory(out: bytearray, start: int, at: int, order: str) -> None:
    """Overwrites all entries of a directory and the values they point to with zeros, so that it has no entries."""
    entries = _entries(out, at, order)
    if entries is None:
        return
    for entry in entries:
        _, kind, values, offset = struct.unpack_from(f"{order}HHII", out, entry)
        _wipe_value(out, start + offset, kind, values)
    out[at : entries.stop] = bytes(entries.stop - at)


def _entries(out: bytearray, at: int, order: str) -> range | None:
    """The offsets of a directory's entries; `stop` is the directory's end. None if there can't be a directory."""
    if at + 2 > len(out):
        return None
    (count,) = struct.unpack_from(f"{order}H", out, at)
    end = at + 2 + 12 * count
    return None if count > MOST_ENTRIES or end > len(out) else range(at + 2, end, 12)


def _wipe_value(out: bytearray, at: int, kind: int, values: int) -> bool:
    """Overwrites the value that an entry points to. False if the value is in the entry itself, or beyond the end."""
    length = SIZES.get(kind, 0) * values
    if not 4 < length <= len(out) - at:
        return False
    out[at : at + length] = bytes(length)
    return True
