"""The work of one segment: a part's live rows go through its stages, and what they add is committed."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import CurateError, PartError
from curate.fetch.decode import decode_all
from curate.fetch.isolate import Isolated
from curate.score.part import Decision, Part, Rows, Workbench, commits
from curate.stage import Stage, Step
from curate.store.atomic import Store
from curate.store.payload import Parcel, read_slices

#: Most pixels of the pictures that stages get at a time, 3 bytes each: a chunk of 256 of a megapixel.
CHUNK_PIXELS = 256_000_000


@dataclass
class Done:
    """What one visit to a part did: rows computed and reused by stage, drops by reason (not those of selectors, which decide over
    the pool), seconds by stage."""

    part: str
    computed: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: int = 0
    drift: list[dict[str, str]] = field(
        default_factory=list
    )  # files that are not what an earlier fetch got: uid, before, after


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
    deadline: float = 3600  # seconds for an attempt at a part; half of them may be spent on decoding

    def load(self) -> "Work":
        """Load the models of the segment's stages, once in a worker."""
        if not self.loaded:
            for stage in self.stages:
                if stage.loads:
                    stage.load()
            self.loaded = True
        return self

    def __call__(self, part: Part) -> Done:
        """Compute and commit what the live rows of the part lack; PartError says what went wrong."""
        with Isolated(left=self.deadline / 2) as child:  # started when it is first asked
            return Visit(self, part, child).run()


class Visit:
    """One segment at work on one part."""

    def __init__(self, work: Work, part: Part, decoder: Isolated):
        self.work, self.part, self.decoder = work, part, decoder
        self.earlier: dict[int, str] = {}
        reads: dict[str, set[str] | None] = {}
        for stage in work.stages:
            reads.setdefault(stage.table, set()).update(stage.reads, stage.optional_reads, stage.adds(), {stage.passes})
            if stage.pixels or "bytes" in stage.reads or stage.parks:
                reads[stage.table] |= set(schema.KEPT)
        reads |= {table: None for stage in work.stages for table in stage.context}
        self.bench = Workbench(work.store, part, work.fingerprints, work.decisions, reads).replay(work.before)
        self.done = Done(part.id)

    def run(self) -> Done:
        for stages in grouped(self.work.stages):
            self._group(stages)
        decided = [d.step for d in self.work.decisions]
        dropped: Counter[str] = Counter()
        for rows in self.bench.tables.values():
            dropped.update(rows.reason[~rows.alive & ~np.isin(rows.stage, decided)].tolist())
        self.done.dropped = dict(dropped)
        return self.done

    def _group(self, stages: list[Stage]) -> None:
        """Take the live rows, some at a time, through stages that share one decode of each image; then commit."""
        rows = self.bench.tables[stages[0].table]
        for stage in stages:
            have = self.bench.recall(stage, list(stage.adds()))
            if stage.parks:
                self.earlier = earlier_hashes(self.bench, stage)
            if self.work.refetch and stage.parks:
                have &= ~failed(rows, stage) | rows.passed(stage)
        if all(rows.have[s.name][rows.live].all() for s in stages):
            for stage in stages:
                self.done.reused[stage.name] = int(rows.have[stage.name][rows.live].sum())
                self.bench.judge(stage, rows)
                self.bench.orphans(stage)
            return
        live = rows.live
        heavy = [s.chunk for s in stages if s.pixels or s.loads or "bytes" in s.reads]
        size = max(heavy) if heavy and not (stages[0].parks or stages[0].context) else len(live) or 1
        fresh: dict[str, list[tuple[np.ndarray, pa.Table]]] = {s.name: [] for s in stages}
        with self.work.store.private(f"{self.part.folder}/payload.tar") as path:
            parcel = Parcel(self.work.store, open(path, "wb")) if stages[0].parks else None
            for places, chunk in self._chunks(stages, rows, live, size, parcel):
                for stage in stages:
                    todo, columns = chunk.run(stage)
                    if len(todo):
                        fresh[stage.name].append((places[todo], columns))
                rows.settle(places, chunk.rows)
            for stage in stages:
                self._commit(stage, rows, fresh[stage.name], parcel, path)
                self.bench.orphans(stage)

    def _chunks(
        self, stages: list[Stage], rows: Rows, live: np.ndarray, size: int, parcel: Parcel | None
    ) -> Iterator[tuple[np.ndarray, "Chunk"]]:
        """The live rows, some at a time. While one chunk is at work the pixels of the next are made ready beside it."""
        pixels = any(s.pixels for s in stages)
        cut = list(cuts(rows, live, size) if pixels else (live[i : i + size] for i in range(0, len(live), size)))
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
        table = columns.append_column("row", pa.array(at.astype(np.int32)))
        if (given := self.bench.inputs(stage)) is not None:
            table = table.append_column("given", pa.array(given[at]))
        table = table.take(pa.array(order))
        before = commits(self.bench.names, stage.table, stage.name, self.bench.fingerprint(stage))
        k = 1 + int(before[-1].split(".")[-2]) if before else 0
        name = f"{stage.table}.{stage.name}-{self.bench.fingerprint(stage)}.{k}.parquet"
        note = {"rows": len(at), "seconds": round(self.done.seconds.get(stage.name, 0.0), 3)}
        table = table.replace_schema_metadata({"curate": json.dumps(note)})
        if not self.work.store.commit_table(f"{self.part.folder}/{name}", table):
            raise Lost(f"{self.part.id}/{name} was committed by another worker")
        if stage.parks:
            self._compare(rows, table)

    def _compare(self, rows: Rows, fresh: pa.Table) -> None:
        """Say which files differ from those that were fetched for the same rows before."""
        for row in fresh.select(["row", "sha256"]).to_pylist() if self.earlier and "sha256" in fresh.column_names else ():
            before = self.earlier.get(row["row"])
            if before and row["sha256"] and before != row["sha256"]:
                self.done.drift.append(
                    {"uid": rows.columns["uid"][row["row"]].as_py(), "before": before, "after": row["sha256"]}
                )


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
        """Live rows for which some pixel stage has no value yet, and none before it has one that drops them."""
        live, found = self.rows.live, []
        for stage in stages:
            have = self.rows.have[stage.name][live]
            if stage.pixels:
                found.append(live[~have])
            known = live[have & ~self.rows.passed(stage)[live]]
            fell = known[np.asarray(stage.judge(self.rows.take(stage.adds(), known)).is_valid())]
            live = np.setdiff1d(live, fell)
        return np.unique(np.concatenate(found))

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
        wanted = ["uid", *stage.reads, *stage.optional_reads, *(schema.PAYLOAD if stage.parks else ())]
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
        return pa.table(rows.columns).append_column("live", pa.array(rows.alive))

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
            self._images.update(zip(missing.tolist(), decode_all(self.bytes(missing), self.visit.decoder)))


