"""The plan of the shards: files with the ledger's kept rows, sorted by shard and place, and the writing of shards from them.

The files of the ledger are the chunks of an exchange by ranges of shards; each range is sorted by itself.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.documents.document import DocumentMembers
from curate.recipe import Shards
from curate.score.part import Part, slice_of
from curate.select.exchange import Exchange, Frame
from curate.select.partition import ByShare
from curate.select.schemas import as_type, common_type
from curate.shard import members
from curate.shard import write as shards
from curate.shard.ledger import PLACE, Assigned, Footer, footer
from curate.stage import digest, plain
from curate.store.atomic import Store
from curate.store.folder import EXCHANGE, PLANNED

#: Uncompressed bytes of a file of the plan, about. A file's rows are sorted in memory.
FILE_BYTES = 32 << 20
#: Rows of a row group in such a file: small, so that one shard is read without many of its neighbours.
ROW_GROUP = 10_240
#: Number of ledger files up to which the plan is made in one task, in memory.
MAX_FILES_IN_MEMORY = 16

_PLACED = (pa.field("shard", pa.int32()), pa.field("place", pa.int32()), pa.field("key", pa.large_string()))


def plan(
    store: Store, assigned: Assigned, ledger: "Mapping[str, Footers]", samples: str, how: Shards, run_map: Callable = map
) -> dict[str, list[str]]:
    """Write the plan: for each table in the shards its files, each for a range of shards.

    They hold the kept rows, with the columns that shards have, sorted by shard and place, the rows of a document by position. ledger:
    the files of each table; samples: the table whose rows are samples.
    """
    tables = list(ledger) if samples == "documents" else [samples]
    hidden = {table: how.redacts.get(table, {}) for table in tables}
    return {t: _plan(store, assigned, ledger[t], t == samples, how.embeddings, hidden[t], run_map) for t in tables}


def _plan(
    store: Store,
    assigned: Assigned,
    seen: "Footers",
    own: bool,
    embeddings: bool,
    hidden: Mapping[str, str],
    run_map: Callable = map,
) -> list[str]:
    ledger = list(seen.marks)
    columns = columns_of(seen.schemas, own, embeddings, hidden)
    count = max(1, min(math.ceil(seen.size(columns) / FILE_BYTES), assigned.shards))
    named = digest([assigned.folder, list(seen.marks.items()), embeddings, hidden, count])
    work = _Plan(store, named, assigned, columns, own, dict(hidden), count)
    if not store.exists(work.file(count - 1)) or any(not store.exists(work.file(n)) for n in range(count)):
        if len(ledger) <= MAX_FILES_IN_MEMORY:
            list(run_map(work.whole, [ledger]))
        else:
            exchange = Exchange(store, f"{EXCHANGE}/planned-{named}", run_map)
            work(exchange, ledger)
            exchange.clear()
    return [work.file(n) for n in range(count)]


@dataclass(frozen=True)
class _Plan:
    """The plan of one table. own: its rows are the samples; hidden: column -> the column with its redacted form; count: of files."""

    store: Store
    name: str
    assigned: Assigned
    columns: pa.Schema
    own: bool
    hidden: dict[str, str]
    count: int

    def file(self, number: int) -> str:
        return f"{PLANNED}/{self.name}-{number:05d}.parquet"

    def whole(self, ledger: list[str]) -> None:
        """The whole plan within one task."""
        self(Exchange(self.store), ledger)

    def __call__(self, exchange: Exchange, ledger: list[str]) -> None:
        chunks = [_LedgerChunk(file, self.assigned, self.columns, self.own, self.hidden) for file in ledger]
        parted = Frame(exchange, chunks).ranges(ByShare("share"), self.count)
        items = [(chunk, self.file(n)) for n, chunk in enumerate(parted)]
        keep = _WriteRange(self.store, self.own)
        list(exchange.map(keep, items) if exchange.folder else map(keep, items))


@dataclass(frozen=True)
class _LedgerChunk:
    """A chunk of a frame: the kept rows of a file of the ledger with their places, and `share`, the position of their shard among all
    shards, 0 to 1."""

    file: str
    assigned: Assigned
    columns: pa.Schema
    own: bool
    hidden: dict[str, str]
    rows: int = 0

    def load(self, store: Store) -> pa.Table:
        places = _places(store, self.assigned, self.file) if self.assigned.repeated else None
        rows = placed(store, self.file, places, self.columns, self.own, self.hidden)
        share = (rows["shard"].to_numpy() - self.assigned.first + 0.5) / max(self.assigned.shards, 1)
        return rows.append_column("share", pa.array(share))


@dataclass(frozen=True)
class _WriteRange:
    """Task: writes the rows of a range of shards, sorted."""

    store: Store
    own: bool

    def __call__(self, item: tuple[Any, str]) -> None:
        chunk, file = item
        if not self.store.exists(file):
            rows = chunk.load(self.store).drop_columns(["share"]).sort_by(_order(self.own))
            self.store.publish_table(file, rows, ROW_GROUP)


class Footers:
    """The footers of a ledger's files, combined: the marks by file name, the distinct schemas, and the bytes of each column, encoded but
    not compressed."""

    def __init__(self) -> None:
        self.marks: dict[str, str] = {}
        self.schemas: dict[pa.Schema, None] = {}
        self.bytes: Counter[str] = Counter()

    def add(self, name: str, found: Footer) -> None:
        """Add the footer of a file."""
        self.marks[name] = found.mark
        self.schemas[found.schema] = None
        self.bytes.update(found.sizes)

    def size(self, columns: pa.Schema) -> int:
        """The bytes of these columns."""
        return sum(self.bytes[c] for c in columns.names)


def footers(store: Store, ledger: list[str]) -> Footers:
    """Read the footers of these files."""
    found = Footers()
    for name in ledger:
        with store.open(name) as f:
            found.add(name, footer(pq.ParquetFile(f)))
    return found


def _places(store: Store, assigned: Assigned, ledger: str) -> pa.Table:
    """The places of a part's samples, including further copies: uid, shard, place, key."""
    part = Part("", int(Path(ledger).stem), {})
    return slice_of(store, assigned.file(part.index), part, ["uid", *PLACE])


