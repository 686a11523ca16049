"""The ledger: every row, every column, and what became of it; and from it the plan of the shards."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import members, shards
from curate.documents.document import DocumentMembers
from curate.part import Part, Workbench, conclude, overlay, slice_of
from curate.pool import Gathered, Point
from curate.selector import identifier, quoted
from curate.shards import Shards
from curate.stage import digest, plain
from curate.store import Store
from curate.tables import database, scan, stream, with_room

#: What the ledger says of the sample that a kept row became.
PLACE = ("shard", "place", "key")
#: Bytes of the ledger, not compressed, for which a plan has a file.
PIECE = 512 << 20


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

    def act(con: duckdb.DuckDBPyConnection, _: str) -> None:
        kept = con.sql(f"select * from {scan(store, [g.file for g in gathered])}")
        samples = shards.total(kept)
        counts = {"samples": samples, "shards": len(shards.assign(samples, how.size))}
        placed = shards.plan(kept, how).query("placed", "select id, uid, key, shard, place from placed order by id, key")
        rows = placed.to_arrow_reader(10_000)
        rows = pa.RecordBatchReader.from_batches(rows.schema.with_metadata({"curate": json.dumps(counts)}), rows)
        stream(store, store.publish, file, rows, sum(g.rows for g in gathered))

    if not store.exists(file):
        with_room(store, act)
    with store.open(file) as f:
        return Assigned(file, **json.loads(_mark(pq.ParquetFile(f))))


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
            entry = _entry(bench, table, assigned, samples).replace_schema_metadata({"curate": state})
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
            return _mark(pq.ParquetFile(f)) == state
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


def plan(store: Store, assigned: Assigned, ledger: dict[str, list[str]], samples: str, how: Shards) -> dict[str, list[str]]:
    """For each table that goes into the shards files with the columns of its kept rows that shards have, sorted by shard and place, and
    the rows of a document by their position on the page. Each has its share of the shards, so that a large pool is not sorted as a
    whole. `ledger`: the files of each table."""
    tables = list(ledger) if samples == "documents" else [samples]
    return {table: _plan(store, assigned, ledger[table], table == samples, how.embeddings) for table in tables}


def _plan(store: Store, assigned: Assigned, ledger: list[str], own: bool, embeddings: bool) -> list[str]:
    marks, size = [], 0
    for name in ledger:
        with store.open(name) as f:
            data = pq.ParquetFile(f)
        marks.append(_mark(data))
        size += _bytes(data.metadata, {f.name for f in _wanted(data.schema_arrow, own, embeddings)})
    pieces = max(1, min(math.ceil(size / PIECE), assigned.shards))
    named = digest([assigned.file, list(zip(ledger, marks)), embeddings, pieces])
    files = [f"planned/{named}-{n:05d}.parquet" for n in range(pieces)]

    def act(con: duckdb.DuckDBPyConnection, folder: str) -> None:
        rows = _kept(con, scan(store, [assigned.file]), scan(store, ledger), own, embeddings)
        _write_pieces(store, con, folder, files, rows, assigned.shards, own)

    if not all(store.exists(file) for file in files):
        with_room(store, act)
    return files


def _bytes(file: pq.FileMetaData, columns: set[str]) -> int:
    """Of these columns, encoded but not compressed."""
    groups = [file.row_group(g) for g in range(file.num_row_groups)]
    chunks = (g.column(c) for g in groups for c in range(g.num_columns))
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in columns)


def _kept(con: duckdb.DuckDBPyConnection, assigned: str, ledger: str, own: bool, embeddings: bool) -> str:
    """The kept rows of a ledger with the places of their samples, those of further copies too, as SQL."""
    values = _values(con, ledger, own, embeddings)
    con.execute(f"create temp table copies as select * from {assigned} where key <> uid")
    return f"""select l.shard, l.place, l.key, {values} from {ledger} l where l.kept and l.shard is not null
        union all {_joined("copies", ledger, values, own)}"""


def _write_pieces(
    store: Store, con: duckdb.DuckDBPyConnection, folder: str, files: list[str], query: str, shards: int, own: bool
) -> None:
    """Sorted files of the rows of a query, each with its share of the shards."""
    if len(files) == 1:
        return _publish_sorted(store, con, files[0], query, own)
    # Rows wait in memory for the file of their piece: so many of all pieces together.
    con.execute("set partitioned_write_flush_threshold = 65536")
    con.execute(f"""copy (select *, shard::bigint * {len(files)} // {shards} as _piece from ({query}))
        to {quoted(f"{folder}/pieces")} (format parquet, partition_by (_piece), row_group_size 2048)""")
    for n, file in enumerate(files):
        piece = f"{folder}/pieces/_piece={n}"
        rows = (
            f"select * exclude (_piece) from {quoted(f'{piece}/*.parquet')}"
            if Path(piece).exists()
            else f"from ({query}) limit 0"
        )
        if not store.exists(file):
            _publish_sorted(store, con, file, rows, own)
    return None


def _publish_sorted(store: Store, con: duckdb.DuckDBPyConnection, file: str, query: str, own: bool) -> None:
    with store.private(file) as path:
        _copy_sorted(con, path, query, own)
        store.publish(file, path, path.stat().st_size)


def _copy_sorted(con: duckdb.DuckDBPyConnection, path: Path, query: str, own: bool) -> None:
    con.execute(f"""copy (select * from ({query}) order by shard, place{"" if own else ", position"})
        to {quoted(str(path))} (format parquet, compression zstd, row_group_size 10240, preserve_order true)""")


def _joined(places: str, ledger: str, values: str, own: bool) -> str:
    """The kept rows of a ledger whose samples `places` names (uid, key, shard, place)."""
    uid = "l.uid" if own else "l.doc_uid"
    return f"select a.shard, a.place, a.key, {values} from {places} a join {ledger} l on {uid} = a.uid where l.kept"


def _values(con: duckdb.DuckDBPyConnection, ledger: str, own: bool, embeddings: bool) -> str:
    """The columns of a ledger that shards have, as SQL. Where a column was redacted the redacted text takes its place."""
    fields = con.sql(f"select * from {ledger} limit 0").to_arrow_table().schema
    hidden = members.redacted(fields.names)
    return ", ".join(
        f"coalesce(l.{identifier(hidden[f.name])}, l.{identifier(f.name)}) as {identifier(f.name)}"
        if f.name in hidden
        else f"l.{identifier(f.name)}"
        for f in _wanted(fields, own, embeddings)
        if f.name not in hidden.values()
    )


def _wanted(fields: pa.Schema, own: bool, embeddings: bool) -> list[pa.Field]:
    """Embeddings and raw bytes stay behind, unless those of samples are wanted (`embeddings`)."""
    left = {*PLACE, "kept", "drop_reason", "drop_stage"}
    if own:
        return [f for f in fields if f.name not in {*left, "position"} and (embeddings or not members.bulky(f.type))]
    return [f for f in fields if f.name not in left and not (members.bulky(f.type) or pa.types.is_list(f.type))]


def still_there(store: Store, name: str, ledger: dict[str, list[str]], samples: str, how: Shards) -> dict[str, pa.Table]:
    """The rows of a shard that exists, as a plan would have them, as far as the ledger still keeps them."""
    places = store.table(f"shards/{name}.parquet", ["uid", "key"])
    places = places.append_column("shard", pa.array(np.zeros(len(places), np.int32)))
    places = places.append_column("place", pa.array(np.arange(len(places), dtype=np.int32)))
    found = {}
    for table in ledger if samples == "documents" else [samples]:
        own, rows = table == samples, scan(store, ledger[table])
        with database(store) as (con, _), store.private(f"{name}.plan") as path:
            con.register("places", places)
            _copy_sorted(con, path, _joined("places", rows, _values(con, rows, own, how.embeddings), own), own)
            found[table] = pq.read_table(path)
    return found


def _mark(file: pq.ParquetFile) -> str:
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


def write_shard(
    store: Store,
    plan: dict[str, list[str]],
    how: Shards,
    count: int,
    provenance: dict[str, Any],
    hashed: str | None,
    shard: int,
) -> dict[str, Any]:
    """Write one shard of a plan, unless it is there; returns what its `.json` says."""
    own = "documents" if "documents" in plan else next(iter(plan))
    rows = {t: planned(store, files[shard * len(files) // count], shard, t == own) for t, files in plan.items()}
    return write_rows(store, rows, how, shards.shard_name(shard, count), digest([plan, plain(how)]), provenance, hashed)


def write_rows(
    store: Store,
    rows: dict[str, pa.Table],
    how: Shards,
    name: str,
    made_for: str,
    provenance: dict[str, Any],
    hashed: str | None,
) -> dict[str, Any]:
    """Write the shard that these rows of each table make; returns what its `.json` says."""
    if "documents" not in rows:
        return shards.write_shard(store, rows["images"], name, made_for, provenance, how, hashed)
    members = DocumentMembers(rows["texts"], rows["images"], how.without)
    return shards.write_shard(store, rows["documents"], name, made_for, provenance, how, hashed, members)


def planned(store: Store, file: str, shard: int, own: bool = True) -> pa.Table:
    """The rows of one shard, in order: samples (`own`), or what belongs to them."""
    with store.open(file) as f:
        data = pq.ParquetFile(f)
        at = data.schema_arrow.names.index("shard")
        stats = [data.metadata.row_group(g).column(at).statistics for g in range(data.num_row_groups)]
        groups = [g for g, s in enumerate(stats) if s is None or s.min <= shard <= s.max]
        found = data.read_row_groups(groups)
    return found.filter(pc.equal(found["shard"], shard)).sort_by(
        [(name, "ascending") for name in (("place",) if own else ("place", "position"))]
    )
