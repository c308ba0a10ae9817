"""HEIC: turned once, in its own colours, 10 bits, the primary of several pictures; bad files give error messages."""

import io
import struct
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image
from test_inputs import disc, to_srgb
from test_saving import P3, icc

from srin import heic
from srin.cli import main
from srin.errors import ImageError
from srin.image_io import load_image, load_rgba, save_photo

Y, X = np.mgrid[:64, :96]
SMOOTH = np.dstack([X * 2 + 20, Y * 3 + 30, 200 - X - Y // 2]).astype(np.uint8)  # survives the codec
CLOSE = 6  # levels that the codec may change


def encoded(image, **options):
    file = pillow_heif.from_pillow(image) if isinstance(image, Image.Image) else image
    buffer = io.BytesIO()
    file.save(buffer, quality=95, chroma=444, **options)
    return buffer.getvalue()


def test_a_heic_is_read_whatever_it_is_called(tmp_path):
    content = encoded(Image.fromarray(SMOOTH))
    for name in ("photo.heic", "photo.HEIF", "photo.jpg", "photo"):
        (tmp_path / name).write_bytes(content)
        loaded = load_image(tmp_path / name)
        assert np.abs(loaded.astype(int) - SMOOTH).max() <= CLOSE


def test_no_opener_is_registered(tmp_path):
    """Pillow itself still can't open HEIC, so every file goes through our limits. This runs in a process of its own,
    since libraries that other tests use register an opener."""
    path = tmp_path / "photo.heic"
    path.write_bytes(encoded(Image.fromarray(SMOOTH)))
    script = """
import sys
from PIL import Image, UnidentifiedImageError
from srin.image_io import load_image
load_image(sys.argv[1])
try:
    Image.open(sys.argv[1])
except UnidentifiedImageError:
    print("not identified")
"""
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "not identified"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_once(orientation, tmp_path):
    """Phones write the same turn twice: in the file itself, and in EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Model] = "Phone 3"
    upright = [
        lambda a: a, lambda a: a[:, ::-1], lambda a: a[::-1, ::-1], lambda a: a[::-1], lambda a: a.swapaxes(0, 1),
        lambda a: np.rot90(a, -1), lambda a: a[::-1, ::-1].swapaxes(0, 1), lambda a: np.rot90(a, 1),
    ][orientation - 1](SMOOTH)  # fmt: skip
    content = encoded(Image.fromarray(SMOOTH), exif=exif.tobytes())
    loaded = load_image(content)
    assert loaded.shape == upright.shape and np.abs(loaded.astype(int) - upright).max() <= CLOSE
    save_photo(loaded, tmp_path / "out.png", content, "note")
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif()[ExifTags.Base.Model] == "Phone 3" and out.getexif()[ExifTags.Base.Orientation] == 1
    np.testing.assert_array_equal(load_image(tmp_path / "out.png"), loaded)


def test_its_profile_counts():
    image = Image.fromarray(SMOOTH)
    image.info["icc_profile"] = icc(*P3)
    loaded = load_image(encoded(image))
    assert np.abs(loaded - to_srgb(SMOOTH, *P3)).mean() < 3 and np.abs(loaded.astype(int) - SMOOTH).max() > 12


def test_ten_bits_grey_and_transparency():
    deep = np.clip(SMOOTH.astype(np.uint16) * 257, 0, 65535)
    file = pillow_heif.from_bytes("RGB;16", (96, 64), deep.tobytes())
    content = encoded(file)
    assert pillow_heif.open_heif(content).info["bit_depth"] == 10
    assert np.abs(load_image(content).astype(int) - SMOOTH).max() <= CLOSE
    grey = load_image(encoded(Image.fromarray(SMOOTH[..., 0])))
    assert np.abs(grey[..., 1].astype(int) - SMOOTH[..., 0]).max() <= CLOSE
    rgb, alpha = load_rgba(encoded(Image.fromarray(np.dstack([SMOOTH, 255 - SMOOTH[..., 0]]))))
    assert np.abs(alpha.astype(int) - (255 - SMOOTH[..., 0])).max() <= CLOSE
    assert np.abs(rgb.astype(int) - SMOOTH).max() <= CLOSE


def test_the_primary_of_several():
    file = pillow_heif.from_pillow(Image.new("RGB", (40, 30), "red"))
    file.add_from_pillow(Image.fromarray(SMOOTH))
    file.add_from_pillow(Image.new("RGB", (50, 30), "blue"))
    content = encoded(file, primary_index=1, save_all=True)
    assert np.abs(load_image(content).astype(int) - SMOOTH).max() <= CLOSE


def with_size(content, width, height):
    """The file with another size in every box that states one."""
    at = -1
    content = bytearray(content)
    while (at := content.find(b"ispe", at + 1)) >= 0:
        struct.pack_into(">II", content, at + 8, width, height)
    return bytes(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c[: len(c) // 2], "damaged or cut short"),
        (lambda c: c[:40], "damaged or cut short"),
        (lambda c: c[:200] + bytes(len(c) - 200), "damaged or cut short"),
        (lambda c: with_size(c, 60_000, 60_000), "too wide|damaged|large"),
        (lambda c: with_size(c, 16_000, 16_000), "too large|damaged"),
    ],
)
def test_bombs_and_broken_files(change, words):
    with pytest.raises(ImageError, match=words):
        load_image(change(encoded(Image.fromarray(SMOOTH))), "photo")


def test_the_decoder_is_kept_within_memory_and_time(tmp_path, monkeypatch):
    """A decoder that asks for too much memory, or never ends, gives an error message."""
    content = encoded(Image.fromarray(SMOOTH))
    worker = heic.WORKER.read_text()
    endless = "exec('while True: pass')"
    for body, words in (("bytearray(3 << 30)", "damaged or cut short .MemoryError"), (endless, "ended early|longer")):
        changed = worker.replace("    import numpy as np\n", f"    {body}\n    import numpy as np\n", 1)
        assert changed != worker
        path = tmp_path / "worker.py"
        try:
            path.write_text(changed)
            monkeypatch.setattr(heic, "WORKER", path)
            monkeypatch.setattr(heic, "DECODE_SECONDS", 2)
            with pytest.raises(ImageError, match=words):
                load_image(content)
        finally:
            path.unlink()


def test_without_the_library_it_is_said(monkeypatch):
    monkeypatch.setattr(heic.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match="HEIC picture, and reading those takes `pip install pi-heif`"):
        load_image(encoded(Image.fromarray(SMOOTH)))


def test_a_folder_from_a_phone(tmp_path, capsys):
    for name in ("c", "m"):
        (tmp_path / name).mkdir()
    (tmp_path / "c" / "IMG_1.HEIC").write_bytes(encoded(Image.fromarray(SMOOTH)))
    Image.fromarray(disc(64, 96)).save(tmp_path / "m" / "IMG_1.png")
    command = ["harmonize", tmp_path / "c", tmp_path / "m", "-o", tmp_path / "out", "--method", "reinhard"]
    assert main([str(part) for part in command]) == 0 and "1 of 1" in capsys.readouterr().err
    assert load_image(tmp_path / "out" / "IMG_1.png").shape == SMOOTH.shape
