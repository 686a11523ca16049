"""One part: a fixed slice of the source, its committed columns, and the work of one segment on it.

Files of a part, below `parts/<id>/`: `source.<table>.parquet` (the rows as they came), then for each stage
`<table>.<stage>-<fingerprint>.<k>.parquet` with a column `row` and what the stage adds. The k-th file holds the rows that
were live, and had no values yet, the k-th time somebody asked. The file is the commit. A payload tar is named by its hash,
in the column `payload` of the commit that owns it.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import schema
from curate.errors import CurateError, PartError, PoolError
from curate.fetch.decode import decode_all
from curate.selector import Selector
from curate.source import Source, file_identity
from curate.stage import Stage, Step, digest
from curate.store import Parcel, Store, read_slices

log = logging.getLogger(__name__)

#: Rows of a part keep their place in the low half of a pool-wide id, the part its index in the high half.
SHIFT = 32


@dataclass(frozen=True)
class Part:
    """A part's folder name, its index in the pool's order, and its rows in each table."""

    id: str
    index: int
    rows: dict[str, int]

    @property
    def folder(self) -> str:
        return f"parts/{self.id}"

    @property
    def base(self) -> int:
        return self.index << SHIFT


@dataclass(frozen=True)
class Decision:
    """What a selector decided, as a file sorted by id: `id`, `reason` (null: kept), and the columns it adds."""

    step: str
    table: str
    file: str


@dataclass
class Done:
    """What one visit to a part did: rows computed and reused by stage, drops by reason, seconds by stage."""

    part: str
    computed: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: int = 0


# ---- rows come in


def ingest(store: Store, source: Source, path: str, part_size: int) -> dict[str, Any]:
    """Read one input file into parts, each committed; the file's own record is committed last and makes a rerun free.

    An unreadable file does not stop the others: its record names the error, and the parts before the fault stay.
    """
    try:
        known = file_identity(path)
    except OSError as e:
        return {"path": path, "error": f"{path}: {e.strerror or e}", "parts": []}
    key = input_key(known, source, part_size)
    name = f"inputs/{key}.json"
    if store.exists(name):
        return json.loads(store.read(name))
    parts: list[dict[str, Any]] = []
    record = {**known, "key": key, "parts": parts}
    read = source.read(path, part_size)
    while True:
        try:  # a fault of the input; one of the run's own disk ends the run
            tables = next(read, None)
        except (CurateError, OSError, pa.ArrowException) as e:
            return {**record, "error": str(e)}
        if tables is None:
            break
        part = f"{key}-{len(parts):06d}"
        for table, rows in tables.items():
            store.commit_table(f"parts/{part}/source.{table}.parquet", rows)
        parts.append({"id": part, "rows": {t: len(rows) for t, rows in tables.items()}})
    store.commit_bytes(name, json.dumps(record).encode())
    return record


def input_key(known: dict[str, Any], source: Source, part_size: int) -> str:
    """The name under which an input file's parts are kept: its content, its path, and how it is read."""
    return digest({"hash": known["hash"], "path": known["path"], "source": source.identity(), "part_size": part_size})


# ---- a part in memory


class Rows:
    """The rows of one table of a part: full-length columns (null where not computed), and who is dropped for what."""

    def __init__(self, source: pa.Table):
        self.count = len(source)
        self.columns: dict[str, pa.Array] = {n: source[n].combine_chunks() for n in source.column_names if n != "drop_reason"}
        self.reason = np.full(self.count, None, dtype=object)
        self.stage = np.full(self.count, None, dtype=object)
        self.have: dict[str, np.ndarray] = {}
        if "drop_reason" in source.column_names:
            self.drop(np.arange(self.count), source["drop_reason"], "source")

    @property
    def live(self) -> np.ndarray:
        """The places of the live rows."""
        return np.flatnonzero(self.reason == None)  # noqa: E711  elementwise

    def drop(self, rows: np.ndarray, reasons: pa.Array | pa.ChunkedArray, stage: str) -> None:
        """Record reasons (null: none) for rows; a row that is dropped already keeps its first reason."""
        hit = np.flatnonzero(np.asarray(reasons.is_valid()))
        if not len(hit):
            return
        words = reasons.take(pa.array(hit)).to_pylist()
        for row, word in zip(rows[hit].tolist(), words):
            if self.reason[row] is None:
                self.reason[row], self.stage[row] = word, stage

    def some(self, places: np.ndarray) -> "Rows":
        """A copy of some rows, on which stages can work without touching the rest."""
        few = Rows.__new__(Rows)
        few.count, at = len(places), pa.array(places)
        few.columns = {n: c.take(at) for n, c in self.columns.items()}
        few.reason, few.stage = self.reason[places], self.stage[places]
        few.have = {n: h[places] for n, h in self.have.items()}
        return few

    def take(self, names: Iterable[str], rows: np.ndarray) -> pa.Table:
        at = pa.array(rows)
        return pa.table({n: self.columns[n].take(at) for n in names})

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
    return sorted(found, key=lambda n: int(n[len(head):-len(".parquet")]))


