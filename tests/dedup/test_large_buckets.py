"""Pairs of a bucket that does not fit the memory: rows of one key, cut into blocks on the worker's disk."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from curate.dedup.near import NearDedup
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.errors import PoolError
from curate.select import exchange
from curate.select.pool import decide, decision, publish_gathered
from curate.store.atomic import Store
from tests.dedup.pool import in_chunks, live, shown
from tests.dedup.test_near import jpeg, picture
from tests.dedup.test_near import pool as pictured

CROWD = "a photograph of an old red house by the river under tall trees, seen from the other side"


def texts():
    return TextDedup(min=0.7, bands=2, rows=1), live(text=[f"{CROWD}, number {i % 50}" for i in range(60)])


def vectors():
    points = np.abs(np.random.default_rng(0).normal(size=(60, 8)))
    return SemanticDedup(column="v", eps=0.15, clusters=1, probes=1, block=16), live(v=points.astype(np.float16).tolist())


def pictures():
    one = picture(1, (64, 80))
    return NearDedup(crops=False, mirror=False, by=()), pictured([jpeg(one, 20 + i) for i in range(30)])


@pytest.mark.parametrize("made", [texts, vectors, pictures])
def test_rows_of_one_key_are_cut_and_the_outcome_is_that_of_all_at_once(made, tmp_path, monkeypatch):
    monkeypatch.setattr("curate.dedup.near.EXACT", 0)
    selector, pool = made()
    expected = shown(selector.select(in_chunks(pool, 3, str(tmp_path / "whole"))))
    assert len(expected["edges"]["id"]) > 20
    blocks, mapped = [], exchange._mapped

    def counted(schema, tables):
        return mapped(schema, (blocks.append(len(t)) or t for t in tables))

    monkeypatch.setattr(exchange, "_mapped", counted)
    monkeypatch.setattr(exchange, "MEMORY", 2_000)
    monkeypatch.setattr(exchange, "BLOCK", 7)
    monkeypatch.setattr("curate.dedup.text._AT_ONCE", 5)
    found = shown(selector.select(in_chunks(pool, 3, str(tmp_path / "cut"))))
    assert found == expected
    assert blocks and (made is pictures or 7 in blocks), "sorted block by block"


def test_what_a_task_makes_is_written_as_it_comes(monkeypatch):
    monkeypatch.setattr(exchange, "ROWS", 10)
    made, held = [pa.table({"a": pa.array(range(n), pa.int64())}) for n in (3, 4, 25, 0, 1)], []
    batches = exchange._batches(held.append(len(t)) or t for t in made)
    assert len(next(batches)) == 10 and held == [3, 4, 25]
    assert [len(t) for t in batches] == [10, 10, 3]


def test_a_full_disk_is_told_with_selector_bucket_and_folder(tmp_path, monkeypatch):
    selector, pool = texts()
    store, table = Store(tmp_path), pool.table()
    gathered = [publish_gathered(store, None, f"images-{n}", n, part) for n, part in enumerate(parts(table))]
    monkeypatch.setattr("curate.select.pool.ROWS", 30)
    monkeypatch.setattr(exchange, "MEMORY", 2_000)
    monkeypatch.setattr(exchange.pa.ipc, "new_file", partial(full, exchange.pa.ipc.new_file))
    wanted = decision(selector, gathered, [], "print")
    with pytest.raises(
        PoolError, match=r"selector text_dedup: \S*exchange/text_dedup-\w+/\S+, bucket \d+: .*no space .*set TMPDIR"
    ):
        decide(store, selector, gathered, [], wanted)


def parts(table):
    ids = [pa.array([(n << 32) + i for i in range(30)], pa.int64()) for n in range(2)]
    return [table.slice(30 * n, 30).set_column(0, "id", ids[n]) for n in range(2)]


def full(new_file, sink, *args, **kwargs):
    """The disk of the worker's own files, which are named by their paths, is full."""
    if isinstance(sink, str):
        raise OSError(28, "No space left on device")
    return new_file(sink, *args, **kwargs)
