"""Every kind of picture is read as upright 8-bit sRGB; each kind of bad file has its own error message."""

import errno
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from srin import image_io
from srin.errors import ImageError, OutputError
from srin.image_io import load_image, load_labels, load_mask, load_rgba, save_image

RNG = np.random.default_rng(7)
PHOTO = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG whose header says width x height pixels, and which holds none."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"no pixels")


def test_every_kind_of_source_gives_the_same_picture(tmp_path):
    image = Image.fromarray(PHOTO)
    path = tmp_path / "photo.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), image, Image.open(path), PHOTO):
        np.testing.assert_array_equal(load_image(source), PHOTO)
        assert load_rgba(source)[1] is None


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_rotation_of_pictures_masks_and_labels(orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    gray = PHOTO[..., 0]
    photo, mask = (encoded(Image.fromarray(a), exif=exif) for a in (PHOTO, gray))
    np.testing.assert_array_equal(load_image(photo), upright(PHOTO))
    np.testing.assert_array_equal(load_mask(mask), upright(gray))
    np.testing.assert_array_equal(load_labels(mask), upright(gray))


def test_alpha_is_split_off_and_colours_stay_straight():
    alpha = RNG.integers(0, 256, (5, 8), dtype=np.uint8)
    rgba = np.dstack([PHOTO, alpha])
    for source in (encoded(Image.fromarray(rgba)), rgba):
        rgb, loaded = load_rgba(source)
        np.testing.assert_array_equal(rgb, PHOTO)
        np.testing.assert_array_equal(loaded, alpha)
        np.testing.assert_array_equal(load_mask(source), alpha)

    gray_alpha = encoded(Image.merge("LA", [Image.fromarray(PHOTO[..., 0]), Image.fromarray(alpha)]))
    rgb, loaded = load_rgba(gray_alpha)
    np.testing.assert_array_equal(rgb, PHOTO[..., [0, 0, 0]])
    np.testing.assert_array_equal(loaded, alpha)


def test_opaque_alpha_is_none_and_the_mask_is_then_the_luminance():
    opaque = np.dstack([PHOTO, np.full((5, 8), 255, np.uint8)])
    luminance = PHOTO @ [0.299, 0.587, 0.114]
    for source in (encoded(Image.fromarray(opaque)), opaque):
        assert load_rgba(source)[1] is None
        assert np.abs(load_mask(source) - luminance).max() <= 1


def test_palette_with_a_transparent_entry():
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
    rgb, alpha = load_rgba(encoded(palette, transparency=1))
    assert rgb.tolist() == [[[10, 20, 30], [200, 0, 0], [0, 0, 255]]]
    assert alpha is not None and alpha.tolist() == [[255, 0, 255]]
    assert load_labels(encoded(palette)).tolist() == [[0, 1, 2]]


def test_grayscale_one_bit_and_sixteen_bits():
    gray = np.array([[0, 1, 128, 255]], np.uint8)
    triple = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(gray))), triple)
    np.testing.assert_array_equal(load_image(gray), triple)
    sixteen = gray.astype(np.uint16) * 257 + np.array([[0, -100, 100, 0]]).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        deep = encoded(Image.fromarray(sixteen), kind)
        np.testing.assert_array_equal(load_image(deep), triple)
        np.testing.assert_array_equal(load_mask(deep), gray)
        np.testing.assert_array_equal(load_labels(deep), sixteen)
    bits = np.array([[True, False, True]])
    assert load_image(encoded(Image.fromarray(bits)))[..., 1].tolist() == [[255, 0, 255]]


def test_cmyk_jpeg():
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    pixel = load_image(encoded(cyan, "JPEG", quality=95))[8, 8].astype(int)
    assert np.abs(pixel - (0, 255, 255)).max() <= 3


def test_the_first_frame_of_an_animation():
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    gif = encoded(first, "GIF", save_all=True, append_images=[second])
    assert load_image(gif)[0, 0].tolist() == [255, 0, 0]