class Workbench:
    """A part opened at some point of the recipe: source rows, committed columns, drops so far."""

    def __init__(self, store: Store, part: Part, fingerprints: dict[str, str], decisions: list[Decision]):
        self.store, self.part, self.fingerprints = store, part, fingerprints
        self.decisions = {d.step: d for d in decisions}
        self.names = store.names(part.folder)
        self.used: list[str] = []
        self.tables = {t: Rows(store.table(f"{part.folder}/source.{t}.parquet")) for t in part.rows}

    def replay(self, steps: list[Step], columns: dict[str, set[str]] | None) -> "Workbench":
        """Judge again what was committed by these steps, and keep the columns that are wanted (None: all)."""
        for step in steps:
            rows = self.tables[step.table]
            adds = set(step.adds())
            keep = adds if columns is None else adds & columns.get(step.table, set())
            if isinstance(step, Selector):
                self._decide(step, keep)
                continue
            judged = type(step).judge is not Stage.judge
            self.recall(step, sorted(adds if judged else keep))
            if judged:
                self.judge(step, rows)
                self.orphans(step)
            for name in adds - keep:
                rows.columns.pop(name, None)
        return self

    def recall(self, stage: Stage, columns: list[str]) -> np.ndarray:
        """Lay a stage's committed columns over the rows; returns where there are values."""
        rows = self.tables[stage.table]
        have = np.zeros(rows.count, dtype=bool)
        for name in commits(self.names, stage.table, stage.name, self.fingerprints[stage.name]):
            self.used.append(name)
            found = self.store.table(f"{self.part.folder}/{name}", ["row", *columns])
            at = found["row"].to_numpy()
            have[at] = True
            rows.put(found.select(columns), at)
        for name in columns:
            if name not in rows.columns:
                rows.columns[name] = pa.nulls(rows.count, stage.adds()[name])
        rows.have[stage.name] = have
        return have

    def judge(self, stage: Stage, rows: Rows) -> None:
        """Drop the live rows whose values are out of bounds; rows without values wait."""
        places = rows.live[rows.have[stage.name][rows.live]]
        try:
            reasons = stage.judge(rows.take(stage.adds(), places))
        except Exception as e:
            raise PartError(stage.name, self.part.id, None, f"judge: {type(e).__name__}: {e}") from e
        rows.drop(places, reasons, stage.name)

    def _decide(self, step: Selector, keep: set[str]) -> None:
        decision, rows = self.decisions[step.name], self.tables[step.table]
        found = slice_of(self.store, decision.file, self.part, ["reason", *sorted(keep)])
        at = (found["id"].to_numpy() - self.part.base).astype(np.int64)
        rows.drop(at, found["reason"], step.name)
        for name in keep:
            rows.columns[name] = overlay(None, rows.count, at, found[name])
        self.used.append(decision.file)
        self.orphans(step)

    def orphans(self, step: Step) -> None:
        """A dropped document takes its images and texts along, with its reason."""
        if step.table != "documents":
            return
        documents = self.tables["documents"]
        gone = {u: f"document:{r}" for u, r in zip(documents.columns["uid"].to_pylist(), documents.reason) if r is not None}
        for table in ("images", "texts"):
            if gone and table in self.tables:
                rows = self.tables[table]
                words = [gone.get(u) for u in rows.columns["doc_uid"].to_pylist()]
                rows.drop(np.arange(rows.count), pa.array(words, pa.large_string()), step.name)


