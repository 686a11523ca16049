"""Frames: what a chunk and a bucket are in memory, whatever the keys."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from curate.dedup.frequency import Frequency
from curate.select import exchange
from curate.select.exchange import Sql, frame_of
from curate.select.partition import ByHash
from tests.dedup.pool import uid


def crowd(n: int) -> pa.Table:
    """Nine rows of ten have one text, each with another picture."""
    text = ["everywhere" if i % 10 else f"rare {i}" for i in range(n)]
    return pa.table({"id": np.arange(n), "uid": [uid(i) for i in range(n)], "text": text, "sha256": [uid(i) for i in range(n)]})


def test_a_bucket_that_most_rows_share_does_not_fill_the_memory(tmp_path, monkeypatch):
    live = frame_of(crowd(20_000), str(tmp_path), rows=500)
    keyed = live.each(Sql("select *, hash(text) as hash from live"))
    buckets = keyed.ranges(ByHash("hash"), 4)
    whole = max(len(b.load(live.exchange.store)) for b in buckets)
    monkeypatch.setattr(exchange, "MEMORY", 200_000)
    before = pa.total_allocated_bytes()
    tables = [b.load(live.exchange.store) for b in buckets]
    held = pa.total_allocated_bytes() - before
    assert whole >= 18_000 and max(map(len, tables)) == whole
    assert held < 0.5 * sum(t.nbytes for t in tables)


def test_a_crowded_key_is_judged_as_in_memory(tmp_path, monkeypatch):
    rows, selector = crowd(3_000), Frequency(max=20, distinct="sha256")
    expected = selector.select(frame_of(rows)).dropped()
    monkeypatch.setattr(exchange, "MEMORY", 20_000)
    found = selector.select(frame_of(rows, str(tmp_path), rows=100)).dropped()
    assert len(expected) == 2_700 and np.array_equal(found, expected)


def test_a_chunk_of_many_rows_is_kept_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "ROWS", 100)
    live = frame_of(crowd(950), str(tmp_path), rows=950)
    again = live.each(Sql("select * from live order by id"))
    [chunk] = again.chunks
    assert [len(t) for t in exchange.read(live.exchange.store, chunk.file)] == [100] * 9 + [50]
    assert again.table()["id"].to_pylist() == list(range(950))


HOSTILE = """
import resource, sys, numpy as np, pyarrow as pa
from curate.balance.caps import Caps
from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.select import exchange
exchange.ROWS, n = 10_000, 100_000
ids, values = np.arange(n), [f"{i:0300x}" for i in range(n)]
for text in ([f"text {i}" for i in range(n)], ["everywhere"] * n):
    rows = pa.table({"id": ids, "uid": [v[-32:] for v in values], "text": text, "sha256": values})
    for i, selector in enumerate((Frequency(distinct="sha256"), ExactDedup(("text",)), Caps(("text",), max=1000))):
        folder = f"{sys.argv[1]}/{i}-{text[0]}"
        fell = len(selector.select(exchange.frame_of(rows, folder, rows=10_000)).dropped())
        print(fell, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def test_a_key_that_all_rows_share_takes_no_more_memory_than_any_other(tmp_path):
    """The peak of a process that runs all tasks of a plan, with different keys and then with one."""
    done = subprocess.run([sys.executable, "-c", HOSTILE, str(tmp_path)], capture_output=True, text=True, check=True)
    fell, peaks = zip(*(map(int, line.split()) for line in done.stdout.splitlines()))
    assert fell == (0, 0, 0, 100_000, 99_999, 99_000)
    assert peaks[-1] <= peaks[2] + 100, peaks  # in MiB; one bucket of all values would take 190


def test_a_disk_without_space_for_a_bucket_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "MEMORY", 0)
    monkeypatch.setattr(exchange.pa, "memory_map", full)
    with pytest.raises(exchange.TooLarge, match=r"no space for the rows that meet in one bucket.*set TMPDIR"):
        exchange.joined([crowd(10)])


def full(path):
    raise OSError(28, "No space left on device")
