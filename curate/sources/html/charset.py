"""Bytes of a page to text: byte-order mark, valid UTF-8, what the server and the page declare, and last a detector.

The order differs from the HTML standard in one place: bytes that are valid UTF-8 and not plain ASCII are UTF-8 whatever is
declared. Servers that send a fixed `charset=ISO-8859-1` are far more frequent than Latin text that happens to be valid UTF-8.
Labels follow the WHATWG encoding standard ("iso-8859-1" means windows-1252, "gb2312" means gb18030).
"""

import codecs
import re

import charset_normalizer
import webencodings

#: Where a declaration is looked for. The standard stops at 1,024 bytes; pages with long head comments do not.
HEAD = 4096
#: Bytes the detector looks at: its cost grows with them, its answers hardly improve.
SAMPLE = 16 << 10
#: Largest share of broken characters (of those outside ASCII) for a declared charset to be believed.
BROKEN = 0.02

_META = re.compile(rb"""<(?:meta|\?xml)\b[^>]{0,500}?(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]+)""", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030"}


def decode(body: bytes, declared: str | None = None) -> tuple[str, str]:
    """The text of a page and the charset it was read in. `declared` is the charset of the HTTP header. Never fails."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace"), name
    header = _codec(declared)
    if header in ("utf-16-le", "utf-16-be") and b"\0" in body[:HEAD]:
        return body.decode(header, "replace"), header
    if (text := _utf8(body)) is not None and not (header or "").startswith("iso2022") and b"\x1b" not in body[:HEAD]:
        return text, "utf-8"
    found = _META.search(body, 0, HEAD)
    meta = _codec(found[1].decode("ascii", "replace")) if found else None
    if meta in ("utf-16-le", "utf-16-be"):
        meta = "utf-8"  # a declaration that could be read as ASCII is not in UTF-16
    for name in dict.fromkeys(n for n in (header, meta) if n):
        text = body.decode(name, "replace")
        if text.count("\ufffd") <= BROKEN * sum(c > "\x7f" for c in text[:SAMPLE]) * max(1, len(text) / SAMPLE):
            return text, name
    name = _detected(body)
    return body.decode(name, "replace"), name


def _codec(label: str | None) -> str | None:
    """Python's codec for a label of the encoding standard; None if there is none."""
    found = webencodings.lookup(label.strip(" \t\"'")) if label else None
    if found is None or found.name == "x-user-defined":
        return None
    return _WIDER.get(found.codec_info.name, found.codec_info.name)


def _utf8(body: bytes) -> str | None:
    """The text if it is UTF-8, also when the last character is cut."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start >= len(body) - 3 and e.reason == "unexpected end of data":
            return body[: e.start].decode("utf-8")
        return None


def _detected(body: bytes) -> str:
    """A statistical guess from the stretch that holds the first characters outside ASCII; windows-1252 if there is none."""
    first = re.search(rb"[\x80-\xff\x1b]", body)
    start = max(0, first.start() - 512) if first else 0
    best = charset_normalizer.from_bytes(body[start : start + SAMPLE]).best()
    return best.encoding if best is not None else "cp1252"
