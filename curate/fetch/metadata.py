"""What a picture's file says besides its pixels: EXIF, XMP, IPTC, comments; and whether it says where it was taken."""

import re
import struct
import zlib
from collections.abc import Iterator

from curate.fetch.image import sniff

#: Bytes to which a compressed text is unpacked; what is behind them is not looked at.
UNPACKED = 1 << 20

NONE, SOME, PLACE = 0, 1, 2

_GPS_IFD = 0x8825
_XMP_GPS = re.compile(rb"exif:GPS(?:Latitude|Longitude)\b", re.IGNORECASE)


def metadata(data: bytes) -> int:
    """NONE, SOME (EXIF, XMP, IPTC or text), or PLACE if they tell a place: GPS in EXIF or XMP. NONE for what cannot be read."""
    blocks = list(_BLOCKS.get(sniff(data), _nothing)(data))
    return PLACE if any(map(_places, blocks)) else SOME if blocks else NONE


def _places(block: bytes) -> bool:
    tiff = block[6:] if block[:6] == b"Exif\0\0" else block
    return _has_gps(tiff) if tiff[:2] in (b"II", b"MM") else _XMP_GPS.search(block) is not None


def _has_gps(tiff: bytes) -> bool:
    """Whether the first directory of EXIF's TIFF has a pointer to a GPS directory that is not empty."""
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        start = struct.unpack_from(order + "I", tiff, 4)[0]
        for i in range(struct.unpack_from(order + "H", tiff, start)[0]):
            tag, _, _, value = struct.unpack_from(order + "HHII", tiff, start + 2 + 12 * i)
            if tag == _GPS_IFD:
                return struct.unpack_from(order + "H", tiff, value)[0] > 0
    except struct.error:
        return False  # cut short
    return False


def _nothing(_: bytes) -> Iterator[bytes]:
    return iter(())


def _jpeg(data: bytes) -> Iterator[bytes]:
    """APP1 (EXIF, XMP), APP13 (IPTC) and comments up to the picture itself."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data) and data[at + 1] not in (0xDA, 0xD9):
        size = max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        if data[at + 1] in (0xE1, 0xED, 0xFE):
            yield data[at + 4 : at + 2 + size]
        at += 2 + size


def _png(data: bytes) -> Iterator[bytes]:
    at = 8
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind in (b"eXIf", b"tEXt"):
            yield body
        elif kind in (b"zTXt", b"iTXt"):
            yield _unpacked(body)
        at += 12 + size


def _unpacked(text: bytes) -> bytes:
    """A text chunk, unpacked as far as UNPACKED goes; the EXIF that some writers put into one, in hex."""
    start = text.find(b"\x78", text.find(b"\0") + 1)
    try:
        found = zlib.decompressobj().decompress(text[start:], UNPACKED) if start > 0 else text
    except zlib.error:
        return text
    digits = b"".join(found.split())
    at = digits.find(b"457869660000")  # Exif, 0, 0
    return bytes.fromhex(re.match(rb"(?:[0-9a-f]{2})*", digits[at:].lower())[0].decode()) if at >= 0 else found


def _webp(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind in (b"EXIF", b"XMP "):
            yield data[at + 8 : at + 8 + size]
        at += 8 + size + (size & 1)


def _gif(data: bytes) -> Iterator[bytes]:
    """Comments, and application extensions other than the one that counts loops; XMP lies in one as it is."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10:11] and data[10] & 0x80 else 0)
    while at + 2 <= len(data) and data[at] in (0x21, 0x2C):
        start = at
        if data[at] == 0x21:
            at += 2
        elif at + 10 <= len(data):
            at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        else:
            return
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
        if data[start : start + 2] == b"\x21\xfe" or (
            data[start : start + 2] == b"\x21\xff" and data[start + 3 : start + 14] != b"NETSCAPE2.0"
        ):
            yield data[start:at]


def _avif(data: bytes) -> Iterator[bytes]:
    """Items of type Exif and mime (XMP) are named in the head and lie anywhere: they are found by how they begin."""
    if b"Exif" in data[: 1 << 16]:
        for at in (m.start() for m in re.finditer(rb"II\x2a\0|MM\0\x2a", data)):
            yield data[at:]
    if b"application/rdf+xml" in data:
        yield data


_BLOCKS = {"image/jpeg": _jpeg, "image/png": _png, "image/webp": _webp, "image/gif": _gif, "image/avif": _avif}
