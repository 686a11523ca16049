"""Image headers: format by magic number, size in pixels, completeness; nothing is decoded.

Input is untrusted, so parsing is plain Python over checked offsets, in time bounded by the file's length.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: Accepted formats and their file suffixes. Not SVG, PDF, EPS, TIFF, BMP, ICO and HEIC, whose decoders are attack surface that
#: training sets do not need. LOADED: those that open_clip's training loader opens.
SUFFIX = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/avif": "avif"}
LOADED = ("image/jpeg", "image/png", "image/webp")

#: Version of decoding, part of the fingerprints of stages that read pixels: raise it when the same file decodes differently.
PIXELS = 2

#: Limits: pixels of one frame (64 MP decode to 192 MB), frames, and scans of a JPEG (a progressive one has about ten; each costs a
#: pass over the whole picture, however few bytes it has).
MAX_PIXELS, MAX_FRAMES, MAX_SCANS = 64_000_000, 1000, 100
#: Pixels times scans of a JPEG, about 15 s of work: ten scans of the largest picture pass, a hundred of one of 10 MP.
MAX_SCANNED = 1_000_000_000
#: Segments of a JPEG: 64 kB is the largest, so 20 MB of metadata are 320.
MAX_SEGMENTS = 10_000


@dataclass(frozen=True, slots=True)
class Header:
    """A file's format, size in pixels as stored (before any EXIF rotation), frames, scans, and whether the file is whole."""

    mime: str
    width: int
    height: int
    frames: int = 1
    whole: bool = True
    scans: int = 1


class Broken(Exception):
    """A header cannot be read, or pixels cannot be decoded; the message has the reason."""


def sniff(data: bytes) -> str | None:
    """The MIME type by magic number, or None for a format that is not accepted."""
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[i : i + 4] for i in range(16, end - 3, 4))}
        if brands & {b"avif", b"avis"}:
            return "image/avif"
    return None


def header(data: bytes) -> Header | None:
    """The header of a file, or None for a format that is not accepted. Raises Broken if the header is invalid."""
    mime = sniff(data)
    if mime is None:
        return None
    try:
        found = _HEADER_READERS[mime](data)
    except (struct.error, IndexError) as e:
        raise Broken(f"{mime}: the header is cut short") from e
    if found.width <= 0 or found.height <= 0:
        raise Broken(f"{mime}: {found.width}x{found.height} pixels")
    return found


