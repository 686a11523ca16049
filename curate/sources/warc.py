"""Pages from WARC files as they were answered: one record, one page, with the outcome of everything that is not a page."""

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import BinaryIO

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, ZstdReader
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from curate.errors import PoolError
from curate.web.headers import opt_outs, reserved

_DECODERS = {
    "gzip": GzipReader,
    "x-gzip": GzipReader,
    "deflate": partial(GzipReader, zlib=True),
    "br": BrotliReader,
    "zstd": ZstdReader,
    "chunked": ChunkedReader,
}
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?>.*?-->)\s*)*+<(?:!doctype\s+html|html|head|title|body|meta|script|style|div|p|h1|table|a|br)\b",
    re.IGNORECASE | re.DOTALL,
)
_OTHER = (b"\x89PNG", b"%PDF", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b", b"RIFF", b"wOF", b"\0\0\0")
_MARKUP = {"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"}
_UNSURE = {"", "text/plain", "application/octet-stream", "unknown/unknown", "application/xml", "text/xml"}
#: Content types that may be a page.
PAGES = _MARKUP | _UNSURE


@dataclass
class Answer:
    """One page as a server gave it, or as it lay in a folder."""

    row: int  # number of the record in the file
    url: str | None
    body: bytes = b""
    status: int | None = None
    charset: str | None = None  # of the Content-Type header
    captured_at: datetime | None = None
    offset: int | None = None  # of the record in its file, for reading it again
    robots: tuple[str, ...] = ()  # directives of X-Robots-Tag and tdm-reservation
    outcome: str | None = None


def records(file: BinaryIO, name: str, max_bytes: int) -> Iterator[Answer]:
    """The responses (and resources) of a WARC file, compressed or not. PoolError naming the place if it cannot be read on.

    FastWARC takes a file that was cut short for one that ends: every record is held against the length that it states, and a
    page that is cut is not given."""
    row, offset = -1, 0
    try:
        for record in ArchiveIterator(file, parse_http=False):
            wanted = record.record_type in (WarcRecordType.response, WarcRecordType.resource)
            if wanted:
                record.parse_http()
            length = record.content_length
            found = answer(row + 1, record, max_bytes) if wanted else None
            record.reader.consume()
            if not record.headers.get("Content-Length") or record.reader.tell() < length:
                raise EOFError("the next record is cut short")
            if found:
                row, offset = found.row, record.stream_pos
                yield found
    except (OSError, ValueError, EOFError) as e:
        raise PoolError(f"{name}: cannot be read after record {row} (at byte {offset}): {e}") from e


def answer(row: int, record: WarcRecord, max_bytes: int) -> Answer:
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ") or None  # wget puts it in angle brackets
    found = Answer(row, url, captured_at=record.record_date, offset=record.stream_pos)
    headers = record.http_headers
    if headers is not None:
        found.status = headers.status_code
        found.robots = robots(headers.get_multiple("X-Robots-Tag"), headers.get_multiple("tdm-reservation"))
    kind = media_type(record.http_content_type if headers is not None else record.headers.get("Content-Type"))
    found.charset = (record.http_charset or "").strip("\"' ") or None
    if not url or not url.startswith(("http://", "https://", "file://")):
        found.outcome = "no_url"
    elif found.status is not None and found.status != 200:
        found.outcome = "bad_status"
    elif kind not in PAGES:
        found.outcome = "not_html"
    if found.outcome is None:
        found.body, found.outcome = body(record, max_bytes)
    if found.outcome is None:
        found.outcome = judged(found.body, kind, max_bytes)
    if found.outcome:
        found.body = b""
    return found


def body(record: WarcRecord, max_bytes: int) -> tuple[bytes, str | None]:
    """The bytes with Transfer- and Content-Encoding undone, never more than `max_bytes` + 1; or an outcome."""
    raw = record.reader.read(max_bytes + 1)
    if len(raw) > max_bytes or record.http_headers is None:
        return raw, None
    for header in ("Transfer-Encoding", "Content-Encoding"):
        for word in reversed((record.http_headers.get(header) or "").lower().replace(" ", "").split(",")):
            raw = undone(raw, word, max_bytes)
            if raw is None:
                return b"", "bad_encoding"
    return raw, None


def undone(raw: bytes, word: str, max_bytes: int) -> bytes | None:
    """One encoding undone, bounded; bytes that are not in it are taken as they are if they are HTML (many crawlers store
    decoded bytes under the old header); None if they are neither."""
    if word in ("", "identity", "none"):
        return raw
    if _HTML.match(raw[:1024]):
        return raw
    if word not in _DECODERS:
        return None
    try:
        return _DECODERS[word](io.BytesIO(raw)).read(max_bytes + 1)
    except (OSError, ValueError, EOFError):
        if word != "deflate":
            return None
    try:  # without zlib's header, as some servers send it and browsers take it
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, max_bytes + 1)
    except zlib.error:
        return None


def media_type(header: str | None) -> str:
    """A Content-Type without its parameters, in lower case."""
    return (header or "").split(";")[0].strip().lower()


def robots(tags: tuple[str, ...], tdm: tuple[str, ...]) -> tuple[str, ...]:
    """The directives, whichever robot they name: the one that crawled was not ours, and an owner named those that were known."""
    return tuple(sorted(opt_outs(tags) | ({"tdm-reservation"} if reserved(tdm) else set())))


def judged(data: bytes, kind: str, max_bytes: int) -> str | None:
    """The outcome that the bytes themselves give."""
    if not data.strip():
        return "empty"
    if len(data) > max_bytes:
        return "too_large"
    if data.startswith(_OTHER) or (kind in _UNSURE and not _HTML.match(data[:1024])):
        return "not_html"
    return None