def cuts(rows: Rows, live: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows cut into chunks of at most `size` rows whose pictures have at most CHUNK_PIXELS together (or of a single row). Two
    chunks are in memory at a time."""
    sides = [rows.columns.get(c, pa.nulls(rows.count, pa.int32())).cast(pa.float64()).fill_null(0) for c in ("width", "height")]
    total, first = 0.0, 0
    for i, pixels in enumerate((sides[0].to_numpy() * sides[1].to_numpy())[live].tolist()):
        if i > first and (i - first == size or total + pixels > CHUNK_PIXELS):
            yield live[first:i]
            total, first = 0.0, i
        total += pixels
    if first < len(live):
        yield live[first:]


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


def earlier_hashes(bench: Workbench, stage: Stage) -> dict[int, str]:
    """The SHA-256 that an earlier fetch got, by row: of this part's commits, and of those that a repair had to let go."""
    if "sha256" not in stage.adds():
        return {}
    lost = commits(bench.names, f"lost.{stage.table}", stage.name, bench.fingerprint(stage))
    files = [*lost, *commits(bench.names, stage.table, stage.name, bench.fingerprint(stage))]
    tables = [bench.store.table(f"{bench.part.folder}/{n}", ["row", "sha256"]) for n in files]
    return {row: hash for t in tables for row, hash in zip(t["row"].to_pylist(), t["sha256"].to_pylist()) if hash}


def failed(rows: Rows, stage: Stage) -> np.ndarray:
    """Where a stage that fetches has an outcome that is not `ok`."""
    outcome = rows.columns.get(stage.name)
    return (
        np.zeros(rows.count, dtype=bool)
        if outcome is None or not pa.types.is_large_string(outcome.type)
        else np.asarray(pc.fill_null(pc.not_equal(outcome, "ok"), False))
    )


def name_payload(columns: pa.Table, tar: str) -> pa.Table:
    """Write the tar's name in the rows whose bytes went into it (an offset, and no name yet)."""
    at = columns.column_names.index("payload")
    here = pc.and_(pc.is_valid(columns["payload_offset"]), pc.is_null(columns["payload"]))
    return columns.set_column(at, "payload", pc.if_else(here, pa.scalar(tar, pa.large_string()), columns["payload"]))
