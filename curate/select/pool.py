"""The pool at a point of the recipe: what selectors read of it, and what they decided."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import CurateError, PoolError
from curate.score.part import SHIFT, Decision, Part, Workbench, conclude, overlay
from curate.select.database import out_of_memory, scan, stream, with_room
from curate.selector import BATCH, EDGES, Live, Rows, Selection, Selector, identifier, quoted
from curate.stage import Stage, Step, digest
from curate.store import partitions as pieces
from curate.store.atomic import Store

_DROP = pa.schema({"id": pa.int64(), "reason": pa.large_string()})


@dataclass(frozen=True)
class Point:
    """A point of the recipe: the steps before it, what the selectors among them decided."""

    store: Store
    steps: list[Step]
    fingerprints: dict[str, str]
    decisions: list[Decision] = field(default_factory=list)

    def open(self, part: Part, columns: dict[str, set[str]] | None) -> Workbench:
        return Workbench(self.store, part, self.fingerprints, self.decisions, columns).replay(self.steps)

    def state(self, part: Part) -> str:
        """12 hex digits of everything that the live rows of a part depend on at this point."""
        # What a stage with context computed follows from the rest: which rows live, and its fingerprint.
        heads = {f".{s.name}-{self.fingerprints[s.name]}." for s in self.steps if isinstance(s, Stage) and not s.context}
        # A commit that a repair let go (`lost.…`) counts: what is fetched in its place may be something else, under the same name.
        names = [n for n in self.store.names(part.folder) if any(h in n for h in heads)]
        steps = [[s.name, self.fingerprints[s.name], s.parameters()] for s in self.steps]
        return digest([part.id, part.index, names, steps, [d.file for d in self.decisions]])


@dataclass(frozen=True)
class Gathered:
    """The live rows of a part at a point, with the columns that the next selectors read, as a file; `fields`: its columns and types."""

    file: str
    rows: int
    fields: str = ""


def gather(point: Point, table: str, columns: tuple[str, ...], part: Part) -> Gathered:
    """Write `id`, `uid` and these columns of the live rows, unless that file is there."""
    file = f"gathered/{table}-{digest([point.state(part), columns])}.parquet"
    if point.store.exists(file):
        with point.store.open(file) as f:
            data = pq.ParquetFile(f)
        return Gathered(file, data.metadata.num_rows, _said(data.schema_arrow))
    bench = point.open(part, {table: set(columns)})
    conclude(bench)
    rows = bench.tables[table]
    found = rows.take(dict.fromkeys(["uid", *(c for c in columns if c != "id")]), rows.live)
    found = found.add_column(0, "id", pa.array(rows.live + part.base, pa.int64()))
    point.store.publish_table(file, found)
    return Gathered(file, len(found), _said(found.schema))


def _said(fields: pa.Schema) -> str:
    return " ".join(f"{quoted(f.name)} {f.type}" for f in fields)


def gathered_rows(store: Store, gathered: list[Gathered]) -> str:
    """An SQL expression that reads gathered rows."""
    return scan(store, [g.file for g in gathered], [g.fields for g in gathered])


def decision(selector: Selector, gathered: list[Gathered], earlier: list[Decision], print_: str) -> Decision:
    """The name of what a selector decides over these rows."""
    key = digest([print_, selector.parameters(), [g.file for g in gathered], [d.file for d in earlier]])
    return Decision(selector.name, selector.table, f"decisions/{selector.name}-{key}.parquet")


def decide(
    store: Store,
    selector: Selector,
    gathered: list[Gathered],
    earlier: list[Decision],
    wanted: Decision,
    run_map: Callable = map,
) -> None:
    """Let a selector decide, and keep its decision as files sorted by id."""

    def act(con: duckdb.DuckDBPyConnection, folder: str) -> None:
        _view_survivors(con, store, gathered, [d for d in earlier if d.table == selector.table], selector)
        count = con.sql("select count(*) from survivors").fetchall()[0][0]
        live = Live(con.sql("select * from survivors"), con, folder, count, run_map)
        try:
            selection = selector.select(live)
            _keep_edges(store, con, selector, wanted, selection)
            _keep(store, gathered, selector, wanted, selection, Path(folder))
        except Exception as e:
            if isinstance(e, CurateError) or out_of_memory(e):
                raise
            raise PoolError(f"selector {selector.name}: {type(e).__name__}: {e}") from e

    with_room(store, act)


def _view_survivors(
    con: duckdb.DuckDBPyConnection, store: Store, gathered: list[Gathered], earlier: list[Decision], selector: Selector
) -> None:
    """`survivors`: gathered rows that no earlier selector of this block dropped, with the columns that those added."""
    rows, added, joins = gathered_rows(store, gathered), "", ""
    if earlier:
        # A bit a row instead of a hash table of all that fell, which would take memory with the pool.
        con.register("fallen_bits", _fallen_bits(store, earlier))
        con.execute("create temp table fell as select part, bits::bit as bits from fallen_bits")
        row = f"(g.id & {(1 << SHIFT) - 1})"
        bit = f"case when {row} < bit_length(fell.bits) then get_bit(fell.bits, {row}::int) else 0 end"
        rows = f"(select g.* from {rows} g left join fell on fell.part = g.id >> {SHIFT} where coalesce({bit}, 0) = 0)"
    for i, d in enumerate(earlier):
        with store.open(d.file) as f:
            names = [n for n in pq.ParquetFile(f).schema_arrow.names if n not in ("id", "reason") and n in selector.reads]
        if names:
            added += "".join(f", d{i}.{identifier(n)}" for n in names)
            joins += f" left join {scan(store, [d.file])} d{i} on d{i}.id = g.id"
    con.execute(f"create temp view survivors as select g.*{added} from {rows} g{joins}")


def _fallen_bits(store: Store, decisions: list[Decision]) -> pa.Table:
    """By `part`, in which rows fell by these decisions: `bits`, a set bit for each, from row 0 on, up to the last that fell."""
    parts: dict[int, np.ndarray] = {}
    for d in decisions:
        with store.open(d.file) as f:
            for batch in pq.ParquetFile(f).iter_batches(BATCH, columns=["id", "reason"]):
                ids = batch.filter(pc.field("reason").is_valid())["id"].to_numpy()
                for some in np.split(ids, np.flatnonzero(np.diff(ids >> SHIFT)) + 1) if len(ids) else ():
                    part, rows = int(some[0]) >> SHIFT, some & (1 << SHIFT) - 1
                    bits = np.packbits(np.bincount(rows).astype(bool))
                    have = parts.get(part, bits[:0])
                    short, long = sorted((bits, have), key=len)
                    long[: len(short)] |= short
                    parts[part] = long
    return pa.table(
        {"part": pa.array(list(parts), pa.int64()), "bits": pa.array([b.tobytes() for b in parts.values()], pa.large_binary())}
    )


def _keep_edges(store: Store, con: duckdb.DuckDBPyConnection, selector: Selector, wanted: Decision, made: Selection) -> None:
    if made.edges is None:
        return
    _need(made.edges, EDGES.names, selector)
    if isinstance(made.edges, pa.Table):
        con.register("edge", made.edges)
    else:
        made.edges.create_view("edge")
    # One join after another, each kept: what DuckDB knows the size of it does not put the whole pool into a hash table for.
    con.execute("create temp table half as select edge.*, d.uid from edge join survivors d on d.id = edge.id")
    if count := con.sql("select count(*) from half").fetchall()[0][0]:
        named = con.sql("""select half.uid, s.uid as survivor, half.similarity::float as similarity, half.id, half.survivor as survivor_id
            from half join survivors s on s.id = half.survivor order by half.id, half.survivor""")
        file = wanted.file.replace("decisions/", "edges/", 1)
        stream(store, store.publish, file, named.to_arrow_reader(10_000), count)


def _keep(store: Store, gathered: list[Gathered], selector: Selector, wanted: Decision, made: Selection, folder: Path) -> None:
    """The decision, sorted by id piece by piece, so that no pool is too large for this process."""
    drop = made.drop if isinstance(made.drop, Rows) else pa.table({"id": pa.array(made.drop, pa.int64())})
    extra, adds = made.columns, pa.schema({"id": pa.int64(), **selector.adds()})
    _need(drop, ["id"], selector)
    files = pieces.places(folder / "drop", sum(g.rows for g in gathered))
    piece = by_row(gathered, len(files))
    count = pieces.scatter(_tables(drop, _DROP, selector.name), piece, files)
    more = [file.with_suffix(".more") for file in files]
    if extra is not None and len(adds) > 1:
        _need(extra, adds.names, selector)
        count = max(count, pieces.scatter(_tables(extra, adds), piece, more))
    fields = pa.schema([*_DROP, *list(adds)[1:]], {"curate": json.dumps(made.notes, default=str)})
    decided = (_decided(pieces.load(f, _DROP), pieces.load(m, adds)) for f, m in zip(files, more))
    batches = (batch for table in decided for batch in table.to_batches())
    stream(store, store.commit, wanted.file, pa.RecordBatchReader.from_batches(fields, batches), count)


def by_row(gathered: list[Gathered], count: int) -> Callable[[pa.Table], np.ndarray]:
    """What tells rows' pieces by their `id`: so many pieces divide the gathered rows, in the order of the pool."""
    rows = np.array([g.rows for g in gathered])
    of = (np.cumsum(rows) - rows) * count // max(rows.sum(), 1)

    def piece(table: pa.Table) -> np.ndarray:
        part = table["id"].to_numpy() >> SHIFT
        if len(wrong := np.flatnonzero((part < 0) | (part >= len(of)))):
            raise ValueError(f"there is no row with the id {table['id'][int(wrong[0])]}")
        return of[part]

    return piece


