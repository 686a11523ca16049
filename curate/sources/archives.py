"""Detection of WARC files by their first bytes, and of related formats, which are refused with an explanation."""

import io
import mimetypes
import re

from fastwarc.stream_io import Lz4Reader, ZstdReader

from curate.sources.codings import inflated

#: Bytes at the beginning of a file that are examined, and bytes that are decompressed from them.
HEAD, UNPACKED = 64 << 10, 4096

GZIP, ZSTD, LZ4 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"

WET = (
    "holds the text of pages (a WET file), without markup or images; use the WARC file that it was made of: Common Crawl has it "
    "under warc/ where this one is under wet/, without .wet in its name"
)
WAT = (
    "holds metadata of pages (a WAT file) and no pages; use the WARC file that it was made of: Common Crawl has it under warc/ "
    "where this one is under wat/, without .wat in its name"
)
ARC = "is an ARC file, the format before WARC; convert it with `warcio recompress FILE.arc.gz FILE.warc.gz` and use that"
WACZ = "is a zip file (WACZ, if web pages are in it); unzip it and use the WARC files in its folder archive/"
TAR = "is a tar file; unpack it, and use the folder or the WARC files that were in it"
PACKED = "is compressed by bzip2 or xz; decompress it (what is read is plain, or .gz, .zst or .lz4 for WARC)"
TWICE = "is compressed twice; decompress it once and use that"
PAGE = "is a compressed page; decompress it and use the HTML file"
CDX = "is an index of WARC files (CDX) and holds no pages; use the WARC files that it names"
MHTML = "is an MHTML file (a page saved as one message); save the page as HTML, or crawl it into a WARC file"

_MESSAGE = re.compile(
    rb"(?:From: <Saved by|MIME-Version:|[\w-]+: [^\n]*\n(?:[\w-]+: [^\n]*\n)*?Content-Type: multipart/related)", re.I
)
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?(?:<!--.*?-->\s*)*<(?:!doctype html|html|\?xml)", re.I | re.S)
_WARC_NAME = re.compile(r"\.warc(?=\.|$)(?!.*\.(?:wet|wat)(?=\.|$))", re.IGNORECASE)
_REFUSED_NAMES = {
    WET: re.compile(r"\.wet(?=\.|$)", re.IGNORECASE),
    WAT: re.compile(r"\.wat(?=\.|$)", re.IGNORECASE),
    ARC: re.compile(r"\.arc(?:\.\w+)?$", re.IGNORECASE),
    WACZ: re.compile(r"\.wacz$", re.IGNORECASE),
    MHTML: re.compile(r"\.mht(?:ml)?$", re.IGNORECASE),
}


def is_warc(head: bytes) -> bool:
    """Whether these are the first bytes of a WARC file, compressed or not."""
    return unpacked(head).lstrip(b"\xef\xbb\xbf\r\n").startswith(b"WARC/")


def refused(head: bytes) -> str | None:
    """Why a file of a related format is refused, and what to use instead; None for any other file."""
    first = unpacked(head).lstrip()
    if first.startswith(b"filedesc:"):
        return ARC
    if first.startswith(b"PK\x03\x04"):
        return WACZ
    if unpacked(head)[257:262] == b"ustar":
        return TAR
    if head.startswith((b"BZh", b"\xfd7zXZ\0")):
        return PACKED
    if head.startswith((GZIP, ZSTD, LZ4)) and first.startswith((GZIP, ZSTD, LZ4, b"BZh", b"\xfd7zXZ\0")):
        return TWICE
    if head.startswith((GZIP, ZSTD, LZ4)) and _HTML.match(first):
        return PAGE
    if unpacked(head).startswith((b" CDX ", b"!CDXJ")):
        return CDX
    return MHTML if _MESSAGE.match(first) else None


def warc_name(name: str) -> bool:
    """Whether a file is named as a WARC file: `.warc` with any further ending, in any case."""
    return _WARC_NAME.search(name.rsplit("/", 1)[-1]) is not None


def refused_name(name: str) -> str | None:
    """As `refused`, by a file's name."""
    last = name.rsplit("/", 1)[-1]
    return next((why for why, pattern in _REFUSED_NAMES.items() if pattern.search(last)), None)


def telling_name(name: str) -> bool:
    """Whether a file's ending names its type, such as a picture or a style sheet, so that its content need not be examined."""
    return mimetypes.guess_type(name.rsplit("/", 1)[-1])[0] is not None


def unpacked(head: bytes) -> bytes:
    """The first bytes of a file, decompressed if it is compressed."""
    if head.startswith(GZIP):
        return inflated(head, UNPACKED, 31)[0]
    reader = ZstdReader if head.startswith(ZSTD) else Lz4Reader if head.startswith(LZ4) else None
    if reader is None:
        return head[:UNPACKED]
    out, found = bytearray(), reader(io.BytesIO(head))
    try:
        while len(out) < UNPACKED and (piece := found.read(512)):
            out += piece
    except (OSError, ValueError, EOFError):
        pass  # the head ends within a block: what came before it is enough
    return bytes(out)
