"""One segment at work on one part: committed values are loaded, missing ones are computed chunk by chunk and committed."""

import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import CurateError, PartError
from curate.score.budget import Allowance, Spending
from curate.score.chunk import Chunk, chunk_rows, validated, wanted_of
from curate.score.notes import ProgressReporter
from curate.score.part import Part, PartState, Rows, commits
from curate.score.result import TaskResult
from curate.stage import Stage
from curate.store.payload import Parcel

if TYPE_CHECKING:
    from curate.score.segment import Segment

#: The share of a task's deadline after which no further chunk is started; the rest is for the chunk at work and the commit.
SHARE = 0.8
#: Seconds between commits within a part: a crash loses at most these, or one chunk.
COMMIT = 60.0


class SegmentTask:
    """One segment at work on one part."""

    def __init__(self, segment: "Segment", part: Part, compute: bool, share: Spending, names: list[str] | None):
        self.segment, self.part, self.compute, self.allowance = segment, part, compute, Allowance(share)
        self.began = time.monotonic()
        self.report_progress = ProgressReporter(segment.notes if compute else None, segment.name, part.id)
        self.deadline_at = math.inf if segment.streams else self.began + SHARE * segment.deadline
        self.earlier: dict[int, str] = {}
        reads: dict[str, set[str]] = {}
        for stage in (s for stages in segment.ahead for s in stages):
            reads.setdefault(stage.table, set()).add(stage.skip_where)
        for stage in segment.stages:
            reads.setdefault(stage.table, set()).update(stage.reads, stage.optional_reads, stage.adds(), {stage.skip_where})
            if stage.pixels or "bytes" in stage.reads or stage.writes_payload:
                reads[stage.table] |= set(schema.KEPT)
        for table, columns in segment.then.columns.items() if segment.then else ():
            reads.setdefault(table, set()).update(columns)
        whole = {table: None for stage in segment.stages for table in stage.context}
        self.state = PartState(segment.store, part, segment.fingerprints, segment.decisions, {**reads, **whole}, names)
        self.state.replay(segment.before)
        self.done = TaskResult(part.id, names=self.state.names)
        self.noted: dict[str, float] = {}  # of these seconds by stage, those that commits name already

    def run(self) -> TaskResult:
        for stages in grouped(self.segment.stages):
            if not self.done.unfinished:
                self._group(stages)
        for stage in (s for s in self.segment.stages if s.streams and self.allowance.capped and not self.done.unfinished):
            rows = self.state.tables[stage.table]
            live = rows.live[~rows.skipped(stage)[rows.live]]
            self.done.over_budget += int(stage.open_again(rows.take(stage.adds(), live), False).sum())
        if not self.done.unfinished:
            self.done.passed = sum(itertools.takewhile(bool, map(self._passes, self.segment.ahead)))
        decided = [d.step for d in self.segment.decisions]
        dropped: Counter[str] = Counter()
        for rows in self.state.tables.values():
            dropped.update(rows.reason[~rows.alive & ~np.isin(rows.stage, decided)].tolist())
        self.done.dropped = dict(dropped)
        if self.segment.then and not self.done.unfinished and self.done.passed == len(self.segment.ahead):
            self.done.made = self.segment.then.of(self.state)
        return self.done

    def peek(self) -> TaskResult | None:
        """The result if nothing has to be computed, else None."""
        done = self.run()
        return None if done.unfinished else done

    def _passes(self, stages: list[Stage]) -> bool:
        """Take the part through the segment that follows, if nothing has to be computed for it; whether that is so."""
        prints, names = self.segment.fingerprints, self.state.names
        if any(s.streams or (self.segment.refetch and s.writes_payload) for s in stages):
            return False
        if not all(s.context or commits(names, s.table, s.name, prints[s.name]) for s in stages):
            return False
        reached: dict[str, int] = {}
        for stage in stages:
            rows = self.state.tables[stage.table]
            live = rows.live
            self.state.replay([stage])
            if not rows.have[stage.name][live].all():
                return False
            reached[stage.name] = len(live)
        self.done.reused |= reached
        return True

    def _group(self, stages: list[Stage]) -> None:
        """Run stages that share one decode of each picture over the live rows, and commit."""
        rows = self.state.tables[stages[0].table]
        for stage in stages:
            have = self.state.load_committed(stage, list(stage.adds()))
            if self.segment.refetch and stage.writes_payload:
                have &= ~failed(rows, stage) | rows.skipped(stage)
            if stage.streams and not self.allowance.exhausted and have.any():
                at = np.flatnonzero(have & ~rows.skipped(stage))
                have[at[stage.open_again(rows.take(stage.adds(), at), self.segment.refetch)]] = False
        if not incomplete(stages, rows):
            for stage in stages:
                self.done.reused[stage.name] = int(rows.have[stage.name][rows.live].sum())
                self.state.judge(stage, rows)
                self.state.drop_children(stage)
            return
        # A fetch is committed as a whole, and rows without time left would count as late: start it only with half of the time left.
        latest = (self.began + self.deadline_at) / 2 if stages[0].writes_payload else self.deadline_at
        if not self.compute or (self.done.computed and time.monotonic() > latest):
            self.done.unfinished = True
            return
        live = rows.live
        heavy = [s.chunk for s in stages if s.pixels or s.loads or "bytes" in s.reads]
        size = max(heavy) if heavy and not (stages[0].writes_payload or stages[0].context) else len(live) or 1
        if stages[0].writes_payload:
            self.earlier = earlier_hashes(self.state, stages[0])
            with self.segment.store.private(f"{self.part.folder}/payload.tar") as path, open(path, "wb") as file:
                self._compute(stages, rows, live, size, Parcel(self.segment.store, file, self.segment.removed), path)
        elif stages[-1].streams:
            self._stream(stages, rows, live, size)
        else:
            self._compute(stages, rows, live, size)
        for stage in stages:
            self.state.drop_children(stage)

    def _compute(
        self,
        stages: list[Stage],
        rows: Rows,
        live: np.ndarray,
        size: int,
        parcel: Parcel | None = None,
        path: Path | None = None,
    ) -> None:
        """Run stages over the live rows chunk by chunk; commit every COMMIT seconds and at the end. Ends early, `unfinished`, where the
        time left is too short for another chunk."""
        fresh: dict[str, list[tuple[np.ndarray, pa.Table]]] = {s.name: [] for s in stages}
        before = committed = time.monotonic()
        longest, left = 0.0, len(live)
        for places, chunk in self._chunks(stages, rows, live, size, parcel):
            for stage in stages:
                todo, columns = chunk.run(stage)
                if len(todo):
                    fresh[stage.name].append((places[todo], columns))
            rows.update_drops(places, chunk.rows)
            now, left = time.monotonic(), left - len(places)
            self.report_progress(stages[-1].name, len(live) - left, len(live))
            longest, before = max(longest, now - before), now
            self.done.unfinished = left > 0 and any(fresh.values()) and now + longest > self.deadline_at
            if self.done.unfinished or (left and now - committed > COMMIT):
                self._commit_all(stages, rows, fresh)
                committed = time.monotonic()
            if self.done.unfinished:
                return
        self._commit_all(stages, rows, fresh, parcel, path)

    def _stream(self, stages: list[Stage], rows: Rows, live: np.ndarray, size: int) -> None:
        """Run stages over the live rows; the last one streams results, which are committed as they arrive, with what the stages before it
        have computed by then."""
        *before, last = stages
        fresh: dict[str, list[tuple[np.ndarray, pa.Table]]] = {s.name: [] for s in stages}
        began = time.monotonic()
        uid = lambda at: rows.columns["uid"][int(at[0])].as_py()  # noqa: E731
        try:
            for at, columns in last.stream(self._rows_for(last, before, rows, live, size, fresh), self.allowance):
                fresh[last.name].append((at, validated(last, columns, len(at), self.part.id, uid(at))))
                self.done.computed[last.name] = self.done.computed.get(last.name, 0) + len(at)
                self.done.seconds[last.name] = time.monotonic() - began
                self.report_progress(last.name, self.done.computed[last.name], len(live))
                self._commit_all(stages, rows, fresh)
        except CurateError:
            raise
        except Exception as e:
            raise PartError(last.name, self.part.id, None, f"{type(e).__name__}: {e}") from e
        self._commit_all(stages, rows, fresh)
        self.done.unfinished = not rows.have[last.name][rows.live].all()  # the share of the budget is spent
        if self.done.unfinished and not self.allowance.capped:
            raise PartError(last.name, self.part.id, None, "left rows without values")
        self.state.judge(last, rows)

    def _rows_for(
        self,
        last: Stage,
        before: list[Stage],
        rows: Rows,
        live: np.ndarray,
        size: int,
        fresh: dict[str, list[tuple[np.ndarray, pa.Table]]],
    ) -> Iterator[tuple[np.ndarray, pa.Table, Any, Any]]:
        """The input of a streaming stage: rows without its values, chunk by chunk, after the stages before it; (rows, *arguments)."""
        for places, chunk in self._chunks([*before, last], rows, live, size, None):
            for stage in before:
                todo, columns = chunk.run(stage)
                if len(todo):
                    fresh[stage.name].append((places[todo], columns))
            rows.update_drops(places, chunk.rows)
            reached = chunk.rows.live
            todo = reached[~chunk.rows.have[last.name][reached]]
            self.done.reused[last.name] = self.done.reused.get(last.name, 0) + len(reached) - len(todo)
            if len(todo):
                yield places[todo], *chunk.arguments(last, todo)

    def _commit_all(
        self,
        stages: list[Stage],
        rows: Rows,
        fresh: dict[str, list[tuple[np.ndarray, pa.Table]]],
        parcel: Parcel | None = None,
        path: Path | None = None,
    ) -> None:
        for stage in stages:
            self._commit(stage, rows, fresh[stage.name], parcel, path)
            fresh[stage.name] = []

    def _chunks(
        self, stages: list[Stage], rows: Rows, live: np.ndarray, size: int, parcel: Parcel | None
    ) -> Iterator[tuple[np.ndarray, "Chunk"]]:
        """The live rows in chunks, each with its row numbers. The pixels of the next chunk are decoded while one is at work."""
        wanted = wanted_of(stages)
        pixels = wanted is not None
        cut = list(
            chunk_rows(rows, live, size, None in wanted) if pixels else (live[i : i + size] for i in range(0, len(live), size))
        )
        if not cut:
            return
        with ThreadPoolExecutor(1, "read ahead") as beside:
            ahead = Chunk(self, rows.subset(cut[0]), parcel, stages)
            for i, places in enumerate(cut):
                chunk = ahead
                if i + 1 < len(cut):
                    ahead = Chunk(self, rows.subset(cut[i + 1]), parcel, stages)
                    if pixels:
                        ahead.ready = beside.submit(ahead.decode, ahead.missing_rows(stages))
                try:
                    yield places, chunk
                except GeneratorExit:
                    ahead.budget.wanted = False  # cancels its decoding
                    raise

    def _commit(
        self,
        stage: Stage,
        rows: Rows,
        batches: list[tuple[np.ndarray, pa.Table]],
        parcel: Parcel | None = None,
        path: Path | None = None,
    ) -> None:
        """Commit a stage's new values: the payload tar first, then the columns that name it."""
        if not batches:
            return
        at = np.concatenate([p for p, _ in batches])
        columns = pa.concat_tables([t for _, t in batches])
        if parcel is not None:
            hash = parcel.close()
            parcel.file.close()
            self.done.bytes += parcel.offset
            if parcel.count:
                tar = f"{self.part.folder}/{hash[:32]}.tar"
                self.segment.store.commit(tar, path, parcel.offset)
                columns = name_payload(columns, tar)
        rows.put(columns, at)
        rows.have[stage.name][at] = True
        order = np.argsort(at, kind="stable")
        table = columns.append_column("row", pa.array(at.astype(np.int32)))
        if (digests := self.state.inputs(stage)) is not None:
            table = table.append_column("input_digest", pa.array(digests[at]))
        table = table.take(pa.array(order))
        before = commits(self.state.names, stage.table, stage.name, self.state.fingerprint(stage))
        k = 1 + int(before[-1].split(".")[-2]) if before else 0
        name = f"{stage.table}.{stage.name}-{self.state.fingerprint(stage)}.{k}.parquet"
        seconds = self.done.seconds.get(stage.name, 0.0)
        note = {"rows": len(at), "seconds": round(seconds - self.noted.get(stage.name, 0.0), 3)}
        if stage.streams:
            spent = Spending(*stage.spent(columns))
            self.done.spent += spent
            note |= {"cost": spent.cost, "tokens": spent.tokens}
        self.noted[stage.name] = seconds
        table = table.replace_schema_metadata({"curate": json.dumps(note)})
        if not self.segment.store.commit_table(f"{self.part.folder}/{name}", table):
            raise CommitConflict(f"{self.part.id}/{name} was committed by another worker")
        self.state.names.append(name)
        if stage.writes_payload:
            self._compare(rows, table)

    def _compare(self, rows: Rows, fresh: pa.Table) -> None:
        """Record files that differ from those fetched for the same rows before."""
        for row in fresh.select(["row", "sha256"]).to_pylist() if self.earlier and "sha256" in fresh.column_names else ():
            before = self.earlier.get(row["row"])
            if before and row["sha256"] and before != row["sha256"]:
                self.done.drift.append(
                    {"uid": rows.columns["uid"][row["row"]].as_py(), "before": before, "after": row["sha256"]}
                )


