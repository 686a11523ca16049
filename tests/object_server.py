"""An S3-compatible server on loopback, for tests: it logs requests and answered bytes, and can be slow."""

import threading
import time
from contextlib import contextmanager
from typing import NamedTuple

import pytest

moto = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")


class Request(NamedTuple):
    method: str
    path: str
    bytes: int  # that a GET was answered with
    query: str


class Counting:
    """The server: `delay` seconds pass before each answer."""

    def __init__(self):
        self.app, self.lock = moto.DomainDispatcherApplication(moto.create_backend_app), threading.Lock()
        self.delay = 0.0
        self.clear()

    def clear(self):
        self.log: list[Request] = []

    @property
    def requests(self):
        return len(self.log)

    @property
    def bytes(self):
        return sum(r.bytes for r in self.log)

    def __call__(self, environ, respond):
        time.sleep(self.delay)

        def counted(status, headers, *rest):
            get = environ["REQUEST_METHOD"] == "GET"
            size = int(dict((k.lower(), v) for k, v in headers).get("content-length") or 0)
            with self.lock:
                self.log.append(
                    Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], size if get else 0, environ["QUERY_STRING"])
                )
            return respond(status, headers, *rest)

        return self.app(environ, counted)


@contextmanager
def serving(patch):
    """Run the server, with the environment variables that point to it."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, *args):
            """Nothing."""

    counting = Counting()
    http = make_server("127.0.0.1", 0, counting, threaded=True, request_handler=Quiet)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    address = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{http.server_port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    for name, value in (address | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        patch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield counting
    http.shutdown()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def server(monkeypatch):
    """The server for a test."""
    with serving(monkeypatch) as counting:
        yield counting
