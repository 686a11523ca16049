"""A part of the pool: a fixed slice of the source, its committed columns, and why which rows are dropped.

Files of a part, below `work/parts/<id>/`: `source.<table>.parquet` (the source rows), then for each stage
`<table>.<stage>-<fingerprint>.<k>.parquet` with a column `row` and the columns that the stage adds. The k-th file holds the rows that
were live and had no values at the k-th computation. The file is the commit. If the stage reads columns of a selector, the file also
has the column `input_digest`: 64 bits of the inputs of each row; values with another digest are stale and ignored.
A payload tar is named by its hash, in the column `payload` of the commit that owns it.
"""

import bisect
import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import PartError, PoolError
from curate.schema import KEPT
from curate.selector import Selector
from curate.sources.columns import as_kind
from curate.stage import Stage, Step, column, digest
from curate.store.atomic import Store
from curate.store.folder import PARTS

log = logging.getLogger(__name__)

#: Rows of a part keep their place in the low half of a pool-wide id, the part its index in the high half.
SHIFT = 32


@dataclass(frozen=True)
class Part:
    """A part: its folder name, its index in the pool, and its number of rows by table. columns: by table, for source columns that the
    pool names or types differently from the part's file, the name in the file (empty: missing there) and the type in the pool."""

    id: str
    index: int
    rows: dict[str, int]
    columns: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"{PARTS}/{self.id}"

    @property
    def base(self) -> int:
        return self.index << SHIFT


@dataclass(frozen=True)
class Decision:
    """A selector's decision: a folder with one file per chunk of the pool, sorted by id: `id`, `reason` (null: kept), the columns that
    it adds, and the edges of duplicates. starts: the index of the first part of each chunk."""

    step: str
    table: str
    folder: str
    starts: tuple[int, ...] = (0,)

    @property
    def record(self) -> str:
        """The name of its record: `rows` and `dropped` of each chunk, `reasons` with counts, `notes`."""
        return f"{self.folder}/decision.json"

    def file(self, part: int) -> str:
        """The file that covers a part, by the part's index."""
        return f"{self.folder}/{bisect.bisect_right(self.starts, part) - 1:05d}.parquet"


# ---- a part in memory


class Rows:
    """The rows of one table of a part: full-length columns (null where not computed), and for dropped rows the reason and the step."""

    def __init__(self, source: pa.Table):
        self.count = len(source)
        self.columns: dict[str, pa.Array] = {n: source[n].combine_chunks() for n in source.column_names if n != "drop_reason"}
        self.sourced = set(self.columns)  # the columns that no step has replaced
        self.reason = np.full(self.count, None, dtype=object)
        self.stage = np.full(self.count, None, dtype=object)
        self.alive = np.ones(self.count, dtype=bool)  # where there is no reason
        self.have: dict[str, np.ndarray] = {}
        if "drop_reason" in source.column_names:
            self.drop(np.arange(self.count), source["drop_reason"], "source")

    @property
    def live(self) -> np.ndarray:
        """The indices of the live rows."""
        return np.flatnonzero(self.alive)

    def drop(self, rows: np.ndarray, reasons: pa.Array | pa.ChunkedArray, stage: str) -> None:
        """Drop rows with a reason (null: none), each row at most once; a row that is dropped already keeps its first reason."""
        hit = np.flatnonzero(np.asarray(reasons.is_valid()) & self.alive[rows])
        at = rows[hit]
        self.reason[at] = reasons.take(pa.array(hit)).to_pylist()
        self.stage[at], self.alive[at] = stage, False

    def subset(self, places: np.ndarray) -> "Rows":
        """A copy of the rows at `places`."""
        few = Rows.__new__(Rows)
        few.count, at = len(places), pa.array(places)
        few.columns = {n: c.take(at) for n, c in self.columns.items()}
        few.reason, few.stage, few.alive = self.reason[places], self.stage[places], self.alive[places]
        few.have = {n: h[places] for n, h in self.have.items()}
        return few

    def update_drops(self, places: np.ndarray, few: "Rows") -> None:
        """Copy drops from a subset, taken at `places`, back to these rows."""
        self.reason[places], self.stage[places], self.alive[places] = few.reason, few.stage, few.alive

    def skipped(self, stage: Stage) -> np.ndarray:
        """A mask of the rows that the stage skips (Step.skip_where)."""
        column = self.columns.get(stage.skip_where)
        return np.zeros(self.count, dtype=bool) if column is None else np.asarray(column.is_valid())

    def take(self, names: Iterable[str], rows: np.ndarray) -> pa.Table:
        at = pa.array(rows)
        return pa.table({n: self.columns[n].take(at) for n in names})

    def replace_source_columns(self, names: set[str]) -> None:
        """Remove source columns with the names of a step's columns: their values are not the step's."""
        for name in names & self.sourced:
            del self.columns[name]
            self.sourced.remove(name)

    def put(self, columns: pa.Table, rows: np.ndarray) -> None:
        """Set the values of columns at these rows."""
        for name in columns.column_names:
            self.columns[name] = overlay(self.columns.get(name), self.count, rows, columns[name])


