"""What is read of an object store: no more than is wanted, in few requests. An S3-compatible server on loopback counts."""

import threading

import numpy as np
import pyarrow as pa
import pytest

from curate.store.atomic import Store
from curate.store.payload import slices

moto = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

MEBI = 1 << 20


class Counting:
    """A server that counts requests and the bytes that it answers with."""

    def __init__(self, app):
        self.app, self.lock = app, threading.Lock()
        self.clear()

    def clear(self):
        self.requests, self.bytes = 0, 0

    def __call__(self, environ, respond):
        def counted(status, headers, *rest):
            with self.lock:
                self.requests += 1
                if environ["REQUEST_METHOD"] == "GET":
                    self.bytes += int(dict((k.lower(), v) for k, v in headers).get("content-length") or 0)
            return respond(status, headers, *rest)

        return self.app(environ, counted)


@pytest.fixture
def server(monkeypatch):
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, *args):
            """Nothing."""

    counting = Counting(moto.DomainDispatcherApplication(moto.create_backend_app))
    http = make_server("127.0.0.1", 0, counting, threaded=True, request_handler=Quiet)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    address = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{http.server_port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    for name, value in (address | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield counting
    http.shutdown()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def store(server):
    store = Store(f"s3://reads-{np.random.default_rng().integers(1 << 40)}/run")
    store.fs.mkdir(store.root.split("/")[0])
    return store


def test_slices_of_a_payload_cost_their_bytes(server, store):
    data = np.random.default_rng(0).bytes(24 * MEBI)
    store.fs.pipe_file(store._inner("parts/a/0.tar"), data)
    wanted = [(n * 2 * MEBI + 777, 50_000) for n in range(12)] + [(23 * MEBI, 1000), (23 * MEBI + 1500, 1000)]
    server.clear()
    with store.open("parts/a/0.tar") as source:
        found = list(slices(source, wanted))
    assert found == [data[at : at + size] for at, size in wanted]
    assert server.bytes <= 1.1 * sum(size for _, size in wanted) and server.requests <= len(wanted) + 2


def test_a_column_of_a_table_does_not_cost_the_table(server, store):
    rng = np.random.default_rng(0)
    wide = {f"c{n}": rng.random(100_000) for n in range(12)}
    store.publish_table("ledger/images/0.parquet", pa.table({"uid": np.arange(100_000), **wide}))
    size = store.fs.size(store._inner("ledger/images/0.parquet"))
    server.clear()
    assert len(store.table("ledger/images/0.parquet", ["c5"])) == 100_000
    assert size > 8 * MEBI and server.bytes < 3.2 * MEBI and server.requests <= 8
