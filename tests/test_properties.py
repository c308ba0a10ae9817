"""Random pictures and masks in every format, depth, profile and orientation that docs/inputs.md claims.

The values that they should come out with are computed here from what was written, or read by another library.
"""

import io
from unittest.mock import ANY

import cv2
import numpy as np
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms
from test_inputs import to_srgb
from test_saving import ADOBE, P3, SRGB, icc

from srin.image_io import load_image, load_mask
from srin.remarks import collected

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
PROFILES = {"none": None, "sRGB": (SRGB, None), "P3": P3, "Adobe": ADOBE, "gamma": (SRGB, 2.2)}
EXACT = {"PNG": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True, "exact": True}}
LOSSY = {"JPEG": {"quality": 100, "subsampling": 0}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
seeds = st.integers(0, 2**32 - 1)


def pixels(seed, size, channels=(3,), low=0, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(low, high, (*size, *channels)).astype(dtype)


def exif_of(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@SETTINGS
@given(
    seeds, sizes, st.sampled_from(sorted(UPRIGHT)), st.sampled_from(sorted(PROFILES)), st.sampled_from([*EXACT, *LOSSY])
)
def test_colours_profiles_and_orientations(seed, size, orientation, name, kind):
    stored = pixels(seed, size, low=45, high=215)
    profile = PROFILES[name] and icc(*PROFILES[name])
    buffer = io.BytesIO()
    image, options = Image.fromarray(stored), {**EXACT, **LOSSY}[kind]
    image.save(buffer, kind, exif=exif_of(orientation), icc_profile=profile, **options)
    if kind == "JPEG":  # what another decoder makes of it
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        stored = cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), flags)[..., ::-1]
    loaded = load_image(buffer.getvalue())
    expected = UPRIGHT[orientation](stored)
    assert loaded.shape == expected.shape
    if name in ("none", "sRGB"):
        tolerance = {"JPEG": 1, "AVIF": 8}.get(kind, 0)
        assert np.abs(loaded.astype(int) - expected).max() <= tolerance
    else:
        tolerance = {"JPEG": 5, "AVIF": 25}.get(kind, 2.6)
        assert np.abs(loaded - to_srgb(expected, *PROFILES[name])).max() <= tolerance
        if kind in EXACT:  # littlecms, through Pillow
            transform = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                # Writing a profile to bytes rounds it, and ours is written. An unrounded one may give the next level.
                ImageCms.ImageCmsProfile(io.BytesIO(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())),
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            np.testing.assert_array_equal(loaded, UPRIGHT[orientation](np.asarray(transform)))


@SETTINGS
@given(
    seeds, sizes, st.sampled_from([np.uint8, np.uint16]), st.sampled_from(["rgb", "minisblack", "miniswhite"]),
    st.sampled_from(["contig", "separate"]), st.sampled_from("<>"), st.sampled_from([None, "deflate"]), st.booleans(),
)  # fmt: skip
def test_tiffs_of_every_layout(seed, size, dtype, photometric, planes, order, compression, tiled):
    colour = photometric == "rgb"
    array = pixels(seed, size, (3,) if colour else (), high=np.iinfo(dtype).max + 1, dtype=dtype)
    if photometric == "miniswhite" and dtype == np.uint16:
        order = "<"  # others are not read, and said
    options = {"photometric": photometric, "byteorder": order, "compression": compression}
    options |= {"tile": (16, 16)} if tiled else {}
    options |= {"planarconfig": planes} if colour else {}
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.moveaxis(array, -1, 0) if colour and planes == "separate" else array, **options)
    independent = tifffile.imread(io.BytesIO(buffer.getvalue()))
    if colour and planes == "separate":
        independent = np.moveaxis(independent, 0, -1)
    np.testing.assert_array_equal(independent, array)
    expected = array / np.iinfo(dtype).max * 255
    expected = 255 - expected if photometric == "miniswhite" else expected
    loaded = load_image(buffer.getvalue())
    loaded = loaded if colour else loaded[..., 0]
    assert np.abs(loaded - expected).max() <= (1 if dtype == np.uint16 else 0)


@SETTINGS
@given(seeds, sizes, st.sampled_from(["BMP", "PPM", "GIF", "PNG"]), st.sampled_from(["L", "1", "P", "RGB", "I;16"]))
def test_modes_of_the_plain_formats(seed, size, kind, mode):
    if (kind, mode) in {("PPM", "P"), ("BMP", "I;16"), ("GIF", "I;16"), ("GIF", "RGB"), ("GIF", "1")}:
        mode = "L"
    values = pixels(seed, size, (3,) if mode == "RGB" else ())
    if mode == "1":
        values = np.where(values > 127, 255, 0).astype(np.uint8)
        image = Image.fromarray(values > 0)
    elif mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(values)
    expected = values
    if mode == "P":
        table = pixels(seed + 1, (256,))
        image = Image.fromarray(values, "P")
        image.putpalette(table.tobytes())
        expected = table[values]
    buffer = io.BytesIO()
    image.save(buffer, kind)
    loaded = load_image(buffer.getvalue())
    np.testing.assert_array_equal(loaded, expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, 2))


@SETTINGS
@given(
    seeds, st.tuples(st.integers(4, 40), st.integers(4, 40)), st.sampled_from(sorted(UPRIGHT)),
    st.sampled_from(["soft 8", "soft 16", "on 8", "on 16", "label 16", "palette", "one bit", "colour", "alpha"]),
)  # fmt: skip
def test_masks_of_every_kind(seed, size, orientation, kind):
    rng = np.random.default_rng(seed)
    on = rng.random(size) < 0.4
    on[0, 0], on[-1, -1] = True, False
    soft = rng.integers(0, 256, size).astype(np.uint8)
    soft[0, :2] = 255, 0
    expected, remarks = np.where(on, 255, 0), []
    if kind == "soft 8":
        image, expected = Image.fromarray(soft), soft
    elif kind == "soft 16":
        image, expected = Image.fromarray(soft.astype(np.uint16) * 257), soft
    elif kind == "on 8":
        image = Image.fromarray(on.astype(np.uint8))
    elif kind == "on 16":
        image = Image.fromarray(on.astype(np.uint16) * 65535)
    elif kind == "label 16":
        image, remarks = Image.fromarray(on.astype(np.uint16) * int(rng.integers(1, 60_000))), [ANY]
    elif kind == "palette":
        image, remarks = Image.fromarray(on.astype(np.uint8) * int(rng.integers(1, 255)), "P"), [ANY]
        image.putpalette(rng.integers(30, 200, 768).astype(np.uint8).tobytes())
    elif kind == "one bit":
        image = Image.fromarray(on)
    elif kind == "colour":
        colour = rng.integers(0, 200, 3)
        colour[rng.integers(3)] = rng.integers(60, 255)
        image, remarks = Image.fromarray((on[..., None] * colour).astype(np.uint8)), [ANY]
    else:
        image, expected = Image.fromarray(np.dstack([pixels(seed, size), soft])), soft
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif_of(orientation))
    with collected() as said:
        mask = load_mask(buffer.getvalue())
    np.testing.assert_array_equal(mask, UPRIGHT[orientation](expected))
    assert said == remarks
