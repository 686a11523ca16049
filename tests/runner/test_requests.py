"""What a run on an object store asks of it: requests a part and a shard, and bytes, by the server's own log."""

import io
import tarfile
from urllib.parse import unquote

import numpy as np
import pytest
from object_server import server  # noqa: F401  a fixture

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.fetch.stage import Fetch
from curate.filters.caption_capitals import CaptionCapitals
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_repetition import CaptionRepetition
from curate.filters.caption_words import CaptionWords
from curate.filters.image_side import ImageSide
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.runner.local import LocalEngine
from curate.select.where import Where
from curate.sources.webdataset import WebDataset
from curate.store.atomic import Store
from tests.fetch.fetch_pictures import jpeg

TARS, EACH = 4, 20


@pytest.fixture
def bucket(server):  # noqa: F811
    store = Store(f"s3://requests-{np.random.default_rng().integers(1 << 40)}")
    store.fs.mkdir(store.root)
    for n in range(TARS):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for i in range(EACH):
                for suffix, data in (
                    ("jpg", jpeg(560, 420, n * EACH + i)),
                    ("txt", f"a picture of number {n} and {i}".encode()),
                ):
                    member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        store.fs.pipe_file(f"{store.root}/pool/{n}.tar", out.getvalue())
    return store


def recipe(store, *more):
    stages = [CaptionWords(min=2), CaptionChars(min=3), CaptionRepetition(max=0.9), Fetch(), ImageSide(min=4), *more]
    return Recipe(
        WebDataset((f"{store.url}/pool/*.tar",)),
        stages,
        [ExactDedup(), Frequency(max=10), Where("caption_words", min=3)],
        shards=Shards(size=EACH),
        name="requests",
    )


def asked(log, *of):
    """Requests for files in these folders, and listings of these."""
    return sum(any(f"/{name}/" in r.path + unquote(r.query) for name in of) for r in log)


def steady(log):
    """Without those whose number depends on how long a run takes: whether it is still the driver's own, and how far it is."""
    return [r for r in log if "/lease" not in r.path + unquote(r.query) and "progress.json" not in r.path]


@pytest.fixture
def by_driver(server, monkeypatch):  # noqa: F811
    """Counts the requests that no task makes."""
    of_tasks = []

    def within(call):
        before = len(server.log)
        found = call()
        of_tasks.extend(server.log[before:])
        return found

    one, each = LocalEngine._call, LocalEngine.map
    monkeypatch.setattr(LocalEngine, "_call", lambda self, *args: within(lambda: one(self, *args)))
    monkeypatch.setattr(LocalEngine, "map", lambda self, f, items: each(self, lambda item: within(lambda: f(item)), items))
    return lambda: len(steady(server.log)) - len(steady(of_tasks))


def test_requests_and_bytes_of_a_run(server, bucket, by_driver):  # noqa: F811
    server.clear()
    made = run(recipe(bucket), f"{bucket.url}/run", engine="local")
    assert made.dataset["samples"] == TARS * EACH and len(made.dataset["shards"]) == TARS
    log = steady(server.log)
    assert len(log) <= 55 * TARS + 188 and by_driver() <= 4 * TARS + 165
    assert asked(log, "parts") <= 28 * TARS and asked(log, "shards", "planned") <= 5 * TARS + 13
    assert sum(r.method == "PUT" and "/shards/" in r.path for r in server.log) == 3 * TARS + 1

    server.clear()
    run(recipe(bucket), f"{bucket.url}/run", engine="local")
    assert len(server.log) < 20, "nothing to do: as many for any number of parts"
    looked = [r for r in server.log if "/pool/" in r.path and r.bytes]  # at the columns of the first tar
    assert sum(r.bytes for r in server.log if r not in looked) < 1 << 20

    # The shards alone are made again: each tar of the pool is read once, with one request, for all of them.
    wanted = sum(made.sql("select payload_size from images where kept").fetchall(), ())
    for name in ("shards", "work/planned"):
        bucket.clear(f"run/{name}")
    for name in ("dataset.json", "SHA256SUMS"):
        bucket.remove(f"run/{name}")
    server.clear()
    again = run(recipe(bucket), f"{bucket.url}/run", engine="local")
    pool = [r for r in server.log if "/pool/" in r.path and r.bytes > 10 * max(wanted)]  # not those for the report's pictures
    assert again.dataset["root_hash"] == made.dataset["root_hash"] and len(pool) == TARS + len(looked)
    assert sum(r.bytes for r in pool) <= 1.1 * sum(wanted) + sum(r.bytes for r in looked)
    assert sum("/source." in r.path for r in server.log) == TARS, "parts are looked at once, for all stages"

    # A filter that drops nobody: what is there is looked at before it and with it, and nothing is decided anew.
    server.clear()
    more = run(recipe(bucket, CaptionCapitals(max=1.0)), f"{bucket.url}/run", engine="local")
    log = steady(server.log)
    assert more.counters["caption_capitals"]["computed"] == TARS * EACH == more.dataset["samples"]
    assert len(log) <= 45 * TARS + 173 and asked(log, "parts") <= 22 * TARS
    assert not any(r.method == "PUT" and "/decisions/" in r.path for r in log)
