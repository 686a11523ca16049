"""DuckDB connections with a memory limit and a scratch directory, over Parquet files of the store."""

import contextlib
import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb
import pyarrow as pa

from curate.errors import PoolError
from curate.paths import parquet
from curate.store.atomic import Store
from curate.store.memory import free_memory, give_back
from curate.web.url import site

log = logging.getLogger(__name__)

#: Bytes of memory that a thread of DuckDB gets to sort well beyond them.
THREAD = 64 << 20

#: Footers that are read at a time.
_READERS = 8

T = TypeVar("T")


@contextlib.contextmanager
def database(store: Store | None, memory: int = 0) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
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
        if store and not store.local:
            con.register_filesystem(store.fs)
        try:
            yield con, folder
        finally:
            con.close()
            give_back()


def with_room(store: Store | None, act: Callable[[duckdb.DuckDBPyConnection, str], T]) -> T:
    """The result of `act` on a connection and its scratch folder. If memory does not suffice even with the disk, it is called
    again with fewer threads."""
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
    """Whether an error is DuckDB's lack of memory (as an OSError from a reader of batches)."""
    return isinstance(error, duckdb.OutOfMemoryException) or (
        isinstance(error, OSError) and "Out of Memory Error" in str(error)
    )


def _first() -> int:
    return max(min(free_memory() // 4, len(os.sched_getaffinity(0)) * THREAD), 2 * THREAD)


def scan(store: Store, files: list[str], fields: Iterable[str] | None = None, columns: str = "*") -> str:
    """An SQL expression that reads Parquet files of the store whose columns may differ (`fields`: those of each)."""
    if fields is None:
        with ThreadPoolExecutor(_READERS) as readers:
            fields = list(readers.map(lambda file: str(store.fields(file).remove_metadata()), files))
    alike: dict[str, list[str]] = {}
    for file, listed in zip(files, fields):
        alike.setdefault(listed, []).append(store.path(file))
    each = [parquet(paths) if columns == "*" else f"(select {columns} from {parquet(paths)})" for paths in alike.values()]
    return each[0] if len(each) == 1 else f"({' union all by name '.join(f'from {one}' for one in each)})"


# ---- queries over tables in memory

#: Bytes of tables for which a small connection does, that a process opens once.
_SMALL = 4 << 20

_local = threading.local()


def query(text: str, tables: dict[str, pa.Table]) -> pa.Table:
    """The result of an SQL query over tables by name. Beyond memory DuckDB spills to a scratch folder."""
    named = {name: _readable(table, text) for name, table in tables.items()}
    if sum(t.nbytes for t in named.values()) < _SMALL:
        return _run(_small(), text, named)
    return with_room(None, lambda con, _: _run(con, text, named))


def _run(con: duckdb.DuckDBPyConnection, text: str, tables: dict[str, pa.Table]) -> pa.Table:
    add_functions(con, text)
    for name, table in tables.items():
        con.register(name, table)
    try:
        return con.sql(text).to_arrow_table()
    finally:
        for name in tables:
            con.unregister(name)


def _small() -> duckdb.DuckDBPyConnection:
    """This thread's connection for small tables."""
    if not hasattr(_local, "con"):
        _local.con = duckdb.connect(config={"threads": 1, "memory_limit": f"{8 * THREAD >> 20}MiB"})
        _local.con.execute("set enable_progress_bar = false")
    return _local.con


def _readable(table: pa.Table, text: str) -> pa.Table:
    """The table without columns that the query does not name and DuckDB cannot read from memory: float16, and dictionaries of
    it."""
    half = [f.name for f in table.schema if pa.types.is_float16(f.type) or pa.types.is_float16(_inner(f.type))]
    for name in half:
        if not re.search(rf"(?<!\w){re.escape(name.replace(chr(34), 2 * chr(34)))}(?!\w)", text):
            table = table.drop_columns(name)
            continue
        at, kind = table.schema.get_field_index(name), table.schema.field(name).type
        wide = pa.float32() if pa.types.is_float16(kind) else pa.list_(pa.float32())
        table = table.set_column(at, name, table[name].cast(wide))
    return table


def _inner(kind: pa.DataType) -> pa.DataType:
    return getattr(kind, "value_type", kind)


def add_functions(con: duckdb.DuckDBPyConnection, text: str) -> None:
    """Register the functions of this project that a query calls: `url_site`."""
    if "url_site(" in text and not con.sql("from duckdb_functions() where function_name = 'url_site'").fetchall():
        con.create_function("url_site", _sites, ["VARCHAR"], "VARCHAR", type="arrow", null_handling="special")


def _sites(urls: pa.Array) -> pa.Array:
    return pa.array([site(u) for u in urls.to_pylist()], pa.string())
