"""The ledger: every row, every column, and what became of it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import PoolError
from curate.recipe import Shards
from curate.score.part import Part, Workbench, conclude, overlay, slice_of
from curate.select.database import scan, stream, with_room
from curate.select.pool import Gathered, Point, by_row, gathered_rows
from curate.selector import BATCH
from curate.shard import write as shards
from curate.stage import digest
from curate.store import partitions as pieces
from curate.store.atomic import Store

#: What the ledger says of the sample that a kept row became.
PLACE = ("shard", "place", "key")

_PLACED = pa.schema({"id": pa.int64(), "uid": pa.string(), "key": pa.string(), "shard": pa.int32(), "place": pa.int32()})


@dataclass(frozen=True)
class Assigned:
    """The places of all samples: a file sorted by id with uid, key, shard, place; how many samples there were when it was made,
    and shards. After a takedown it has fewer rows, and as many shards."""

    file: str
    samples: int
    shards: int


def assign(store: Store, gathered: list[Gathered], how: Shards) -> Assigned:
    """Give every kept row its places in the shards."""
    file = f"assigned/{digest([[g.file for g in gathered], how.size, how.seed, PLACE, 'counted'])}.parquet"

    def act(con: duckdb.DuckDBPyConnection, folder: str) -> None:
        kept = con.sql(f"select * from {gathered_rows(store, gathered)}")
        samples = shards.total(kept)
        sizes = shards.assign(samples, how.size)
        rows = pa.RecordBatchReader.from_batches(
            _PLACED.with_metadata({"curate": json.dumps({"samples": samples, "shards": len(sizes)})}),
            _in_order_of_rows(
                _in_order_of_shards(shards.named(kept, how.seed), samples, sizes, Path(folder)), gathered, Path(folder)
            ),
        )
        stream(store, store.publish, file, rows, sum(g.rows for g in gathered))

    if not store.exists(file):
        with_room(store, act)
    with store.open(file) as f:
        return Assigned(file, **json.loads(mark(pq.ParquetFile(f))))


def _in_order_of_shards(named: duckdb.DuckDBPyRelation, samples: int, sizes: list[int], folder: Path) -> Iterator[pa.Table]:
    """The samples with their places, sorted by shard and place, some at a time."""
    files, first = pieces.places(folder / "by-coin", samples), 0
    reader = named.project("id, uid, key, coin").to_arrow_reader(BATCH)
    tables = (pa.Table.from_batches([b]) for b in reader)
    pieces.scatter(tables, lambda t: (t["coin"].to_numpy() * len(files)).astype(np.int64), files)
    for file in files:
        yield (placed := shards.numbered(pieces.load(file, reader.schema), first, sizes))
        first += len(placed)


def _in_order_of_rows(tables: Iterable[pa.Table], gathered: list[Gathered], folder: Path) -> Iterator[pa.RecordBatch]:
    """The same, sorted by row and key."""
    files = pieces.places(folder / "by-row", sum(g.rows for g in gathered))
    tables = (table.select(_PLACED.names).cast(_PLACED) for table in tables)
    pieces.scatter(tables, by_row(gathered, len(files)), files)
    for file in files:
        yield from pieces.load(file, _PLACED).sort_by([("id", "ascending"), ("key", "ascending")]).to_batches()


def enter(point: Point, assigned: Assigned | None, samples: str, part: Part) -> tuple[dict[str, Any], dict[str, str]]:
    """Write a part's rows into the ledger: every row, every column, and what became of it. Returns counts by table, and
    the SHA-256 of each file."""
    # Places that were given anew after a takedown have the same name, and another number of samples.
    state = digest([point.state(part), assigned and [assigned.file, assigned.samples], PLACE])
    counts: dict[str, Any] = {}
    missing = [t for t in part.rows if not _is_written(point.store, f"ledger/{t}/{part.index:06d}.parquet", state)]
    if missing:
        bench = point.open(part, None)
        conclude(bench)
        for table in missing:
            made = {"curate": state, "made_of": json.dumps(bench.used)}
            entry = _entry(bench, table, assigned, samples).replace_schema_metadata(made)
            point.store.publish_table(f"ledger/{table}/{part.index:06d}.parquet", entry)
    for table in part.rows:
        found = point.store.table(f"ledger/{table}/{part.index:06d}.parquet", ["drop_reason"])
        counts[table] = {
            r["values"] or "": r["counts"] for r in found["drop_reason"].combine_chunks().value_counts().to_pylist()
        }
    files = [f"ledger/{table}/{part.index:06d}.parquet" for table in part.rows]
    return counts, {name: point.store.hash(name) for name in files}


def _is_written(store: Store, name: str, state: str) -> bool:
    try:
        if not store.exists(name):
            return False
        with store.open(name) as f:
            return mark(pq.ParquetFile(f)) == state
    except (pa.ArrowException, OSError):
        return False


def _entry(bench: Workbench, table: str, assigned: Assigned | None, samples: str) -> pa.Table:
    rows = bench.tables[table]
    kept = rows.alive
    columns = {
        **rows.columns,
        "drop_reason": pa.array(rows.reason, pa.large_string()),
        "drop_stage": pa.array(rows.stage, pa.large_string()),
        "kept": pa.array(kept),
    }
    if assigned and samples in ("documents", table):
        columns |= _places(bench, table, assigned, samples, kept)
    return pa.table(columns)


def _places(bench: Workbench, table: str, assigned: Assigned, samples: str, kept: np.ndarray) -> dict[str, pa.Array]:
    """Shard, place in it and key of each kept row: its own, or those of its document."""
    placed = slice_of(bench.store, assigned.file, bench.part, ["uid", "key", "shard", "place"])
    first = placed.filter(pc.equal(placed["key"], placed["uid"]))  # further copies have places in the plan alone
    at = first["id"].to_numpy() - bench.part.base
    count = bench.tables[samples].count
    found = {c: overlay(None, count, at, first[c]) for c in PLACE}
    if table != samples:
        owner = pa.array(bench.owners[table], mask=~kept)
        found = {c: values.take(owner) for c, values in found.items()}
    return found


def made_of(store: Store, ledger: str) -> list[str]:
    """The commits and decisions that a file of the ledger was made of; none of a file that is damaged, or does not say it."""
    try:
        return json.loads((store.fields(ledger).metadata or {}).get(b"made_of", b"[]"))
    except (PoolError, ValueError):
        return []


def mark(file: pq.ParquetFile) -> str:
    """What a file of a run says that it was made of."""
    return (file.schema_arrow.metadata or {}).get(b"curate", b"").decode()


def uid_hash(store: Store, files: list[str], where: str = "true") -> tuple[str, int]:
    """SHA-256 over the sorted uids of the kept rows, and their number: the root hash of a run without shards."""

    def act(con: duckdb.DuckDBPyConnection, _: str) -> tuple[str, int]:
        hash, count = hashlib.sha256(), 0
        for batch in con.sql(f"select uid from {scan(store, files)} where {where} order by uid").to_arrow_reader():
            hash.update("".join(f"{u}\n" for u in batch["uid"].to_pylist()).encode())
            count += len(batch)
        return hash.hexdigest(), count

    return with_room(store, act)
