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
from curate.selector import EDGES, Selection, Selector
from curate.store import memory
from curate.store.atomic import Store
from curate.store.parquet import write_batches, write_table


def sorted_file(store: Store, rows: int, per_part: int, batch: int) -> str:
    """A file as decisions are: `per_part` ids of each part, written from a stream of batches of another size."""
    at = np.arange(rows)
    table = pa.table({"id": (at // per_part << SHIFT) + at % per_part, "reason": pa.array(at.astype(str), pa.large_string())})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=batch))
    with store.private("decisions/d.parquet") as path:
        store.commit("decisions/d.parquet", path, write_batches(path, reader, rows))
    return "decisions/d.parquet"


@pytest.mark.parametrize(
    ("rows", "per_part", "batch"),
    [(50_000, 7_000, 3_000), (50_000, 10_000, 50_000), (20_000, 20_000, 10_000), (1, 10, 10), (0, 10, 10)],
)
def test_each_part_finds_its_rows_and_no_others(tmp_path, rows, per_part, batch):
    store = Store(tmp_path)
    file = sorted_file(store, rows, per_part, batch)
    found = [slice_of(store, file, Part("p", n, {}), ["reason"]) for n in range(rows // per_part + 2)]
    assert [r for f in found for r in f["reason"].to_pylist()] == [str(i) for i in range(rows)]
    assert all(len(f) <= per_part for f in found)


def test_a_part_reads_few_groups_of_a_large_file(tmp_path):
    store = Store(tmp_path)
    file = pq.ParquetFile(store.path(sorted_file(store, 200_000, 5_000, 10_000)))
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [10_000] * 20


def test_groups_grow_with_the_root_of_many_rows(tmp_path):
    table = pa.table({"id": range(50_000), "reason": pa.nulls(50_000, pa.large_string())})
    write_batches(tmp_path / "d", table.to_reader(7_000), 9_000_000)
    file = pq.ParquetFile(tmp_path / "d")
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [30_000, 20_000]


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
        ids = live.table("id")["id"].to_numpy()
        threes = ids[ids % 3 == 0][::-1]
        return Selection(
            ids[ids % 2 == 0][::-1],
            pa.table({"id": threes, "third": threes // 3, "word": threes.astype(str)}),
            pa.table([ids[ids % 4 == 0], ids[ids % 4 == 0] + 1, np.ones((len(ids) + 3) // 4, np.float32)], schema=EDGES),
            {"of": len(ids)},
        )


def test_a_decision_is_sorted_whole_and_of_the_declared_types(tmp_path):
    store, selector = Store(tmp_path), Numbered()
    store.publish_table("gathered/g.parquet", pa.table({"id": np.arange(30_000), "uid": np.arange(30_000).astype(str)}))
    gathered = [pool.Gathered("gathered/g.parquet", 30_000)]
    decision = pool.decision(selector, gathered, [], "print")
    pool.decide(store, selector, gathered, [], decision)
    found = store.table(decision.file)
    ids = np.arange(30_000)
    wanted = ids[(ids % 2 == 0) | (ids % 3 == 0)]
    assert found["id"].to_numpy().tolist() == wanted.tolist()
    assert found["reason"].to_pylist() == ["numbered" if i % 2 == 0 else None for i in wanted]
    assert found["third"].to_pylist() == [i // 3 if i % 3 == 0 else None for i in wanted]
    assert found.schema.field("third").type == pa.int16() and found.schema.field("word").type == schema.STR
    assert pool.notes(store, decision) == {"of": 30_000}
    edges = store.table(decision.file.replace("decisions/", "edges/"))
    assert edges["uid"].to_pylist() == [str(i) for i in range(0, 30_000, 4)] and edges["survivor"].to_pylist() == [
        str(i + 1) for i in range(0, 30_000, 4)
    ]


class Listing(Selector):
    """Notes which rows it saw, and what an earlier one added."""

    reads = ("marked",)

    def select(self, live):
        seen = live.sql("select id, marked from live order by id").fetchall()
        return Selection(np.empty(0, np.int64), notes={"seen": seen, "of": live.count})


@pytest.mark.parametrize("batch", [3, 1000])
def test_a_selector_sees_what_no_earlier_one_dropped(tmp_path, monkeypatch, batch):
    """Rows of several parts, of which some lost all, some none, some their first, their last, or many to two selectors."""
    monkeypatch.setattr(pool, "BATCH", batch)
    store, draw = Store(tmp_path), np.random.default_rng(batch)
    parts = [np.sort(draw.choice(60, 40, replace=False)) + (part << SHIFT) for part in range(6)]
    gathered = []
    for number, ids in enumerate(parts):
        store.publish_table(f"gathered/{number}.parquet", pa.table({"id": ids, "uid": ids.astype(str)}))
        gathered.append(pool.Gathered(f"gathered/{number}.parquet", len(ids)))
    fell = [parts[1], parts[2][[0, 7]], parts[4][[-1]], parts[5][::2]], [parts[2][[7, 8, 9]], parts[5][:30]]
    marked = np.concatenate(parts)[::3]
    earlier = []
    for number, some in enumerate(fell):
        ids = np.concatenate(some)
        rows = {"id": ids, "reason": ["no"] * len(ids)}
        if number:  # named for what was added, not for a fall
            more = np.setdiff1d(marked, ids)
            rows = {"id": np.append(ids, more), "reason": ["no"] * len(ids) + [None] * len(more)}
            rows["marked"] = [int(i) if i in marked else None for i in rows["id"]]
        file = f"decisions/{number}.parquet"
        store.publish_table(file, pa.table(rows).sort_by("id").cast(decided(rows)))
        earlier.append(Decision(f"s{number}", "images", file))
    earlier.append(Decision("of pages", "documents", "decisions/not-there.parquet"))
    wanted = pool.decision(Listing(), gathered, earlier, "print")
    pool.decide(store, Listing(), gathered, earlier, wanted)
    live = sorted(set(np.concatenate(parts).tolist()) - set(np.concatenate([i for some in fell for i in some]).tolist()))
    assert pool.notes(store, wanted) == {"seen": [[i, i if i in marked else None] for i in live], "of": len(live)}


def decided(rows):
    kinds = {"id": pa.int64(), "reason": pa.large_string(), "marked": pa.int64()}
    return pa.schema({name: kinds[name] for name in rows})


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


@pytest.mark.parametrize("lack", [duckdb.OutOfMemoryException("used"), OSError("Out of Memory Error: could not pin")])
def test_a_selector_gets_the_room_it_needs(tmp_path, monkeypatch, lack):
    store, selector, tries = Store(tmp_path), Numbered(), []
    store.publish_table("gathered/g.parquet", pa.table({"id": np.arange(300), "uid": np.arange(300).astype(str)}))
    gathered = [pool.Gathered("gathered/g.parquet", 300)]
    sound = Numbered.select

    def hungry(self, live):
        tries.append(live)
        if len(tries) == 1:
            raise lack
        return sound(self, live)

    monkeypatch.setattr(Numbered, "select", hungry)
    decision = pool.decision(selector, gathered, [], "print")
    pool.decide(store, selector, gathered, [], decision)
    assert len(tries) == 2 and pool.notes(store, decision) == {"of": 300}


@pytest.mark.parametrize("wrong", [-1, 1 << SHIFT])
def test_a_selector_that_names_a_row_that_is_not_there_is_told_so(tmp_path, monkeypatch, wrong):
    store, selector = Store(tmp_path), Numbered()
    store.publish_table("gathered/g.parquet", pa.table({"id": np.arange(300), "uid": np.arange(300).astype(str)}))
    gathered = [pool.Gathered("gathered/g.parquet", 300)]
    monkeypatch.setattr(Numbered, "select", lambda self, live: Selection(np.array([3, wrong])))
    decision = pool.decision(selector, gathered, [], "print")
    with pytest.raises(PoolError, match=f"selector numbered: ValueError: there is no row with the id {wrong}$"):
        pool.decide(store, selector, gathered, [], decision)
    assert not store.exists(decision.file)


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
    store.publish_table("gathered/g.parquet", pa.table({"id": np.arange(10), "uid": np.arange(10).astype(str)}))
    gathered = [pool.Gathered("gathered/g.parquet", 10)]
    decision = pool.decision(selector, gathered, [], "print")
    pool.decide(store, selector, gathered, [], decision)
    assert set(store.table(decision.file)["reason"].to_pylist()) == {"bob's", None}


def test_parts_may_have_a_column_in_several_types(tmp_path):
    store = Store(tmp_path)
    kinds = {"a": {"n": [1]}, "b": {"n": [2.5]}, "c": {"n": [3]}, "d": {}}
    made = []
    for at, (name, more) in enumerate(kinds.items()):
        table = pa.table({"id": [at], "uid": [name], **more})
        store.publish_table(f"gathered/{name}.parquet", table)
        made.append(pool.Gathered(f"gathered/{name}.parquet", 1, pool._said(table.schema)))
    read = pool.gathered_rows(store, made)
    assert read.count("read_parquet") == 3
    with tables.database(store) as (con, _):
        assert con.sql(f"select uid, n from {read} order by uid").fetchall() == [
            ("a", 1.0),
            ("b", 2.5),
            ("c", 3.0),
            ("d", None),
        ]
