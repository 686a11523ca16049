"""An S3-compatible server on loopback, for tests: it counts requests and answered bytes, and can be slow."""

import threading
import time
from contextlib import contextmanager

import pytest

moto = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")


class Counting:
    """The server: `delay` seconds pass before each answer."""

    def __init__(self):
        self.app, self.lock = moto.DomainDispatcherApplication(moto.create_backend_app), threading.Lock()
        self.delay = 0.0
        self.clear()

    def clear(self):
        self.requests, self.bytes = 0, 0

    def __call__(self, environ, respond):
        time.sleep(self.delay)

        def counted(status, headers, *rest):
            with self.lock:
                self.requests += 1
                if environ["REQUEST_METHOD"] == "GET":
                    self.bytes += int(dict((k.lower(), v) for k, v in headers).get("content-length") or 0)
            return respond(status, headers, *rest)

        return self.app(environ, counted)


@contextmanager
def serving(patch):
    """It is up, and the environment leads to it."""
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