def overlay(base: pa.Array | None, count: int, rows: np.ndarray, values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """An array of `count` values: `values` at `rows`, the rest from `base` (or null)."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if base is None and len(rows) == count and np.array_equal(rows, np.arange(count)):
        return values
    at = np.full(count, -1, dtype=np.int64) if base is None else np.arange(count, dtype=np.int64)
    offset = 0 if base is None else count
    at[rows] = offset + np.arange(len(rows))
    both = values if base is None else pa.concat_arrays([base.cast(values.type), values])
    return both.take(pa.array(at, mask=at < 0))


def commits(names: list[str], table: str, step: str, fingerprint: str) -> list[str]:
    """The commit files of a stage among a part's file names, oldest first."""
    head = f"{table}.{step}-{fingerprint}."
    found = [n for n in names if n.startswith(head) and n.endswith(".parquet")]
    return sorted(found, key=lambda n: int(n[len(head) : -len(".parquet")]))


class PartState:
    """The state of a part at a point of the recipe: source rows, committed columns, drops so far.

    columns: for each table the columns to load besides `uid`; None for a table, or for all: every column. names: the file names in the
    part's folder, listed if not given.
    """

    def __init__(
        self,
        store: Store,
        part: Part,
        fingerprints: dict[str, str],
        decisions: list[Decision],
        columns: dict[str, set[str] | None] | None = None,
        names: list[str] | None = None,
    ):
        self.store, self.part, self.fingerprints = store, part, fingerprints
        self.columns = {t: None if columns is None else columns.get(t, set()) for t in part.rows}
        self.decisions = {d.step: d for d in decisions}
        self.names = store.names(part.folder) if names is None else names
        self.used: list[str] = []  # the files that columns and drops were read from
        self.tables = {t: Rows(self._source(t)) for t in part.rows}
        self.added: dict[str, list[str]] = {}  # by table: the folders of decisions that add columns
        # By table and column: digests of values that depend on more than the row and the steps' parameters.
        self.value_digests: dict[tuple[str, str], Callable[[], np.ndarray]] = {}
        self.input_digests: dict[str, np.ndarray | None] = {}  # by stage, see `inputs`
        self.prints: dict[str, str] = {}  # by stage, see `fingerprint`
        self.owners = {
            t: owners(rows, self.tables["documents"])
            for t, rows in self.tables.items()
            if "documents" in self.tables and t != "documents"
        }
        self.drop_with_documents("source")

    def _source(self, table: str) -> pa.Table:
        """The source rows: the wanted columns and those that identify rows."""
        wanted, changes = self.columns[table], self.part.columns.get(table, {})
        there = lambda name: changes[name][0] if name in changes else name  # noqa: E731
        listed = None if wanted is None else sorted({"uid", "source_row", "drop_reason", *map(there, wanted)} - {""})
        found = self.store.table(f"{self.part.folder}/source.{table}.parquet", listed)
        for name, (mine, kind) in changes.items():
            if mine in found.column_names:
                values = as_kind(found[mine].combine_chunks(), kind)
                found = found.set_column(found.column_names.index(mine), name, values)
            elif wanted is not None and name in wanted:
                found = found.append_column(name, pa.nulls(len(found), _named(kind)))
        return found

    def replay(self, steps: list[Step]) -> "PartState":
        """Apply these steps from their commits and decisions, and keep the wanted columns."""
        passes = {t: {s.skip_where for s in steps if isinstance(s, Stage) and s.table == t} for t in self.tables}
        for step in steps:
            rows = self.tables[step.table]
            adds, wanted = set(step.adds()), self.columns[step.table]
            keep = adds if wanted is None else adds & (wanted | passes[step.table])
            if isinstance(step, Selector):
                self._decide(step, keep)
                continue
            judged = type(step).judge is not Stage.judge
            self.load_committed(step, sorted(adds if judged else keep))
            if judged:
                self.judge(step, rows)
                self.drop_children(step)
            for name in adds - keep:
                rows.columns.pop(name, None)
        return self

    def load_committed(self, stage: Stage, columns: list[str]) -> np.ndarray:
        """Load a stage's committed columns into its table; a mask of the rows that have values."""
        rows = self.tables[stage.table]
        have = np.zeros(rows.count, dtype=bool)
        rows.replace_source_columns(set(columns) - (set(KEPT) if stage.writes_payload else set()))
        digests, print_ = self.inputs(stage), self.fingerprint(stage)
        for name in commits(self.names, stage.table, stage.name, print_):
            self.used.append(f"{self.part.folder}/{name}")
            found = self.store.table(
                f"{self.part.folder}/{name}", ["row", *columns, *(["input_digest"] if digests is not None else [])]
            )
            at = found["row"].to_numpy()
            if digests is not None:
                same = found["input_digest"].to_numpy() == digests[at]
                found, at = found.filter(pa.array(same)), at[same]
            have[at] = True
            rows.put(found.select(columns), at)
        self._propagate_digests(stage, digests, print_)
        for name in columns:
            if name not in rows.columns:
                rows.columns[name] = pa.nulls(rows.count, stage.adds()[name])
        rows.have[stage.name] = have | rows.skipped(stage)
        return rows.have[stage.name]

    def inputs(self, stage: Stage) -> np.ndarray | None:
        """For each row a 64-bit digest of the selectors' columns that the stage reads, directly or through other stages; None if none."""
        if stage.name not in self.input_digests:
            reads = [(stage.table, c) for c in sorted({column(c) for c in stage.reads} - {stage.skip_where})]
            found = [self.value_digests[key]() for key in reads if key in self.value_digests]
            self.input_digests[stage.name] = combine_digests(found) if found else None
        return self.input_digests[stage.name]

    def _propagate_digests(self, stage: Stage, digests: np.ndarray | None, print_: str) -> None:
        """Propagate the input digest to columns derived from a stage that reads selectors' columns or other tables."""
        if stage.context:
            whole = np.full(self.tables[stage.table].count, int(print_, 16), np.uint64)
            digests = combine_digests([whole] if digests is None else [whole, digests])
        for name in stage.adds():
            self.value_digests.pop((stage.table, name), None)
            if digests is not None:
                self.value_digests[stage.table, name] = lambda: digests

    def fingerprint(self, stage: Stage) -> str:
        """The fingerprint of a stage's values for this part. For a stage with `context` it includes which rows of these tables are live
        (drops by a selector or a failed fetch change its values), as they are at the first call, before the stage's own drops: its context
        may be its own table."""
        if stage.name not in self.prints:
            print_ = self.fingerprints[stage.name]
            if stage.context:
                live = [hashlib.sha256(np.packbits(self.tables[t].alive).tobytes()).hexdigest() for t in stage.context]
                print_ = digest([print_, live, [self.added.get(t, []) for t in stage.context]])
            self.prints[stage.name] = print_
        return self.prints[stage.name]

    def judge(self, stage: Stage, rows: Rows) -> None:
        """Drop the live rows whose values are out of bounds; rows without values stay."""
        places = rows.live[(rows.have[stage.name] & ~rows.skipped(stage))[rows.live]]
        try:
            reasons = stage.judge(rows.take(stage.adds(), places))
        except Exception as e:
            raise PartError(stage.name, self.part.id, None, f"judge: {type(e).__name__}: {e}") from e
        rows.drop(places, reasons, stage.name)

    def _decide(self, step: Selector, keep: set[str]) -> None:
        decision, rows = self.decisions[step.name], self.tables[step.table]
        found = slice_of(self.store, decision.file(self.part.index), self.part, ["reason", *sorted(keep)])
        at = (found["id"].to_numpy() - self.part.base).astype(np.int64)
        rows.drop(at, found["reason"], step.name)
        rows.replace_source_columns(keep - set(step.overwrites))
        for name in sorted(keep):
            rows.columns[name] = overlay(rows.columns.get(name), rows.count, at, found[name])
        for name in step.adds():
            before = self.value_digests.get((step.table, name))
            # A partial without a reference to self: the part is freed as soon as nobody uses it.
            value_digests = partial(_digests_after, self.store, self.part, rows.count, decision, name, before)
            self.value_digests[step.table, name] = functools.cache(value_digests)
        if step.adds():
            self.added.setdefault(step.table, []).append(decision.folder)
        self.used.append(decision.file(self.part.index))
        self.drop_children(step)

    def drop_children(self, step: Step) -> None:
        """Drop the images and texts of dropped documents, with the document's reason."""
        if step.table == "documents":
            self.drop_with_documents(step.name)

    def drop_with_documents(self, step: str) -> None:
        for table, owner in self.owners.items() if self.owners and self.tables["documents"].count else ():
            documents = self.tables["documents"]
            gone = np.flatnonzero(~documents.alive[owner] & (owner >= 0) & self.tables[table].alive)
            words = [f"document:{w}" for w in documents.reason[owner[gone]]]
            self.tables[table].drop(gone, pa.array(words, pa.large_string()), step)


def _named(kind: str) -> pa.DataType:
    try:
        return pa.type_for_alias(kind)
    except ValueError:
        return pa.null()  # of a type that no name stands for


def _digests_after(
    store: Store, part: Part, count: int, decision: Decision, name: str, before: Callable[[], np.ndarray] | None
) -> np.ndarray:
    """Digests of a column's values after a decision."""
    found = slice_of(store, decision.file(part.index), part, [name])
    value_digests = before().copy() if before else np.zeros(count, np.uint64)
    value_digests[(found["id"].to_numpy() - part.base).astype(np.int64)] = hashes(found[name])
    return value_digests


def hashes(values: pa.ChunkedArray) -> np.ndarray:
    """A 64-bit hash of each value, 0 for null."""
    words = ("" if v is None else hashlib.blake2b(repr(v).encode(), digest_size=8).hexdigest() for v in values.to_pylist())
    return np.fromiter((int(w or "0", 16) for w in words), np.uint64, len(values))


def combine_digests(value_digests: list[np.ndarray]) -> np.ndarray:
    """Digests of several columns combined; 0 where all are 0."""
    total = np.zeros(len(value_digests[0]), np.uint64)
    for each in value_digests:
        total = total * np.uint64(0x9E3779B97F4A7C15) + each
    return total


def owners(rows: Rows, documents: Rows) -> np.ndarray:
    """For each row of a child table the index of its document, which has the same source row; -1 without one."""
    mine, theirs = (np.asarray(r.columns["source_row"], dtype=np.int64) for r in (rows, documents))
    order = np.argsort(theirs, kind="stable")
    at = (
        order[np.minimum(np.searchsorted(theirs, mine, sorter=order), max(len(order) - 1, 0))]
        if len(order)
        else np.full(len(mine), -1)
    )
    return np.where(theirs[at] == mine, at, -1) if len(order) else at


def slice_of(store: Store, file: str, part: Part, columns: list[str]) -> pa.Table:
    """A part's rows of a file that is sorted by id; only row groups that overlap the part are read."""
    first, last = part.base, part.base + (1 << SHIFT)
    with store.parquet(file) as data:
        found = data.read_row_groups(_covering(data.metadata, first, last), columns=["id", *columns])
    return found.filter((pc.field("id") >= first) & (pc.field("id") < last))


def _covering(file: pq.FileMetaData, first: int, last: int) -> list[int]:
    """The row groups with values in [first, last) of a file that is sorted by its first column."""

    def ids(group: int) -> pq.Statistics:
        return file.row_group(group).column(0).statistics

    groups = range(file.num_row_groups) if file.num_rows else ()  # an empty group has no bounds
    low = bisect.bisect_left(groups, first, key=lambda g: ids(g).max)
    return list(itertools.takewhile(lambda g: ids(g).min < last, groups[low:]))


def require_complete(state: PartState) -> None:
    """PoolError if a live row lacks the values of some stage."""
    for table, rows in state.tables.items():
        for name, have in rows.have.items():
            if not have[rows.live].all():
                raise PoolError(f"part {state.part.id}, table {table}: stage {name} has not been computed for every live row")
