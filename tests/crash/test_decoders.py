"""A picture that kills, hangs, slows or bloats its decoder costs one row, in the first attempt at its part."""

import hashlib
import io
import os
import struct
import time
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from toys import ToyFetch, recipe

from curate.fetch import isolate
from curate.runner.driver import Driver
from curate.runner.engine import LocalEngine, RayEngine
from curate.runner.workers import Lane, flow
from curate.score.target import Function
from curate.stage import Filter
from curate.store import failpoints
from curate.store.atomic import Store
from curate.upkeep.check import check
from curate.view.progress import Quiet

#: What each picture does to its decoder, by its number; no two have the same bytes.
VICTIMS = {"segfault": 3, "hang": 6, "hog": 9}
OUTCOMES = {3: "decoder_crash", 6: "decoder_timeout", 9: "decoder_memory"}


#: A picture that needs no fault to be slow: many chunks, each a few lines of Python in Pillow, and 64 pixels.
SLOW = 12


def photo(n: int) -> bytes:
    if n == SLOW:
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)), (b"aaAa", b""), (b"IDAT", zlib.compress(bytes(72)))]
        head, small, data = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
        return b"\x89PNG\r\n\x1a\n" + head + small * 800_000 + data + struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    out = io.BytesIO()
    Image.new("RGB", (16 + n, 16), (n, n * 3, 255 - n)).save(out, "JPEG")
    return out.getvalue()


@dataclass
class PhotoFetch(ToyFetch):
    """Fetches real pictures, each known by the last number of its URL."""

    def _one(self, url, uid, parcel):
        data = photo(int(url.rsplit("/", 1)[1]))
        return "ok", "image/jpeg", hashlib.sha256(data).hexdigest(), None, parcel.add(f"{uid}.jpg", data), len(data)


@dataclass
class Light(Filter):
    """Mean of all pixels."""

    reads = ("image",)
    min: float | None = 0

    def score(self, live, images):
        return [float(np.mean(i)) for i in images]


def made(folder):
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in/a.txt").write_text("60")
    built = recipe([folder / "in/a.txt"], words=0, score=0.0, half=0.0, extra=[Light()])
    built.score[1] = PhotoFetch(name="toy_fetch", fails="ok")
    return built.check()


def drive(built, out, engine, deadline=3600.0):
    engine.ship_user_code([built.source, *built.steps])
    return Driver(built, Store(str(out)), engine, 20, False, Quiet(), None, deadline=deadline).run()


def spec(*faults):
    return ";".join(f"{fault}@decode {hashlib.sha256(photo(VICTIMS[fault])).hexdigest()}" for fault in faults)


def judged(run):
    rows = run.sql("select source_row, drop_reason from images").fetchall()
    assert len(rows) == 60
    assert check(run.store) == []
    return {row: reason for row, reason in rows if reason and reason.startswith("decode")}


@pytest.fixture(scope="module")
def ray_engine():
    """Workers inherit the failpoints of the process that starts Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_FAILPOINT", spec("segfault", "hog"))
        engine = RayEngine(workers=2)
    yield engine
    engine.shutdown()


def test_on_the_local_engine_decoders_are_always_apart_and_the_driver_lives(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_FAILPOINT", spec("segfault", "hang", "hog"))
    monkeypatch.setattr(isolate.Isolated.__init__, "__defaults__", (3.0, isolate.MEMORY))
    run = drive(made(tmp_path), tmp_path / "run", LocalEngine())
    assert judged(run) == OUTCOMES | {SLOW: "decoder_timeout"}
    assert run.recipe["retries"] == []


def test_on_ray_a_bad_picture_costs_one_row_in_the_first_attempt(tmp_path, ray_engine):
    run = drive(made(tmp_path), tmp_path / "run", ray_engine)
    assert judged(run) == {n: OUTCOMES[n] for n in (VICTIMS["segfault"], VICTIMS["hog"])} | {SLOW: "decoder_timeout"}
    assert run.recipe["retries"] == []


def sleeps_once(item):
    if not os.path.exists(item):
        open(item, "w").close()
        time.sleep(600)
    return item


@pytest.mark.parametrize("kind", ["cpu", "network"])
def test_on_ray_a_call_that_hangs_is_given_up_at_its_deadline_and_made_again(tmp_path, ray_engine, kind):
    seen, again = [], []
    began = time.monotonic()
    lanes = [Lane("slow", Function(sleeps_once), kind, limit=2, deadline=8.0)]
    ray_engine.ship_user_code(lanes)
    item = str(tmp_path / "begun")
    assert flow(ray_engine, lanes, [item], on_result=lambda *a: seen.append(a), on_retry=lambda *a: again.append(a)) == []
    assert (0, item, item) in seen and ["not back after 8 s" in str(e) for _, _, e in again] == [True]
    assert time.monotonic() - began < 60


def test_unset_failpoints_are_nothing_at_all():
    assert failpoints.PLAN is None and failpoints.at is failpoints._unarmed
    began = time.perf_counter()
    for _ in range(100_000):
        failpoints.at("decode", b"")
    assert time.perf_counter() - began < 0.5