# ---- the columns that shards have


def columns_of(schemas: Iterable[pa.Schema], own: bool, embeddings: bool, hidden: Mapping[str, str]) -> pa.Schema:
    """The columns of the shards, of those of a ledger's files.

    Embeddings and raw bytes are left out, unless `embeddings` asks for those of samples (`own`). Redacted forms (the values of
    `hidden`) replace the column that they are of. A column with several types gets one that holds them, or is text.
    """
    found: dict[str, pa.DataType] = {}
    for field in (f for schema in schemas for f in schema):
        found[field.name] = common_type(found.get(field.name, field.type), field.type)
    left = {*PLACE, "kept", "drop_reason", "drop_stage", *hidden.values()}
    return pa.schema([(n, _portable_type(t)) for n, t in found.items() if n not in left and _in_shards(n, t, own, embeddings)])


def _in_shards(name: str, kind: pa.DataType, own: bool, embeddings: bool) -> bool:
    if members.payload_reference(kind):
        return False
    if own:
        return name != "position" and (embeddings or not members.bulky(kind))
    return not (members.bulky(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _portable_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column in the sidecars: float32 for float16, no dictionaries (each batch would have its own), and lists with
    Parquet's field name, so that a table is the same before and after it is written."""
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_dictionary(kind):
        return _portable_type(kind.value_type)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return pa.list_(pa.field("element", _portable_type(kind.value_type))) if is_list else kind


# ---- rows with their places


def placed(
    store: Store, ledger: str, places: pa.Table | None, columns: pa.Schema, own: bool, hidden: Mapping[str, str]
) -> pa.Table:
    """The kept rows of a file of the ledger joined with the places of their samples (uid, shard, place, key), once for each place; None:
    the one that the ledger has. A redacted column has its redacted text."""
    sample = "uid" if own else "doc_uid"
    more = PLACE if places is None else ()
    rows = store.table(ledger, list(dict.fromkeys([sample, "kept", *more, *columns.names, *hidden.values()])))
    rows = rows.filter(rows["kept"])
    rows, at = (rows, rows) if places is None else _joined(rows, sample, places)
    found = [at[f.name].cast(f.type) for f in _PLACED]
    for field in columns:
        value = as_type(rows[field.name], field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        if hidden.get(field.name) in rows.column_names:
            value = pc.coalesce(as_type(rows[hidden[field.name]], field.type), value)
        found.append(value)
    return pa.table(found, schema=pa.schema([*_PLACED, *columns]))


def _joined(rows: pa.Table, sample: str, places: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows, once for each place of their sample, and beside them these places."""
    mine = pa.table({"uid": rows[sample].cast(pa.large_string()), "row": np.arange(len(rows))})
    theirs = pa.table({"uid": places["uid"].cast(pa.large_string()), "at": np.arange(len(places))})
    joined = mine.join(theirs, "uid", join_type="inner")
    return rows.take(joined["row"]), places.take(joined["at"])


def _order(own: bool) -> list[tuple[str, str]]:
    return [(name, "ascending") for name in ("shard", "place", *(() if own else ("position",)))]


# ---- the rows of a shard


def kept_rows_of_shard(store: Store, name: str, ledger: dict[str, list[str]], samples: str, how: Shards) -> dict[str, pa.Table]:
    """The rows of an existing shard that the ledger still keeps, by table, as a plan has them."""
    places = store.table(f"shards/{name}.parquet", ["uid", "key"])
    places = places.append_column("shard", pa.array(np.zeros(len(places), np.int32)))
    places = places.append_column("place", pa.array(np.arange(len(places), dtype=np.int32)))
    found = {}
    for table in ledger if samples == "documents" else [samples]:
        own = table == samples
        hidden = how.redacts.get(table, {})
        columns = columns_of(footers(store, ledger[table]).schemas, own, how.embeddings, hidden)
        rows = [placed(store, file, places, columns, own, hidden) for file in ledger[table]]
        found[table] = pa.concat_tables(rows).sort_by(_order(own))
    return found


#: Shards that one task writes at most.
MAX_SHARDS_PER_TASK = 16


def shard_groups(assigned: Assigned, workers: int) -> list[range]:
    """The numbers of the shards in groups, one a task: as large as possible while each worker gets one."""
    size = max(1, min(assigned.shards // workers, MAX_SHARDS_PER_TASK))
    last = assigned.first + assigned.shards
    return [range(low, min(low + size, last)) for low in range(assigned.first, last, size)]


def write_shards(
    store: Store,
    plan: dict[str, list[str]],
    how: Shards,
    assigned: Assigned,
    provenance: dict[str, Any],
    hashed: str | None,
    fresh: bool,
    group: range,
) -> list[dict[str, Any]]:
    """Write the shards of a plan with these numbers, unless they exist (`fresh`: none can); returns the contents of their `.json` files."""
    drafts = (draft(_rows(store, plan, assigned, n), how, _name(assigned, n)) for n in group)
    return shards.write_group(store, drafts, digest([plan, plain(how)]), provenance, how, hashed, fresh)


def _rows(store: Store, plan: dict[str, list[str]], assigned: Assigned, shard: int) -> dict[str, pa.Table]:
    """The rows of a shard, by table."""
    own, nth = "documents" if "documents" in plan else next(iter(plan)), shard - assigned.first
    return {t: planned(store, files[nth * len(files) // assigned.shards], shard, t == own) for t, files in plan.items()}


def _name(assigned: Assigned, shard: int) -> str:
    return shards.shard_name(shard, assigned.first + assigned.shards)


def draft(rows: dict[str, pa.Table], how: Shards, name: str) -> shards.ShardDraft:
    """The ShardDraft of a shard's rows by table."""
    if "documents" not in rows:
        return shards.ShardDraft(name, rows["images"])
    # `align` is mmc4's similarity: its format has it in the `.json`.
    scores = [c for c in how.model_scores.get("images", []) if c != "align"]
    return shards.ShardDraft(name, rows["documents"], DocumentMembers(rows["texts"], rows["images"], (*how.without, *scores)))


def planned(store: Store, file: str, shard: int, own: bool = True) -> pa.Table:
    """The rows of one shard in a file of the plan, sorted. own: they are samples, else rows that belong to them."""
    with store.open(file) as f:
        data = pq.ParquetFile(f)
        at = data.schema_arrow.names.index("shard")
        stats = [data.metadata.row_group(g).column(at).statistics for g in range(data.num_row_groups)]
        groups = [g for g, s in enumerate(stats) if s is None or s.min <= shard <= s.max]
        found = data.read_row_groups(groups)
    return found.filter(pc.equal(found["shard"], shard)).sort_by(_order(own))
