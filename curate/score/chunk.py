"""A chunk of a part's rows that goes through a group of stages; reads and decodes each picture once, validates what stages return."""

from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate import schema
from curate.errors import CurateError, PartError
from curate.fetch.decode import Decode
from curate.fetch.decoders import Decoded, DecodeTime
from curate.preprocess import Preprocess
from curate.score.part import Rows
from curate.stage import Stage
from curate.store.payload import Parcel
from curate.store.slices import read_slices

if TYPE_CHECKING:
    from curate.score.task import SegmentTask

#: Most pixels of the pictures that stages get at a time, 3 bytes each: a chunk of 256 of half a megapixel. A worker with a model has at
#: most four chunks in memory, another two.
CHUNK_PIXELS = 128_000_000
#: Most bytes of their files.
CHUNK_BYTES = 128_000_000


class Chunk:
    """Live rows of a part that go through a group of stages; bytes and pixels of a row are read at most once."""

    def __init__(self, task: "SegmentTask", rows: Rows, parcel: Parcel | None, stages: list[Stage]):
        self.task, self.rows, self.parcel, self.wanted = task, rows, parcel, wanted_of(stages)
        self.keeps_bytes = any("bytes" in s.reads for s in stages)
        self._bytes: dict[int, bytes | None] = {}
        self._decoded: dict[int, Decoded] = {}
        self.budget = DecodeTime(task.segment.deadline / 2)  # a chunk ends, whatever pictures are in it
        self._counted = 0.0  # of the decoders' seconds
        self.ready: Future | None = None

    def missing_rows(self, stages: list[Stage]) -> np.ndarray:
        """The live rows that some pixel stage must compute: without a value, and not dropped by known values of the stages before it."""
        live, found = self.rows.live, []
        for stage in stages:
            have = self.rows.have[stage.name][live]
            if stage.pixels:
                found.append(live[~have])
            known = live[have & ~self.rows.skipped(stage)[live]]
            fell = known[np.asarray(stage.judge(self.rows.take(stage.adds(), known)).is_valid())]
            live = np.setdiff1d(live, fell)
        return np.unique(np.concatenate(found))

    def run(self, stage: Stage) -> tuple[np.ndarray, pa.Table | None]:
        """Compute the live rows without values, then drop by the stage's bounds. Returns the computed rows and their new columns."""
        live, have, done, columns = self.rows.live, self.rows.have[stage.name], self.task.done, None
        todo = live[~have[live]]
        done.reused[stage.name] = done.reused.get(stage.name, 0) + len(live) - len(todo)
        if len(todo):
            columns = self._call(stage, todo)
            done.computed[stage.name] = done.computed.get(stage.name, 0) + len(todo)
            self.rows.put(columns, todo)
            have[todo] = True
        self.task.state.judge(stage, self.rows)
        return todo, columns

    def _call(self, stage: Stage, todo: np.ndarray) -> pa.Table:
        """Call a stage on rows and validate its result."""
        live, inputs, context = self.arguments(stage, todo)
        part, first = self.task.part.id, live["uid"][0].as_py()
        if self.parcel is not None:  # the whole part at once
            stage.report_progress = partial(self._report_progress, stage.name, len(todo))
        try:
            columns = self.task.segment.run(stage, lambda: stage.run(live, *inputs, **context), len(todo), self.task)
        except CurateError:
            raise
        except Exception as e:
            raise PartError(stage.name, part, first, f"{type(e).__name__}: {e}") from e
        finally:
            vars(stage).pop("report_progress", None)
        return validated(stage, columns, len(todo), part, first)

    def arguments(self, stage: Stage, todo: np.ndarray) -> tuple[pa.Table, list[Any], dict[str, pa.Table]]:
        """The arguments of a stage's `run` for these rows: live columns, pixels or bytes, context tables by name."""
        wanted = ["uid", *stage.reads, *stage.optional_reads, *(schema.PAYLOAD if stage.writes_payload else ())]
        live = self.rows.take(dict.fromkeys(c for c in wanted if c in self.rows.columns), todo)
        if stage.instead:
            live = live.rename_columns(["text" if c == stage.instead else c for c in live.column_names])
        inputs: list[Any] = []
        if stage.pixels:
            inputs.append(self.images(stage, todo))
        if "bytes" in stage.reads:
            inputs.append(self.bytes(todo))
        if stage.writes_payload:
            inputs.append(self.parcel)
        if stage.decodes_context:
            inputs.append(self.look)
        return live, inputs, {t: self._context(t) for t in stage.context}

    def _context(self, table: str) -> pa.Table:
        rows = self.task.state.tables[table]
        return pa.table(rows.columns).append_column("live", pa.array(rows.alive))

    def look(self, rows: list[dict[str, Any]]) -> list[Any]:
        """Decoded pixels of rows of any table, given their payload columns; the outcome's name where a picture cannot be decoded."""
        found = read_slices(self.task.segment.store, *([r[c] for r in rows] for c in schema.PAYLOAD))
        decoded = self.task.segment.decoders.decode(found, (None,), DecodeTime(self.task.segment.deadline / 2))
        return [d if isinstance(d, str) else d[0] for d in decoded]

    def bytes(self, rows: np.ndarray) -> list[bytes | None]:
        missing = np.array([r for r in rows.tolist() if r not in self._bytes], dtype=np.int64)
        if len(missing):
            where = self.rows.take(schema.PAYLOAD, missing)
            found = read_slices(self.task.segment.store, *(where[c].to_pylist() for c in schema.PAYLOAD))
            self._bytes.update(zip(missing.tolist(), found))
        return [self._bytes[r] for r in rows.tolist()]

    def _report_progress(self, stage: str, of: int, rows: int) -> None:
        self.task.report_progress(stage, rows, of)

    def images(self, stage: Stage, rows: np.ndarray) -> Any:
        """The pictures of rows: a list with every pixel of each, or the outcome's name where it cannot be decoded; for a stage with
        `preprocess` one uint8 array (rows, size, size, 3)."""
        if self.ready:
            self.ready.result()
            self.ready = None
        self.decode(rows)
        done, spent = self.task.done, self.budget.spent
        done.seconds[stage.name] = done.seconds.get(stage.name, 0.0) + spent - self._counted
        self._counted = spent
        decoded = [self._decoded[r] for r in rows.tolist()]
        if isinstance(stage, Decode):
            return decoded
        at = self.wanted.index(stage.preprocess)
        found = [d if isinstance(d, str) else d[at] for d in decoded]
        if stage.preprocess is None:
            return found
        if lost := [f for f in found if isinstance(f, str)]:
            raise PartError(
                stage.name, self.task.part.id, None, f"a picture that could be decoded before is {lost[0]} now; run again"
            )
        return np.stack(found)

    def decode(self, rows: np.ndarray) -> None:
        """Read and decode the files of these rows on all cores of the worker."""
        missing = np.array([r for r in rows.tolist() if r not in self._decoded], dtype=np.int64)
        if len(missing):
            decoders = self.task.segment.decoders
            self._decoded.update(zip(missing.tolist(), decoders.decode(self.bytes(missing), self.wanted, self.budget)))
            self._bytes = {r: data for r, data in self._bytes.items() if self.keeps_bytes}


