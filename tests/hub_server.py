"""A hub on loopback: as much of Hugging Face's as its own client asks for when it lists a data set and reads files of it."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@contextmanager
def hub(files: dict[tuple[str, str, str], bytes]) -> Iterator[str]:
    """Serves files by (data set, revision, path); yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": files}))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    files: dict[tuple[str, str, str], bytes]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if resolve := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/(refs/convert/parquet|[^/]+)/(.*)", path):
            return self._file(self.files.get(resolve.groups()))
        found = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree)/(refs/convert/parquet|[^/]+)/?(.*))?", path)
        name, what, revision, folder = found.groups()
        revision = revision or "main"
        mine = {p: data for (n, r, p), data in self.files.items() if (n, r) == (name, revision)}
        if not mine:
            known = any(n == name for n, _, _ in self.files)
            return self._answer({"error": "none"}, 404, "RevisionNotFound" if known else "RepoNotFound")
        if what == "tree":
            return self._answer(_tree(mine, folder, "recursive=true" in self.path.lower()))
        return self._answer({"id": name, "sha": "0" * 40, "siblings": []})

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wanted = parse_qs(body).get("paths") or json.loads(body)["paths"]
        name, revision = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/paths-info/(.*)", path).groups()
        mine = {p: data for (n, r, p), data in self.files.items() if (n, r) == (name, revision)}
        self._answer([e for e in _tree(mine, "", True) if e["path"] in wanted])

    def _file(self, data: bytes | None) -> None:
        if data is None:
            return self._answer({"error": "none"}, 404, "EntryNotFound")
        start, end = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
        self._bytes(data[int(start) : int(end) + 1], 206)

    def _answer(self, value: Any, status: int = 200, error: str = "") -> None:
        self._bytes(json.dumps(value).encode(), status, error)

    def _bytes(self, data: bytes, status: int, error: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        self.wfile.write(data)


def _tree(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """The files and folders in a folder, or at any depth."""
    found = [
        {"type": "file", "path": p, "size": len(d), "oid": hashlib.sha1(d, usedforsecurity=False).hexdigest()}
        for p, d in files.items()
    ]
    folders = {str(up) for path in files for up in PurePosixPath(path).parents} - {"."}
    found += [{"type": "directory", "path": f, "size": 0, "oid": "0" * 40} for f in sorted(folders)]
    inside = f"{folder}/" if folder else ""
    return [e for e in found if e["path"].startswith(inside) and (recursive or "/" not in e["path"].removeprefix(inside))]