class CommitConflict(CurateError):
    """Another worker committed the same columns first; the task is retried from its commit."""

    retry = True


def incomplete(stages: list[Stage], rows: Rows) -> bool:
    """Whether some stage lacks values for rows that reach it: live, and not dropped by the stages before it."""
    live = rows.live
    for stage in stages:
        if not rows.have[stage.name][live].all():
            return True
        known = live[~rows.skipped(stage)[live]]
        fell = known[np.asarray(stage.judge(rows.take(stage.adds(), known)).is_valid())]
        live = np.setdiff1d(live, fell)
    return False


def grouped(stages: list[Stage]) -> Iterator[list[Stage]]:
    """Groups of consecutive stages of one table that can run chunk by chunk together. A stage that needs the whole part is a group of
    its own; a streaming stage ends its group."""
    group: list[Stage] = []
    for stage in stages:
        whole = stage.writes_payload or bool(stage.context)
        if group and (whole or group[-1].streams or stage.table != group[0].table):
            yield group
            group = []
        group.append(stage)
        if whole:
            yield group
            group = []
    if group:
        yield group


def earlier_hashes(state: PartState, stage: Stage) -> dict[int, str]:
    """The SHA-256 of earlier fetches by row, from this part's commits and from those that a repair has removed."""
    if "sha256" not in stage.adds():
        return {}
    lost = commits(state.names, f"lost.{stage.table}", stage.name, state.fingerprint(stage))
    files = [*lost, *commits(state.names, stage.table, stage.name, state.fingerprint(stage))]
    tables = [state.store.table(f"{state.part.folder}/{n}", ["row", "sha256"]) for n in files]
    return {row: hash for t in tables for row, hash in zip(t["row"].to_pylist(), t["sha256"].to_pylist()) if hash}


def failed(rows: Rows, stage: Stage) -> np.ndarray:
    """A mask of the rows whose fetch outcome is not `ok`."""
    outcome = rows.columns.get(stage.name)
    return (
        np.zeros(rows.count, dtype=bool)
        if outcome is None or not pa.types.is_large_string(outcome.type)
        else np.asarray(pc.fill_null(pc.not_equal(outcome, "ok"), False))
    )


def name_payload(columns: pa.Table, tar: str) -> pa.Table:
    """Set `payload` to the tar's name in the rows with an offset and no payload yet."""
    at = columns.column_names.index("payload")
    here = pc.and_(pc.is_valid(columns["payload_offset"]), pc.is_null(columns["payload"]))
    return columns.set_column(at, "payload", pc.if_else(here, pa.scalar(tar, pa.large_string()), columns["payload"]))
