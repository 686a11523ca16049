"""Exchange: a pool's rows in chunks, processed by tasks of the engine and regrouped by key through the store.

A selector is a plan over frames. A `Frame` is a list of chunks; no rows are in the driver's memory until `table` asks for them:

    pairs = live.shuffle(ByHash("key"), Sql("select ..."))      # one task for each bucket of keys
    drop = pairs.home(live)                                     # rows return to the chunk that their `id` is of

Chunks follow from the pool alone (its parts and their sizes), never from the number of workers. Between two steps a chunk is an
Arrow file in the run's folder; a killed run finds the files of the tasks that have ended and goes on with the others. A pool of
one chunk is judged by the same plan within one task, in memory.
"""

import itertools
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PoolError
from curate.select.database import query
from curate.select.partition import By, ByBounds, ById, ByShare
from curate.select.schemas import unified
from curate.store.atomic import Store
from curate.store.folder import EXCHANGE

#: Rows and bytes of a chunk: at most so many, unless one part alone has more.
ROWS, BYTES = 1 << 20, 256 << 20

#: Bytes of a table that a task holds in memory; what is beyond is mapped from the worker's disk.
MEMORY = 1 << 30

#: Rows of a table beyond MEMORY that are moved at a time.
BLOCK = 1 << 16

#: Every so many rows one tells where a sorted frame is to be cut.
_SAMPLED = 4096

#: From tables to a table, or to several of one schema after one another, which are never in memory together. Where it can be sent to
#: another process it is a function of a module or a dataclass; its attribute `gpus`, if it has one, is the share of a GPU that it asks
#: for where there are any.
Task = Callable[..., pa.Table | Iterator[pa.Table]]

_NAME = re.compile(r"(\d+)\.(\d+)\.arrow")


class TooLarge(PoolError):
    """A bucket does not fit the worker's disk."""


class Chunk(Protocol):
    """The rows of one task."""

    rows: int  # at most so many

    def load(self, store: Store) -> pa.Table: ...


@dataclass(frozen=True)
class Held:
    """A chunk in a file of the store, or in memory."""

    rows: int
    file: str = ""
    table: pa.Table | None = None

    def load(self, store: Store) -> pa.Table:
        return self.table if self.table is not None else joined(read(store, self.file))


@dataclass(frozen=True)
class Bucket:
    """A chunk made of one batch of each of several files."""

    rows: int
    files: tuple[str, ...]
    number: int

    def load(self, store: Store) -> pa.Table:
        return joined(table for file in self.files for table in read(store, file, self.number))


# ---- frames


@dataclass
class Exchange:
    """Where frames are stored: the store, the folder of the plan's files (empty: in memory), and the engine's `map`."""

    store: Store
    folder: str = ""
    map: Callable[[Callable, Iterable], Iterable] = map
    steps: int = 0

    def run(self, task: "_Run", items: list[Any]) -> list[Held]:
        """Run a task on each item; the resulting chunks in the order of the items. Results of an earlier driver are reused."""
        if not self.folder:
            return [task(self.store, "", item) for item in items]
        self.steps += 1
        folder = f"{self.folder}/{self.steps:02d}-{type(task).__name__.strip('_').lower()}"
        done = {int(m[1]): Held(int(m[2]), f"{folder}/{m[0]}") for n in self.store.names(folder) if (m := _NAME.fullmatch(n))}
        todo = [n for n in range(len(items)) if n not in done]
        made = self.map(_InStore(self.store, folder, task), [(n, items[n]) for n in todo])
        done |= dict(zip(todo, made))
        return [done[n] for n in range(len(items))]

    def clear(self) -> None:
        """Remove the plan's files."""
        if self.folder:
            self.store.clear(self.folder)


