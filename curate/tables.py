"""A run's tables in DuckDB: connections that keep to their memory, and the views of a run that has ended."""

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb
import pyarrow as pa

from curate.errors import PoolError
from curate.judging import verdicts
from curate.memory import free_memory, give_back
from curate.parquet import write_batches
from curate.selector import quoted
from curate.store import Store

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
        alike.setdefault(told, []).append(quoted(store.path(file)))
    each = [f"read_parquet([{', '.join(paths)}])" for paths in alike.values()]
    return each[0] if len(each) == 1 else f"({' union all by name '.join(f'from {one}' for one in each)})"


def stream(store: Store, put: Callable, name: str, batches: pa.RecordBatchReader, count: int) -> None:
    with store.private(name) as path:
        put(name, path, write_batches(path, batches, count))


#: The views of a run, and what a row of each is.
VIEWS = {
    "images": "an input row: source columns, all scores, drop_reason, drop_stage, kept, shard, place, key",
    "documents": "a web page (pools of pages)",
    "texts": "a paragraph of a page (pools of pages)",
    "shards": "a sample in the shards, with the columns that loaders see",
    "edges": "a duplicate: step, uid, survivor (a uid), similarity; id and survivor_id are the rows' numbers in the pool",
    "verdicts": "a row that people judged (`curate annotate`): verdict (good, bad, null where they disagree), how many said what, weight",
    "judgements": "one person's word on a row: verdict, annotator, reason, comment",
    "funnel": "a table, stage and reason: rows, and percent of the table's rows",
}


def connect(store: Store, files: Callable[[list[str]], list[str]] = list) -> duckdb.DuckDBPyConnection:
    """DuckDB with the run's tables as views, see VIEWS. PoolError if there is no ledger.

    files: picks the ledger's files to look at, of a long list; the same ones for each table.
    """
    con = duckdb.connect()
    if not store.local:
        con.register_filesystem(store.fs)
    tables = [t for t in ("images", "documents", "texts") if store.names(f"ledger/{t}")]
    if not tables:
        raise PoolError(f"{store.url}: there is no ledger here; is it a run's folder, and did the run reach its end?")
    for table in tables:
        con.execute(
            f"create view {table} as select * from {scan(store, [f'ledger/{table}/{n}' for n in files(store.names(f'ledger/{table}'))])}"
        )
    sidecars = [f"shards/{n}" for n in store.names("shards") if n.endswith(".parquet")]
    con.execute(
        "create view shards as select "
        + (f"* from {scan(store, sidecars)}" if sidecars else "'' as key, '' as uid where false")
    )
    edges = [n for n in json.loads(store.read("recipe.json")).get("edges", []) if store.exists(n)]
    each = [
        f"""select '{n.split("/")[-1].rsplit("-", 1)[0]}' as step, uid, survivor, similarity, id, survivor_id from {scan(store, [n])}"""
        for n in edges
    ]
    nothing = "select '' as step, '' as uid, '' as survivor, 0::float as similarity, 0::bigint as id, 0::bigint as survivor_id where false"
    con.execute("create view edges as " + " union all ".join(each or [nothing]))
    judged = [f"verdicts/{n}" for n in store.names("verdicts")]
    for view in verdicts.views(scan(store, judged) if judged else None):
        con.execute(view)
    con.execute(
        "create view funnel as "
        + " union all ".join(
            f"""select '{t}' as "table", coalesce(drop_stage, '') as stage, coalesce(drop_reason, 'kept') as reason,
            count(*) as rows, round(100 * count(*) / sum(count(*)) over (), 2) as percent from {t} group by all"""
            for t in tables
        )
    )
    return con