def inspect(data: bytes, max_pixels: int = MAX_PIXELS, max_frames: int = MAX_FRAMES) -> tuple[str, Header | None]:
    """The fetch outcome of a body, one of schema.FETCH, and its header where it could be read."""
    if not data:
        return "empty", None
    try:
        found = header(data)
    except Broken:
        return "broken_image", None
    if found is None:
        return "not_an_image", None
    pixels = found.width * found.height
    most_scans = min(MAX_SCANS, max(MAX_SCANNED, 10 * max_pixels) // pixels)
    if pixels > max_pixels or found.frames > max_frames or found.scans > most_scans:
        return "too_many_pixels", found
    return "ok" if found.whole else "truncated", found


# ---- JPEG

#: Start-of-frame markers: all of C0 to CF but DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


#: The next JPEG marker. Decoders skip everything before it: entropy-coded data (FF 00 is a byte, D0 to D7 are restarts) and stray
#: bytes between header segments.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of each segment of a JPEG, as decoders find them: segment contents are skipped.

    The last marker is the end (D9), or 0 for a truncated file.
    """
    at, marker = 2, 0xD8
    while at < len(data) and marker not in (0x00, 0xD9):
        found = _MARKER.search(data, at)
        marker, at = (data[found.end() - 1], found.end()) if found else (0x00, len(data))
        size = 0
        if marker not in (0x00, 0x01, 0xD8, 0xD9):  # markers without content
            size = max(2, int.from_bytes(data[at : at + 2], "big"))
        yield marker, at + 2, at + size
        at += size


def _jpeg(data: bytes) -> Header:
    width, height, scans, first = 0, 0, 0, 0
    for count, (marker, start, _) in enumerate(segments(data)):
        if count > MAX_SEGMENTS:
            raise Broken(f"image/jpeg: more than {MAX_SEGMENTS} segments")
        if marker == 0xDA:
            scans, first = scans + 1, first or start
            if scans > MAX_SCANS:
                break
        elif not scans and marker in (0x00, 0xD9):
            raise Broken("image/jpeg: the end before a scan")
        elif not scans and marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, start + 1)
    if not scans and not (width and height):
        raise Broken("image/jpeg: the header is cut short")
    # Junk after the end marker is common and harmless; an end marker before the scan belongs to an embedded thumbnail.
    return Header("image/jpeg", width, height, whole=scans > 0 and data.rfind(b"\xff\xd9") > first, scans=scans)


def tag(tiff: bytes | memoryview, number: int, kind: str) -> int | None:
    """The value of a tag in EXIF's first directory (IFD0), `kind` as for struct (H or I); None if missing or truncated."""
    try:
        order, entry = _entry(tiff, number)
        return struct.unpack_from(order + kind, tiff, entry + 8)[0] if entry else None
    except struct.error:
        return None


def text_tag(tiff: bytes | memoryview, number: int) -> bytes:
    """The text of a tag in EXIF's first directory (IFD0); empty if missing or truncated."""
    try:
        order, entry = _entry(tiff, number)
        size, start = struct.unpack_from(order + "II", tiff, entry + 4) if entry else (0, 0)
    except struct.error:
        return b""
    start = entry + 8 if size <= 4 else start
    return bytes(tiff[start : start + size])


def _entry(tiff: bytes | memoryview, number: int) -> tuple[str, int]:
    """The byte order, and the offset of a tag's entry in the first directory, 0 if missing. struct.error if it is truncated."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]), "")
    start = struct.unpack_from(order + "I", tiff, 4)[0] if order else 0
    for i in range(struct.unpack_from(order + "H", tiff, start)[0] if order else 0):
        entry = start + 2 + 12 * i
        if struct.unpack_from(order + "H", tiff, entry)[0] == number:
            return order, entry
    return order, 0


# ---- PNG


def _png(data: bytes) -> Header:
    size, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or size != 13:
        raise Broken("image/png: does not begin with IHDR")
    at, frames = 8, 1
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return Header("image/png", width, height, frames)
        if kind == b"acTL":
            frames = max(1, struct.unpack_from(">I", data, at + 8)[0])
        at += 12 + size
    return Header("image/png", width, height, frames, whole=False)


# ---- WebP


def _webp(data: bytes) -> Header:
    kind, (length,) = data[12:16], struct.unpack_from("<I", data, 4)
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise Broken("image/webp: no start code")
        width, height = (v & 0x3FFF for v in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        if data[20] != 0x2F:
            raise Broken("image/webp: no signature")
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        if len(data) < 30:
            raise Broken("image/webp: the header is cut short")
    else:
        raise Broken("image/webp: an unknown first chunk")
    return Header("image/webp", width, height, _webp_frames(data) if kind == b"VP8X" else 1, whole=length + 8 <= len(data))


def _webp_frames(data: bytes) -> int:
    at, frames = 12, 0
    while at + 8 <= len(data):
        frames += data[at : at + 4] == b"ANMF"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + (size & 1)
    return max(1, frames)


# ---- GIF


def _gif(data: bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames, last = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0, len(data)
    while at < last and data[at] != 0x3B:
        if data[at] == 0x2C:
            frames += 1
            left, top, wide, high, local = struct.unpack_from("<4HB", data, at + 1)
            width, height = max(width, left + wide), max(height, top + high)  # decoders grow the canvas to hold its frames
            at += 11 + (3 << (local & 7) + 1 if local & 0x80 else 0)
        elif data[at] == 0x21:
            at += 2
        else:
            break
        while at < last and data[at]:
            at += data[at] + 1
        at += 1
    # Some writers omit the trailer: a file that ends at the end of a block is complete.
    return Header("image/gif", width, height, max(1, frames), whole=frames > 0 and (at == last or data[at : at + 1] == b"\x3b"))


# ---- AVIF: boxes of 4 bytes size, 4 bytes name; the sizes of an image's parts are in meta/iprp/ipco/ispe

_BOXES = frozenset((b"ftyp", b"meta", b"moov", b"mdat", b"free", b"skip", b"uuid", b"moof", b"sidx"))
_SIZES = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{8})", re.DOTALL)


def _avif(data: bytes) -> Header:
    at, meta, frames, whole = 0, b"", 1, False
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1:
            size = struct.unpack_from(">Q", data, at + 8)[0]
        elif size == 0:
            size = len(data) - at
        if size < 8 or kind not in _BOXES:
            break  # junk after the picture
        if kind == b"meta":
            meta = data[at : at + size]
        elif kind == b"moov":
            frames = _avif_frames(data[at : at + size])
        at += size
        whole = at <= len(data) and (whole or kind == b"mdat" or b"idat" in meta)
    # The picture is the largest item: thumbnails and the tiles of a grid are smaller.
    sizes = [struct.unpack(">II", m) for m in _SIZES.findall(meta)]
    if not sizes:
        raise Broken("image/avif: no size")
    width, height = max(sizes, key=lambda s: s[0] * s[1])
    return Header("image/avif", width, height, frames, whole)


def _avif_frames(moov: bytes) -> int:
    """Samples of the first track of an image sequence."""
    at = moov.find(b"stsz")
    return max(1, struct.unpack_from(">I", moov, at + 12)[0]) if at >= 0 else 1


_HEADER_READERS = {"image/jpeg": _jpeg, "image/png": _png, "image/webp": _webp, "image/gif": _gif, "image/avif": _avif}
