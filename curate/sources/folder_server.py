"""Serves a folder of an object store to a child process, which has no credentials: read only, on loopback, by S3's protocol."""

import contextlib
import itertools
import logging
import secrets
import socketserver
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from fsspec import AbstractFileSystem

log = logging.getLogger(__name__)

#: The folder's name at the address, below the secret one, which stands for the bucket.
FOLDER = "folder"
#: Bytes of a file that are in memory at a time.
BLOCK = 4 << 20
_NEVER = "1970-01-01T00:00:00.000Z"


@contextlib.contextmanager
def served(fs: AbstractFileSystem, folder: str) -> Iterator[str]:
    """The address `http://127.0.0.1:<port>/<secret>` of a folder, while the block runs. Only the files that it has now are served, to
    whoever knows the secret."""
    with _Server(fs, folder) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/{server.secret}"
        finally:
            server.shutdown()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fs: AbstractFileSystem, folder: str):
        self.fs, self.secret = fs, secrets.token_hex(16)
        self.files = {f"{FOLDER}{n.removeprefix(folder)}": (n, f["size"]) for n, f in fs.find(folder, detail=True).items()}
        super().__init__(("127.0.0.1", 0), _Handler)

    def listing(self, prefix: str) -> bytes:
        """The files whose names begin so, as ListObjectsV2 answers."""
        found = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{size}</Size><LastModified>{_NEVER}</LastModified></Contents>"
            for name, (_, size) in sorted(self.files.items())
            if name.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A request of a reader that has ended, or one that is not HTTP: it costs its connection."""
        log.debug("a request for a served folder failed", exc_info=True)

    def content(self, inner: str, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, BLOCK):
            yield bytes(self.fs.cat_file(inner, start=at, end=min(at + BLOCK, stop)))  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        bucket, _, name = unquote(url.path).removeprefix("/").partition("/")
        if not secrets.compare_digest(bucket.encode(), self.server.secret.encode()):
            self._answer(403)
        elif not name:
            data = self.server.listing(parse_qs(url.query).get("prefix", [""])[0])
            self._answer(200, len(data), [data])
        elif name in self.server.files:
            self._file(*self.server.files[name])
        else:
            self._answer(404)

    do_HEAD = do_GET

    def _file(self, inner: str, size: int) -> None:
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        first, _, last = wanted.partition("-")
        start = int(first) if first else max(size - int(last), 0) if last else 0
        stop = min(int(last) + 1, size) if first and last else size
        if wanted and start >= stop:
            self._answer(416)
            return
        try:
            blocks = self.server.content(inner, start, stop)
            first_block = next(blocks, b"") if self.command == "GET" else b""
        except OSError as e:  # 500 is what clients repeat
            self._answer(404 if isinstance(e, FileNotFoundError) else 403 if isinstance(e, PermissionError) else 500)
            return
        span = f"bytes {start}-{stop - 1}/{size}"
        self._answer(206 if wanted else 200, stop - start, itertools.chain([first_block], blocks), span)

    def _answer(self, status: int, length: int = 0, blocks: Iterable[bytes] = (), span: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if status == 206:
            self.send_header("Content-Range", span)
        self.end_headers()
        for block in blocks if self.command == "GET" else ():
            self.wfile.write(block)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: an error reaches the reader."""
