"""What a picture's file says besides its pixels: EXIF, XMP, IPTC, comments; and whether it says where it was taken."""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

from curate.fetch.image import segments, sniff, tag

#: Bytes to which the compressed texts of a file are unpacked; what is behind them is not looked at.
UNPACKED = 1 << 20
#: Places in an AVIF that begin like EXIF and are read as such; chance makes hardly one in a file.
_STARTS = 16

NONE, SOME, PLACE = 0, 1, 2

_GPS_IFD = 0x8825
_XMP_GPS = re.compile(rb"exif:GPS(?:Latitude|Longitude)\b", re.IGNORECASE)


def metadata(data: bytes) -> int:
    """NONE, SOME (EXIF, XMP, IPTC or text), or PLACE if they tell a place: GPS in EXIF or XMP. NONE for what cannot be read."""
    found = NONE
    for block in blocks(data):
        if _places(block):
            return PLACE
        found = SOME
    return found


def blocks(data: bytes) -> Iterator[bytes | memoryview]:
    """The blocks of a picture's file that are not pixels: EXIF, XMP, IPTC, texts and comments."""
    return _BLOCKS.get(sniff(data), _nothing)(data)


def _places(block: bytes | memoryview) -> bool:
    tiff = block[6:] if block[:6] == b"Exif\0\0" else block
    if tiff[:2] not in (b"II", b"MM"):
        return _XMP_GPS.search(block) is not None
    start = tag(tiff, _GPS_IFD, "I")
    return start is not None and any(tiff[start : start + 2])  # a directory that is not empty


def _nothing(_: bytes) -> Iterator[bytes]:
    return iter(())


def _jpeg(data: bytes) -> Iterator[bytes]:
    """APP1 (EXIF, XMP), APP13 (IPTC) and comments up to the picture itself."""
    for marker, start, end in segments(data):
        if marker == 0xDA:
            return
        if marker in (0xE1, 0xED, 0xFE):
            yield data[start:end]


def _png(data: bytes) -> Iterator[bytes]:
    at, left = 8, UNPACKED
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == b"eXIf":
            yield body
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            found = _text(kind, body, left)
            left = max(1, left - len(found))  # 0 would be no limit
            yield found
        at += 12 + size


def _text(kind: bytes, body: bytes, limit: int) -> bytes:
    """What a text chunk says, at most `limit` bytes of it if it has to be unpacked; or the EXIF or XMP that it holds in hex."""
    keyword, _, text = body.partition(b"\0")
    packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    # zTXt: method, text. iTXt: flag, method, language, 0, translated keyword, 0, text.
    text = text[1:] if kind == b"zTXt" else text[2:].split(b"\0", 2)[-1] if kind == b"iTXt" else text
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, limit)
        except zlib.error:
            return body
    if not keyword.lower().startswith(b"raw profile type "):
        return text
    digits = b"".join(text.split(None, 2)[2:]).translate(None, b" \t\r\n")  # behind a name and a length
    return bytes.fromhex(re.match(rb"(?:[0-9a-fA-F]{2})*", digits)[0].decode())


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


def _avif(data: bytes) -> Iterator[bytes | memoryview]:
    """Items of type Exif and mime (XMP) are named in the head and lie anywhere: they are found by how they begin."""
    if b"Exif" in data[: 1 << 16]:
        for found in islice(re.finditer(rb"II\x2a\0|MM\0\x2a", data), _STARTS):
            yield memoryview(data)[found.start() :]
    if b"application/rdf+xml" in data:
        yield data


_BLOCKS = {"image/jpeg": _jpeg, "image/png": _png, "image/webp": _webp, "image/gif": _gif, "image/avif": _avif}
