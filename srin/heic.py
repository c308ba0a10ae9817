"""Reads HEIC pictures, as phones make them. libheif and libde265 decode them in a process with memory and time limits.

The library (pi-heif) is imported in that process alone and is not registered with Pillow, so nothing else can open HEIC.
docs/SECURITY.md says what it bundles.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from srin.errors import ImageError
from srin.formats import HDR
from srin.limits import DECODE_SECONDS, MAX_PIXELS, MAX_SIDE, check_size

WORKER = Path(__file__).with_name("heic_worker.py")
STARTING = 20  # seconds of wall-clock time that a process may take to start and to send its result, besides decoding
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
CONVERT = "Open it on the phone or computer that made it, and export it as JPEG"


def decode(content: bytes, what: str, max_exif: int) -> Image.Image:
    """The primary picture of a HEIC file, upright, 8 bits a channel, with its profile and EXIF data in `info`.

    EXIF's orientation is reset to 1: in HEIC, the rotation in the file itself counts, and it has been applied.
    max_exif: bytes; larger EXIF data are dropped. Raises ImageError.
    """
    if importlib.util.find_spec("pi_heif") is None:
        raise ImageError(f"The {what} is a HEIC picture, and reading those takes `pip install pi-heif`. {CONVERT}.")
    command = [sys.executable, "-I", str(WORKER), str(MAX_SIDE), str(MAX_PIXELS), str(DECODE_SECONDS)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=DECODE_SECONDS + STARTING)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"The {what} takes far longer to decode than a picture of its size should.") from error
    except OSError as error:
        raise ImageError(f"The {what} is a HEIC picture, and its decoder can't be started ({error.strerror}).") from error
    line, _, rest = done.stdout.partition(b"\n")
    header = json.loads(line) if line.startswith(b"{") else {"problem": "the decoder ended early"}
    if header.get("problem") == "hdr":
        raise ImageError(f"The {what} {HDR}")
    if "problem" in header:
        raise ImageError(f"The {what} is a HEIC picture that is damaged or cut short ({header['problem']}). {CONVERT}.")
    return _assembled(header, rest, what, max_exif)


def _assembled(header: dict[str, Any], rest: bytes, what: str, max_exif: int) -> Image.Image:
    size = (header["width"], header["height"])
    check_size(*size, what)
    profile, rest = rest[: header["profile"]], rest[header["profile"] :]
    exif, pixels = rest[: header["exif"]], rest[header["exif"] :]
    if len(pixels) != size[0] * size[1] * header["channels"]:
        raise ImageError(f"The {what} is a HEIC picture that is damaged or cut short. {CONVERT}.")
    image = Image.frombytes(MODES[header["channels"]], size, pixels)
    if profile:
        image.info["icc_profile"] = profile
    image.info["primaries"] = header["primaries"]
    if exif and len(exif) <= max_exif:
        kept = Image.Exif()
        try:
            kept.load(exif)
            kept[ExifTags.Base.Orientation] = 1
            image.info["exif"] = kept.tobytes()
        except Exception:  # on damaged data Pillow raises nearly anything
            pass
    return image
