"""Some rows of a part on their way through a group of stages: what they read, computed once, and held to its word."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate import schema
from curate.errors import CurateError, PartError
from curate.fetch.decode import decode_all
from curate.score.part import Rows
from curate.stage import Stage
from curate.store.payload import Parcel, read_slices

if TYPE_CHECKING:
    from curate.score.segment import Visit

#: Most pixels of the pictures that stages get at a time, 3 bytes each: a chunk of 256 of a megapixel.
CHUNK_PIXELS = 256_000_000
#: Pictures that are decoded between two looks at whether they are still wanted.
DECODED = 16


class Chunk:
    """Some live rows of a part going through a group of stages; their bytes and pixels are read at most once."""

    def __init__(self, visit: "Visit", rows: Rows, parcel: Parcel | None):
        self.visit, self.rows, self.parcel = visit, rows, parcel
        self._bytes: dict[int, bytes | None] = {}
        self._images: dict[int, Any] = {}
        self.ready: Future | None = None
        self.wanted = True

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
        live, given, context = self.arguments(stage, todo)
        stage.ends = self.visit.ends
        if self.parcel is not None:  # the whole part at once
            stage.tell = partial(self._tell, stage.name, len(todo))
        try:
            columns = stage.run(live, *given, **context)
        except CurateError:
            raise
        except Exception as e:
            raise PartError(stage.name, self.visit.part.id, live["uid"][0].as_py(), f"{type(e).__name__}: {e}") from e
        finally:
            vars(stage).pop("tell", None)
        return declared(stage, columns, len(todo), self.visit.part.id, live["uid"][0].as_py())

    def arguments(self, stage: Stage, todo: np.ndarray) -> tuple[pa.Table, list[Any], dict[str, pa.Table]]:
        """What a stage's `run` gets for these rows."""
        wanted = ["uid", *stage.reads, *stage.optional_reads, *(schema.PAYLOAD if stage.writes_payload else ())]
        live = self.rows.take(dict.fromkeys(c for c in wanted if c in self.rows.columns), todo)
        if stage.instead:
            live = live.rename_columns(["text" if c == stage.instead else c for c in live.column_names])
        given: list[Any] = []
        if stage.pixels:
            given.append(self.images(todo))
        if "bytes" in stage.reads:
            given.append(self.bytes(todo))
        if stage.writes_payload:
            given.append(self.parcel)
        if stage.looks:
            given.append(self.look)
        return live, given, {t: self._context(t) for t in stage.context}

    def _context(self, table: str) -> pa.Table:
        rows = self.visit.bench.tables[table]
        return pa.table(rows.columns).append_column("live", pa.array(rows.alive))

    def look(self, rows: list[dict[str, Any]]) -> list[Any]:
        """Decoded pixels of rows of any table, by where their bytes are parked; the outcome's word where one cannot be decoded."""
        found = read_slices(self.visit.work.store, *([r[c] for r in rows] for c in schema.PAYLOAD))
        self.visit.decoder.left = self.visit.work.deadline / 2
        return decode_all(found, self.visit.decoder)

    def bytes(self, rows: np.ndarray) -> list[bytes | None]:
        missing = np.array([r for r in rows.tolist() if r not in self._bytes], dtype=np.int64)
        if len(missing):
            where = self.rows.take(schema.PAYLOAD, missing)
            found = read_slices(self.visit.work.store, *(where[c].to_pylist() for c in schema.PAYLOAD))
            self._bytes.update(zip(missing.tolist(), found))
        return [self._bytes[r] for r in rows.tolist()]

    def _tell(self, stage: str, of: int, rows: int) -> None:
        self.visit.tell(stage, rows, of)

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
        self.visit.decoder.left = self.visit.work.deadline / 2  # a chunk ends, whatever pictures are in it
        for start in range(0, len(missing), DECODED):
            if self.wanted:
                some = missing[start : start + DECODED]
                self._images.update(zip(some.tolist(), decode_all(self.bytes(some), self.visit.decoder)))


def declared(stage: Stage, columns: pa.Table, count: int, part: str, uid: str | None) -> pa.Table:
    """A stage's columns as it declares them; PartError if they are others, or not one value a row."""
    expected = stage.adds()
    if columns.column_names != list(expected) or len(columns) != count:
        cause = f"returned {len(columns)} rows of {columns.column_names}, not {count} of {list(expected)}"
        raise PartError(stage.name, part, uid, cause)
    return columns.cast(schema.arrow(expected))


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
