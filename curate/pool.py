"""A run's tables over the whole pool: what selectors read, what they decided, the ledger, and DuckDB views of it all."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import members, shards
from curate.documents.document import DocumentMembers
from curate.errors import CurateError, PoolError
from curate.judging import verdicts
from curate.part import Decision, Part, Workbench, conclude, overlay, slice_of
from curate.selector import EDGES, Live, Selection, Selector
from curate.shards import Shards
from curate.stage import Stage, Step, digest, plain
from curate.store import Store, write_batches

#: Bytes of memory that a thread of DuckDB needs to sort well beyond them.
THREAD = 256 << 20


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
        # What a stage with context computed follows from the rest.
        heads = {f".{s.name}-{self.fingerprints[s.name]}." for s in self.steps if isinstance(s, Stage) and not s.context}
        # A commit that a repair let go (`lost.…`) counts: what is fetched in its place may be something else, under the same name.
        names = [n for n in self.store.names(part.folder) if any(h in n for h in heads)]
        return digest(
            [part.id, part.index, names, [[s.name, s.parameters()] for s in self.steps], [d.file for d in self.decisions]]
        )


# ---- what selectors read


@dataclass(frozen=True)
class Gathered:
    """The live rows of a part at a point, with the columns that the next selectors read, as a file."""

    file: str
    rows: int


def gather(point: Point, table: str, columns: tuple[str, ...], part: Part) -> Gathered:
    """Write `id`, `uid` and these columns of the live rows, unless that file is there."""
    file = f"gathered/{table}-{digest([point.state(part), columns])}.parquet"
    if point.store.exists(file):
        with point.store.open(file) as f:
            return Gathered(file, pq.ParquetFile(f).metadata.num_rows)
    bench = point.open(part, {table: set(columns)})
    conclude(bench)
    rows = bench.tables[table]
    found = rows.take(dict.fromkeys(["uid", *(c for c in columns if c != "id")]), rows.live)
    found = found.add_column(0, "id", pa.array(rows.live + part.base, pa.int64()))
    point.store.publish_table(file, found)
    return Gathered(file, len(found))


@contextlib.contextmanager
def database(store: Store) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A DuckDB connection that can read the store and spill to a scratch folder (below TMPDIR), and that folder.

    It takes what its threads need, at most a quarter of the memory that is free, and no more threads than that feeds. What it sorts
    and groups beyond that goes to the disk: a larger pool does not take more memory.
    """
    cores = len(os.sched_getaffinity(0))
    memory = max(min(free_memory() // 4, cores * THREAD), 512 << 20)
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        threads = max(1, min(cores, memory // THREAD))
        con = duckdb.connect(
            config={"temp_directory": f"{folder}/spill", "memory_limit": f"{memory >> 20}MiB", "threads": threads}
        )
        con.execute("set enable_progress_bar = false")
        con.execute("set preserve_insertion_order = false")
        if not store.local:
            con.register_filesystem(store.fs)
        try:
            yield con, folder
        finally:
            con.close()


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of the control group that it runs in if that has fewer."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    with contextlib.suppress(FileNotFoundError, ValueError):  # no control group, or no limit
        group = Path("/sys/fs/cgroup")
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return max(free, 0)


def scan(store: Store, files: list[str]) -> str:
    """An SQL expression that reads Parquet files of the store."""
    listed = ", ".join("'" + store.path(f).replace("'", "''") + "'" for f in files)
    return f"read_parquet([{listed}], union_by_name = true)"


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
    with database(store) as (con, folder):
        con.execute(f"create temp view survivors as {_survivors(store, gathered, earlier, selector)}")
        count = con.sql("select count(*) from survivors").fetchall()[0][0]
        live = Live(con.sql("select * from survivors"), con, run_map, folder, count)
        try:
            selection = selector.select(live)
        except CurateError:
            raise
        except Exception as e:
            raise PoolError(f"selector {selector.name}: {type(e).__name__}: {e}") from e
        _keep(store, con, selector, wanted, selection)


def _survivors(store: Store, gathered: list[Gathered], earlier: list[Decision], selector: Selector) -> str:
    """Gathered rows that no earlier selector of this block dropped, with the columns that those added."""
    mine = [d for d in earlier if d.table == selector.table]
    added, joins, keep = "", "", ""
    for i, d in enumerate(mine):
        with store.open(d.file) as f:
            names = [n for n in pq.ParquetFile(f).schema_arrow.names if n not in ("id", "reason") and n in selector.reads]
        added += "".join(f', d{i}."{n}"' for n in names)
        joins += f" left join {scan(store, [d.file])} d{i} on d{i}.id = g.id"
        keep += f" and d{i}.reason is null"
    return f"select g.*{added} from {scan(store, [g.file for g in gathered])} g{joins} where true{keep}"


def _keep(store: Store, con: duckdb.DuckDBPyConnection, selector: Selector, decision: Decision, made: Selection) -> None:
    """Edges first, then the decision; both are streams that DuckDB sorts, so that no pool is too large for this process."""
    if made.edges is not None and len(made.edges):
        con.register("edge", made.edges.cast(EDGES))
        named = con.sql("""select d.uid as uid, s.uid as survivor, e.similarity, e.id, e.survivor as survivor_id
            from edge e join survivors d on d.id = e.id join survivors s on s.id = e.survivor order by e.id, e.survivor""")
        file = decision.file.replace("decisions/", "edges/", 1)
        _stream(store, store.publish, file, named.to_arrow_reader(10_000), len(made.edges))
    drop, first = np.unique(np.asarray(made.drop, dtype=np.int64), return_index=True)
    same = pa.DictionaryArray.from_arrays(np.zeros(len(drop), np.int8), [selector.name])
    reasons = same if made.reasons is None else made.reasons.take(pa.array(first))
    con.register("dropped", pa.table({"id": drop, "reason": reasons}))
    extra = selector.adds() if made.columns is not None else {}
    if missing := sorted(set(extra) - set(made.columns.column_names if extra else ())):
        raise PoolError(f"selector {selector.name} did not return {', '.join(missing)}")
    if extra:
        con.register("extra", made.columns)
    listed = ", ".join(["id", "reason::varchar as reason", *(f'"{name}"' for name in extra)])
    found = con.sql(f"select {listed} from dropped {'full join extra using (id)' if extra else ''} order by id")
    notes = {"curate": json.dumps(made.notes, default=str)}
    fields = pa.schema({"id": pa.int64(), "reason": pa.large_string(), **selector.adds()}, notes)
    batches = pa.RecordBatchReader.from_batches(fields, (_filled(b, fields) for b in found.to_arrow_reader(10_000)))
    _stream(store, store.commit, decision.file, batches, max(len(drop), len(made.columns) if extra else 0))


def _filled(batch: pa.RecordBatch, fields: pa.Schema) -> pa.RecordBatch:
    """The same rows with these fields; one that is not there is null."""
    there = set(batch.schema.names)
    return pa.record_batch(
        [batch[f.name].cast(f.type) if f.name in there else pa.nulls(len(batch), f.type) for f in fields], fields
    )


def _stream(store: Store, put: Callable, name: str, batches: pa.RecordBatchReader, count: int) -> None:
    with store.private(name) as path:
        put(name, path, write_batches(path, batches, count))


# ---- the ledger


def assign(store: Store, gathered: list[Gathered], how: Shards) -> str:
    """Give every kept row its places in the shards: a file sorted by id with uid, key, shard, position."""
    file = f"assigned/{digest([[g.file for g in gathered], how.size, how.seed])}.parquet"
    if not store.exists(file):
        with database(store) as (con, _):
            placed = shards.plan(con.sql(f"select * from {scan(store, [g.file for g in gathered])}"), how)
            rows = placed.query("placed", "select id, uid, key, shard, position from placed order by id, key")
            _stream(store, store.publish, file, rows.to_arrow_reader(10_000), sum(g.rows for g in gathered))
    return file


def enter(point: Point, assigned: str | None, samples: str, part: Part) -> tuple[dict[str, Any], dict[str, str]]:
    """Write a part's rows into the ledger: every row, every column, and what became of it. Returns counts by table, and
    the SHA-256 of each file."""
    state = digest([point.state(part), assigned])
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
        return store.exists(name) and _mark(store, name) == state
    except (pa.ArrowException, OSError):
        return False


def _entry(bench: Workbench, table: str, assigned: str | None, samples: str) -> pa.Table:
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


def _places(bench: Workbench, table: str, assigned: str, samples: str, kept: np.ndarray) -> dict[str, pa.Array]:
    """Shard and key of each kept row: its own, or those of its document."""
    placed = slice_of(bench.store, assigned, bench.part, ["uid", "key", "shard"])
    first = placed.filter(pc.equal(placed["key"], placed["uid"]))  # the places of further copies are in the shards
    at = first["id"].to_numpy() - bench.part.base
    count = bench.tables[samples].count
    found = {c: overlay(None, count, at, first[c]) for c in ("shard", "key")}
    if table != samples:
        owner = pa.array(bench.owners[table], mask=~kept)
        found = {c: values.take(owner) for c, values in found.items()}
    return found


def plan(store: Store, assigned: str, ledger: dict[str, list[str]], samples: str, how: Shards) -> dict[str, str]:
    """For each table that goes into the shards a file with the columns of its kept rows that shards have, sorted by shard and
    position, and the rows of a document by their place on the page. `ledger`: the files of each table."""
    tables = list(ledger) if samples == "documents" else [samples]
    return {table: _plan(store, assigned, ledger[table], table == samples, how.embeddings) for table in tables}


def _plan(store: Store, assigned: str, ledger: list[str], own: bool, embeddings: bool) -> str:
    file = f"planned/{digest([assigned, [[n, _mark(store, n)] for n in ledger], embeddings])}.parquet"
    if store.exists(file):
        return file
    with database(store) as (con, _), store.private(file) as path:
        _write_plan(con, path, scan(store, [assigned]), scan(store, ledger), own, embeddings)
        store.publish(file, path, path.stat().st_size)
    return file


def _write_plan(con: duckdb.DuckDBPyConnection, path: Path, places: str, ledger: str, own: bool, embeddings: bool) -> None:
    """The kept rows of a table, by the places of their samples; places and ledger are SQL expressions. Where a column was redacted
    the redacted text takes its place. Embeddings and raw bytes stay behind, unless those of samples are wanted (`embeddings`)."""
    uid, order = ("l.uid", "") if own else ("l.doc_uid", ", l.position")
    rows = con.sql(f"select * exclude (shard, key, kept, drop_reason, drop_stage) from {ledger} limit 0")
    fields = rows.to_arrow_table().schema
    wanted = [
        f.name
        for f in fields
        if (
            f.name != "position" and (embeddings or not members.bulky(f.type))
            if own
            else not (members.bulky(f.type) or pa.types.is_list(f.type))
        )
    ]
    hidden = members.redacted(rows.columns)
    values = (
        f'coalesce(l."{hidden[c]}", l."{c}") as "{c}"' if c in hidden else f'l."{c}"'
        for c in wanted
        if c not in hidden.values()
    )
    named = ", ".join(["a.position" if own else "a.position as place", "a.key", *values])
    con.execute(f"""copy (
        select a.shard, {named} from {places} a join {ledger} l on {uid} = a.uid
        where l.kept order by a.shard, a.position{order}
    ) to '{path}' (format parquet, compression zstd, row_group_size 10240, preserve_order true)""")


def still_there(store: Store, name: str, ledger: dict[str, list[str]], samples: str, how: Shards) -> dict[str, pa.Table]:
    """The rows of a shard that exists, as a plan would have them, as far as the ledger still keeps them."""
    sidecar = store.table(f"shards/{name}.parquet", ["uid", "key"])
    places = sidecar.append_column("shard", pa.array(np.zeros(len(sidecar), np.int32))).append_column(
        "position", pa.array(np.arange(len(sidecar)))
    )
    found = {}
    for table in ledger if samples == "documents" else [samples]:
        with database(store) as (con, _), store.private(f"{name}.plan") as path:
            con.register("places", places)
            _write_plan(con, path, "places", scan(store, ledger[table]), table == samples, how.embeddings)
            found[table] = pq.read_table(path)
    return found


def _mark(store: Store, name: str) -> str:
    with store.open(name) as f:
        return (pq.ParquetFile(f).schema_arrow.metadata or {}).get(b"curate", b"").decode()


def uid_hash(store: Store, files: list[str], where: str = "true") -> tuple[str, int]:
    """SHA-256 over the sorted uids of the kept rows, and their number: the root hash of a run without shards."""
    with database(store) as (con, _):
        hash, count = hashlib.sha256(), 0
        for batch in con.sql(f"select uid from {scan(store, files)} where {where} order by uid").to_arrow_reader():
            hash.update("".join(f"{u}\n" for u in batch["uid"].to_pylist()).encode())
            count += len(batch)
    return hash.hexdigest(), count


def shard_count(store: Store, assigned: str) -> int:
    """How many shards a plan has."""
    with database(store) as (con, _):
        return con.sql(f"select count(distinct shard) from {scan(store, [assigned])}").fetchall()[0][0]


def write_shard(
    store: Store, plan: dict[str, str], how: Shards, count: int, provenance: dict[str, Any], hashed: str | None, shard: int
) -> dict[str, Any]:
    """Write one shard of a plan, unless it is there; returns what its `.json` says."""
    rows = {t: planned(store, file, shard, _order(t, plan)) for t, file in plan.items()}
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


def _order(table: str, plan: dict[str, str]) -> tuple[str, ...]:
    return ("place", "position") if "documents" in plan and table != "documents" else ("position",)


def notes(store: Store, decision: Decision) -> dict[str, Any]:
    """What a selector noted for the report."""
    with store.open(decision.file) as f:
        return json.loads((pq.ParquetFile(f).schema_arrow.metadata or {}).get(b"curate", b"{}"))


def planned(store: Store, file: str, shard: int, order: tuple[str, ...] = ("position",)) -> pa.Table:
    """The rows of one shard, in order."""
    with store.open(file) as f:
        data = pq.ParquetFile(f)
        at = data.schema_arrow.names.index("shard")
        stats = [data.metadata.row_group(g).column(at).statistics for g in range(data.num_row_groups)]
        groups = [g for g, s in enumerate(stats) if s is None or s.min <= shard <= s.max]
        found = data.read_row_groups(groups)
    return found.filter(pc.equal(found["shard"], shard)).sort_by([(name, "ascending") for name in order])


# ---- looking at a run


#: The views of a run, and what a row of each is.
VIEWS = {
    "images": "an input row: source columns, all scores, drop_reason, drop_stage, kept, shard, key",
    "documents": "a web page (pools of pages)",
    "texts": "a paragraph of a page (pools of pages)",
    "shards": "a sample in the shards, with the columns that loaders see",
    "edges": "a duplicate: step, uid, survivor (a uid), similarity; id and survivor_id are the rows' numbers in the pool",
    "verdicts": "a row that people judged (`curate annotate`): verdict (good, bad, null where they disagree), how many said what, weight",
    "judgements": "one person's word on a row: verdict, annotator, reason, comment",
    "funnel": "a table, stage and reason: rows, and percent of the table's rows",
}


def connect(store: Store, files: Callable[[list[str]], list[str]] = list) -> duckdb.DuckDBPyConnection:
    """DuckDB with the run's tables as views, see VIEWS. PoolError if there is no ledger.

    files: picks the ledger's files to look at, of a long list; the same ones for each table.
    """
    con = duckdb.connect()
    if not store.local:
        con.register_filesystem(store.fs)
    tables = [t for t in ("images", "documents", "texts") if store.names(f"ledger/{t}")]
    if not tables:
        raise PoolError(f"{store.url}: there is no ledger here; is it a run's folder, and did the run reach its end?")
    for table in tables:
        con.execute(
            f"create view {table} as select * from {scan(store, [f'ledger/{table}/{n}' for n in files(store.names(f'ledger/{table}'))])}"
        )
    sidecars = [f"shards/{n}" for n in store.names("shards") if n.endswith(".parquet")]
    con.execute(
        "create view shards as select "
        + (f"* from {scan(store, sidecars)}" if sidecars else "'' as key, '' as uid where false")
    )
    edges = [n for n in json.loads(store.read("recipe.json")).get("edges", []) if store.exists(n)]
    each = [
        f"""select '{n.split("/")[-1].rsplit("-", 1)[0]}' as step, uid, survivor, similarity, id, survivor_id from {scan(store, [n])}"""
        for n in edges
    ]
    nothing = "select '' as step, '' as uid, '' as survivor, 0::float as similarity, 0::bigint as id, 0::bigint as survivor_id where false"
    con.execute("create view edges as " + " union all ".join(each or [nothing]))
    judged = [f"verdicts/{n}" for n in store.names("verdicts")]
    for view in verdicts.views(scan(store, judged) if judged else None):
        con.execute(view)
    con.execute(
        "create view funnel as "
        + " union all ".join(
            f"""select '{t}' as "table", coalesce(drop_stage, '') as stage, coalesce(drop_reason, 'kept') as reason,
            count(*) as rows, round(100 * count(*) / sum(count(*)) over (), 2) as percent from {t} group by all"""
            for t in tables
        )
    )
    return con
