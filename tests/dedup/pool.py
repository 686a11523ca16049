"""A small pool in memory, as selectors see it."""

import hashlib
import tempfile

import duckdb
import pyarrow as pa

from curate.selector import Live

#: Scratch for selectors that are looked at without a run.
_SCRATCH = tempfile.TemporaryDirectory(prefix="curate-tests-")
FOLDER = _SCRATCH.name


def uid(i: int) -> str:
    return hashlib.md5(str(i).encode()).hexdigest()


def live(map=map, folder=FOLDER, **columns) -> Live:
    """Rows 0..n-1 with uids that have nothing to do with their order; `id` and `uid` may be given."""
    n = len(next(iter(columns.values())))
    table = pa.table({"id": pa.array(range(n), pa.int64()), "uid": [uid(i) for i in range(n)]} | columns)
    con = duckdb.connect()
    con.register("pool", table)
    return Live(con.sql("select * from pool"), con, str(folder), n, map)


def rows(found) -> dict:
    """A relation that a selector gave, by id."""
    return found.to_arrow_table().sort_by("id").to_pydict()


def backwards(f, items):
    """An engine that runs the last item first."""
    items = list(items)
    return reversed([f(i) for i in reversed(items)])
