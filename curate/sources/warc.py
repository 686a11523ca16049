"""Reader of WARC files: one page for each response record, with an outcome for each record that is not a page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from fastwarc.warc import ArchiveIterator, HeaderMap, WarcRecord, WarcRecordType

from curate.errors import PoolError
from curate.sources import archives, contained
from curate.sources.codings import decode
from curate.sources.contained import Opened
from curate.web.headers import opt_outs, reserved

_TAGS = (
    "html head title body meta link base script style noscript iframe frameset div p h[1-6] table ul ol dl a b i u br hr em strong "
    "span font center img section article main header footer nav aside form pre blockquote".replace(" ", "|")
)
#: The beginning of a page, after an XML declaration and comments.
_HTML = re.compile(
    rb"\s*(?:<\?[^>]*>\s*|<!--(?>.*?-->)\s*)*+<(?:!doctype\s+html|(?:%s)(?=[\s/>]))" % _TAGS.encode(),
    re.IGNORECASE | re.DOTALL,
)
#: Bytes in which the beginning of a page is searched.
SNIFFED = 64 << 10
_OTHER = (b"\x89PNG", b"%PDF", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b", b"RIFF", b"wOF", b"\0\0\0")
_MEDIA = ("image/", "audio/", "video/", "font/", "model/")
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w.:+-]+)""", re.IGNORECASE)

#: Largest number of damaged records skipped in one file, and of offsets tried to find the next record.
DAMAGED, TRIED = 1000, 10_000
#: Largest plausible size of a record in bytes.
LARGEST = 1 << 40
_BLOCK = 1 << 20


@dataclass
class Answer:
    """A page as a server returned it, or as stored in a folder."""

    row: int  # number of the record in the file
    url: str | None
    body: bytes = b""
    status: int | None = None
    charset: str | None = None  # of the Content-Type header
    captured_at: datetime | None = None
    fetched_at: datetime | None = None  # of a page that was asked for
    offset: int | None = None  # of the record in its file, for reading it again
    robots: tuple[str, ...] = ()  # directives of X-Robots-Tag and tdm-reservation
    truncated: str | None = None  # why the body is not whole: the word of WARC-Truncated, or `body`: by its coding or length
    outcome: str | None = None


def read(path: str, max_bytes: int) -> Iterator[Answer]:
    """The pages of a WARC file (`records`), read in a child. PoolError names the position at which it becomes unreadable."""
    try:
        for row, url, body, status, charset, at, *rest in contained.read("curate.sources.warc:plain", [path], path, max_bytes):
            yield Answer(row, url, body, status, charset, at and datetime.fromisoformat(at), None, *rest)
    except (OSError, ValueError) as e:
        raise PoolError(f"{path}: cannot be read: {e}") from e


def plain(files: list[Opened], name: str, max_bytes: int) -> Iterator[tuple]:
    """The pages as tuples of plain values, in the child."""
    with files[0]() as f:
        for a in records(f, name, max_bytes):
            at = a.captured_at and a.captured_at.isoformat()
            yield a.row, a.url, a.body, a.status, a.charset, at, a.offset, a.robots, a.truncated, a.outcome


def records(file: BinaryIO, name: str, max_bytes: int) -> Iterator[Answer]:
    """The responses (and resources) of a WARC file, compressed or not. PoolError names the position at which it becomes unreadable."""
    yield from Records(file, name, max_bytes)


class Records:
    """An iterator over the pages of a WARC file.

    FastWARC does not report a truncated file, so every record is compared with its stated length. A damaged record gives one answer,
    `bad_record`, if another record is found after it; if none is, the file is truncated or broken.
    """

    def __init__(self, file: BinaryIO, name: str, max_bytes: int):
        self.file, self.name, self.max_bytes = file, name, max_bytes
        head = file.read(archives.HEAD)
        mark = next((m for m in (archives.GZIP, archives.ZSTD, archives.LZ4) if head.startswith(m)), None)
        self.packed = mark is not None
        self.begins = re.compile(re.escape(mark)) if mark else re.compile(rb"(?<=\n)WARC/\d")
        self.quirks = re.match(rb"WARC/[\d.]+\n", archives.unpacked(head)) is not None  # lines end as on Unix
        self.row, self.offset = -1, 0  # of the last page
        self.begun, self.length = 0, 0  # of the last record that was begun: where it is, and how many bytes it has at least
        self.url: str | None = None  # of the record being read
        self.pages = False
        self.bad = False  # the last answer was a damaged record: what follows it up to the next one is a part of it

    def __iter__(self) -> Iterator[Answer]:
        at: int | None = 0
        for attempt in range(1, DAMAGED + 1):
            try:
                yield from self._read(at)
                return
            except (OSError, ValueError, EOFError) as e:
                at = self._next_record()
                if at is None or attempt == DAMAGED:
                    raise PoolError(f"{self.name}: cannot be read after record {self.row} (at byte {self.offset}): {e}") from e
            if not self.bad:
                self.row, self.offset, self.bad = self.row + 1, self.begun, True
                yield Answer(self.row, self.url, offset=self.begun, outcome="bad_record")

    def _read(self, at: int) -> Iterator[Answer]:
        self.file.seek(at)
        for record in ArchiveIterator(self.file, parse_http=False, quirks_mode=self.quirks):
            self.begun, self.length, self.url = record.stream_pos, 0, target(record)
            stated = record.headers.get("Content-Length") or ""
            if stated and not possible(stated):
                raise ValueError(f"the next record has a Content-Length of {stated[:40]!r}")
            found = self._page(record)
            record.reader.consume()
            if not stated or record.reader.tell() < record.content_length:
                raise EOFError("the next record is cut short")
            self.length, self.url = int(stated), None
            if found:
                self.row, self.offset, self.bad = found.row, record.stream_pos, found.outcome == "bad_record"
                yield found

    def _page(self, record: WarcRecord) -> Answer | None:
        """The page of a record, None for one of another type. PoolError for records of WET and WAT files."""
        if record.record_type in (WarcRecordType.response, WarcRecordType.resource):
            self.pages = True
            return answer(self.row + 1, record, self.max_bytes)
        if self.pages:
            return None
        if record.record_type == WarcRecordType.conversion:
            raise PoolError(f"{self.name}: {archives.WET}")
        if record.record_type == WarcRecordType.metadata and record.reader.read(64).startswith(b'{"Container"'):
            raise PoolError(f"{self.name}: {archives.WAT}")
        return None

    def _next_record(self) -> int | None:
        """The offset of the next record after the damaged one."""
        tried = 0
        for at in self._places(self.begun + (1 if self.packed else max(1, self.length))):
            tried += 1
            if tried > TRIED:
                return None
            if self._begins_record(at):
                return at
        return None

    def _places(self, start: int) -> Iterator[int]:
        """Offsets at which a record, or a compressed member of the file, may begin."""
        while True:
            self.file.seek(start)
            block = self.file.read(_BLOCK)
            yield from (start + found.start() for found in self.begins.finditer(block))
            if len(block) < _BLOCK:
                return
            start += _BLOCK - 16  # matches that span two blocks

    def _begins_record(self, at: int) -> bool:
        self.file.seek(at)
        try:
            record = next(iter(ArchiveIterator(self.file, parse_http=False, quirks_mode=self.quirks)), None)
        except (OSError, ValueError, EOFError):
            return False
        known = record is not None and record.record_type not in (WarcRecordType.unknown, WarcRecordType.no_type)
        return known and record.stream_pos == at and possible(record.headers.get("Content-Length") or "")