def slice_of(store: Store, file: str, part: Part, columns: list[str]) -> pa.Table:
    """The rows of a file sorted by id that belong to a part; row groups of other parts are not read."""
    first, last = part.base, part.base + (1 << SHIFT)
    with store.open(file) as f:
        data = pq.ParquetFile(f, page_checksum_verification=True)
        groups = [g for g in range(data.num_row_groups) if _overlaps(data.metadata.row_group(g).column(0).statistics, first, last)]
        found = data.read_row_groups(groups, columns=["id", *columns])
    return found.filter((pc.field("id") >= first) & (pc.field("id") < last))


def _overlaps(stats, first: int, last: int) -> bool:
    return stats is None or not stats.has_min_max or (stats.min < last and stats.max >= first)


# ---- the work of one segment


@dataclass
class Work:
    """One segment of a recipe: what a worker needs to take a part through it. Small, picklable."""

    store: Store
    stages: list[Stage]
    before: list[Step]
    fingerprints: dict[str, str]
    decisions: list[Decision] = field(default_factory=list)
    refetch: bool = False
    loaded: bool = False

    def load(self) -> "Work":
        """Load the models of the segment's stages, once in a worker."""
        if not self.loaded:
            for stage in self.stages:
                if stage.loads:
                    stage.load()
            self.loaded = True
        return self

    def __call__(self, part: Part, isolate: bool = False) -> Done:
        """Compute and commit what the live rows of the part lack; PartError says what went wrong."""
        return Visit(self, part, isolate).run()