# Columns: red, green, blue primaries in XYZ relative to D50.
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def display_p3():
    """A profile of Display P3, which has the tone curve of sRGB."""
    return renamed_srgb(P3, "P3__")


def renamed_srgb(primaries, name):
    """The sRGB profile with other primaries and another name of four letters."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for column, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
        (start,) = struct.unpack_from(">I", profile, profile.index(tag) + 4)
        struct.pack_into(">3i", profile, start + 8, *np.rint(primaries[:, column] * 65536).astype(int))
    return bytes(profile).replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))


def p3_to_srgb(rgb):
    encoded_p3 = rgb / 255
    linear = np.where(encoded_p3 <= 0.04045, encoded_p3 / 12.92, ((encoded_p3 + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ (np.linalg.inv(SRGB) @ P3).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_an_embedded_profile_is_converted_to_srgb():
    pixels = np.array([[[200, 80, 60], [90, 180, 100], [128, 128, 128], [255, 255, 255]]], np.uint8)
    assert np.abs(p3_to_srgb(pixels) - pixels)[0, 0].max() > 10  # else the test could not fail
    image = Image.fromarray(pixels)
    loaded = load_image(encoded(image, icc_profile=display_p3()))
    assert np.abs(loaded - p3_to_srgb(pixels)).max() <= 2
    with_alpha = image.copy()
    with_alpha.putalpha(100)
    rgb, alpha = load_rgba(encoded(with_alpha, icc_profile=display_p3()))
    np.testing.assert_array_equal(rgb, loaded)
    assert alpha is not None and (alpha == 100).all()


def test_srgb_broken_and_unfitting_profiles_change_nothing():
    srgb = renamed_srgb(SRGB + 0.002, "sRGB")  # makers round differently, which must not shift a value
    for profile in (srgb, b"not a profile", display_p3()[:300]):
        np.testing.assert_array_equal(load_image(encoded(Image.fromarray(PHOTO), icc_profile=profile)), PHOTO)
    gray = encoded(Image.fromarray(PHOTO[..., 0]), icc_profile=display_p3())
    np.testing.assert_array_equal(load_image(gray), PHOTO[..., [0, 0, 0]])


def test_masks_of_zero_and_one_reach_255():
    bits = np.array([[0, 1, 1]], np.uint8)
    files = [encoded(Image.fromarray(array)) for array in (bits, bits > 0)]
    for source in (bits, bits > 0, *files):
        assert load_mask(source).tolist() == [[0, 255, 255]]
    assert load_mask(np.array([[0, 1, 2]], np.uint8)).tolist() == [[0, 1, 2]]


def test_one_pixel_is_a_picture():
    assert load_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]
    assert load_mask(np.zeros((1, 1), np.uint8)).tolist() == [[0]]


NOISE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("load", [load_image, load_rgba, load_mask, load_labels])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", r"is an empty file \(0 bytes\)"),
        (b"GIF or what? Only a text.", "not an image that can be read"),
        (encoded(Image.fromarray(NOISE), "JPEG")[:1500], "damaged or cut short"),
        (encoded(Image.fromarray(NOISE))[:5000], "damaged or cut short"),
        (encoded(Image.fromarray(NOISE))[:20], "not an image|damaged"),
        (encoded(Image.new("L", (20_000, 3))), r"too wide: it has 20000 x 3 pixels.* 16384 at most"),
        (Image.new("L", (3, 20_000)), "too high: it has 3 x 20000 pixels"),
        (png_header(12_000, 10_000), r"too large: 12000 x 10000 = 120.0 million pixels, and 100 million"),
        (png_header(16_000, 16_000), r"too large, 100 million .*256000000 pixels"),
        (12, "must be a path, bytes, a PIL image or an array, not int"),
        (np.zeros((0, 4), np.uint8), r"has no pixels \(4 x 0\)"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((4, 4), np.float32), "float32"),
    ],
)
def test_bad_input_is_named_in_a_sentence(load, source, message):
    with pytest.raises(ImageError, match=f"^The background .*{message}"):
        load(source, "background")


def test_bad_paths(tmp_path):
    for path in (tmp_path / "none.png", tmp_path, "nul\0.png"):
        with pytest.raises(ImageError, match="^The mask .*there is no such file"):
            load_mask(path)
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(ImageError, match=r"The image \(notes.txt\) is not an image"):
        load_image(text)


def test_a_bomb_is_refused_before_any_pixel_is_decoded(monkeypatch):
    def decode(self):
        raise AssertionError("decoded")

    bomb = png_header(12_000, 10_000)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(ImageError, match="too large"):
        load_image(bomb)


def test_floating_point_pictures_and_colour_label_maps_are_refused():
    tiff = encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
    for load in (load_image, load_mask):
        with pytest.raises(ImageError, match="floating-point"):
            load(tiff)
    for source in (encoded(Image.fromarray(PHOTO)), PHOTO):
        with pytest.raises(ImageError, match="labels need one channel|array of integers"):
            load_labels(source)


@pytest.mark.parametrize(("shape", "dtype"), [((5, 8), "u1"), ((5, 8, 3), "u1"), ((5, 8, 4), "u1"), ((5, 8), "u2")])
def test_png_keeps_every_bit(tmp_path, shape, dtype):
    array = RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    save_image(array, tmp_path / "out.PNG")
    with Image.open(tmp_path / "out.PNG") as image:
        np.testing.assert_array_equal(np.array(image), array)


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_lossy_formats_are_close_and_replace_an_existing_file(tmp_path, suffix, kind):
    ramp = np.dstack([np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))] * 3)
    path = tmp_path / f"out.{suffix}"
    path.write_text("old")
    save_image(ramp, path)
    with Image.open(path) as image:
        assert image.format == kind
    assert np.abs(load_image(path).astype(int) - ramp).max() <= 6
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_saved_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    save_image(PHOTO, tmp_path / "out.png")
    assert os.stat(tmp_path / "out.png").st_mode == os.stat(tmp_path / "plain").st_mode


def test_unwritable_outputs(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for name, message in [
        ("out.gif", "must end in one of .png"),
        ("out", "must end in one of .png"),
        ("missing/out.png", "missing does not exist. Create it first"),
        ("file/out.png", "file does not exist"),
        ("folder.png", "Is a directory"),
        ("x" * 300 + ".png", "too long"),
    ]:
        with pytest.raises(OutputError, match=message):
            save_image(PHOTO, tmp_path / name)
    with pytest.raises(OutputError, match="as JPEG.*PNG may work"):
        save_image(np.zeros((4, 4, 4), np.uint8), tmp_path / "out.jpg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]
    assert not (tmp_path / "missing").exists()


def failing_open(number):
    """An `open` whose files take one half of what is written, then fail with this errno."""

    def fake(path, mode):
        file = open(path, mode)
        write = file.write

        def half(data):
            write(bytes(data)[: len(data) // 2])
            raise OSError(number, os.strerror(number))

        return Wrapped(file, half)

    class Wrapped:
        def __init__(self, file, write):
            self.file, self.write = file, write

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

    return fake


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space is left on the disk"),
        (errno.EDQUOT, "no space is left on the disk"),
        (errno.EACCES, "not permitted"),
        (errno.EROFS, "not permitted"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, number, message):
    save_image(PHOTO, tmp_path / "old.png")
    before = (tmp_path / "old.png").read_bytes()
    monkeypatch.setattr(image_io, "open", failing_open(number), raising=False)
    for name in ("old.png", "new.png"):
        with pytest.raises(OutputError, match=message):
            save_image(255 - PHOTO, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="not permitted"):
        save_image(PHOTO, tmp_path / "out.png")
