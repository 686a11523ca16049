"""DuckDB connections with a memory limit and a scratch directory, over Parquet files of the store."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb
import pyarrow as pa

from curate.errors import PoolError
from curate.paths import parquet
from curate.store.atomic import Store
from curate.store.memory import free_memory, give_back
from curate.store.parquet import write_batches

log = logging.getLogger(__name__)

#: Bytes of memory that a thread of DuckDB gets to sort well beyond them.
THREAD = 64 << 20

#: Footers that are read at a time.
_READERS = 8

T = TypeVar("T")


@contextlib.contextmanager
def database(store: Store, memory: int = 0) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A DuckDB connection that can read the store and spill to a scratch folder (below TMPDIR), and that folder.

    It takes so many bytes of `memory`, by default what its threads need, at most a quarter of what is free; and no more threads than
    that feeds. What it sorts and groups beyond goes to the disk: a larger pool does not take more memory.
    """
    cores, memory = len(os.sched_getaffinity(0)), memory or _first()
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
            give_back()


def with_room(store: Store, act: Callable[[duckdb.DuckDBPyConnection, str], T]) -> T:
    """What `act` makes of a connection and its scratch folder. Where the memory does not do, not even with the disk, it acts again with
    twice as much, as long as that is free: to sort a hundred times as many rows takes somewhat more memory. PoolError if it is not."""
    memory = _first()
    while True:
        with database(store, memory) as (con, folder):
            try:
                return act(con, folder)
            except Exception as e:
                if not out_of_memory(e):
                    raise
                if 2 * memory > free_memory():
                    raise PoolError(f"{memory >> 20} MiB of memory do not do for this pool, and no more is free: {e}") from e
        log.info("%d MiB of memory do not do for this pool: again, with twice as much", memory >> 20)
        memory *= 2


def out_of_memory(error: Exception) -> bool:
    """Whether it is DuckDB that lacks memory; a reader of batches tells it as an OSError."""
    return isinstance(error, duckdb.OutOfMemoryException) or (
        isinstance(error, OSError) and "Out of Memory Error" in str(error)
    )


def _first() -> int:
    return max(min(free_memory() // 4, len(os.sched_getaffinity(0)) * THREAD), 2 * THREAD)


def scan(store: Store, files: list[str], fields: Iterable[str] | None = None) -> str:
    """An SQL expression that reads Parquet files of the store, which may differ in their columns (`fields` tells those of each). Files
    with the same ones are read together: to find out by itself what each of them has DuckDB keeps 30 kB a file."""
    if fields is None:
        with ThreadPoolExecutor(_READERS) as readers:
            fields = list(readers.map(lambda file: str(store.fields(file).remove_metadata()), files))
    alike: dict[str, list[str]] = {}
    for file, told in zip(files, fields):
        alike.setdefault(told, []).append(store.path(file))
    each = [parquet(paths) for paths in alike.values()]
    return each[0] if len(each) == 1 else f"({' union all by name '.join(f'from {one}' for one in each)})"


def stream(store: Store, put: Callable, name: str, batches: pa.RecordBatchReader, count: int) -> None:
    with store.private(name) as path:
        put(name, path, write_batches(path, batches, count))
