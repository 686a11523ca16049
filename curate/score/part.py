"""One part: a fixed slice of the source, its committed columns, and who is dropped for what.

Files of a part, below `parts/<id>/`: `source.<table>.parquet` (the rows as they came), then for each stage
`<table>.<stage>-<fingerprint>.<k>.parquet` with a column `row` and what the stage adds. The k-th file holds the rows that
were live, and had no values yet, the k-th time somebody asked. The file is the commit. Of a stage that reads what a selector
said, it also has the column `input_digest`: 64 bits of what each row's values were made of; for another decision they do not count.
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

log = logging.getLogger(__name__)

#: Rows of a part keep their place in the low half of a pool-wide id, the part its index in the high half.
SHIFT = 32


@dataclass(frozen=True)
class Part:
    """A part's folder name, its index in the pool's order, and its rows in each table; `columns`: by table, for columns of the source
    that the pool has otherwise than the part's file, the name in the file (empty: none) and the type in the pool."""

    id: str
    index: int
    rows: dict[str, int]
    columns: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"parts/{self.id}"

    @property
    def base(self) -> int:
        return self.index << SHIFT


@dataclass(frozen=True)
class Decision:
    """What a selector decided: a folder with a file for each chunk of the pool, sorted by id: `id`, `reason` (null: kept), the columns it
    adds, and the edges of duplicates. starts: the index of the first part of each chunk."""

    step: str
    table: str
    folder: str
    starts: tuple[int, ...] = (0,)

    def file(self, part: int) -> str:
        """The file with the rows of a part, by its index."""
        return f"{self.folder}/{bisect.bisect_right(self.starts, part) - 1:05d}.parquet"


# ---- a part in memory


class Rows:
    """The rows of one table of a part: full-length columns (null where not computed), and who is dropped for what."""

    def __init__(self, source: pa.Table):
        self.count = len(source)
        self.columns: dict[str, pa.Array] = {n: source[n].combine_chunks() for n in source.column_names if n != "drop_reason"}
        self.sourced = set(self.columns)  # of these, those that no step has laid values over
        self.reason = np.full(self.count, None, dtype=object)
        self.stage = np.full(self.count, None, dtype=object)
        self.alive = np.ones(self.count, dtype=bool)  # where there is no reason
        self.have: dict[str, np.ndarray] = {}
        if "drop_reason" in source.column_names:
            self.drop(np.arange(self.count), source["drop_reason"], "source")

    @property
    def live(self) -> np.ndarray:
        """The places of the live rows."""
        return np.flatnonzero(self.alive)

    def drop(self, rows: np.ndarray, reasons: pa.Array | pa.ChunkedArray, stage: str) -> None:
        """Record reasons (null: none) for rows, each given once; a row that is dropped already keeps its first reason."""
        hit = np.flatnonzero(np.asarray(reasons.is_valid()) & self.alive[rows])
        at = rows[hit]
        self.reason[at] = reasons.take(pa.array(hit)).to_pylist()
        self.stage[at], self.alive[at] = stage, False

    def some(self, places: np.ndarray) -> "Rows":
        """A copy of some rows, on which stages can work without touching the rest."""
        few = Rows.__new__(Rows)
        few.count, at = len(places), pa.array(places)
        few.columns = {n: c.take(at) for n, c in self.columns.items()}
        few.reason, few.stage, few.alive = self.reason[places], self.stage[places], self.alive[places]
        few.have = {n: h[places] for n, h in self.have.items()}
        return few

    def settle(self, places: np.ndarray, few: "Rows") -> None:
        """Take over who was dropped among some rows."""
        self.reason[places], self.stage[places], self.alive[places] = few.reason, few.stage, few.alive

    def passed(self, stage: Stage) -> np.ndarray:
        """Where a stage has nothing to do."""
        column = self.columns.get(stage.skip_where)
        return np.zeros(self.count, dtype=bool) if column is None else np.asarray(column.is_valid())

    def take(self, names: Iterable[str], rows: np.ndarray) -> pa.Table:
        at = pa.array(rows)
        return pa.table({n: self.columns[n].take(at) for n in names})

    def claim(self, names: set[str]) -> None:
        """These columns are a step's: what a file of the source has under their names is not its values."""
        for name in names & self.sourced:
            del self.columns[name]
            self.sourced.remove(name)

    def put(self, columns: pa.Table, rows: np.ndarray) -> None:
        """Lay values over the full-length columns at these rows."""
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
    """The commits of a stage among a part's file names, oldest first."""
    head = f"{table}.{step}-{fingerprint}."
    found = [n for n in names if n.startswith(head) and n.endswith(".parquet")]
    return sorted(found, key=lambda n: int(n[len(head) : -len(".parquet")]))