def validated(stage: Stage, columns: pa.Table, count: int, part: str, uid: str | None) -> pa.Table:
    """A stage's result cast to its declared types; PartError if it has other columns, or not one value a row."""
    expected = stage.adds()
    if columns.column_names != list(expected) or len(columns) != count:
        cause = f"returned {len(columns)} rows of {columns.column_names}, not {count} of {list(expected)}"
        raise PartError(stage.name, part, uid, cause)
    return columns.cast(schema.arrow(expected))


def wanted_of(stages: list[Stage]) -> tuple[Preprocess | None, ...] | None:
    """The distinct preprocessings (None: every pixel) that stages ask of each picture; empty if they only ask whether it decodes.
    None if no stage reads pictures."""
    readers = [s for s in stages if s.pixels]
    return tuple(dict.fromkeys(s.preprocess for s in readers if not isinstance(s, Decode))) if readers else None


def chunk_rows(rows: Rows, live: np.ndarray, size: int, whole: bool) -> Iterator[np.ndarray]:
    """Chunks of at most `size` rows whose files have at most CHUNK_BYTES together, and, where stages get `whole` pictures, at most
    CHUNK_PIXELS; at least one row each."""
    columns = ("width", "height", "payload_size")
    known = [
        rows.columns.get(c, pa.nulls(rows.count, pa.int64())).cast(pa.float64()).fill_null(0).to_numpy()[live] for c in columns
    ]
    shares = np.maximum(known[2] / CHUNK_BYTES, known[0] * known[1] / CHUNK_PIXELS if whole else 0)
    total, first = 0.0, 0
    for i, share in enumerate(shares.tolist()):
        if i > first and (i - first == size or total + share > 1):
            yield live[first:i]
            total, first = 0.0, i
        total += share
    if first < len(live):
        yield live[first:]
