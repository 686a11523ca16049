"""Bytes of a page to text: byte-order mark, valid UTF-8, what the server and the page declare, and last a guess.

As the Encoding and HTML standards say (labels, prescan, precedence), but for three things. Bytes that are valid UTF-8 and not plain
ASCII are UTF-8 whatever is declared: servers that send a fixed `charset=ISO-8859-1` are far more frequent than Latin text that
happens to be valid UTF-8. A declaration that most characters outside ASCII contradict is not believed. And what is not declared
is guessed from the bytes.
"""

import codecs
import re
from collections.abc import Iterator

import webencodings
from chardetng_py import EncodingDetector

#: Bytes in which the standard looks for a `meta` before it parses; a later one is found by the parser (extract.py).
PRESCAN = 1024
#: Bytes the guess looks at: its cost grows with them, its answers hardly improve.
SAMPLE = 16 << 10
#: Broken characters that speak against no declaration.
FEW = 10
#: Guesses other than windows-1252 need this share of their own letters among all, and so many different ones: on the web there are
#: thirty pages of windows-1252 for one of any of them, and a few odd characters in English prose fit each.
SHARE, DIFFERENT = 0.02, 3

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UTF16 = ("utf-16-le", "utf-16-be")
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030"}
#: What the encodings that are written in ASCII begin other alphabets with: ISO 2022, HZ.
_ESCAPES = re.compile(rb"\x1b|~\{")
_XML = re.compile(rb"""<\?xml[^>]*?encoding[\t\n\f\r ]*=[\t\n\f\r ]*(["'])([^"'>]+)\1[^>]*>""")
_TAG = re.compile(rb"<(?:!--|(/?[a-z])|[!/?])", re.IGNORECASE)
_NAME = re.compile(rb"[^\t\n\f\r >]*")
_ATTRIBUTE = re.compile(
    rb"""[\t\n\f\r /]*(=?[^\t\n\f\r />=]*)(?:[\t\n\f\r ]*=[\t\n\f\r ]*(?:"([^"]*)"|'([^']*)'|(?!["'])([^\t\n\f\r >]*)))?"""
)
_CONTENT = re.compile(r"""charset[\t\n\f\r ]*=[\t\n\f\r ]*(?:"([^"]*)"|'([^']*)'|(?!["'])([^\t\n\f\r ;]*))""", re.IGNORECASE)
_MARKUP = re.compile(rb"<(?:script|style)\b.*?</|<[^>]*>", re.IGNORECASE | re.DOTALL)
_TLD = re.compile(r"https?://[^/?#]*?\.([a-z]+|xn--[a-z0-9-]+)\.?(?::\d*)?(?:[/?#]|$)")


def decode(body: bytes, declared: str | None = None, url: str = "") -> tuple[str, str]:
    """The text of a page and Python's name of the charset it was read in. Never fails.

    declared: the charset of the HTTP header. url: its top-level domain helps the guess. What is in an encoding that browsers refuse
    to read is one U+FFFD in `replacement`.
    """
    name = stated(body, declared) or guessed(body, url)
    return read(body, name), name


def read(body: bytes, name: str) -> str:
    """Bytes in an encoding as text, without the byte-order mark."""
    if name == "replacement":
        return "\ufffd"
    mark = next((m for m, n in _MARKS if n == name and body.startswith(m)), b"")
    # Not final: a character that is cut at the end is left out.
    return codecs.getincrementaldecoder(name)("replace").decode(body[len(mark) :])


def stated(body: bytes, declared: str | None) -> str | None:
    """The encoding by a byte-order mark, valid UTF-8 or a declaration; None if it can only be guessed."""
    marked = next((name for mark, name in _MARKS if body.startswith(mark)), None)
    header = codec((declared or "").strip("\"'"))
    if marked or (header in _UTF16 and b"\0" in body[:PRESCAN]):
        return marked or header
    utf8 = _is_utf8(body)
    ascii_only = utf8 and body.isascii()
    if utf8 and not (ascii_only and _ESCAPES.search(body)):
        return "utf-8"
    for name in dict.fromkeys(n for n in (header, prescan(body[:PRESCAN])) if n and n not in _UTF16):
        if name == "replacement" or believed(body.decode(name, "replace")):
            return name
    return "utf-8" if ascii_only and b"\x1b" not in body else None


