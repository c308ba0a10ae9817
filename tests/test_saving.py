"""Downloads keep colours and camera data, drop the place, and contain the settings."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from srin.compare import animation
from srin.composite import Composite, mixed
from srin.image_io import load_image, save_photo

RNG = np.random.default_rng(2)


def noise(height=40, width=60):
    return RNG.integers(30, 220, (height, width, 3), dtype=np.uint8)


def camera_photo(path, profile=None):
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Pinhole 3"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber] = 8.0
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 24.0)
    Image.fromarray(noise()).save(path, quality=95, exif=exif, icc_profile=profile)
    return path


def test_exif_is_kept_without_the_place_and_with_the_settings(tmp_path):
    original = camera_photo(tmp_path / "photo.jpg")
    picture = load_image(original)
    for extension in ("png", "jpg", "webp"):
        path = tmp_path / f"result.{extension}"
        save_photo(picture, path, original, json.dumps({"method": "srin"}))
        with Image.open(path) as saved:
            exif = saved.getexif()
            details = exif.get_ifd(ExifTags.IFD.Exif)
            assert saved.size == (40, 60)  # upright
        assert exif[ExifTags.Base.Model] == "Pinhole 3" and exif[ExifTags.Base.Orientation] == 1
        assert details[ExifTags.Base.FNumber] == 8
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
        assert b'"method": "srin"' in details[ExifTags.Base.UserComment]
        assert b"GPSLatitude" not in path.read_bytes()
    assert np.array_equal(load_image(tmp_path / "result.png"), picture)


# Primaries (columns) and white in XYZ under D50, and the curve's exponent, as their ICC profiles state them.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]), 563 / 256
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]), None


def srgb_curve(values):
    """Linear light of encoded sRGB values, both 0 to 1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def icc(primaries, exponent):
    """The bytes of an ICC profile, version 2, for a monitor."""
    xyz = [b"XYZ \0\0\0\0" + struct.pack(">3i", *np.rint(column * 65536).astype(int)) for column in primaries.T]
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    table = np.linspace(0, 1, 1024)
    table = srgb_curve(table) if exponent is None else table**exponent
    curve = b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *np.rint(table * 65535).astype(int))
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0\0\0\0\0", b"wtpt": white}
    tags |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), xyz, strict=True)) | {b"%cTRC" % c: curve for c in b"rgb"}
    index, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        index += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s", 128 + len(index + data), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s28x3i48x", 2026, 1, 1, 0, 0, 0, b"acsp", 63190, 65536, 54061)
    return head + index + data


@pytest.mark.parametrize(("primaries", "exponent"), [ADOBE, P3], ids=["Adobe RGB", "Display P3"])
def test_wide_colours_are_right_when_read_and_when_saved(tmp_path, primaries, exponent):
    """Read as sRGB by the profile's own arithmetic, and written back as the same numbers under the same profile."""
    profile = icc(primaries, exponent)
    encoded = np.random.default_rng(5).integers(90, 190, (6, 10, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    original = tmp_path / "photo.jpg"
    Image.fromarray(encoded).save(original, quality=100, subsampling=0, icc_profile=profile)
    with Image.open(original) as photo:
        stored = np.asarray(photo)
    linear = srgb_curve(stored / 255) if exponent is None else (stored / 255) ** exponent
    linear = (linear @ primaries.T @ np.linalg.inv(SRGB).T).clip(0, 1)
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    picture = load_image(original)
    assert np.abs(picture - expected).max() < 2.5 and np.abs(picture.astype(int) - stored).max() > 8
    inside = (expected > 2).all(axis=2) & (expected < 253).all(axis=2)  # sRGB is narrower, and clips the rest
    assert inside.mean() > 0.6
    for extension in ("png", "jpg", "webp"):
        path = tmp_path / f"result.{extension}"
        save_photo(picture, path, original, "")
        with Image.open(path) as saved:
            assert saved.info["icc_profile"] == profile
            error = np.abs(np.asarray(saved.convert("RGB")).astype(int) - stored)[inside]
        assert error.mean() < {"png": 0.1, "jpg": 0.5, "webp": 5}[extension]


def test_a_profile_for_other_channels_is_replaced(tmp_path):
    original = camera_photo(tmp_path / "odd.jpg", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    path = tmp_path / "result.png"
    save_photo(load_image(original), path, original, "")
    with Image.open(path) as saved:
        kept = ImageCms.getOpenProfile(io.BytesIO(saved.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(kept)
    assert np.array_equal(load_image(path), load_image(original))


def test_strength_and_feather_take_back_inside_the_mask_only():
    before, after = noise(), noise()
    mask = np.zeros(before.shape[:2], np.uint8)
    mask[10:30, 15:45] = 255
    composite = Composite(before, mask)
    harmonized = np.where(mask[..., None] > 0, after, before)
    assert mixed(harmonized, composite, 1, 0) is harmonized
    assert np.array_equal(mixed(harmonized, composite, 0, 0), before)
    half = mixed(harmonized, composite, 0.5, 0).astype(float)
    assert np.abs(half - (before.astype(float) + harmonized) / 2).max() <= 0.5
    soft = mixed(harmonized, composite, 1, 4)
    assert np.array_equal(soft[mask == 0], before[mask == 0])
    moved, could = (np.abs(picture.astype(float) - before).sum(axis=2) for picture in (soft, after))
    change = moved / np.maximum(could, 1)
    assert change[20, 30] > 0.9 and 0.4 < change[20, 15:17].mean() < 0.7


def test_the_animation_goes_there_and_back(tmp_path):
    before, after = np.full((20, 30, 3), 40, np.uint8), np.full((20, 30, 3), 200, np.uint8)
    animation(before, after, tmp_path / "both.webp")
    with Image.open(tmp_path / "both.webp") as moving:
        shades = []
        for frame in range(moving.n_frames):
            moving.seek(frame)
            shades.append(np.asarray(moving.convert("RGB")).mean())
        assert moving.info["loop"] == 0
    assert abs(shades[0] - 40) < 4 and abs(max(shades) - 200) < 8
    assert shades.index(max(shades)) == len(shades) // 2 and shades[1] < shades[2]
