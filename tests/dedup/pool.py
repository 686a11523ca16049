"""A small pool in memory, as selectors see it: of one chunk, or of several on a store."""

import dataclasses
import hashlib
import itertools
import tempfile
from typing import Any

import pyarrow as pa

from curate.select.exchange import Exchange, Frame, Held
from curate.selector import Selection
from curate.store.atomic import Store


def uid(i: int) -> str:
    return hashlib.md5(str(i).encode()).hexdigest()


def live(**columns) -> Frame:
    """Rows 0..n-1 of a pool of one chunk, with uids that have nothing to do with their order; `id` and `uid` may be given."""
    n = len(next(iter(columns.values())))
    table = pa.table({"id": pa.array(range(n), pa.int64()), "uid": pa.array([uid(i) for i in range(n)], pa.string())} | columns)
    return one_chunk(table)


def one_chunk(table: pa.Table) -> Frame:
    return Frame(Exchange(Store(tempfile.gettempdir())), [Held(len(table), table=table)], (0,))


def in_chunks(frame: Frame, count: int, folder: str, run_map: Any = map) -> Frame:
    """The same pool in `count` chunks, of which some may be empty; steps lie in files below a folder."""
    table = frame.table().sort_by("id")
    cuts = [n * len(table) // count for n in range(count + 1)]
    chunks = [Held(high - low, table=table.slice(low, high - low)) for low, high in itertools.pairwise(cuts)]
    starts = tuple(
        0 if n == 0 else (table["id"][cut].as_py() if cut < len(table) else 1 << 60) for n, cut in enumerate(cuts[:-1])
    )
    return Frame(Exchange(Store(folder), "exchange/test", run_map), chunks, starts)


def rows(frame: Frame, *columns: str) -> dict:
    """A frame that a selector returned, by id; of edges the numbers of the rows."""
    table = frame.table().sort_by("id")
    return table.select(columns or [c for c in table.column_names if c not in ("uid", "survivor_uid")]).to_pydict()


def edges(made: Selection) -> pa.Table:
    """The edges of a selection, by id."""
    return made.edges.table().sort_by("id")


def shown(made: Selection) -> dict[str, Any]:
    """A selection by value, to compare."""
    tables = {n: getattr(made, n) for n in ("drop", "columns", "edges")}
    found = {n: f and f.table().sort_by("id").to_pydict() for n, f in tables.items()}
    return dataclasses.asdict(dataclasses.replace(made, drop=None, columns=None, edges=None)) | found


def backwards(f, items):
    """An engine that runs the last item first."""
    items = list(items)
    return reversed([f(i) for i in reversed(items)])
