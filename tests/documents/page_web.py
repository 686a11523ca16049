"""A small web for runs over pages: a WARC file whose images a local server gives, and counts."""

import gzip
import io
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

WORDS = (
    "the river was long and the boat went on to the sea while we sat in the sun and spoke of what had been done in the "
    "winter when the snow lay on the roofs of the town and no one came to the inn by the bridge"
).split()


def picture(seed: int, side: int = 220) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)).resize((side, side)).save(
        out, "JPEG"
    )
    return out.getvalue()


def sentence(seed: int, words: int = 30) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(rng.permutation(WORDS)[:words]).capitalize() + "."


def page(images: list[str], paragraphs: list[str], lang: str = "en") -> bytes:
    """An article in which images and paragraphs take turns, with a navigation."""
    body = ""
    for i in range(max(len(images), len(paragraphs))):
        body += f"<p>{paragraphs[i]}</p>" if i < len(paragraphs) else ""
        body += f'<img src="{images[i]}" alt="alt {i}">' if i < len(images) else ""
    return f"<html lang={lang}><title>T</title><body><nav><a href=/x>Home</a></nav><article>{body}</article></body></html>".encode()


def warc(records: list[tuple[str, bytes, str]]) -> bytes:
    """A WARC.gz file of (url, html, date) records."""
    out = io.BytesIO()
    for n, (url, body, date) in enumerate(records):
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{n:032x}>\r\nWARC-Date: {date}\r\n"
            f"WARC-Target-URI: {url}\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
        )
        out.write(gzip.compress(head.encode() + http + b"\r\n\r\n"))
    return out.getvalue()


@contextmanager
def serving(files: dict[str, bytes]):
    """Serve files (by path) on loopback; yields (address, hits). What is not there is a 404."""
    hits: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            hits[self.path] += 1
            data = files.get(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Type", "text/html" if self.path.endswith(".html") else "image/jpeg")
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hits
    finally:
        server.shutdown()
        server.server_close()