def codec(label: str | None) -> str | None:
    """Python's codec for a label of the Encoding Standard (`replacement` for those that it replaces); None if there is none."""
    found = webencodings.lookup(label) if label else None
    if found is None:
        return None
    if found.name in ("replacement", "x-user-defined"):
        return "cp1252" if found.name == "x-user-defined" else found.name
    return _WIDER.get(found.codec_info.name, found.codec_info.name)


def believed(text: str) -> bool:
    """False if a text has many replacement characters, more than valid ones outside ASCII."""
    broken = text.count("\ufffd")
    return broken <= FEW or 2 * broken <= len(text) - len(text.encode("ascii", "ignore"))


def _is_utf8(body: bytes) -> bool:
    """True for valid UTF-8, also when the last character is cut (but not if it is the only one outside ASCII)."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as e:
        cut = e.start >= len(body) - 3 and e.reason == "unexpected end of data"
        return cut and not body[: e.start].isascii()
    return True


# ---- declarations


def prescan(head: bytes) -> str | None:
    """The codec that the first bytes declare (HTML Standard, 13.2.3.2): the first `meta` outside of comments and other tags'
    attributes, else an XML declaration."""
    at = 0
    while tag := _TAG.search(head, at):
        if tag[0] == b"<!--":
            end = head.find(b"-->", tag.start() + 2)
        elif tag[1] is None:
            end = head.find(b">", tag.start())
        else:
            name = _NAME.match(head, tag.start() + 1)
            is_meta = re.match(rb"meta[\t\n\f\r /]", head[tag.start() + 1 : tag.start() + 6], re.IGNORECASE)
            end, found = _attributes(head, tag.start() + 5 if is_meta else name.end())
            if end >= 0 and is_meta and (named := meta_codec(found)):
                return named
        if end < 0:
            break
        at = end + 1
    xml = _XML.match(head)
    return _readable(codec(xml[2].decode("latin-1"))) if xml else None


def _attributes(head: bytes, at: int) -> tuple[int, dict[str, str]]:
    """Where a tag that begins before `at` ends (-1: not in these bytes), and its attributes, the first of each name."""
    found: dict[str, str] = {}
    while (match := _ATTRIBUTE.match(head, at)) and match.end() < len(head):
        name, values = match[1], match.groups()[1:]
        if not name:
            return match.end(), found
        value = next((v for v in values if v is not None), b"")
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        at = match.end()
        if head[at : at + 1] in (b'"', b"'", b"=") and all(v is None for v in values):
            break  # a quote that does not end here
    return -1, found


def meta_codec(attributes: dict[str, str | None]) -> str | None:
    """The codec that a `meta` element declares: by `charset`, or by `content` beside `http-equiv=content-type`."""
    label = attributes.get("charset")
    if label is None and (attributes.get("http-equiv") or "").lower() == "content-type":
        found = _CONTENT.search(attributes.get("content") or "")
        label = next((g for g in found.groups() if g is not None), None) if found else None
    return _readable(codec(label))


def _readable(name: str | None) -> str | None:
    """A declaration that could be read as ASCII is not in UTF-16."""
    return "utf-8" if name in _UTF16 else name


# ---- guessing


def guessed(body: bytes, url: str = "") -> str:
    """The guess of Firefox's detector from the first character outside ASCII on, if there is enough evidence; else windows-1252."""
    first = re.search(rb"[\x80-\xff\x1b]", body)
    start = max(0, first.start() - 512) if first else 0
    sample, tld = body[start : start + SAMPLE], _TLD.match(url)
    names = [_guess(sample, tld), _guess(b"", tld)]
    name, own = (codec({"cp874": "windows-874"}.get(n, n)) or "cp1252" for n in names)
    if name in ("cp1252", own, "iso2022_jp") or _reasons(sample, name):
        return name
    return "cp1252"


def _guess(sample: bytes, tld: re.Match | None) -> str:
    detector = EncodingDetector()
    detector.feed(sample, last=False)
    return detector.guess(tld=tld[1].encode() if tld else None, allow_utf8=False)


def _reasons(sample: bytes, name: str) -> bool:
    """Whether there are enough letters outside ASCII, in words, for a guess."""
    text = _MARKUP.sub(b" ", sample).decode(name, "replace")
    letters = sum(map(str.isalpha, text))
    own = list(_inner(text))
    return len(own) >= SHARE * letters and len(set(own)) >= DIFFERENT


def _inner(text: str) -> Iterator[str]:
    """The letters outside ASCII that stand beside another letter."""
    for match in re.finditer(r"[^\W\d_]{2,}", text):
        if not match[0].isascii():
            yield from (c for c in match[0] if c > "\x7f")
