"""Licence and creator in a picture file's metadata: XMP (Creative Commons, xmpRights, Dublin Core), IPTC and EXIF."""

import html
import re
from collections.abc import Iterable

from curate.fetch.image import text_tag
from curate.fetch.metadata import blocks, tiff

#: Bytes of the longest statement read.
_MAX_STATEMENT = 2000
#: Bytes of a metadata block that are searched.
_MAX_BLOCK = 256 << 10

_LICENCE = (
    re.compile(rb"<cc:license\b[^>]{0,200}?rdf:resource\s*=\s*[\"']([^\"']{1,2000})"),
    re.compile(rb"\b(?:xmpRights:WebStatement|cc:license)\s*=\s*[\"']([^\"']{1,2000})"),
    re.compile(rb"<xmpRights:WebStatement>([^<]{1,2000})<"),
)
_TERMS = (
    re.compile(rb"<xmpRights:UsageTerms>\s*<rdf:Alt>\s*<rdf:li[^>]{0,200}>([^<]{1,2000})<"),
    re.compile(rb"<dc:rights>\s*<rdf:Alt>\s*<rdf:li[^>]{0,200}>([^<]{1,2000})<"),
    re.compile(rb"\bdc:rights\s*=\s*[\"']([^\"']{1,2000})"),
)
_CREATOR = (
    re.compile(rb"\b(?:cc:attributionName|photoshop:Credit)\s*=\s*[\"']([^\"']{1,2000})"),
    re.compile(rb"<(?:cc:attributionName|photoshop:Credit)>([^<]{1,2000})<"),
    re.compile(rb"<dc:creator>\s*<rdf:(?:Seq|Bag)>\s*<rdf:li[^>]{0,200}>([^<]{1,2000})<"),
)
#: IPTC's record 2: 80 by-line, 110 credit, 116 copyright notice; a length of two bytes, then the text.
_IPTC = re.compile(rb"\x1c\x02([\x50\x6e\x74])(?=([\x00-\x07].))", re.DOTALL)
#: EXIF's tags of artist and copyright; the latter is the photographer's and, after a NUL, the editor's.
_ARTIST, _COPYRIGHT = 0x013B, 0x8298


def rights(data: bytes) -> tuple[str | None, str | None]:
    """The licence as stated and the creator to credit, from a picture file's metadata; None where missing."""
    found = [bytes(block[:_MAX_BLOCK]) for block in blocks(data)]
    iptc = {kind: text for block in found if b"8BIM" in block for kind, text in _records(block)}
    stated = _first(_LICENCE, found) or _first(_TERMS, found) or iptc.get(116) or _exif(_COPYRIGHT, found)
    return stated, _first(_CREATOR, found) or iptc.get(110) or iptc.get(80) or _exif(_ARTIST, found)


def _exif(number: int, found: list[bytes]) -> str | None:
    return next(
        (text for block in found if (text := _text(text_tag(tiff(block), number)[:_MAX_STATEMENT].replace(b"\0", b" ")))), None
    )


def _first(patterns: Iterable[re.Pattern], found: list[bytes]) -> str | None:
    match = next((m for p in patterns for block in found if (m := p.search(block))), None)
    return _text(match[1]) if match else None


def _records(block: bytes) -> Iterable[tuple[int, str | None]]:
    for match in _IPTC.finditer(block):
        size = int.from_bytes(match[2], "big")
        yield match[1][0], _text(block[match.end() + 2 : match.end() + 2 + min(size, _MAX_STATEMENT)])


def _text(raw: bytes) -> str | None:
    return " ".join(html.unescape(raw.decode("utf-8", "replace")).split()) or None
