"""Files as people have them: colours, transparency, all kinds of masks, and remarks on them."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from test_saving import ADOBE, P3, SRGB, icc, srgb_curve

from srin import Harmonizer
from srin.cli import main
from srin.composite import Composite, crop_to_mask
from srin.errors import ImageError, MaskError
from srin.image_io import load_image, load_mask, load_rgba, save_photo
from srin.mask_values import extent, looks_inverted
from srin.remarks import InputWarning, collected
from srin.segmentation.semantic_map import crop_labels

RNG = np.random.default_rng(11)
MUTED = RNG.integers(70, 190, (40, 60, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def disc(height=40, width=60, value=255):
    y, x = np.mgrid[:height, :width]
    return np.where((y - height / 2) ** 2 + (x - width / 2) ** 2 < 150, value, 0).astype(np.uint8)


def remarks_of(load, *arguments):
    with collected() as said:
        value = load(*arguments)
    return value, said


# --------------------------------------------------------------------------- colours


def renamed(profile, name):
    """A profile whose description is `name`, of the same length as "wide"."""
    assert len(name) == 4
    return profile.replace(b"wide\0", name.encode() + b"\0")


def to_srgb(stored, primaries, exponent):
    linear = srgb_curve(stored / 255) if exponent is None else (stored / 255) ** exponent
    linear = (linear @ primaries.T @ np.linalg.inv(SRGB).T).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_profile_is_known_by_what_it_does_and_not_by_its_name():
    """P3 that calls itself sRGB is converted; sRGB of another name is not touched; gamma 2.2 is no sRGB."""
    wide = renamed(icc(*P3), "sRGB")
    assert ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(wide))).startswith("sRGB")
    loaded = load_image(encoded(Image.fromarray(MUTED), icc_profile=wide))
    assert np.abs(loaded - to_srgb(MUTED, *P3)).max() < 2.5 and np.abs(loaded.astype(int) - MUTED).max() > 8
    same = icc(SRGB, None)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(MUTED), icc_profile=same)), MUTED)
    dark = np.full((4, 4, 3), 12, np.uint8)
    loaded = load_image(encoded(Image.fromarray(dark), icc_profile=icc(SRGB, 2.2)))
    assert np.abs(loaded - to_srgb(dark, SRGB, 2.2)).max() < 1.5 and np.abs(loaded.astype(int) - dark).min() > 3


def exif_of_colour_space(number, index):
    """EXIF data that name a colour space and, in an IFD of their own, an interoperability index or none."""
    exif = Image.Exif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ColorSpace] = number
    if index:
        details[ExifTags.IFD.Interop] = {1: index, 2: b"0100"}
    return exif.tobytes()


def test_adobe_rgb_by_exif_alone():
    image = Image.fromarray(MUTED)
    options = {"quality": 100, "subsampling": 0}
    stored = np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG", **options))))
    adobe, said = remarks_of(load_image, encoded(image, "JPEG", exif=exif_of_colour_space(65535, "R03"), **options))
    assert not said and np.abs(adobe - to_srgb(stored, *ADOBE)).max() < 2.5
    assert np.abs(adobe.astype(int) - stored).max() > 8
    for number, index, remark in ((65535, None, True), (65535, "R98", True), (1, "R03", False), (1, None, False)):
        plain, said = remarks_of(load_image, encoded(image, "JPEG", exif=exif_of_colour_space(number, index), **options))
        np.testing.assert_array_equal(plain, stored)
        assert bool(said) == remark and all("read as sRGB" in sentence for sentence in said)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tagged = encoded(image, "JPEG", exif=exif_of_colour_space(65535, "R03"), icc_profile=profile, **options)
    np.testing.assert_array_equal(load_image(tagged), stored)  # an embedded profile decides


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_sixteen_bits_in_planes(order, tile, channels, compression):
    deep = RNG.integers(0, 65536, (37, 53, channels)).astype(np.uint16)
    deep[..., 3:] = 65535 // 2
    more = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    planes = np.moveaxis(deep, -1, 0)
    how = {"photometric": "rgb", "planarconfig": "separate", "byteorder": order, "tile": tile}
    content = tiff(planes, compression=compression, **how, **more)
    rgb, alpha = load_rgba(content)
    assert np.abs(rgb - deep[..., :3] / 257).max() <= 1 and (alpha is None) == (channels == 3)


def test_where_zero_is_white():
    deep = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)
    content = tiff(deep, photometric="miniswhite")
    assert np.abs(load_image(content)[..., 1] - (65535 - deep.astype(int)) / 257).max() <= 0.51
    eight = (deep >> 8).astype(np.uint8)
    np.testing.assert_array_equal(load_image(tiff(eight, photometric="miniswhite"))[..., 0], 255 - eight)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiff(np.zeros((9, 9, 3), np.float32), photometric="rgb"), "TIFF of 3 x 32 bits, floating-point numbers"),
        (tiff(np.zeros((2, 9, 9), np.uint8), photometric="minisblack", planarconfig="separate",
              extrasamples=["unassalpha"]), "plane apart|TIFF"),
        (tiff(np.zeros((9, 9, 3), np.uint8), photometric="rgb", extratags=[(50706, 1, 4, bytes([1, 4, 0, 0]), True)]),
         "camera's raw file"),
        (tiff(np.zeros((4, 9, 9), np.uint8), photometric="rgb", planarconfig="separate", extrasamples=["assocalpha"]),
         "TIFF of 4 x 8 bits, whole numbers in planes apart"),
        (tiff(np.zeros((4, 9, 9), np.uint16), photometric="separated", planarconfig="separate"),
         "4 x 16 bits.*planes apart"),
        (tiff(np.zeros((9, 9), np.uint8), photometric="minisblack", byteorder=">", bigtiff=True), "BigTIFF"),
        (tiff(np.zeros((9, 9), np.uint16), photometric="miniswhite", byteorder=">"), "16 bits.*where 0 is white"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL file"),
        (b"8BPS\0\1" + bytes(40), "Photoshop file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "HEIC picture"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_named_with_what_to_do(content, words):
    with pytest.raises(ImageError, match=words) as raised:
        load_image(content)
    assert "xport" in str(raised.value) or "ave it" in str(raised.value)


# --------------------------------------------------------------------------- transparency


def transparent_composite(hidden):
    rgb = MUTED.copy()
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[:, :12] = 0
    alpha[:, 12] = 90
    rgb[:, :12] = hidden
    return np.dstack([rgb, alpha])


@pytest.mark.parametrize("method", ["reinhard", "histogram", "srin"])
def test_hidden_colours_do_not_matter_and_the_alpha_stays(method, tmp_path):
    harmonizer = Harmonizer.from_pretrained(method)
    black, white = (harmonizer.harmonize(transparent_composite(hidden), disc()) for hidden in (0, 255))
    np.testing.assert_array_equal(black, white)
    np.testing.assert_array_equal(black[..., 3], transparent_composite(0)[..., 3])
    seen = (black[..., 3] > 0) & (disc() == 0)
    np.testing.assert_array_equal(black[seen][:, :3], MUTED[seen])
    Image.fromarray(transparent_composite(255)).save(tmp_path / "c.png")
    Image.fromarray(disc()).save(tmp_path / "m.png")
    command = ["harmonize", str(tmp_path / "c.png"), str(tmp_path / "m.png"), "--method", method, "-o"]
    assert main([*command, str(tmp_path / "out.png")]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), black)
    assert main([*command, str(tmp_path / "out.jpg")]) == 1 and not (tmp_path / "out.jpg").exists()


def test_odd_transparency():
    rgba = np.dstack([MUTED, disc()])
    assert Composite.load(rgba, rgba).alpha is None  # the file's own transparency as the mask
    alone = np.dstack([MUTED, np.where(disc(), 255, 0).astype(np.uint8)])
    alone[0, 0, 3] = 0
    with pytest.raises(MaskError, match="nothing but the object"):
        Composite.load(alone, np.where(disc(), 200, 0).astype(np.uint8))
    nothing = np.dstack([MUTED, np.zeros(MUTED.shape[:2], np.uint8)])
    composite, said = remarks_of(Composite.load, nothing, disc())
    assert composite.alpha is None and "transparent everywhere" in said[0]


# --------------------------------------------------------------------------- masks


def palette(indices, colours):
    image = Image.fromarray(indices, "P")
    image.putpalette([part for colour in colours for part in colour])
    return encoded(image)


ON = disc() > 0
LABELS = {
    "palette, dark red": palette(ON.astype(np.uint8), [(0, 0, 0), (128, 0, 0)]),
    "palette, three labels": palette(np.where(ON, np.arange(60)[None] % 2 + 1, 0).astype(np.uint8),
                                     [(0, 0, 0), (128, 0, 0), (0, 0, 90)]),
    "palette, another colour for off": palette(ON.astype(np.uint8), [(40, 40, 90), (200, 180, 20)]),
    "palette, red and white": palette(np.where(ON, np.arange(60)[None] % 2 + 1, 0).astype(np.uint8),
                                      [(0, 0, 0), (128, 0, 0), (255, 255, 255)]),
    "16 bits, label 1": encoded(Image.fromarray(ON.astype(np.uint16))),
    "16 bits, label 7": encoded(Image.fromarray(ON.astype(np.uint16) * 7)),
    "16 bits, label 255": encoded(Image.fromarray(ON.astype(np.uint16) * 255)),
    "16 bits, label 1000": encoded(Image.fromarray(ON.astype(np.uint16) * 1000)),
    "32 bits, label 70000": encoded(Image.fromarray(ON.astype(np.int32) * 70_000), "TIFF"),
    "green": encoded(Image.fromarray(ON[..., None] * np.array([0, 200, 0], np.uint8))),
    "red and white": encoded(Image.fromarray(np.where(
        ON[..., None], np.where(np.arange(60)[None, :, None] < 30, [200, 0, 0], [255, 255, 255]), 0).astype(np.uint8))),
    "dark grey, three channels": encoded(Image.fromarray(ON[..., None] * np.array([60, 60, 60], np.uint8))),
    "two colours": encoded(Image.fromarray(np.where(
        ON[..., None], np.where(np.arange(60)[None, :, None] < 30, [200, 0, 0], [0, 0, 120]), 0).astype(np.uint8))),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
def test_labels_and_colours_become_off_and_on_with_a_remark(name):
    mask, said = remarks_of(load_mask, LABELS[name])
    np.testing.assert_array_equal(mask, np.where(ON, 255, 0))
    assert len(said) == 1 and "The mask" in said[0]
    with pytest.warns(InputWarning, match="The mask"):
        load_mask(LABELS[name])


def test_masks_that_are_as_they_should_be_stay_as_they_are():
    soft = np.minimum(disc(), 100)
    white = np.where(ON, 65535, 0).astype(np.uint16)
    ramp = Image.fromarray(np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1)))
    for content, expected in (
        (encoded(Image.fromarray(soft)), soft),
        (encoded(Image.fromarray(white)), np.where(ON, 255, 0)),
        (encoded(ramp), np.asarray(ramp)),
        (soft, soft),
        (ON.astype(np.uint8) * 3, ON * 3),
        (encoded(Image.fromarray(ON[..., None] * np.array([255] * 3, np.uint8)), "JPEG", quality=95), None),
        (palette(ON.astype(np.uint8), [(0, 0, 0), (255, 255, 255)]), np.where(ON, 255, 0)),
        (palette((~ON).astype(np.uint8), [(255, 255, 255), (0, 0, 0)]), np.where(ON, 255, 0)),
        (
            palette(np.where(ON, 1, np.arange(60)[None] % 2 * 2).astype(np.uint8), [(90,) * 3, (255,) * 3, (0,) * 3]),
            np.where(ON, 255, np.where(np.arange(60)[None] % 2, 0, 90)),
        ),
        (encoded(Image.fromarray(MUTED)), np.asarray(Image.fromarray(MUTED).convert("L"))),
    ):
        mask, said = remarks_of(load_mask, content)
        assert not said
        if expected is not None:
            np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("almost", [128, 200, 254])
def test_an_alpha_that_selects_everything_is_no_mask(almost):
    white_on_black = np.where(ON, 255, 0).astype(np.uint8)
    for alpha in (np.full(ON.shape, almost, np.uint8), np.where(np.arange(60) == 5, almost, 255) + np.zeros(ON.shape)):
        picture = np.dstack([white_on_black] * 3 + [alpha.astype(np.uint8)])
        for source in (picture, encoded(Image.fromarray(picture))):
            np.testing.assert_array_equal(load_mask(source), white_on_black)


def test_specks_in_an_alpha_are_no_mask_where_the_colours_are_one():
    alpha = np.full(ON.shape, 255, np.uint8)
    alpha[3, 4:7] = 0
    white_on_black, photo = np.where(ON, 255, 0).astype(np.uint8), MUTED[..., 0]
    for gray, expected in ((white_on_black, white_on_black), (photo, alpha)):
        picture = np.dstack([gray] * 3 + [alpha])
        for source in (picture, encoded(Image.fromarray(picture))):
            np.testing.assert_array_equal(load_mask(source), expected)


def test_small_objects_and_colours_without_black():
    small = np.zeros((300, 400, 3), np.uint8)
    small[100:106, 200:206] = 0, 90, 0
    mask, said = remarks_of(load_mask, encoded(Image.fromarray(small)))
    np.testing.assert_array_equal(mask, np.where(small[..., 1], 255, 0))
    assert "colour picture" in said[0]
    scene = np.where(ON[..., None], [220, 220, 0], [70, 130, 180]).astype(np.uint8)
    mask, said = remarks_of(load_mask, encoded(Image.fromarray(scene)))
    np.testing.assert_array_equal(mask, np.asarray(Image.fromarray(scene).convert("L")))
    assert "without black" in said[0]


def test_inverted_masks_get_a_remark_and_can_be_inverted(tmp_path, capsys):
    mask = np.where(ON, 255, 0).astype(np.uint8)
    assert looks_inverted(255 - mask) and not looks_inverted(mask)
    erased = np.dstack([MUTED, 255 - mask])
    for source in (255 - mask, encoded(Image.fromarray(255 - mask)), erased, encoded(Image.fromarray(erased))):
        _, said = remarks_of(Composite.load, MUTED, source)
        assert len(said) == 1 and "--invert-mask" in said[0] and "Invert" in said[0]
    np.testing.assert_array_equal(Composite.load(MUTED, 255 - mask, invert_mask=True).mask, mask)
    paths = [tmp_path / name for name in ("c.png", "m.png", "w.png")]
    for path, array in zip(paths, (MUTED, mask, 255 - mask), strict=True):
        Image.fromarray(array).save(path)
    results = []
    for number, given in enumerate((paths[1:2], paths[2:], [paths[2], "--invert-mask"])):
        out = tmp_path / f"out{number}.png"
        command = ["harmonize", str(paths[0]), *map(str, given), "-o", str(out), "--method", "reinhard"]
        assert main(command) == 0
        assert ("looks inverted" in capsys.readouterr().err) == (number == 1)
        results.append(load_image(out))
    np.testing.assert_array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[1])


def test_the_corpus_looks_right_and_its_inversions_inverted(corpus):
    masks = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted((corpus / "masks").iterdir())[::8]]
    assert len(masks) > 1000
    assert np.mean([looks_inverted(mask) for mask in masks]) < 0.01
    assert np.mean([looks_inverted(255 - mask) for mask in masks]) > 0.9


def test_a_faint_speck_moves_nothing():
    big = np.zeros((300, 400), np.uint8)
    big[120:200, 150:260] = 255
    big[118:120, 150:260] = 90  # a soft edge belongs to the object
    speck = big.copy()
    speck[3, 5], speck[290, 390] = 1, 127
    assert extent(big) == extent(speck) == (150, 118, 110, 82) and extent(np.minimum(big, 127)) == (0, 0, 0, 0)
    photo = RNG.integers(0, 255, (300, 400, 3), dtype=np.uint8)
    for one, other in zip(crop_to_mask(photo, big), crop_to_mask(photo, speck), strict=True):
        np.testing.assert_array_equal(one, other)
    labels = RNG.integers(0, 9, (300, 400))
    np.testing.assert_array_equal(crop_labels(labels, big), crop_labels(labels, speck))


def test_the_extent_of_a_large_mask():
    large = np.zeros((2500, 3500), np.uint8)
    large[1001:1404, 2003:2444] = 200
    large[1404:1409, 2003:2010] = 1
    large[2499, 0] = 99
    assert extent(large) == (2003, 1001, 441, 408)


# --------------------------------------------------------------------------- saving


def test_values_beyond_srgb_are_kept_outside_the_mask(tmp_path):
    """Display P3 at its most colourful: sRGB would clip it. The command line writes it as the page does."""
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:, :30], stored[:, 30:] = (255, 10, 10), (20, 250, 30)
    stored[::3] //= 2
    exif = Image.Exif()
    exif[ExifTags.Base.Model], exif[ExifTags.Base.Copyright] = "Pinhole 3", "A. Person"
    profile = icc(*P3)
    composite, mask = tmp_path / "c.png", tmp_path / "m.png"
    Image.fromarray(stored).save(composite, icc_profile=profile, exif=exif, dpi=(300, 300))
    soft = disc()
    soft[:, 20] = 40
    Image.fromarray(soft).save(mask)
    command = ["harmonize", str(composite), str(mask), "-o", str(tmp_path / "out.png"), "--method", "reinhard"]
    assert main(command) == 0
    with Image.open(tmp_path / "out.png") as out:
        pixels, kept = np.asarray(out), out.getexif()
        assert out.info["icc_profile"] == profile and abs(out.info["dpi"][0] - 300) < 0.1
    assert kept[ExifTags.Base.Model] == "Pinhole 3" and kept[ExifTags.Base.Copyright] == "A. Person"
    np.testing.assert_array_equal(pixels[soft == 0], stored[soft == 0])
    clipped = load_image(composite)
    assert not np.array_equal(clipped[soft == 0], stored[soft == 0])
    result = Harmonizer.from_pretrained("reinhard").harmonize(composite, mask)
    inside = soft == 255
    assert np.abs(load_image(tmp_path / "out.png").astype(int) - result)[inside].max() <= 3


def test_a_tiffs_description_survives_and_its_layout_does_not(tmp_path):
    original = tmp_path / "photo.tif"
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Person"
    Image.fromarray(MUTED).save(original, exif=exif, compression="tiff_lzw")
    save_photo(load_image(original), tmp_path / "out.jpg", original, "note")
    with Image.open(tmp_path / "out.jpg") as out:
        kept = out.getexif()
    assert kept[ExifTags.Base.Artist] == "A. Person" and not {259, 273, 278, 279} & set(kept)


def test_more_exif_than_a_jpeg_holds(tmp_path):
    original = tmp_path / "photo.png"
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 65_300
    Image.fromarray(MUTED).save(original, exif=exif)
    save_photo(load_image(original), tmp_path / "out.jpg", original, "note")
    assert b"note" in (tmp_path / "out.jpg").read_bytes()[:1000]
    assert struct.unpack(">H", (tmp_path / "out.jpg").read_bytes()[:2])[0] == 0xFFD8


XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="48,8.5N">
<dc:creator><rdf:Seq><rdf:li>Ada Lövlace</rdf:li><rdf:li>Grace</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© 2026 Ada</rdf:li><rdf:li xml:lang="de">© 2026 Ada, alle Rechte</rdf:li>
</rdf:Alt></dc:rights></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def with_iptc(jpeg, records):
    """A JPEG with IPTC records, as editors of newspapers write them: in Photoshop's resource 1028 of marker APP13."""
    data = b"".join(b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text for number, text in records)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)
    segment = b"Photoshop 3.0\0" + resource
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def rights_after_saving(content, path):
    save_photo(load_image(content), path, content, "note")
    exif = Image.open(path).getexif()
    assert not exif.get_ifd(ExifTags.IFD.GPSInfo) and b"GPSLatitude" not in path.read_bytes()
    return tuple(exif.get(tag) for tag in (ExifTags.Base.Artist, ExifTags.Base.Copyright))


