"""Decodes one HEIC picture. Reads the file from standard input, and writes a header and pixels to standard output.

    python heic_worker.py MAX_SIDE MAX_PIXELS SECONDS < picture.heic

srin/heic.py runs it as a file, in a process of its own. It imports nothing of srin, and sets its limits before it looks
at the content. The header is a line of JSON, either `{"problem": ...}` or the values that `srin.heic` reads. The profile,
the EXIF data and the pixels, 8 bits a channel, follow it.
"""

import json
import sys
from typing import Any

PARSING = 1 << 30  # bytes of address space, including Python and libraries, until the picture's size is known
A_PIXEL = 24  # bytes that decoding one may take
PQ, HLG = 16, 18  # transfer characteristics of HDR (ITU-T H.273)


def main(max_side: int, max_pixels: int, seconds: int) -> None:
    limit_memory(PARSING, PARSING + A_PIXEL * max_pixels)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    except ImportError:
        pass  # Windows: only the parent's time limit applies
    content = sys.stdin.buffer.read()
    try:
        header, parts = decoded(content, max_side, max_pixels)
    except Exception as error:  # a broken file can make the library raise anything, MemoryError too
        header, parts = {"problem": f"{type(error).__name__}: {error}"}, []
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n")
    for part in parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def limit_memory(soft: int, hard: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except (ImportError, ValueError, OSError):
        pass  # no such limit on this system


def decoded(content: bytes, max_side: int, max_pixels: int) -> tuple[dict[str, Any], list[bytes]]:
    """The header of the primary picture, and its profile, EXIF data and pixels, rotated as the file says."""
    import numpy as np
    import pi_heif

    pi_heif.options.DECODE_THREADS = 1
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    file = pi_heif.open_heif(content, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    image = file[file.primary_index]
    width, height = image.size
    header: dict[str, Any] = {"width": width, "height": height, "pictures": len(file)}
    if max(width, height) > max_side or width * height > max_pixels:
        return header, []
    nclx = image.info.get("nclx_profile") or {}
    if nclx.get("transfer_characteristics") in (PQ, HLG):
        return {"problem": "hdr"}, []
    limit_memory(PARSING + A_PIXEL * width * height, PARSING + A_PIXEL * max_pixels)
    premultiplied = image.premultiplied_alpha
    pixels = np.asarray(image)
    depth = int(image.info["bit_depth"])
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * np.float32(255 / ((1 << depth) - 1))).clip(0, 255).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if premultiplied:
        alpha = np.maximum(pixels[..., -1:], 1).astype(np.float32)
        pixels[..., :-1] = np.rint(np.minimum(pixels[..., :-1] * (255 / alpha), 255))
    profile, exif = image.info.get("icc_profile") or b"", image.info.get("exif") or b""
    header |= {"channels": pixels.shape[2], "profile": len(profile), "exif": len(exif)}
    header["primaries"] = nclx.get("color_primaries")
    return header, [profile, exif, np.ascontiguousarray(pixels).tobytes()]


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
