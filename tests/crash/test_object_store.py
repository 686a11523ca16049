"""The same protocol on an S3-compatible server on loopback that is slow, busy, in conflict, or does not know exclusive create."""

import itertools
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import ToyFetch, ToyHalf, ToyScore, ToyWords

from curate.errors import PoolError, RecipeError
from curate.recipe import Recipe, Shards
from curate.runner.driver import run as start
from curate.sources.url_pairs import UrlPairs
from curate.store import atomic as stores
from curate.store import lease
from curate.store.atomic import Store
from curate.upkeep.check import check

moto = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

ERROR = "<?xml version='1.0'?><Error><Code>{0}</Code><Message>{0}</Message></Error>"


#: What befalls one upload after another (see `Trouble._put`): each kind of trouble, and none after it.
UPLOADS = (0.9, 0.1, 0.5, 0.22, 0.7, 0.29, 0.8, 0.03, 0.6)


class Trouble:
    """A server in front of the server: what it does to a request is drawn with a seed, and in turn where a test counts on it."""

    def __init__(self, app):
        self.app, self.calm, self.lock = app, True, threading.Lock()
        self.dice, self.told = random.Random(5), {}
        self.uploads = {exclusive: itertools.cycle(UPLOADS) for exclusive in (False, True)}
        self.exclusive = True

    def __call__(self, environ, respond):
        if not self.exclusive:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if self.calm:
            return self.app(environ, respond)
        with self.lock:
            put = environ["REQUEST_METHOD"] == "PUT"
            draw = next(self.uploads["HTTP_IF_NONE_MATCH" in environ]) if put else self.dice.random()
        if put:
            return self._put(environ, respond, draw)
        if environ["REQUEST_METHOD"] == "GET" and "list-type" in environ.get("QUERY_STRING", ""):
            time.sleep(0.05 * draw)  # a slow listing
            self.count("slow listing")
        elif draw < 0.03:
            return self.refuse(respond, "503 Service Unavailable", "SlowDown")
        return self.app(environ, respond)

    def _put(self, environ, respond, draw):
        if draw < 0.06:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return self.refuse(respond, "503 Service Unavailable", "SlowDown")
        if draw < 0.20 and "HTTP_IF_NONE_MATCH" in environ:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return self.refuse(respond, "409 Conflict", "ConditionalRequestConflict")
        if draw < 0.26:  # half of the body comes, and then the connection breaks
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            self.count("partial upload")
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("the connection broke in the middle of the upload")
        if draw < 0.32:  # the upload is done, its answer is lost; when repeated, it is refused (412)
            self.count("lost answer")
            list(self.app(environ, lambda *a: None))
            return self.refuse(respond, "500 Internal Server Error", "InternalError")
        return self.app(environ, respond)

    def refuse(self, respond, status, code):
        self.count(code)
        body = ERROR.format(code).encode()
        respond(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), ("Connection", "close")])
        return [body]

    def count(self, what):
        with self.lock:
            self.told[what] = self.told.get(what, 0) + 1


@pytest.fixture(scope="module")
def server():
    """A bucket `pool` on a port of 127.0.0.1; AWS_* point to it, here and in child processes."""
    from werkzeug.serving import make_server

    trouble = Trouble(moto.DomainDispatcherApplication(moto.create_backend_app))
    http = make_server("127.0.0.1", 0, trouble, threaded=True)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{http.server_port}"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_MAX_ATTEMPTS", "3"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ):
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("pool")
        yield trouble
    http.shutdown()
    thread.join(10)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(server, request, monkeypatch):
    monkeypatch.setattr(stores, "PAUSE", 0.05)
    server.calm, server.exclusive, server.told = True, True, {}
    yield f"s3://pool/{request.node.name.replace('[', '-').rstrip(']')}"
    server.calm = True