class Visit:
    """One segment at work on one part."""

    def __init__(self, work: Work, part: Part, isolate: bool):
        self.work, self.part, self.isolate = work, part, isolate
        reads: dict[str, set[str]] = {}
        for stage in work.stages:
            reads.setdefault(stage.table, set()).update(stage.reads)
            if stage.pixels or "bytes" in stage.reads or stage.parks:
                reads[stage.table] |= set(schema.PAYLOAD)
            for table in stage.context:
                reads[table] = {c for s in work.before if s.table == table for c in s.adds()}
        self.bench = Workbench(work.store, part, work.fingerprints, work.decisions).replay(work.before, reads)
        self.done = Done(part.id)

    def run(self) -> Done:
        for stages in grouped(self.work.stages):
            self._group(stages)
        for rows in self.bench.tables.values():
            for word in rows.reason[rows.reason != None].tolist():  # noqa: E711  elementwise
                self.done.dropped[word] = self.done.dropped.get(word, 0) + 1
        return self.done

    def _group(self, stages: list[Stage]) -> None:
        """Take the live rows, some at a time, through stages that share one decode of each image; then commit."""
        rows = self.bench.tables[stages[0].table]
        for stage in stages:
            have = self.bench.recall(stage, list(stage.adds()))
            if self.work.refetch and stage.parks:
                have &= ~failed(rows, stage)
        if all(rows.have[s.name][rows.live].all() for s in stages):
            for stage in stages:
                self.done.reused[stage.name] = int(rows.have[stage.name][rows.live].sum())
                self.bench.judge(stage, rows)
                self.bench.orphans(stage)
            return
        live = rows.live
        heavy = [s.chunk for s in stages if s.pixels or s.loads or "bytes" in s.reads]
        size = max(heavy) if heavy and not stages[0].parks else len(live) or 1
        fresh: dict[str, list[tuple[np.ndarray, pa.Table]]] = {s.name: [] for s in stages}
        with self.work.store.private(f"{self.part.folder}/payload.tar") as path:
            parcel = Parcel(self.work.store, open(path, "wb")) if stages[0].parks else None
            for places, chunk in self._chunks(stages, rows, live, size, parcel):
                for stage in stages:
                    todo, columns = chunk.run(stage)
                    if len(todo):
                        fresh[stage.name].append((places[todo], columns))
                rows.reason[places], rows.stage[places] = chunk.rows.reason, chunk.rows.stage
            for stage in stages:
                self._commit(stage, rows, fresh[stage.name], parcel, path)
                self.bench.orphans(stage)

    def _chunks(self, stages: list[Stage], rows: Rows, live: np.ndarray, size: int, parcel: Parcel | None) -> Iterator[tuple[np.ndarray, "Chunk"]]:
        """The live rows, some at a time. While one chunk is at work the pixels of the next are made ready beside it."""
        cut = [live[start:start + size] for start in range(0, len(live), size)]
        pixels = any(s.pixels for s in stages)
        with ThreadPoolExecutor(1) as beside:
            ahead = Chunk(self, rows.some(cut[0]), parcel) if cut else None
            for i, places in enumerate(cut):
                chunk = ahead
                if i + 1 < len(cut):
                    ahead = Chunk(self, rows.some(cut[i + 1]), parcel)
                    if pixels:
                        ahead.ready = beside.submit(ahead.decode, ahead.lacking(stages))
                yield places, chunk

    def _commit(self, stage: Stage, rows: Rows, pieces: list[tuple[np.ndarray, pa.Table]], parcel: Parcel | None, path) -> None:
        """Payload first, then the columns that name it."""
        if not pieces:
            return
        at = np.concatenate([p for p, _ in pieces])
        columns = pa.concat_tables([t for _, t in pieces])
        if parcel is not None:
            hash = parcel.close()
            parcel.file.close()
            self.done.bytes += parcel.offset
            if parcel.count:
                tar = f"{self.part.folder}/{hash[:32]}.tar"
                self.work.store.commit(tar, path, parcel.offset)
                columns = name_payload(columns, tar)
        rows.put(columns, at)
        rows.have[stage.name][at] = True
        order = np.argsort(at, kind="stable")
        table = columns.append_column("row", pa.array(at.astype(np.int32))).take(pa.array(order))
        before = commits(self.bench.names, stage.table, stage.name, self.work.fingerprints[stage.name])
        k = 1 + int(before[-1].split(".")[-2]) if before else 0
        name = f"{stage.table}.{stage.name}-{self.work.fingerprints[stage.name]}.{k}.parquet"
        note = {"rows": len(at), "seconds": round(self.done.seconds.get(stage.name, 0.0), 3)}
        table = table.replace_schema_metadata({"curate": json.dumps(note)})
        if not self.work.store.commit_table(f"{self.part.folder}/{name}", table):
            raise Lost(f"{self.part.id}/{name} was committed by another worker")


class Lost(CurateError):
    """Another worker committed the same columns first: open the part again and go on from theirs."""

    again = True


