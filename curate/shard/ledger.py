"""The ledger: Parquet files with every row, every column, and the outcome of each row (kept, or the drop reason and stage)."""

import bisect
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import PoolError
from curate.recipe import Shards
from curate.score.part import Decision, Part, PartState, overlay, require_complete, slice_of
from curate.select.exchange import Exchange, Frame, Held, Sql
from curate.select.partition import ByShare
from curate.select.pool import Gathered, Point, Survivors, first_ids, grouped, names, starts_of, survivors
from curate.shard import write as shards
from curate.stage import digest
from curate.store.atomic import Store
from curate.store.folder import ASSIGNED, EXCHANGE, load_or_build
from curate.store.parquet import write_table

#: Columns of the ledger that locate the sample of a kept row.
PLACE = ("shard", "place", "key")

_PLACE_SCHEMA = pa.schema({"id": pa.int64(), "uid": pa.string(), "key": pa.string(), "shard": pa.int32(), "place": pa.int32()})


@dataclass(frozen=True)
class Assigned:
    """The assignment of samples to shards: a folder with a file for each chunk of the pool, sorted by id, with uid, key, shard, place.

    samples, shards: their numbers when it was made; after a takedown the files have fewer rows. starts: the index of the first part of
    each chunk. first: the number of the first shard, after those of earlier releases. repeated: a row may be several samples.
    """

    folder: str
    samples: int
    shards: int
    starts: tuple[int, ...] = (0,)
    first: int = 0
    repeated: bool = True

    def file(self, part: int) -> str:
        """The file with the samples of a part, by its index."""
        return f"{self.folder}/{bisect.bisect_right(self.starts, part) - 1:05d}.parquet"


@dataclass(frozen=True)
class KeptRows:
    """The kept rows of a pool: gathered rows without those that these decisions over them drop. repeated: they have a column `copies`."""

    gathered: list[Gathered]
    decisions: list[Decision]
    repeated: bool

    def key(self) -> list[Any]:
        """A JSON value that identifies the content."""
        return [[g.content for g in self.gathered], *([[d.folder for d in self.decisions]] if self.decisions else [])]

    def chunks(self, store: Store) -> list[Survivors]:
        """The rows, in the chunks of the pool."""
        return survivors(store, self.gathered, self.decisions, ("copies",) if self.repeated else ())

    def starts(self) -> tuple[int, ...]:
        """The index of the first part of each chunk."""
        return starts_of(grouped(self.gathered))


def assign(store: Store, kept: KeptRows, how: Shards, run_map: Callable = map, first: int = 0) -> Assigned:
    """Assign every kept row to its places in the shards, in the order of a hash of key and seed, which does not depend on the order of
    the rows. first: the number of the first shard."""
    key = [*kept.key(), how.size, how.seed, PLACE, "in chunks", *([first] if first else [])]
    folder = f"{ASSIGNED}/{digest(key)}"

    def build() -> dict[str, Any]:
        chunks = kept.chunks(store)
        work = _Assign(store, folder, how, kept.repeated, kept.starts(), names(kept.gathered), first)
        if len(chunks) == 1:
            return next(iter(run_map(work.whole, [chunks])))
        exchange = Exchange(store, f"{EXCHANGE}/assigned-{digest(key)}", run_map)
        found = work(exchange, chunks)
        exchange.clear()
        return found

    return _assigned(folder, load_or_build(store, f"{folder}/assigned.json", build))


def assigned_in(store: Store, folder: str) -> Assigned | None:
    """The assignment in a folder, None if there is none."""
    record = store.json(f"{folder}/assigned.json")
    return _assigned(folder, record) if record else None


def _assigned(folder: str, made: dict[str, Any]) -> Assigned:
    starts = tuple(made["starts"])
    return Assigned(folder, made["samples"], made["shards"], starts, made.get("first", 0), made.get("repeated", True))


