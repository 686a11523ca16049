"""What a run keeps of a whole pool: files read a part at a time, decisions streamed, memory bounded."""

import hashlib
import io

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import schema
from curate.errors import PoolError
from curate.score.part import SHIFT, Decision, Part, Rows, slice_of
from curate.select import database as tables
from curate.select import pool
from curate.select.exchange import same
from curate.selector import EDGES, Selection, Selector
from curate.store import memory
from curate.store.atomic import Store
from curate.store.folder import load_or_build
from curate.store.parquet import write_table


@pytest.mark.parametrize(("rows", "per_part"), [(250_000, 7_000), (50_000, 10_000), (20_000, 20_000), (1, 10), (0, 10)])
def test_each_part_finds_its_rows_and_no_others(tmp_path, rows, per_part):
    at, store = np.arange(rows), Store(tmp_path)
    table = pa.table({"id": (at // per_part << SHIFT) + at % per_part, "reason": pa.array(at.astype(str), pa.large_string())})
    store.publish_table("work/decisions/d/00000.parquet", table)
    found = [
        slice_of(store, "work/decisions/d/00000.parquet", Part("p", n, {}), ["reason"]) for n in range(rows // per_part + 2)
    ]
    assert [r for f in found for r in f["reason"].to_pylist()] == [str(i) for i in range(rows)]
    assert all(len(f) <= per_part for f in found)


def test_columns_that_never_repeat_get_no_dictionary(tmp_path):
    table = pa.table(
        {
            "uid": [hashlib.md5(b"%d" % i).hexdigest() for i in range(20_000)],
            "word": ["a", "b"] * 10_000,
            "none": pa.nulls(20_000),
            "list": [[1.5, 2.5]] * 20_000,
        }
    )
    ours = write_table(tmp_path / "t", table)
    group = pq.ParquetFile(tmp_path / "t").metadata.row_group(0)
    dictionaries = {group.column(i).path_in_schema: group.column(i).has_dictionary_page for i in range(group.num_columns)}
    assert dictionaries["word"] and not dictionaries["uid"]
    usual = io.BytesIO()
    pq.write_table(table, usual, compression="zstd", write_page_checksum=True)
    assert ours < usual.tell() and pq.read_table(tmp_path / "t").equals(table)


def test_a_row_keeps_its_first_reason():
    rows = Rows(
        pa.table(
            {"uid": ["a", "b", "c", "d"], "drop_reason": pa.array([None, "source:bad_row", None, None], pa.large_string())}
        )
    )
    rows.drop(np.array([0, 1, 2]), pa.array(["x", "x", None]), "one")
    rows.drop(np.array([0, 1, 2, 3]), pa.array(["y", "y", "y", None]), "two")
    assert rows.reason.tolist() == ["x", "source:bad_row", "y", None] and rows.stage.tolist() == ["one", "source", "two", None]
    assert rows.live.tolist() == [3]


def test_uids_of_many_rows_are_those_of_each():
    text, url = ["é\0x", None, "", "猫"], [None, "http://a/", "http://b/", "http://c/"]
    assert schema.uids(pa.chunked_array([text], schema.STR), pa.chunked_array([url], schema.STR)).to_pylist() == [
        schema.uid(t, u) for t, u in zip(text, url)
    ]


class Numbered(Selector):
    """Drops even ids, numbers those that are divisible by three."""

    def adds(self):
        return {"third": pa.int16(), "word": pa.large_string()}

    def select(self, live):
        ids = live.table()["id"].to_numpy()
        threes, fours = ids[ids % 3 == 0][::-1], ids[ids % 4 == 0]
        edges = [fours, fours.astype(str), fours + 1, (fours + 1).astype(str), np.ones(len(fours), np.float32)]
        return Selection(
            ids[ids % 2 == 0][::-1],
            pa.table({"id": threes, "third": threes % 1000, "word": threes.astype(str)}),
            pa.table(edges, names=EDGES.names).cast(EDGES),
            {"of": len(ids)},
        )


def gathered(store, ids, part=0, name="g", **columns):
    """Live rows as a point of a recipe has them."""
    table = pa.table({"id": pa.array(ids, pa.int64()), "uid": pa.array([str(i) for i in ids], pa.string()), **columns})
    store.publish_table(f"work/gathered/{name}.parquet", table)
    return pool.Gathered(f"work/gathered/{name}.parquet", part, len(ids), 1000, name)


@pytest.fixture(params=[1 << 20, 7_000])
def chunks(request, monkeypatch):
    """A pool of one chunk, and of a chunk for each part."""
    monkeypatch.setattr(pool, "ROWS", request.param)


def decided(store, selector, made, earlier, wanted):
    """Decide, and keep the record, as the driver does."""
    return load_or_build(store, wanted.record, lambda: pool.decide(store, selector, made, earlier, wanted))


def test_a_decision_is_sorted_whole_and_of_the_declared_types(tmp_path, chunks):
    store, selector = Store(tmp_path), Numbered()
    parts = [gathered(store, (n << SHIFT) + np.arange(6_000), n, f"g{n}") for n in range(5)]
    decision = pool.decision(selector, parts, [], "print")
    record = pool.decide(store, selector, parts, [], decision)
    found = pa.concat_tables([store.table(decision.file(start)) for start in decision.starts])
    ids = np.concatenate([(n << SHIFT) + np.arange(6_000) for n in range(5)])
    wanted = ids[(ids % 2 == 0) | (ids % 3 == 0)]
    assert found["id"].to_numpy().tolist() == wanted.tolist()
    assert found["reason"].to_pylist() == ["numbered" if i % 2 == 0 else None for i in wanted]
    assert found.schema.field("third").type == pa.int16() and found.schema.field("word").type == schema.STR
    assert found["word"].to_pylist() == [str(i) if i % 3 == 0 else None for i in wanted]
    assert record["notes"] == {"of": 30_000} and record["reasons"] == {"numbered": 15_000}
    edges = found.filter(found["edge_id"].is_valid())
    fours = ids[ids % 4 == 0]
    assert edges["edge_uid"].to_pylist() == [str(i) for i in fours]
    assert edges["edge_survivor_uid"].to_pylist() == [str(i + 1) for i in fours]
    assert store.names("work/exchange") == [] or not any(
        store.names(f"work/exchange/{n}") for n in store.names("work/exchange")
    )


class Listing(Selector):
    """Notes which rows it saw, and what an earlier one added."""

    reads = ("marked",)

    def select(self, live):
        seen = live.table().sort_by("id")
        return Selection(notes={"seen": list(zip(seen["id"].to_pylist(), seen["marked"].to_pylist())), "of": live.rows})


class Marking(Selector):
    """Drops some rows by number, and marks others."""

    fell: tuple = ()
    marked: tuple = ()

    def adds(self):
        return {"marked": pa.int64()} if self.marked else {}

    def select(self, live):
        marks = pa.table({"id": pa.array(self.marked, pa.int64()), "marked": pa.array(self.marked, pa.int64())})
        return Selection(np.array(self.fell, np.int64), marks if self.marked else None)


def test_a_selector_sees_what_no_earlier_one_dropped(tmp_path, monkeypatch, chunks):
    """Rows of several parts, of which some lost all, some none, some their first, their last, or many to two selectors."""
    monkeypatch.setattr(pool, "ROWS", 50 if pool.ROWS == 7_000 else pool.ROWS)
    store, draw = Store(tmp_path), np.random.default_rng(3)
    parts = [np.sort(draw.choice(60, 40, replace=False)) + (part << SHIFT) for part in range(6)]
    made = [gathered(store, ids, n, str(n)) for n, ids in enumerate(parts)]
    fell = [parts[1], parts[2][[0, 7]], parts[4][[-1]], parts[5][::2]], [parts[2][[8, 9]], parts[5][1:20:2]]
    marked = np.concatenate([parts[0], parts[3]])[::3].tolist()
    earlier = []
    for number, some in enumerate(fell):
        selector = Marking(name=f"s{number}")
        selector.fell, selector.marked = tuple(np.concatenate(some).tolist()), tuple(marked) if number else ()
        earlier.append(pool.decision(selector, made, earlier, "print"))
        decided(store, selector, made, earlier[:-1], earlier[-1])
    earlier.append(Decision("of pages", "documents", "work/decisions/not-there"))
    wanted = pool.decision(Listing(), made, earlier, "print")
    record = pool.decide(store, Listing(), made, earlier, wanted)
    live = sorted(set(np.concatenate(parts).tolist()) - set(np.concatenate([i for some in fell for i in some]).tolist()))
    assert record["notes"] == {"seen": [[i, i if i in marked else None] for i in live], "of": len(live)}


@pytest.mark.parametrize(
    ("free", "cores", "limit", "threads"),
    [
        (4 << 30, 64, "1.0 GiB", 16),
        (64 << 30, 8, "512.0 MiB", 8),
        (64 << 30, 1, "128.0 MiB", 1),
        (256 << 20, 8, "128.0 MiB", 2),
    ],
)
def test_a_database_knows_its_bounds(tmp_path, monkeypatch, free, cores, limit, threads):
    monkeypatch.setattr(tables, "free_memory", lambda: free)
    monkeypatch.setattr(tables.os, "sched_getaffinity", lambda pid: range(cores))
    with tables.database(Store(tmp_path)) as (con, folder):
        found = con.sql(
            "select current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
        ).fetchall()[0]
        assert found[:2] == (limit, threads) and found[2].startswith(folder)


def test_more_rows_than_memory_are_sorted_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "free_memory", lambda: 0)  # the least
    with tables.database(Store(tmp_path)) as (con, _):
        con.execute("set memory_limit = '96MiB'")
        rows = con.sql(
            "select md5(range::varchar) as h, repeat('x', 40) || range as pad from range(1500000) order by h"
        ).to_arrow_reader(100_000)
        last, count = "", 0
        for batch in rows:
            assert batch["h"][0].as_py() >= last
            last, count = batch["h"][len(batch) - 1].as_py(), count + len(batch)
        assert count == 1_500_000


def test_where_memory_does_not_do_there_is_more(tmp_path, monkeypatch):
    """A net that is too small for a pool is made larger, not the run lost; and where there is no more the error says so."""
    limits = []

    def act(con, folder):
        limits.append(con.sql("select current_setting('memory_limit')").fetchall()[0][0])
        if len(limits) < 3:  # while it runs, or while its rows are read
            raise (duckdb.OutOfMemoryException, OSError)[len(limits) - 1]("Out of Memory Error: 256.0 MiB used")
        return con.sql("select 42").fetchall()[0][0]

    monkeypatch.setattr(tables.os, "sched_getaffinity", lambda pid: range(2))
    monkeypatch.setattr(tables, "free_memory", lambda: 8 << 30)
    assert tables.with_room(Store(tmp_path), act) == 42 and limits == ["128.0 MiB", "256.0 MiB", "512.0 MiB"]
    limits.clear()
    monkeypatch.setattr(tables, "free_memory", lambda: 200 << 20)
    with pytest.raises(PoolError, match=r"128 MiB of memory do not do for this pool, and no more is free"):
        tables.with_room(Store(tmp_path), act)


@pytest.mark.parametrize("wrong", [-1, 5, 1 << SHIFT])
def test_a_selector_that_names_a_row_that_is_not_there_is_told_so(tmp_path, monkeypatch, wrong):
    store, selector = Store(tmp_path), Numbered()
    parts = [gathered(store, np.arange(5))]
    monkeypatch.setattr(Numbered, "select", lambda self, live: Selection(np.array([3, wrong])))
    decision = pool.decision(selector, parts, [], "print")
    with pytest.raises(PoolError, match=f"selector numbered: ValueError: there is no row with the id {wrong}$"):
        decided(store, selector, parts, [], decision)
    assert store.json(decision.record) is None


def test_a_frame_that_did_not_come_home_is_refused(tmp_path, monkeypatch):
    store, selector = Store(tmp_path), Numbered()
    parts = [gathered(store, np.arange(5))]
    monkeypatch.setattr(Numbered, "select", lambda self, live: Selection(live.gathered(same)))
    with pytest.raises(PoolError, match=r"not in the chunks of the pool: use home\(\)"):
        pool.decide(store, selector, parts, [], pool.decision(selector, parts, [], "print"))


def test_free_memory_is_some_of_the_machine():
    assert 0 < memory.free_memory() < 1 << 50


def test_files_that_the_kernel_has_cached_are_free_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    for name, text in {
        "memory.max": 64 << 20,
        "memory.current": 60 << 20,
        "memory.stat": f"anon 1\ninactive_file {50 << 20}",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert memory.free_memory() == 54 << 20
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() > 64 << 20


def test_a_selector_of_any_name(tmp_path):
    store, selector = Store(tmp_path), Numbered(name="bob's")
    parts = [gathered(store, np.arange(10))]
    decision = pool.decision(selector, parts, [], "print")
    pool.decide(store, selector, parts, [], decision)
    assert set(store.table(decision.file(0))["reason"].to_pylist()) == {"bob's", None}


def test_parts_may_have_a_column_in_several_types(tmp_path):
    store = Store(tmp_path)
    kinds = {"a": {"n": [1]}, "b": {"n": [2.5]}, "c": {"n": [3]}, "d": {}}
    files = tuple(gathered(store, [at], at, name, **more).file for at, (name, more) in enumerate(kinds.items()))
    found = pool.Survivors(4, files, ("n",)).load(store)
    assert found.to_pylist() == [{"id": n, "uid": str(n), "n": v} for n, v in enumerate((1.0, 2.5, 3.0, None))]
    text = gathered(store, [4], 4, "e", n=["x"]).file
    assert pool.Survivors(5, (*files, text), ("n",)).load(store)["n"].to_pylist() == ["1", "2.5", "3", None, "x"]


def test_a_decision_depends_on_what_is_read_and_on_who_lives(tmp_path):
    store = Store(tmp_path)
    one, same_rows, other = (gathered(store, np.arange(10) + by, 0, name) for name, by in (("a", 0), ("b", 0), ("c", 1)))
    same_rows = pool.Gathered(same_rows.file, 0, 10, 1000, one.content)
    names = [pool.decision(Numbered(), [g], [], "print").folder for g in (one, same_rows, other)]
    assert names[0] == names[1] != names[2]
