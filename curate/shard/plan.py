"""The layout of the shards: the rows of the ledger that each has, in order. Files of the ledger are the chunks of an exchange by ranges of
shards; each range is sorted by itself."""

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
from curate.select.exchange import ByShare, Exchange, Frame
from curate.select.schemas import as_type, common_type
from curate.shard import members
from curate.shard import write as shards
from curate.shard.ledger import PLACE, Assigned, Footer, footer
from curate.stage import digest, plain
from curate.store.atomic import Store

#: Bytes of the ledger, not compressed, for which a plan has a file. A file's rows are sorted in memory.
PIECE = 32 << 20
#: Rows of a group in such a file: a shard is read without many of its neighbours.
GROUP = 10_240
#: Ledger files up to which the plan is made in one task, in memory.
FEW = 16

_PLACED = (pa.field("shard", pa.int32()), pa.field("place", pa.int32()), pa.field("key", pa.large_string()))


def plan(
    store: Store, assigned: Assigned, ledger: "Mapping[str, Footers]", samples: str, how: Shards, run_map: Callable = map
) -> dict[str, list[str]]:
    """For each table that goes into the shards files with the columns of its kept rows that shards have, sorted by shard and place, and
    the rows of a document by their position on the page. Each has its share of the shards. `ledger`: the files of each table."""
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
    count = max(1, min(math.ceil(seen.size(columns) / PIECE), assigned.shards))
    named = digest([assigned.folder, list(seen.marks.items()), embeddings, hidden, count])
    work = _Plan(store, named, assigned, columns, own, dict(hidden), count)
    if not store.exists(work.file(count - 1)) or any(not store.exists(work.file(n)) for n in range(count)):
        if len(ledger) <= FEW:
            list(run_map(work.whole, [ledger]))
        else:
            exchange = Exchange(store, f"exchange/planned-{named}", run_map)
            work(exchange, ledger)
            exchange.clear()
    return [work.file(n) for n in range(count)]


@dataclass(frozen=True)
class _Plan:
    store: Store
    name: str
    assigned: Assigned
    columns: pa.Schema
    own: bool
    hidden: dict[str, str]
    count: int

    def file(self, number: int) -> str:
        return f"planned/{self.name}-{number:05d}.parquet"

    def whole(self, ledger: list[str]) -> None:
        """All of it, in this task."""
        self(Exchange(self.store), ledger)

    def __call__(self, exchange: Exchange, ledger: list[str]) -> None:
        chunks = [_Placed(file, self.assigned, self.columns, self.own, self.hidden) for file in ledger]
        parted = Frame(exchange, chunks).ranges(ByShare("share"), self.count)
        items = [(chunk, self.file(n)) for n, chunk in enumerate(parted)]
        keep = _Keep(self.store, self.own)
        list(exchange.map(keep, items) if exchange.folder else map(keep, items))


@dataclass(frozen=True)
class _Placed:
    """A chunk: the kept rows of a file of the ledger with their places, and `share`, where among all shards they go."""

    file: str
    assigned: Assigned
    columns: pa.Schema
    own: bool
    hidden: dict[str, str]
    rows: int = 0

    def load(self, store: Store) -> pa.Table:
        rows = placed(store, self.file, _places(store, self.assigned, self.file), self.columns, self.own, self.hidden)
        share = (rows["shard"].to_numpy() - self.assigned.first + 0.5) / max(self.assigned.shards, 1)
        return rows.append_column("share", pa.array(share))


@dataclass(frozen=True)
class _Keep:
    """Writes the rows of a range of shards, in order."""

    store: Store
    own: bool

    def __call__(self, item: tuple[Any, str]) -> None:
        chunk, file = item
        if not self.store.exists(file):
            rows = chunk.load(self.store).drop_columns(["share"]).sort_by(_order(self.own))
            self.store.publish_table(file, rows, GROUP)


class Footers:
    """What the footers of a ledger's files say: the marks of all files by their names, the different schemas, and bytes of columns,
    encoded but not compressed."""

    def __init__(self) -> None:
        self.marks: dict[str, str] = {}
        self.schemas: dict[pa.Schema, None] = {}
        self.bytes: Counter[str] = Counter()

    def add(self, name: str, found: Footer) -> None:
        """Count a file."""
        self.marks[name] = found.mark
        self.schemas[found.schema] = None
        self.bytes.update(found.sizes)

    def size(self, columns: pa.Schema) -> int:
        """Bytes of these columns."""
        return sum(self.bytes[c] for c in columns.names)


def footers(store: Store, ledger: list[str]) -> Footers:
    """The footers of these files, which are read."""
    found = Footers()
    for name in ledger:
        with store.open(name) as f:
            found.add(name, footer(pq.ParquetFile(f)))
    return found


def _places(store: Store, assigned: Assigned, ledger: str) -> pa.Table:
    """The places of a part's samples, those of further copies too: uid, shard, place, key."""
    part = Part("", int(Path(ledger).stem), {})
    return slice_of(store, assigned.file(part.index), part, ["uid", *PLACE])


# ---- the columns that shards have