class Workbench:
    """A part opened at some point of the recipe: source rows, committed columns, drops so far.

    columns: for each table those that are wanted, besides `uid`; None for a table, or for all: every one. names: the files in the part's
    folder, if they are known.
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
        self.used: list[str] = []  # the files that columns and drops were made of
        self.tables = {t: Rows(self._source(t)) for t in part.rows}
        self.added: dict[str, list[str]] = {}  # by table: the decisions that brought columns
        # By table and column, of columns that hang on more than the row and the steps' parameters: marks of their values.
        self.marks: dict[tuple[str, str], Callable[[], np.ndarray]] = {}
        self.input_digests: dict[str, np.ndarray | None] = {}  # by stage, see `inputs`
        self.prints: dict[str, str] = {}  # by stage, see `fingerprint`
        self.owners = {
            t: owners(rows, self.tables["documents"])
            for t, rows in self.tables.items()
            if "documents" in self.tables and t != "documents"
        }
        self.drop_with_documents("source")

    def _source(self, table: str) -> pa.Table:
        """The rows as they came: what is wanted, and what says which rows they are."""
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

    def replay(self, steps: list[Step]) -> "Workbench":
        """Judge again what was committed by these steps, and keep the columns that are wanted."""
        passes = {t: {s.skip_where for s in steps if isinstance(s, Stage) and s.table == t} for t in self.tables}
        for step in steps:
            rows = self.tables[step.table]
            adds, wanted = set(step.adds()), self.columns[step.table]
            keep = adds if wanted is None else adds & (wanted | passes[step.table])
            if isinstance(step, Selector):
                self._decide(step, keep)
                continue
            judged = type(step).judge is not Stage.judge
            self.recall(step, sorted(adds if judged else keep))
            if judged:
                self.judge(step, rows)
                self.drop_children(step)
            for name in adds - keep:
                rows.columns.pop(name, None)
        return self

    def recall(self, stage: Stage, columns: list[str]) -> np.ndarray:
        """Lay a stage's committed columns over the rows; returns where there are values."""
        rows = self.tables[stage.table]
        have = np.zeros(rows.count, dtype=bool)
        rows.claim(set(columns) - (set(KEPT) if stage.writes_payload else set()))
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
        self._mark(stage, digests, print_)
        for name in columns:
            if name not in rows.columns:
                rows.columns[name] = pa.nulls(rows.count, stage.adds()[name])
        rows.have[stage.name] = have | rows.passed(stage)
        return rows.have[stage.name]

    def inputs(self, stage: Stage) -> np.ndarray | None:
        """For each row 64 bits of what the stage reads of selectors' columns, also through other stages; None if it reads none."""
        if stage.name not in self.input_digests:
            reads = [(stage.table, c) for c in sorted({column(c) for c in stage.reads} - {stage.skip_where})]
            found = [self.marks[key]() for key in reads if key in self.marks]
            self.input_digests[stage.name] = mixed(found) if found else None
        return self.input_digests[stage.name]

    def _mark(self, stage: Stage, digests: np.ndarray | None, print_: str) -> None:
        """Propagate the input digest to columns derived from a stage that reads selectors' columns or other tables."""
        if stage.context:
            whole = np.full(self.tables[stage.table].count, int(print_, 16), np.uint64)
            digests = mixed([whole] if digests is None else [whole, digests])
        for name in stage.adds():
            self.marks.pop((stage.table, name), None)
            if digests is not None:
                self.marks[stage.table, name] = lambda: digests

    def fingerprint(self, stage: Stage) -> str:
        """What a stage's values for this part depend on. One that looks at other tables depends on which of their rows are
        live here: what was dropped elsewhere, by a decision over the whole pool, by a fetch that failed, changes its values. As they are
        when it is asked first, before its own verdicts: it may look at its own table."""
        if stage.name not in self.prints:
            print_ = self.fingerprints[stage.name]
            if stage.context:
                live = [hashlib.sha256(np.packbits(self.tables[t].alive).tobytes()).hexdigest() for t in stage.context]
                print_ = digest([print_, live, [self.added.get(t, []) for t in stage.context]])
            self.prints[stage.name] = print_
        return self.prints[stage.name]

    def judge(self, stage: Stage, rows: Rows) -> None:
        """Drop the live rows whose values are out of bounds; rows without values wait."""
        places = rows.live[(rows.have[stage.name] & ~rows.passed(stage))[rows.live]]
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
        rows.claim(keep - set(step.overwrites))
        for name in sorted(keep):
            rows.columns[name] = overlay(rows.columns.get(name), rows.count, at, found[name])
        for name in step.adds():
            before = self.marks.get((step.table, name))
            # Nothing that refers back here: a part is out of memory as soon as nobody looks at it.
            marks = partial(_marks_of, self.store, self.part, rows.count, decision, name, before)
            self.marks[step.table, name] = functools.cache(marks)
        if step.adds():
            self.added.setdefault(step.table, []).append(decision.folder)
        self.used.append(decision.file(self.part.index))
        self.drop_children(step)

    def drop_children(self, step: Step) -> None:
        """A dropped document takes its images and texts along, with its reason."""
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