def as_exif(text):
    """UTF-8 in EXIF, as Pillow reads it."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_who_made_a_photo_is_kept_from_xmp_but_not_where(kind, tmp_path):
    image = Image.fromarray(MUTED)
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        content = encoded(image, kind, pnginfo=text)
    elif kind == "TIFF":
        content = encoded(image, kind, tiffinfo={700: XMP})
    else:
        content = encoded(image, kind, xmp=XMP)
    for name in ("out.jpg", "out.png", "out.webp"):
        assert rights_after_saving(content, tmp_path / name) == (as_exif("Ada Lövlace; Grace"), as_exif("© 2026 Ada"))


def test_who_made_a_photo_is_kept_from_iptc_and_png_text_and_exif_goes_first(tmp_path):
    image = Image.fromarray(MUTED)
    records = [(80, b"Ada"), (80, "Grâce".encode("latin-1")), (116, "© Press".encode())]
    content = with_iptc(encoded(image, "JPEG"), records)
    assert rights_after_saving(content, tmp_path / "a.png") == (as_exif("Ada; Grâce"), as_exif("© Press"))
    text = PngInfo()
    text.add_text("Copyright", "Public domain")
    assert rights_after_saving(encoded(image, "PNG", pnginfo=text), tmp_path / "b.jpg") == (None, "Public domain")
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "EXIF's own"
    content = encoded(image, "JPEG", xmp=XMP, exif=exif)
    assert rights_after_saving(content, tmp_path / "c.jpg") == (as_exif("Ada Lövlace; Grace"), "EXIF's own")


@pytest.mark.parametrize(
    "packet",
    [
        b"<no xml",
        XMP.replace(b"<x:xmpmeta", b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x:xmpmeta', 1),
        XMP.replace(b"</rdf:RDF>", b"</rdf:RDF><!--" + b" " * (1 << 20) + b"-->"),
        b"",
    ],
    ids=["broken", "entities", "huge", "empty"],
)
def test_broken_or_costly_xmp_is_left_aside(packet, tmp_path):
    content = encoded(Image.fromarray(MUTED), "WEBP", xmp=packet)
    assert rights_after_saving(content, tmp_path / "out.jpg") == (None, None)


def avif_with(primaries, transfer, **options):
    """An AVIF without a profile, whose colour box names these numbers of ITU-T H.273."""
    content = encoded(Image.fromarray(MUTED), "AVIF", quality=100, subsampling="4:4:4", **options)
    at = content.index(b"colrnclx") + 8
    return content[:at] + struct.pack(">HH", primaries, transfer) + content[at + 4 :]


def png_with(primaries, transfer):
    """A PNG with a cICP chunk (PNG, third edition)."""
    content = encoded(Image.fromarray(MUTED))
    data = b"cICP" + bytes([primaries, transfer, 0, 1])
    at = content.index(b"IDAT") - 4
    return content[:at] + struct.pack(">I", 4) + data + struct.pack(">I", zlib.crc32(data)) + content[at:]


def primaries_of(red, green, blue):
    """RGB to XYZ under D65, by the chromaticities."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


