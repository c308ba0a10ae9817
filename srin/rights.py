"""Reads a photo's author and copyright where its file stores them outside EXIF: in XMP, IPTC or a PNG's text."""

from xml.etree import ElementTree

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

MAX_XMP = 1 << 20  # bytes; cameras and editors write some kilobytes
RDF, DC = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://purl.org/dc/elements/1.1/}"
ARTIST, COPYRIGHT = ExifTags.Base.Artist, ExifTags.Base.Copyright
XMP_FIELDS: dict[int, str] = {ARTIST: f"{DC}creator", COPYRIGHT: f"{DC}rights"}
IPTC_FIELDS: dict[int, tuple[int, int]] = {ARTIST: (2, 80), COPYRIGHT: (2, 116)}  # IIM 4.2: by-line, copyright notice
PNG_FIELDS: dict[int, str] = {ARTIST: "Author", COPYRIGHT: "Copyright"}  # keywords of the PNG specification


def rights_of(file: Image.Image) -> dict[int, bytes]:
    """Author and copyright of a loaded picture, in UTF-8, by EXIF tag. XMP takes precedence, then IPTC, then PNG."""
    found = _from_png(file) | _from_iptc(file) | _from_xmp(file)
    return {tag: text.encode() for tag, text in found.items() if text.strip()}


def _from_xmp(file: Image.Image) -> dict[int, str]:
    packet = file.info.get("xmp") or file.info.get("XML:com.adobe.xmp") or b""
    content = packet.encode() if isinstance(packet, str) else packet
    content = content.strip(b"\0 \r\n\t")
    # A document type may declare entities that grow without end; XMP has none.
    if not content or len(content) > MAX_XMP or b"<!DOCTYPE" in content:
        return {}
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return {}
    found = {}
    for tag, field in XMP_FIELDS.items():
        texts = [item.text or "" for node in root.iter(field) for item in node.iter(f"{RDF}li")]
        if texts:
            # Rights are given in several languages, the default first; creators are a list.
            found[tag] = texts[0] if tag == COPYRIGHT else "; ".join(texts)
    return found


def _from_iptc(file: Image.Image) -> dict[int, str]:
    if not isinstance(file, ImageFile.ImageFile):
        return {}
    try:
        records = IptcImagePlugin.getiptcinfo(file) or {}
    except Exception:  # on damaged data Pillow raises nearly anything
        return {}
    found = {}
    for tag, field in IPTC_FIELDS.items():
        values = records.get(field, [])
        texts = [_text(value) for value in ([values] if isinstance(values, bytes) else values)]
        if texts:
            found[tag] = "; ".join(texts)
    return found


def _from_png(file: Image.Image) -> dict[int, str]:
    return {tag: str(file.info[key]) for tag, key in PNG_FIELDS.items() if key in file.info}


def _text(value: bytes) -> str:
    """Decodes text of IPTC, which need not name its encoding: as UTF-8 if possible, else as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
