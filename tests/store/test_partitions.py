"""What is taken piece by piece is what would be taken as a whole."""

import os
import subprocess
import sys

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from curate.dedup import keys
from curate.score.part import SHIFT, Part, slice_of
from curate.select import pool
from curate.selector import EDGES, Selection, Selector
from curate.shard import ledger
from curate.shard import write as shards
from curate.store import partitions as pieces
from curate.store.atomic import Store
from tests.dedup.pool import live


@pytest.fixture
def small(monkeypatch):
    """Pieces of few rows, few of which wait."""
    monkeypatch.setattr(pieces, "ROWS", 7)
    monkeypatch.setattr(pieces, "WAIT", 200)


def gathered(store: Store, rows: dict[int, int], **columns) -> list[pool.Gathered]:
    """So many live rows of each part, every second of a part's rows, shuffled among the columns given."""
    found = []
    for part, count in rows.items():
        ids = (part << SHIFT) + 2 * np.arange(count)
        table = pa.table(
            {"id": ids, "uid": [f"{i * 7919 % 100_003:06d}" for i in ids]} | {n: f(ids) for n, f in columns.items()}
        )
        store.publish_table(f"gathered/{part}.parquet", table)
        found.append(pool.Gathered(f"gathered/{part}.parquet", count))
    return found


def test_rows_come_back_from_their_pieces_in_the_order_in_which_they_came(tmp_path, small):
    files = pieces.places(tmp_path / "p", 40)
    assert len(files) == 6
    rows = [pa.table({"n": np.arange(low, low + 9), "s": [str(i) for i in range(low, low + 9)]}) for low in range(0, 90, 9)]
    assert pieces.scatter(rows, lambda t: t["n"].to_numpy() % 5, files) == 90
    assert not files[5].exists()
    for number, file in enumerate(files):
        held = pieces.load(file, rows[0].schema)
        assert held["n"].to_pylist() == [n for n in range(90) if n % 5 == number]
        assert held["s"].to_pylist() == [str(n) for n in held["n"].to_pylist()]


def test_there_are_no_more_pieces_than_can_be(tmp_path):
    assert len(pieces.places(tmp_path / "a", 10**12)) == pieces.MOST <= 1 << 16
    assert len(pieces.places(tmp_path / "b", 0)) == 1


@pytest.mark.parametrize("parts", [{0: 40}, {0: 3, 1: 0, 2: 50, 3: 1}, {0: 0}])
@pytest.mark.parametrize("copies", [False, True])
def test_places_in_shards_are_those_of_the_whole_plan(tmp_path, small, parts, copies):
    store, how = Store(tmp_path), shards.Shards(size=11, seed=3)
    more = {"copies": lambda ids: pa.array([(None, 1, 3)[i % 3] for i in ids], pa.int32())} if copies else {}
    found = gathered(store, parts, **more)
    whole = shards.plan(duckdb.connect().sql(f"from {pool.gathered_rows(store, found)}"), how)
    assigned = ledger.assign(store, found, how)
    assert assigned.samples == len(whole) and assigned.shards == len(set(whole["shard"].to_pylist()))
    made = store.table(assigned.file, ["id", "uid", "key", "shard", "place"])
    order = [("id", "ascending"), ("key", "ascending")]
    assert made.to_pydict() == whole.sort_by(order).select(made.column_names).to_pydict()
    for part, count in parts.items():
        places = slice_of(store, assigned.file, Part("", part, {}), ["uid"])
        assert len(set(places["id"].to_pylist())) == count and made["id"].to_pylist() == sorted(made["id"].to_pylist())


class Twisted(Selector):
    """Names ids out of order, some twice and for two reasons, adds to others, and has edges both ways across parts."""

    reads = ("similarity", "survivor")

    def adds(self):
        return {"twisted_at": pa.int32()}

    def select(self, live):
        ids = np.sort(live.table("id")["id"].to_numpy())
        fallen, told = np.concatenate([ids[::3][::-1], ids[::6]]), ids[::2][::-1]
        reasons = ["b"] * len(ids[::3]) + ["a"] * len(ids[::6])
        edges = pa.table([ids[1:], ids[:-1], np.full(len(ids) - 1, 0.5, np.float32)], EDGES)
        extra = live.con.from_arrow(pa.table({"id": told, "twisted_at": told % 1000}))
        return Selection(pa.table({"id": fallen, "reason": reasons}), columns=extra, edges=edges)