@dataclass
class Frame:
    """A table in chunks. starts: the first id of each chunk of the pool, of a frame whose chunks are those of the pool."""

    exchange: Exchange
    chunks: list[Any]
    starts: tuple[int, ...] | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(c.rows for c in self.chunks)

    def each(self, task: Task, *others: "Frame") -> "Frame":
        """Map: task(table, *tables of the same chunk of other frames) on each chunk."""
        items = list(zip(self.chunks, *(o.chunks for o in others), strict=True))
        return Frame(self.exchange, self.exchange.run(_Each(task), items), self.starts)

    def also(self, other: "Frame") -> "Frame":
        """The union with another frame, chunk by chunk."""
        return Frame(self.exchange, [*self.chunks, *other.chunks])

    def shuffle(self, by: By, task: Task, first: Task | None = None, factor: float = 1) -> "Frame":
        """task(table) on each bucket of rows. first: a task on each chunk before; factor: the rows that it makes of one row."""
        buckets = len(by.starts) if isinstance(by, ById) else max(1, int(np.ceil(self.rows * factor / ROWS)))
        parted = self._parted(by, first, buckets)
        return Frame(self.exchange, self.exchange.run(_Each(task), [(bucket,) for bucket in parted]))

    def gathered(self, task: Task, first: Task | None = None) -> "Frame":
        """task(table) on all rows in one task, for pools that fit one."""
        return Frame(self.exchange, self.exchange.run(_Each(task), [(b,) for b in self._parted(ByShare("_"), first, 1)]))

    def in_order(self, key: str, columns: str = "*") -> "Frame":
        """The rows with their `sort` key, globally sorted by an SQL expression of bytes (as of create_sort_key), in ranges."""
        keyed = self.each(Sql(f"select {columns}, {key} as sort from live"))
        bounds: tuple[bytes, ...] = ()
        if self.exchange.folder and (count := int(np.ceil(self.rows / ROWS))) > 1:
            some = f"select sort from (select sort, row_number() over (order by sort) as n from live) where n % {_SAMPLED} = 0"
            found = sorted(v for t in keyed.each(Sql(some)).tables() for v in t["sort"].to_pylist())
            bounds = tuple(found[n * len(found) // count] for n in range(1, count)) if len(found) >= count else ()
        task = Sql("select * from live order by sort")
        parted = keyed._parted(ByBounds("sort", bounds), None, len(bounds) + 1)
        return Frame(self.exchange, self.exchange.run(_Each(task), [(b,) for b in parted]))

    def ranges(self, by: By, buckets: int) -> list[Any]:
        """The chunks of so many buckets, as they are."""
        return self._parted(by, None, buckets)

    def _parted(self, by: By, first: Task | None, buckets: int) -> list[Any]:
        if not self.exchange.folder:
            tables = [c.load(self.exchange.store) for c in self.chunks]
            whole = unified([first(t) for t in tables] if first else tables)
            return [Held(len(t), table=t) for t in split(whole, by, buckets)]
        held = self.exchange.run(_Split(by, first, buckets), [(c,) for c in self.chunks])
        files, rows = tuple(h.file for h in held if h.rows), sum(h.rows for h in held)
        if not files:
            files = (held[0].file,)
        return [Bucket(int(np.ceil(rows / buckets)), files, n) for n in range(buckets)]

    def home(self, live: "Frame", column: str = "id", task: Task | None = None) -> "Frame":
        """Regroup rows into the chunks of the pool by the ids in `column`; task: applied to each chunk."""
        return self.shuffle(ById(live.starts, column), task or same).at(live)

    def at(self, live: "Frame") -> "Frame":
        """The same frame, declared to have the chunks of the pool."""
        return Frame(self.exchange, self.chunks, live.starts)

    def tables(self) -> Iterator[pa.Table]:
        """Iterate over the chunks in this process; for small frames."""
        for chunk in self.chunks:
            yield chunk.load(self.exchange.store)

    def table(self, *columns: str) -> pa.Table:
        """All rows, or some columns of them, in this process; for small frames. Sorted by `id` if there is one."""
        whole = unified(list(self.tables()))
        whole = whole.sort_by("id") if "id" in whole.column_names else whole
        return whole.select(columns) if columns else whole

    def total(self, column: str) -> Any:
        """The sum of a column of a small frame."""
        return sum(v for t in self.tables() for v in t[column].to_pylist() if v is not None)

    def beside(self, tables: Iterable[pa.Table]) -> "Frame":
        """Tables as another frame of as many chunks: side inputs of a task."""
        items = list(tables)
        return Frame(self.exchange, [Held(len(t), table=t) for t in items], self.starts)

    def put(self, table: pa.Table) -> "Frame":
        """A table of this process as a frame of one chunk."""
        return Frame(self.exchange, [Held(len(table), table=table)])

    def constant(self, table: pa.Table) -> "Frame":
        """A table broadcast to every chunk; written once."""
        held = self.exchange.run(_Each(same), [(Held(len(table), table=table),)])
        return Frame(self.exchange, held * len(self.chunks), self.starts)


def frame_of(
    table: pa.Table, folder: str = "", run_map: Callable[[Callable, Iterable], Iterable] = map, rows: int = ROWS
) -> Frame:
    """A table with `id` and `uid` as the pool of a selector, to try it without a run. With a folder it is cut into chunks of `rows` rows,
    and what lies between steps is kept there; else it is one chunk in memory."""
    if not folder:
        return Frame(Exchange(Store(".")), [Held(len(table), table=table)], (0,))
    table = table.sort_by("id")
    cuts = range(0, max(len(table), 1), rows)
    starts = tuple(0 if cut == 0 else table["id"][cut].as_py() for cut in cuts)
    chunks = [Held(len(part), table=part) for part in (table.slice(cut, rows) for cut in cuts)]
    return Frame(Exchange(Store(folder), f"{EXCHANGE}/frame", run_map), chunks, starts)


def same(table: pa.Table) -> pa.Table:
    """The identity task."""
    return table


@dataclass(frozen=True)
class Sql:
    """A task: an SQL query in which `live` names the rows, `other` and `third` those of further frames."""

    text: str

    def __call__(self, *tables: pa.Table) -> pa.Table:
        return query(self.text, dict(zip(("live", "other", "third"), tables)))


@dataclass(frozen=True)
class Then:
    """A task composed with a second one, which also gets the other tables."""

    first: Task
    second: Task

    def __call__(self, live: pa.Table, *others: pa.Table) -> pa.Table:
        return self.second(self.first(live), *others)


# ---- tasks and their files


@dataclass(frozen=True)
class _Each:
    task: Task

    @property
    def gpus(self) -> float:
        return getattr(self.task, "gpus", 0.0)

    def __call__(self, store: Store, name: str, chunks: tuple[Any, ...]) -> Held:
        made = self.task(*(c.load(store) for c in chunks))
        if name:
            return _write(store, name, _batches(made))
        table = made if isinstance(made, pa.Table) else pa.concat_tables(made)
        return Held(len(table), table=table)


@dataclass(frozen=True)
class _Split:
    by: By
    first: Task | None
    buckets: int

    def __call__(self, store: Store, name: str, chunks: tuple[Any, ...]) -> Held:
        table = chunks[0].load(store)
        table = self.first(table) if self.first else table
        return _write(store, name, split(table, self.by, self.buckets))


_Run = _Each | _Split


@dataclass(frozen=True)
class _InStore:
    """Runs a task on an item and writes the result into the folder."""

    store: Store
    folder: str
    task: _Run

    @property
    def gpus(self) -> float:
        """The GPU share of a call."""
        return getattr(self.task, "gpus", 0.0)

    def __call__(self, item: tuple[int, Any]) -> Held:
        try:
            return self.task(self.store, f"{self.folder}/{item[0]:06d}", item[1])
        except TooLarge as e:
            raise TooLarge(f"{self.store.path(self.folder)}, bucket {item[0]}: {e}") from e


def split(table: pa.Table, by: By, count: int) -> list[pa.Table]:
    """The rows of each of `count` buckets, in their order."""
    if count == 1:
        return [table]
    number = by(table, count)
    order = np.argsort(number.astype(np.uint16) if count < 1 << 16 else number, kind="stable")
    rows = table.take(pa.array(order))
    bounds = np.searchsorted(number[order], np.arange(count + 1))
    return [rows.slice(low, high - low) for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist())]


def _batches(made: pa.Table | Iterator[pa.Table]) -> Iterator[pa.Table]:
    """A task's result in tables of ROWS rows; at least one, which may be empty."""
    waiting, rows = [], 0
    for table in [made] if isinstance(made, pa.Table) else made:
        waiting.append(table)
        rows += len(table)
        while rows > ROWS:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, ROWS)
            waiting, rows = [whole.slice(ROWS)], rows - ROWS
    yield pa.concat_tables(waiting)