class Chunk:
    """Some live rows of a part going through a group of stages; their bytes and pixels are read at most once."""

    def __init__(self, visit: Visit, rows: Rows, parcel: Parcel | None):
        self.visit, self.rows, self.parcel = visit, rows, parcel
        self._bytes: dict[int, bytes | None] = {}
        self._images: dict[int, Any] = {}
        self.ready: Future | None = None

    def lacking(self, stages: list[Stage]) -> np.ndarray:
        """Live rows for which some pixel stage has no value yet."""
        live = self.rows.live
        return live[~np.all([self.rows.have[s.name][live] for s in stages if s.pixels], axis=0)]

    def run(self, stage: Stage) -> tuple[np.ndarray, pa.Table | None]:
        """Compute what the live rows lack, and judge. Returns the rows that were computed, and their new columns."""
        live, have, done, columns = self.rows.live, self.rows.have[stage.name], self.visit.done, None
        todo = live[~have[live]]
        done.reused[stage.name] = done.reused.get(stage.name, 0) + len(live) - len(todo)
        if len(todo):
            started = time.perf_counter()
            columns = self._call(stage, todo)
            done.seconds[stage.name] = done.seconds.get(stage.name, 0.0) + time.perf_counter() - started
            done.computed[stage.name] = done.computed.get(stage.name, 0) + len(todo)
            self.rows.put(columns, todo)
            have[todo] = True
        self.visit.bench.judge(stage, self.rows)
        return todo, columns

    def _call(self, stage: Stage, todo: np.ndarray) -> pa.Table:
        """Run a stage on rows, and hold it to its word: the columns it declares, one value a row."""
        wanted = ["uid", *stage.reads, *(schema.PAYLOAD if stage.parks else ())]
        live = self.rows.take(dict.fromkeys(c for c in wanted if c in self.rows.columns), todo)
        given: list[Any] = []
        if stage.pixels:
            given.append(self.images(todo))
        if "bytes" in stage.reads:
            given.append(self.bytes(todo))
        if stage.parks:
            given.append(self.parcel)
        context = {t: self._context(t) for t in stage.context}
        try:
            columns = stage.run(live, *given, **context)
        except CurateError:
            raise
        except Exception as e:
            raise PartError(stage.name, self.visit.part.id, live["uid"][0].as_py(), f"{type(e).__name__}: {e}") from e
        expected = stage.adds()
        if columns.column_names != list(expected) or len(columns) != len(todo):
            cause = f"returned {len(columns)} rows of {columns.column_names}, not {len(todo)} of {list(expected)}"
            raise PartError(stage.name, self.visit.part.id, live["uid"][0].as_py(), cause)
        return columns.cast(schema.arrow(expected))

    def _context(self, table: str) -> pa.Table:
        rows = self.visit.bench.tables[table]
        live = pa.array(rows.reason == None)  # noqa: E711  elementwise
        return pa.table(rows.columns).append_column("live", live)

    def bytes(self, rows: np.ndarray) -> list[bytes | None]:
        missing = np.array([r for r in rows.tolist() if r not in self._bytes], dtype=np.int64)
        if len(missing):
            where = self.rows.take(schema.PAYLOAD, missing)
            found = read_slices(self.visit.work.store, *(where[c].to_pylist() for c in schema.PAYLOAD))
            self._bytes.update(zip(missing.tolist(), found))
        return [self._bytes[r] for r in rows.tolist()]

    def images(self, rows: np.ndarray) -> list[Any]:
        """Decoded pixels, or the outcome's word where an image cannot be decoded."""
        if self.ready:
            self.ready.result()
            self.ready = None
        self.decode(rows)
        return [self._images[r] for r in rows.tolist()]

    def decode(self, rows: np.ndarray) -> None:
        """Make these rows' pixels ready."""
        missing = np.array([r for r in rows.tolist() if r not in self._images], dtype=np.int64)
        if len(missing):
            self._images.update(zip(missing.tolist(), decode_all(self.bytes(missing), self.visit.isolate)))


def grouped(stages: list[Stage]) -> Iterator[list[Stage]]:
    """Stages of one table that can go chunk by chunk together; one that needs the whole part stands alone."""
    group: list[Stage] = []
    for stage in stages:
        whole = stage.parks or bool(stage.context)
        if group and (whole or stage.table != group[0].table):
            yield group
            group = []
        group.append(stage)
        if whole:
            yield group
            group = []
    if group:
        yield group


def failed(rows: Rows, stage: Stage) -> np.ndarray:
    """Where a parking stage has an outcome that is not `ok`."""
    outcome = rows.columns.get(stage.name)
    return np.zeros(rows.count, dtype=bool) if outcome is None else np.asarray(pc.fill_null(pc.not_equal(outcome, "ok"), False))


def name_payload(columns: pa.Table, tar: str) -> pa.Table:
    """Write the tar's name in the rows whose bytes went into it (an offset, and no name yet)."""
    at = columns.column_names.index("payload")
    here = pc.and_(pc.is_valid(columns["payload_offset"]), pc.is_null(columns["payload"]))
    return columns.set_column(at, "payload", pc.if_else(here, pa.scalar(tar, pa.large_string()), columns["payload"]))


def conclude(bench: Workbench) -> None:
    """PoolError if a live row lacks the values of some stage: the part has not been through."""
    for table, rows in bench.tables.items():
        for name, have in rows.have.items():
            if not have[rows.live].all():
                raise PoolError(f"part {bench.part.id}, table {table}: stage {name} has not been computed for every live row")