@dataclass(frozen=True)
class _Assign:
    """The plan of an assignment: orders the rows, assigns places, and writes a file for each chunk."""

    store: Store
    folder: str
    how: Shards
    repeated: bool
    starts: tuple[int, ...]
    made_of: list[str]
    first: int

    def whole(self, chunks: list[Survivors]) -> dict[str, Any]:
        """The whole assignment within one task."""
        return self(Exchange(self.store), chunks)

    def __call__(self, exchange: Exchange, chunks: list[Survivors]) -> dict[str, Any]:
        """Write the files of the places; returns their record."""
        live = Frame(exchange, chunks, first_ids(self.starts))
        order = Sql("select id, uid, key, coin from live order by coin, key")
        ordered = live.shuffle(ByShare("coin"), order, Sql(shards.samples_sql(self.how.seed, self.repeated)))
        counts = [chunk.rows for chunk in ordered.chunks]
        sizes = shards.assign(sum(counts), self.how.size) if sum(counts) else []
        firsts = ordered.beside(pa.table({"first": [sum(counts[:n])]}) for n in range(len(counts)))
        placed = ordered.each(_AssignPlaces(sizes, self.first), firsts).home(
            live, task=Sql("select * from live order by id, key")
        )
        found = Assigned(self.folder, sum(counts), len(sizes), self.starts, self.first, self.repeated)
        items = [(chunk, found.file(start)) for chunk, start in zip(placed.chunks, self.starts)]
        keep = _WritePlaces(self.store)
        list(exchange.map(keep, items) if exchange.folder else map(keep, items))
        return {
            "of": self.made_of,
            "samples": found.samples,
            "shards": found.shards,
            "starts": list(self.starts),
            "first": self.first,
            "repeated": self.repeated,
        }


@dataclass(frozen=True)
class _AssignPlaces:
    """Task on a range of the ordered samples: their shards and places. first: number of the first shard."""

    sizes: list[int]
    first: int

    def __call__(self, ordered: pa.Table, first: pa.Table) -> pa.Table:
        return shards.assign_places(ordered, first["first"][0].as_py(), self.sizes, self.first)


@dataclass(frozen=True)
class _WritePlaces:
    """Task: writes the assignment of a chunk."""

    store: Store

    def __call__(self, item: tuple[Held, str]) -> None:
        self.store.publish_table(item[1], item[0].load(self.store).select(_PLACE_SCHEMA.names).cast(_PLACE_SCHEMA))


@dataclass(frozen=True)
class Footer:
    """The metadata of a file of the ledger: its mark, its columns, and their sizes in bytes, encoded but not compressed."""

    mark: str
    schema: pa.Schema
    sizes: Counter[str]


def footer(data: pq.ParquetFile) -> Footer:
    """The Footer of an open file of the ledger."""
    sizes: Counter[str] = Counter()
    groups = [data.metadata.row_group(g) for g in range(data.num_row_groups)]
    for chunk in (g.column(c) for g in groups for c in range(g.num_columns)):
        sizes[chunk.path_in_schema.split(".")[0]] += chunk.total_uncompressed_size
    return Footer(mark(data), data.schema_arrow.remove_metadata(), sizes)


@dataclass(frozen=True)
class Entered:
    """A part's file in the ledger of one table: its numbers of rows by drop reason (empty: kept), the SHA-256 of its bytes, its footer."""

    name: str
    reasons: dict[str, int]
    sha256: str
    footer: Footer


def enter(point: Point, assigned: Assigned | None, samples: str, item: tuple[Part, set[str]]) -> dict[str, Entered]:
    """Write a part's rows into the ledger, unless its files are up to date. Returns the file of each table.

    item: the part, and which of its files exist already."""
    part, there = item
    # An assignment that was repeated after a takedown has the same name, and another number of samples.
    files = point.names(part)
    state = digest([point.state(part, files), assigned and [assigned.folder, assigned.samples], PLACE])
    names = {table: f"ledger/{table}/{part.index:06d}.parquet" for table in part.rows}
    found = {table: _existing(point.store, name, state) for table, name in names.items() if name in there}
    found = {table: entered for table, entered in found.items() if entered}
    if missing := [t for t in part.rows if t not in found]:
        opened = point.open(part, None, files)
        require_complete(opened)
        for table in missing:
            made = {"curate": state, "made_of": json.dumps(opened.used)}
            entry = _ledger_rows(opened, table, assigned, samples).replace_schema_metadata(made)
            found[table] = _write(point.store, names[table], entry)
    return found


