"""WARC files for tests of the source of pages."""

import gzip
import io

from curate.sources.web_pages import WebPages

HTML = [("Content-Type", "text/html; charset=utf-8")]


def warc(records, compress=True) -> bytes:
    """A WARC file of (url, body, headers, status) records."""
    out = io.BytesIO()
    for url, body, headers, status in records:
        head = "".join(f"{k}: {v}\r\n" for k, v in headers)
        http = f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body
        top = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{abs(hash(url)):032x}>\r\n"
            f"WARC-Date: 2025-03-01T10:00:00Z\r\n"
            f"WARC-Target-URI: {url}\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
        )
        record = top.encode() + http + b"\r\n\r\n"
        out.write(gzip.compress(record) if compress else record)
    return out.getvalue()


def read(path, part_size=1000, **options):
    source = WebPages(str(path), **options)
    return [part for file in source.files() for part in source.read(file, part_size)]