def columns_of(schemas: Iterable[pa.Schema], own: bool, embeddings: bool, hidden: Mapping[str, str]) -> pa.Schema:
    """The columns of a ledger's files that shards have. Embeddings and raw bytes stay behind, unless those of samples (`own`) are
    wanted (`embeddings`); redacted forms (the values of `hidden`) take the place of the column that they are of. Where inputs gave
    a column in more than one type it has one that holds both, or is text."""
    found: dict[str, pa.DataType] = {}
    for field in (f for schema in schemas for f in schema):
        found[field.name] = common_type(found.get(field.name, field.type), field.type)
    left = {*PLACE, "kept", "drop_reason", "drop_stage", *hidden.values()}
    return pa.schema([(n, _plain(t)) for n, t in found.items() if n not in left and _goes(n, t, own, embeddings)])


def _goes(name: str, kind: pa.DataType, own: bool, embeddings: bool) -> bool:
    if members.place(kind):
        return False
    if own:
        return name != "position" and (embeddings or not members.bulky(kind))
    return not (members.bulky(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that loaders meet: vectors of float32, no dictionaries, of which each batch would have its own, and lists that are
    named as Parquet names them, so that a table is the same before and after it was a file."""
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return pa.list_(pa.field("element", _plain(kind.value_type))) if is_list else kind


# ---- rows with their places


def placed(store: Store, ledger: str, places: pa.Table, columns: pa.Schema, own: bool, hidden: Mapping[str, str]) -> pa.Table:
    """The kept rows of a file of the ledger whose samples have `places` (uid, shard, place, key), once for each of these. Where a column
    was redacted the redacted text takes its place."""
    sample = "uid" if own else "doc_uid"
    rows = store.table(ledger, list(dict.fromkeys([sample, "kept", *columns.names, *hidden.values()])))
    mine = pa.table({"uid": rows[sample].cast(pa.large_string()), "row": np.arange(len(rows))}).filter(rows["kept"])
    theirs = pa.table({"uid": places["uid"].cast(pa.large_string()), "at": np.arange(len(places))})
    met = mine.join(theirs, "uid", join_type="inner")
    found = [places[f.name].take(met["at"]).cast(f.type) for f in _PLACED]
    rows = rows.take(met["row"])
    for field in columns:
        value = as_type(rows[field.name], field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        if hidden.get(field.name) in rows.column_names:
            value = pc.coalesce(as_type(rows[hidden[field.name]], field.type), value)
        found.append(value)
    return pa.table(found, schema=pa.schema([*_PLACED, *columns]))


def _order(own: bool) -> list[tuple[str, str]]:
    return [(name, "ascending") for name in ("shard", "place", *(() if own else ("position",)))]


# ---- the rows of a shard


def still_there(store: Store, name: str, ledger: dict[str, list[str]], samples: str, how: Shards) -> dict[str, pa.Table]:
    """The rows of a shard that exists, as a plan would have them, as far as the ledger still keeps them."""
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


#: Shards that one task writes, at most.
SHARDS_OF_A_TASK = 16


def shard_groups(assigned: Assigned, workers: int) -> list[range]:
    """The numbers of shards in groups that are written together: as large as leave each of the workers one."""
    size = max(1, min(assigned.shards // workers, SHARDS_OF_A_TASK))
    last = assigned.first + assigned.shards
    return [range(low, min(low + size, last)) for low in range(assigned.first, last, size)]


def write_shards(
    store: Store,
    plan: dict[str, list[str]],
    how: Shards,
    assigned: Assigned,
    provenance: dict[str, Any],
    hashed: str | None,
    group: range,
) -> list[dict[str, Any]]:
    """Write some shards of a plan, by their numbers, unless they are there; returns what their `.json` files say."""
    drafts = (draft(_rows(store, plan, assigned, n), how, _name(assigned, n)) for n in group)
    return shards.write_group(store, drafts, digest([plan, plain(how)]), provenance, how, hashed)


def _rows(store: Store, plan: dict[str, list[str]], assigned: Assigned, shard: int) -> dict[str, pa.Table]:
    """The rows of a shard, of each table."""
    own, nth = "documents" if "documents" in plan else next(iter(plan)), shard - assigned.first
    return {t: planned(store, files[nth * len(files) // assigned.shards], shard, t == own) for t, files in plan.items()}


def _name(assigned: Assigned, shard: int) -> str:
    return shards.shard_name(shard, assigned.first + assigned.shards)


def draft(rows: dict[str, pa.Table], how: Shards, name: str) -> shards.ShardDraft:
    """The shard that these rows of each table make."""
    if "documents" not in rows:
        return shards.ShardDraft(name, rows["images"])
    # `align` is mmc4's similarity: its format has it in the `.json`.
    scores = [c for c in how.model_scores.get("images", []) if c != "align"]
    return shards.ShardDraft(name, rows["documents"], DocumentMembers(rows["texts"], rows["images"], (*how.without, *scores)))


def planned(store: Store, file: str, shard: int, own: bool = True) -> pa.Table:
    """The rows of one shard, in order: samples (`own`), or what belongs to them."""
    with store.open(file) as f:
        data = pq.ParquetFile(f)
        at = data.schema_arrow.names.index("shard")
        stats = [data.metadata.row_group(g).column(at).statistics for g in range(data.num_row_groups)]
        groups = [g for g, s in enumerate(stats) if s is None or s.min <= shard <= s.max]
        found = data.read_row_groups(groups)
    return found.filter(pc.equal(found["shard"], shard)).sort_by(_order(own))