def _marks_of(
    store: Store, part: Part, count: int, decision: Decision, name: str, before: Callable[[], np.ndarray] | None
) -> np.ndarray:
    """Marks of a column after a decision."""
    found = slice_of(store, decision.file(part.index), part, [name])
    marks = before().copy() if before else np.zeros(count, np.uint64)
    marks[(found["id"].to_numpy() - part.base).astype(np.int64)] = hashes(found[name])
    return marks


def hashes(values: pa.ChunkedArray) -> np.ndarray:
    """64 bits of each value, 0 for null."""
    words = ("" if v is None else hashlib.blake2b(repr(v).encode(), digest_size=8).hexdigest() for v in values.to_pylist())
    return np.fromiter((int(w or "0", 16) for w in words), np.uint64, len(values))


def mixed(marks: list[np.ndarray]) -> np.ndarray:
    """Marks of several columns as one; 0 where all are."""
    total = np.zeros(len(marks[0]), np.uint64)
    for each in marks:
        total = total * np.uint64(0x9E3779B97F4A7C15) + each
    return total


def owners(rows: Rows, documents: Rows) -> np.ndarray:
    """For each row of a document's tables the place of the document: they came from the same row of the input; -1 if from none."""
    mine, theirs = (np.asarray(r.columns["source_row"], dtype=np.int64) for r in (rows, documents))
    order = np.argsort(theirs, kind="stable")
    at = (
        order[np.minimum(np.searchsorted(theirs, mine, sorter=order), max(len(order) - 1, 0))]
        if len(order)
        else np.full(len(mine), -1)
    )
    return np.where(theirs[at] == mine, at, -1) if len(order) else at


def slice_of(store: Store, file: str, part: Part, columns: list[str]) -> pa.Table:
    """The rows of a file sorted by id that belong to a part; row groups of other parts are not read."""
    first, last = part.base, part.base + (1 << SHIFT)
    with store.parquet(file) as data:
        found = data.read_row_groups(_covering(data.metadata, first, last), columns=["id", *columns])
    return found.filter((pc.field("id") >= first) & (pc.field("id") < last))


def _covering(file: pq.FileMetaData, first: int, last: int) -> list[int]:
    """The row groups, of a file sorted by its first column, with values from `first` up to `last`."""

    def ids(group: int) -> pq.Statistics:
        return file.row_group(group).column(0).statistics

    groups = range(file.num_row_groups) if file.num_rows else ()  # an empty group has no bounds
    low = bisect.bisect_left(groups, first, key=lambda g: ids(g).max)
    return list(itertools.takewhile(lambda g: ids(g).min < last, groups[low:]))


def conclude(bench: Workbench) -> None:
    """PoolError if a live row lacks the values of some stage: the part has not been through."""
    for table, rows in bench.tables.items():
        for name, have in rows.have.items():
            if not have[rows.live].all():
                raise PoolError(f"part {bench.part.id}, table {table}: stage {name} has not been computed for every live row")
