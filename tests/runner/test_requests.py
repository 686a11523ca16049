"""What a run on an object store asks of it: requests a part and a shard, and bytes, by the server's own log."""

import collections
import io
import tarfile

import numpy as np
import pytest
from object_server import server  # noqa: F401  a fixture

from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_repetition import CaptionRepetition
from curate.filters.caption_words import CaptionWords
from curate.filters.image_side import ImageSide
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
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


def recipe(store):
    stages = [CaptionWords(min=2), CaptionChars(min=3), CaptionRepetition(max=0.9), Fetch(), ImageSide(min=4)]
    return Recipe(
        WebDataset((f"{store.url}/pool/*.tar",)),
        stages,
        [ExactDedup(), Frequency(max=10), Where("caption_words", min=3)],
        shards=Shards(size=EACH),
        name="requests",
    )


def asked(log, *of):
    return sum(any(f"/{name}/" in r.path for name in of) for r in log)


def test_requests_and_bytes_of_a_run(server, bucket):  # noqa: F811
    server.clear()
    made = run(recipe(bucket), f"{bucket.url}/run", engine="local")
    assert made.dataset["samples"] == TARS * EACH and len(made.dataset["shards"]) == TARS
    # Listings are left out: a driver also looks every second whether the run is still its own.
    timed = ("progress.json", ".beat")  # written every so many seconds
    asked_for = [r for r in server.log if r.path.count("/") > 2 and not r.path.endswith(timed)]
    seen = collections.Counter((r.method, r.path.split("/")[3]) for r in asked_for)
    assert seen.total() <= 58 * TARS + 140, seen
    assert asked(server.log, "parts") <= 26 * TARS and asked(server.log, "shards", "planned") <= 7 * TARS + 8, seen
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