def _need(rows: Rows, names: Iterable[str], selector: Selector) -> None:
    if missing := sorted(set(names) - set(_names(rows))):
        raise PoolError(f"selector {selector.name} did not return {', '.join(missing)}")


def _names(rows: Rows) -> list[str]:
    return rows.column_names if isinstance(rows, pa.Table) else rows.columns


def _tables(rows: Rows, fields: pa.Schema, reason: str = "") -> Iterator[pa.Table]:
    """These fields of the rows, some rows at a time; where they have no `reason` it is this one."""
    there = [n for n in fields.names if n in _names(rows)]
    if isinstance(rows, pa.Table):
        reader = rows.select(there).to_reader(BATCH)
    else:
        reader = rows.project(", ".join(map(identifier, there))).to_arrow_reader(BATCH)
    for batch in reader:
        columns = {n: batch[n].cast(fields.field(n).type) for n in there}
        yield pa.table({"reason": pa.repeat(pa.scalar(reason, pa.large_string()), len(batch))} | columns).select(fields.names)


def _decided(drop: pa.Table, extra: pa.Table) -> pa.Table:
    """What is decided of the rows of one piece, sorted by id: the first reason of those that fall, and what is added."""
    drop = drop.sort_by([("id", "ascending"), ("reason", "ascending")])
    fallen, first = np.unique(drop["id"].to_numpy(), return_index=True)
    ids = np.union1d(fallen, extra["id"].to_numpy())
    at = np.searchsorted(ids, extra["id"].to_numpy())
    found = {"id": pa.array(ids), "reason": overlay(None, len(ids), np.searchsorted(ids, fallen), drop["reason"].take(first))}
    return pa.table(found | {n: overlay(None, len(ids), at, extra[n]) for n in extra.column_names[1:]})


def notes(store: Store, decision: Decision) -> dict[str, Any]:
    """What a selector noted for the report."""
    with store.open(decision.file) as f:
        return json.loads((pq.ParquetFile(f).schema_arrow.metadata or {}).get(b"curate", b"{}"))


def fallen(store: Store, decision: Decision) -> dict[str, int]:
    """How many rows a decision dropped, by reason."""
    counts: Counter[str] = Counter()
    with store.open(decision.file) as f:
        for batch in pq.ParquetFile(f).iter_batches(BATCH, columns=["reason"]):
            counts.update({r["values"]: r["counts"] for r in batch["reason"].value_counts().to_pylist() if r["values"]})
    return dict(counts)
