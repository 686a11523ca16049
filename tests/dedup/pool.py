"""A small pool in memory, as selectors see it: of one chunk, or of several on a store."""

import dataclasses
import hashlib
from typing import Any

import pyarrow as pa

from curate.select.exchange import Frame, frame_of
from curate.selector import Selection


def uid(i: int) -> str:
    return hashlib.md5(str(i).encode()).hexdigest()


def live(**columns) -> Frame:
    """Rows 0..n-1 of a pool of one chunk, with uids that have nothing to do with their order; `id` and `uid` may be given."""
    n = len(next(iter(columns.values())))
    table = pa.table({"id": pa.array(range(n), pa.int64()), "uid": pa.array([uid(i) for i in range(n)], pa.string())} | columns)
    return one_chunk(table)


def one_chunk(table: pa.Table) -> Frame:
    return frame_of(table)


def in_chunks(frame: Frame, count: int, folder: str, run_map: Any = map) -> Frame:
    """The same pool in about `count` chunks; steps lie in files below a folder."""
    return frame_of(frame.table(), folder, run_map, max(1, -(-frame.rows // count)))


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
