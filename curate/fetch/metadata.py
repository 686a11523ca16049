"""Metadata blocks of picture files (EXIF, XMP, IPTC, comments), and whether they hold a GPS location."""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

from curate.fetch.image import segments, sniff, tag

#: Bytes to which the compressed texts of a file are decompressed; the rest is ignored.
MAX_DECOMPRESSED = 1 << 20
#: Offsets in an AVIF with EXIF's magic bytes that are read as EXIF; a file hardly has one by chance.
_MAX_EXIF_STARTS = 16

NONE, SOME, LOCATION = 0, 1, 2

_GPS_IFD = 0x8825
_XMP_GPS = re.compile(rb"exif:GPS(?:Latitude|Longitude)\b", re.IGNORECASE)


def metadata(data: bytes) -> int:
    """Classify a file's metadata: NONE, SOME (EXIF, XMP, IPTC or text) or LOCATION (GPS in EXIF or XMP). NONE for an unreadable file."""
    found = NONE
    for block in blocks(data):
        if _has_location(block):
            return LOCATION
        found = SOME
    return found


def blocks(data: bytes) -> Iterator[bytes | memoryview]:
    """The metadata blocks of a picture file: EXIF, XMP, IPTC, texts and comments."""
    return _BLOCKS.get(sniff(data), _no_blocks)(data)


def _has_location(block: bytes | memoryview) -> bool:
    exif = tiff(block)
    if exif[:2] not in (b"II", b"MM"):
        return _XMP_GPS.search(block) is not None
    start = tag(exif, _GPS_IFD, "I")
    return start is not None and any(exif[start : start + 2])  # a directory that is not empty


def tiff(block: bytes | memoryview) -> bytes | memoryview:
    """A block without the `Exif` prefix of its TIFF, where it has one."""
    return block[6:] if block[:6] == b"Exif\0\0" else block


def _no_blocks(_: bytes) -> Iterator[bytes]:
    return iter(())


def _jpeg(data: bytes) -> Iterator[bytes]:
    """APP1 (EXIF, XMP), APP13 (IPTC) and comment segments before the first scan."""
    for marker, start, end in segments(data):
        if marker == 0xDA:
            return
        if marker in (0xE1, 0xED, 0xFE):
            yield data[start:end]


def _png(data: bytes) -> Iterator[bytes]:
    at, budget = 8, MAX_DECOMPRESSED
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if kind == b"eXIf":
            yield body
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            found = _text(kind, body, budget)
            budget = max(1, budget - len(found))  # 0 would be no limit
            yield found
        at += 12 + size


def _text(kind: bytes, body: bytes, limit: int) -> bytes:
    """The text of a PNG text chunk, decompressed to at most `limit` bytes; of a `Raw profile type` the EXIF or XMP in hex."""
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
    """Comments and application extensions (XMP is in one), without the loop count (NETSCAPE2.0)."""
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
    """Exif and mime (XMP) items, found by their magic bytes: the header names them, and they can be anywhere in the file."""
    if b"Exif" in data[: 1 << 16]:
        for found in islice(re.finditer(rb"II\x2a\0|MM\0\x2a", data), _MAX_EXIF_STARTS):
            yield memoryview(data)[found.start() :]
    if b"application/rdf+xml" in data:
        yield data


_BLOCKS = {"image/jpeg": _jpeg, "image/png": _png, "image/webp": _webp, "image/gif": _gif, "image/avif": _avif}