def _existing(store: Store, name: str, state: str) -> Entered | None:
    """An existing file, None unless its mark is `state`. PoolError if it is damaged."""
    try:
        with store.open(name) as f:
            if mark(pq.ParquetFile(f)) != state:
                return None
    except (pa.ArrowException, OSError):
        return None
    with store.parquet(name) as data:
        return Entered(name, _reasons(data.read(["drop_reason"])), store.hash(name), footer(data))


def _write(store: Store, name: str, entry: pa.Table) -> Entered:
    with store.private(name) as path:
        size = write_table(path, entry)
        made = Entered(name, _reasons(entry), *_hash_and_footer(path))
        store.publish(name, path, size)
    return made


def _hash_and_footer(path: Path) -> tuple[str, Footer]:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest(), footer(pq.ParquetFile(f))


def _reasons(entry: pa.Table) -> dict[str, int]:
    """The number of rows by drop reason; kept rows under the empty string."""
    counts = entry["drop_reason"].combine_chunks().value_counts().to_pylist()
    return {r["values"] or "": r["counts"] for r in counts}


def _ledger_rows(state: PartState, table: str, assigned: Assigned | None, samples: str) -> pa.Table:
    """The ledger's rows of a part and table: all columns, the outcome, and the place of the sample."""
    rows = state.tables[table]
    kept = rows.alive
    columns = {
        **rows.columns,
        "drop_reason": pa.array(rows.reason, pa.large_string()),
        "drop_stage": pa.array(rows.stage, pa.large_string()),
        "kept": pa.array(kept),
    }
    if assigned and samples in ("documents", table):
        columns |= _places(state, table, assigned, samples, kept)
    return pa.table(columns)


def _places(state: PartState, table: str, assigned: Assigned, samples: str, kept: np.ndarray) -> dict[str, pa.Array]:
    """Shard, place and key of each kept row: its own, or those of its document."""
    placed = slice_of(state.store, assigned.file(state.part.index), state.part, ["uid", "key", "shard", "place"])
    first = placed.filter(pc.equal(placed["key"], placed["uid"]))  # further copies are only in the plan
    at = first["id"].to_numpy() - state.part.base
    count = state.tables[samples].count
    found = {c: overlay(None, count, at, first[c]) for c in PLACE}
    if table != samples:
        owner = pa.array(state.owners[table], mask=~kept)
        found = {c: values.take(owner) for c, values in found.items()}
    return found


def made_of(store: Store, ledger: str) -> list[str]:
    """The commits and decisions that a file of the ledger was made of; empty if the file is damaged or does not record them."""
    try:
        return json.loads((store.fields(ledger).metadata or {}).get(b"made_of", b"[]"))
    except (PoolError, ValueError):
        return []


def mark(file: pq.ParquetFile) -> str:
    """The digest of its inputs that a file of a run records in its metadata."""
    return (file.schema_arrow.metadata or {}).get(b"curate", b"").decode()


def uid_hash(uids: Frame) -> tuple[str, int]:
    """SHA-256 over the sorted uids of a frame (the root hash of a run without shards), and their number."""
    hash, count = hashlib.sha256(), 0
    for table in uids.in_order("create_sort_key(uid, 'ASC NULLS LAST')", "uid").tables():
        hash.update("".join(f"{u}\n" for u in table["uid"].to_pylist()).encode())
        count += len(table)
    return hash.hexdigest(), count


def uids_of(store: Store, kept: KeptRows, run_map: Callable = map) -> Frame:
    """A frame with the ids and uids of kept rows."""
    chunks = kept.chunks(store)
    folder = f"{EXCHANGE}/uids-{digest(kept.key())}" if len(chunks) > 1 else ""
    return Frame(Exchange(store, folder, run_map), chunks, first_ids(kept.starts()))


@dataclass(frozen=True)
class LedgerRows:
    """A chunk of a frame: the uids of the kept rows of a file of the ledger."""

    file: str
    rows: int = 0

    def load(self, store: Store) -> pa.Table:
        rows = store.table(self.file, ["uid", "kept"])
        return rows.filter(rows["kept"]).select(["uid"])
