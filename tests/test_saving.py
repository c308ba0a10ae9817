"""What is taken away: colours and camera data kept, the place not, the settings inside."""

import io
import json

import numpy as np
from PIL import ExifTags, Image, ImageCms

from srin.compare import animation
from srin.composite import Composite
from srin.image_io import load_image, save_photo
from srin.ui.saving import mixed

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


def test_the_photos_own_profile_is_embedded_and_means_the_same_colours(tmp_path):
    # A profile with other primaries and another curve than sRGB's would be best, but LittleCMS makes none: LAB won't fit
    # RGB pixels and is ignored, as when reading.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    original = camera_photo(tmp_path / "photo.jpg", srgb)
    path = tmp_path / "result.png"
    save_photo(load_image(original), path, original, "")
    with Image.open(path) as saved:
        kept = ImageCms.getOpenProfile(io.BytesIO(saved.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(kept)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    save_photo(load_image(original), path, camera_photo(tmp_path / "odd.jpg", lab), "")
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