def pairs(url: str, n: int = 70) -> Recipe:
    rows = pa.table({"url": [f"http://toy/{i}" for i in range(n)], "text": ["word " * (i % 7) for i in range(n)]})
    with s3fs.S3FileSystem().open(url + "/in/pairs.parquet", "wb") as f:
        pq.write_table(rows, f)
    return Recipe(
        UrlPairs([url + "/in/*.parquet"]), [ToyWords(), ToyFetch(), ToyScore()], [ToyHalf()], shards=Shards(size=8), name="toy"
    )


def go(recipe: Recipe, out: str):
    return start(recipe, out, engine="local", part_size=50)


def test_exclusive_create_is_found_out_and_the_first_commit_wins(bucket, server):
    store = Store(bucket)
    store.probe()
    assert store.exclusive and store.names("") == []
    assert store.commit_bytes("a/b", b"one") and not store.commit_bytes("a/b", b"two")
    assert store.read("a/b") == b"one" and store.names("a") == ["b"] and store.sizes("a") == {"b": 3}


def test_of_many_writers_at_once_one_commits(bucket):
    store, won = Store(bucket), []
    threads = [
        threading.Thread(target=lambda i=i: won.append(i) if Store(bucket).commit_bytes("x", b"%d" % i) else None)
        for i in range(8)
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(won) == 1 and store.read("x") == b"%d" % won[0]


def test_a_store_without_exclusive_create_has_one_committer(bucket, server, monkeypatch):
    server.exclusive = False
    monkeypatch.setattr(lease, "SETTLE", 0.1)
    monkeypatch.setattr(stores, "FRESH", 0.0)
    store = Store(bucket)
    store.probe()
    assert not store.exclusive
    with lease.held(store):
        assert store.commit_bytes("a", b"one") and not store.commit_bytes("a", b"two") and store.read("a") == b"one"
        with pytest.raises(RecipeError, match="another driver holds this run"), lease.held(Store(bucket)):
            pass
        Store(bucket).commit_bytes("lease/000002.json", b"{}")
        with pytest.raises(PoolError, match="has taken this run over"):
            store.commit_bytes("b", b"zombie")


def test_a_run_from_a_bucket_into_a_bucket_through_all_kinds_of_trouble_and_curate_sql_reads_it(bucket, server, tmp_path):
    calm = go(pairs(bucket), str(tmp_path / "calm"))
    server.calm = False
    rough = go(pairs(bucket), bucket + "/rough")
    server.calm = True
    assert rough.dataset["root_hash"] == calm.dataset["root_hash"] and rough.dataset["samples"] > 10
    assert {"SlowDown", "ConditionalRequestConflict", "partial upload", "lost answer", "slow listing"} <= set(server.told)
    assert rough.sql("select count(*) from images").fetchall() == [(70,)]
    assert check(rough.store) == []
    assert go(pairs(bucket), bucket + "/rough").counters == {}
    done = subprocess.run(
        [sys.executable, "-m", "curate.cli", "sql", bucket + "/rough", "select count(*) as n from images where kept"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0 and str(rough.dataset["samples"]) in done.stdout, done.stderr


def test_a_driver_killed_in_the_middle_of_uploads_goes_on_where_there_is_no_exclusive_create(
    bucket, server, monkeypatch, tmp_path
):
    server.exclusive = False
    monkeypatch.setattr(lease, "SETTLE", 0.1)
    golden = go(pairs(bucket), str(tmp_path / "golden")).dataset["root_hash"]
    code = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]!r}; from test_object_store import *; go(pairs({bucket!r}), {bucket!r} + '/run')"
    for place in ("named work/parts/*toy_score*", "upload shards/00001.tar"):
        env = {**os.environ, "CURATE_FAILPOINT": f"kill@{place}"}
        assert subprocess.run([sys.executable, "-c", code], env=env, timeout=120).returncode == -9
        shown = Store(bucket + "/run")
        assert not (shown.exists("dataset.json") and not shown.exists("shards/00000.tar"))
    assert go(pairs(bucket), bucket + "/run").dataset["root_hash"] == golden