def _write(store: Store, name: str, batches: Iterable[pa.Table]) -> Held:
    """An Arrow file with one batch for each of `batches`."""
    some = iter(batches)
    first, rows = next(some), 0
    with store.private(name) as path:
        with pa.OSFile(str(path), "wb") as f:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.ipc.new_file(f, first.schema, options=options) as writer:
                for batch in itertools.chain([first], some):
                    writer.write_batch(_batch(batch))
                    rows += len(batch)
        file = f"{name}.{rows}.arrow"
        store.publish(file, path, path.stat().st_size)
    return Held(rows, file)


def _batch(table: pa.Table) -> pa.RecordBatch:
    columns = [c.combine_chunks() for c in table.columns]
    arrays = [a.chunk(0) if isinstance(a, pa.ChunkedArray) else a for a in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def read(store: Store, file: str, batch: int | None = None) -> Iterator[pa.Table]:
    """One batch of an Arrow file of the store, or all of them."""
    with pa.memory_map(store.path(file)) if store.local else store.open(file) as f:
        reader = pa.ipc.open_file(f)
        for number in range(reader.num_record_batches) if batch is None else [batch]:
            yield pa.Table.from_batches([reader.get_batch(number)])


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Concatenated tables. Beyond MEMORY bytes they are mapped from files on the worker's disk."""
    found, held = [], 0
    for table in tables:
        held += table.nbytes
        found.append(_mapped(table.schema, [table]) if held > MEMORY else table)
    return unified(found)


def in_order(table: pa.Table, *columns: str) -> np.ndarray:
    """The numbers of a table's rows, sorted by these columns."""
    return pc.sort_indices(table.select(columns), [(c, "ascending") for c in columns]).to_numpy()


def rows_at(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The rows of a table with these numbers. Beyond MEMORY bytes they are mapped from a file on the worker's disk."""
    if table.nbytes * len(rows) <= MEMORY * len(table):
        return table.take(pa.array(rows))
    blocks = range(0, len(rows), BLOCK)
    return _mapped(table.schema, (table.take(pa.array(rows[low : low + BLOCK])) for low in blocks))


def _mapped(schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.Table:
    """The tables in a memory-mapped file below TMPDIR, removed with the result. TooLarge if there is no space."""
    with tempfile.NamedTemporaryFile(prefix="curate-") as file:
        try:
            with pa.ipc.new_file(file.name, schema) as writer:
                for table in tables:
                    writer.write_table(table)
            return pa.ipc.open_file(pa.memory_map(file.name)).read_all()
        except OSError as e:
            raise TooLarge(
                f"{tempfile.gettempdir()}: no space for the rows that meet in one bucket, most of which share a key ({e}); set TMPDIR to a "
                "larger disk, or drop what is too frequent before (Frequency, Caps, ExactDedup)"
            ) from e
