"""The pool at a point of the recipe: what selectors read of it, and what they decided."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import CurateError, PoolError
from curate.part import Decision, Part, Workbench, conclude
from curate.selector import EDGES, Live, Rows, Selection, Selector, identifier, quoted
from curate.stage import Stage, Step, digest
from curate.store import Store
from curate.tables import scan, stream, with_room


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
    """An SQL expression that reads gathered rows. Files with the same columns are read together: to find out what columns each of
    them has DuckDB keeps 30 kB a file."""
    kinds: dict[str, list[str]] = {}
    for g in gathered:
        kinds.setdefault(g.fields, []).append(g.file)
    each = [scan(store, files, alike=True) for files in kinds.values()]
    return each[0] if len(each) == 1 else f"({' union all by name '.join(f'from {one}' for one in each)})"


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
        con.execute(f"create temp view survivors as {_survivors(store, gathered, earlier, selector)}")
        count = con.sql("select count(*) from survivors").fetchall()[0][0]
        live = Live(con.sql("select * from survivors"), con, run_map, folder, count)
        try:
            selection = selector.select(live)
        except (CurateError, duckdb.OutOfMemoryException):
            raise
        except Exception as e:
            raise PoolError(f"selector {selector.name}: {type(e).__name__}: {e}") from e
        _keep(store, con, selector, wanted, selection)

    with_room(store, act)


def _survivors(store: Store, gathered: list[Gathered], earlier: list[Decision], selector: Selector) -> str:
    """Gathered rows that no earlier selector of this block dropped, with the columns that those added."""
    mine = [d for d in earlier if d.table == selector.table]
    added, joins, keep = "", "", ""
    for i, d in enumerate(mine):
        with store.open(d.file) as f:
            names = [n for n in pq.ParquetFile(f).schema_arrow.names if n not in ("id", "reason") and n in selector.reads]
        added += "".join(f", d{i}.{identifier(n)}" for n in names)
        joins += f" left join {scan(store, [d.file])} d{i} on d{i}.id = g.id"
        keep += f" and d{i}.reason is null"
    return f"select g.*{added} from {gathered_rows(store, gathered)} g{joins} where true{keep}"


def _keep(store: Store, con: duckdb.DuckDBPyConnection, selector: Selector, decision: Decision, made: Selection) -> None:
    """Edges first, then the decision; both are streams that DuckDB sorts, so that no pool is too large for this process."""
    if made.edges is not None and (count := _name(con, "edge", made.edges, EDGES.names, selector)):
        named = con.sql("""select d.uid as uid, s.uid as survivor, e.similarity::float as similarity, e.id, e.survivor as survivor_id
            from edge e join survivors d on d.id = e.id join survivors s on s.id = e.survivor order by e.id, e.survivor""")
        file = decision.file.replace("decisions/", "edges/", 1)
        stream(store, store.publish, file, named.to_arrow_reader(10_000), count)
    drop = made.drop if isinstance(made.drop, Rows) else pa.table({"id": pa.array(made.drop, pa.int64())})
    count = _name(con, "fallen", drop, ["id"], selector)
    said = "min(reason)" if "reason" in _names(drop) else quoted(selector.name)
    con.execute(f"create temp view dropped as select id, {said} as reason from fallen group by id")
    extra = selector.adds() if made.columns is not None else {}
    if extra:
        count = max(count, _name(con, "extra", made.columns, ["id", *extra], selector))
    listed = ", ".join(["id", "reason::varchar as reason", *map(identifier, extra)])
    found = con.sql(f"select {listed} from dropped {'full join extra using (id)' if extra else ''} order by id")
    notes = {"curate": json.dumps(made.notes, default=str)}
    fields = pa.schema({"id": pa.int64(), "reason": pa.large_string(), **selector.adds()}, notes)
    batches = pa.RecordBatchReader.from_batches(fields, (_filled(b, fields) for b in found.to_arrow_reader(10_000)))
    stream(store, store.commit, decision.file, batches, count)


def _name(con: duckdb.DuckDBPyConnection, name: str, rows: Rows, needs: Iterable[str], selector: Selector) -> int:
    """Let SQL know rows by a name; returns how many there are."""
    if missing := sorted(set(needs) - set(_names(rows))):
        raise PoolError(f"selector {selector.name} did not return {', '.join(missing)}")
    if isinstance(rows, pa.Table):
        con.register(name, rows)
        return len(rows)
    rows.create_view(name)
    return rows.count("*").fetchall()[0][0]


def _names(rows: Rows) -> list[str]:
    return rows.column_names if isinstance(rows, pa.Table) else rows.columns


def _filled(batch: pa.RecordBatch, fields: pa.Schema) -> pa.RecordBatch:
    """The same rows with these fields; one that is not there is null."""
    there = set(batch.schema.names)
    return pa.record_batch(
        [batch[f.name].cast(f.type) if f.name in there else pa.nulls(len(batch), f.type) for f in fields], fields
    )


def notes(store: Store, decision: Decision) -> dict[str, Any]:
    """What a selector noted for the report."""
    with store.open(decision.file) as f:
        return json.loads((pq.ParquetFile(f).schema_arrow.metadata or {}).get(b"curate", b"{}"))


def fallen(store: Store, decision: Decision) -> dict[str, int]:
    """How many rows a decision dropped, by reason."""
    counts: Counter[str] = Counter()
    with store.open(decision.file) as f:
        for batch in pq.ParquetFile(f).iter_batches(1 << 20, columns=["reason"]):
            counts.update({r["values"]: r["counts"] for r in batch["reason"].value_counts().to_pylist() if r["values"]})
    return dict(counts)