@pytest.mark.parametrize("made", [avif_with, png_with], ids=["AVIF", "PNG"])
def test_colours_that_a_file_names_without_a_profile(made):
    plain = load_image(made(1, 13)).astype(int)
    assert np.abs(plain - MUTED).max() <= (0 if made is png_with else 8) and np.array_equal(load_image(made(2, 2)), plain)
    srgb = np.linalg.inv(primaries_of((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)))
    spaces = {12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))}
    for number, chromaticities in spaces.items():
        linear = (srgb_curve(plain / 255) @ primaries_of(*chromaticities).T @ srgb.T).clip(0, 1)
        expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        loaded = load_image(made(number, 13))
        assert np.abs(loaded - expected).max() < 2.6 and np.abs(loaded - plain).max() > 5
    for transfer in (16, 18):
        with pytest.raises(ImageError, match="HDR picture"):
            load_image(made(9, transfer))


def test_sixteen_bit_colours_of_a_mask_are_said(tmp_path):
    colours = np.zeros((20, 30, 3), np.uint16)
    colours[5:15, 5:25] = (50_000, 300, 0)
    cv2.imwrite(str(tmp_path / "mask.png"), colours[..., ::-1])
    mask, said = remarks_of(load_mask, tmp_path / "mask.png")
    assert mask[10, 10] == 255 and mask[0, 0] == 0
    assert any("16 bits a colour" in sentence for sentence in said)