def possible(length: str) -> bool:
    """Whether a Content-Length is valid for a record."""
    return length.isascii() and length.isdigit() and len(length) < 20 and int(length) <= LARGEST


def target(record: WarcRecord) -> str | None:
    """The URL of a record, without the angle brackets of wget."""
    return (record.headers.get("WARC-Target-URI") or "").strip("<> ") or None


def answer(row: int, record: WarcRecord, max_bytes: int) -> Answer:
    url = target(record)
    try:
        record.parse_http(quirks_mode=True)  # lines that end as on Unix too
        found = Answer(row, url, captured_at=record.record_date, offset=record.stream_pos)
    except (OSError, ValueError):
        return Answer(row, url, offset=record.stream_pos, outcome="bad_record")
    headers = record.http_headers
    if headers is not None:
        found.status = headers.status_code
        found.robots = robots(headers.get_multiple("X-Robots-Tag"), headers.get_multiple("tdm-reservation"))
    declared = (record.headers if headers is None else headers).get("Content-Type")
    kind, found.charset = media_type(declared), charset(declared)
    if not url or not url.startswith(("http://", "https://", "file://")):
        found.outcome = "no_url"
    elif found.status is not None and found.status != 200:
        found.outcome = "bad_status"
    elif not may_be_page(kind):
        found.outcome = "not_html"
    if found.outcome is None:
        found.body, cut, found.outcome = body(record.reader.read(max_bytes + 1), headers, max_bytes)
        stated = record.headers.get("WARC-Truncated")
        found.truncated = stated[:20].strip().lower() if stated else "body" if cut else None
    if found.outcome is None:
        found.outcome = judged(found.body, kind, max_bytes)
    if found.outcome:
        found.body = b""
    return found


def body(raw: bytes, headers: HeaderMap | None, max_bytes: int) -> tuple[bytes, bool, str | None]:
    """The body decoded from Transfer- and Content-Encoding, at most `max_bytes` + 1 bytes, and whether it is incomplete; or an
    outcome."""
    if len(raw) > max_bytes or headers is None:
        return raw, False, None
    lists = (",".join(headers.get_multiple(name)).lower().split(",") for name in ("Transfer-Encoding", "Content-Encoding"))
    codings = [word for words in lists for coding in reversed(words) if (word := coding.strip())]
    found = decode(raw, codings, max_bytes)
    if found is None:
        return b"", False, "bad_encoding"
    length = (headers.get("Content-Length") or "").strip()
    short = not codings and possible(length) and int(length) > len(raw)
    return found[0], short or not found[1], None


def media_type(header: str | None) -> str:
    """A Content-Type without its parameters, in lower case."""
    return re.split(r"[;,\s]", (header or "").strip().strip("\"'"), maxsplit=1)[0].lower()


def charset(header: str | None) -> str | None:
    """The charset that a Content-Type states."""
    found = _CHARSET.search(header or "")
    return found[1] if found else None


def may_be_page(kind: str) -> bool:
    """False for media types such as images and sounds. Servers send pages under all other types, so their bytes decide."""
    return not kind.startswith(_MEDIA)


def robots(tags: tuple[str, ...], tdm: tuple[str, ...]) -> tuple[str, ...]:
    """The opt-out directives for any robot: the crawler of the WARC file was another one, and owners name the robots they know."""
    return tuple(sorted(opt_outs(tags) | ({"tdm-reservation"} if reserved(tdm) else set())))


def is_html(data: bytes) -> bool:
    """Whether bytes begin like a page, in UTF-8 or an encoding with a byte order mark."""
    head = data[:SNIFFED]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return _HTML.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def judged(data: bytes, kind: str, max_bytes: int) -> str | None:
    """The outcome by the bytes of a page: empty, too_large, not_html, or None."""
    if not data.strip():
        return "empty"
    if len(data) > max_bytes:
        return "too_large"
    if data.startswith(_OTHER) or ("html" not in kind and not is_html(data)):
        return "not_html"
    return None