def test_a_decision_in_pieces_is_the_whole_decision(tmp_path, small):
    """The rows have columns that edges have too."""
    store, selector = Store(tmp_path), Twisted()
    more = {"similarity": lambda ids: np.full(len(ids), 9.0), "survivor": lambda ids: np.full(len(ids), -1)}
    rows = gathered(store, {0: 30, 1: 0, 2: 45, 3: 1}, **more)
    wanted = pool.decision(selector, rows, [], "print")
    pool.decide(store, selector, rows, [], wanted)
    ids = np.concatenate([(p << SHIFT) + 2 * np.arange(n) for p, n in {0: 30, 2: 45, 3: 1}.items()])
    reasons = dict.fromkeys(ids[::3].tolist(), "b") | dict.fromkeys(ids[::6].tolist(), "a")
    told = {i: i % 1000 for i in ids[::2].tolist()}
    found = store.table(wanted.file).to_pydict()
    assert found["id"] == sorted(reasons | told)
    assert found["reason"] == [reasons.get(i) for i in found["id"]]
    assert found["twisted_at"] == [told.get(i) for i in found["id"]]
    edges = store.table(wanted.file.replace("decisions/", "edges/")).to_pydict()
    uids = [f"{i * 7919 % 100_003:06d}" for i in ids]
    assert (edges["id"], edges["survivor_id"]) == (ids[1:].tolist(), ids[:-1].tolist())
    assert (edges["uid"], edges["survivor"]) == (uids[1:], uids[:-1]) and set(edges["similarity"]) == {0.5}


@pytest.mark.parametrize("seed", range(3))
def test_repeated_keys_are_those_that_occur_twice(tmp_path, small, monkeypatch, seed):
    monkeypatch.setattr(keys, "BATCH", 13)
    draw = np.random.default_rng(seed)
    texts = [f"t{i}" for i in np.concatenate([np.zeros(300, int), draw.integers(0, 2_000, 700)])]
    rows = live(folder=tmp_path, t=[texts[i] for i in draw.permutation(1_000)])
    with keys.repeated(rows, "t", "t != 't1'") as twice:
        found = rows.sql(f"select distinct t from live semi join {twice} on hash(t) = __hash").fetchall()
        lines = rows.con.sql(f"select count(*) from {twice}").fetchall()[0][0]
    wanted = {t for t in set(texts) if texts.count(t) > 1 and t != "t1"}
    assert {t for (t,) in found} == wanted and lines == len(wanted)
    assert not list(tmp_path.iterdir())


def test_one_of_many_sets_down_no_more_than_two_of_a_batch():
    assert keys._at_most_twice(np.array([5, 1, 5, 5, 2, 1, 5], np.uint64)).tolist() == [1, 1, 2, 5, 5]
    assert [len(keys._at_most_twice(np.zeros(n, np.uint64))) for n in range(4)] == [0, 1, 2, 2]


def test_a_column_of_words_by_number_comes_back_as_it_was(tmp_path):
    words = [f"w{i % 3}" if i % 5 else None for i in range(40)]
    rows = pa.table({"n": range(40), "word": pa.array(words).dictionary_encode()})
    files = pieces.places(tmp_path / "pieces", 40)
    assert pieces.scatter([rows.slice(0, 25), rows.slice(25)], lambda t: np.zeros(len(t), int), files) == 40
    found = pieces.load(files[0], rows.schema)
    assert found.schema == rows.schema and found["word"].to_pylist() == words


@pytest.mark.parametrize(("given", "found"), [({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc")])
def test_arrow_takes_memory_where_it_is_given_back_unless_somebody_says_otherwise(given, found):
    clean = {k: v for k, v in os.environ.items() if k != "ARROW_DEFAULT_MEMORY_POOL"}
    code = "import curate, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    said = subprocess.run([sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == found


def test_pieces_divide_the_rows_evenly(tmp_path):
    parts = {n: 10 * (n % 3) for n in range(100)}
    rows = [pool.Gathered("", count) for count in parts.values()]
    ids = np.concatenate([(n << SHIFT) + np.arange(count) for n, count in parts.items()])
    pieces_of = pool.by_row(rows, 9)(pa.table({"id": ids}))
    assert (np.diff(pieces_of) >= 0).all() and set(pieces_of) == set(range(9))
    assert max(np.bincount(pieces_of)) <= len(ids) / 9 + max(parts.values())
