"""Keys that rows are grouped by: columns, or simple functions of columns, written `host(url)`; and which of them occur twice."""

import contextlib
import re
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.chunks import scratch
from curate.errors import RecipeError
from curate.paths import parquet
from curate.selector import BATCH, Live
from curate.store import partitions as pieces
from curate.web.url import site

#: URLs whose host is as it is written: lower case, nothing to be mapped, no address. Most are such.
_WRITTEN = r"^https?://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]+(:[0-9]{{1,4}})?([/?#]|$)"

#: What may stand around a column, and its SQL. Without a host, or without a word, a key is null.
FUNCTIONS = {
    "host": f"""case when regexp_matches({{0}}, '{_WRITTEN}')
        then regexp_extract({{0}}, '^https?://(?:www\\.)?([^/?#:]+)', 1) else url_site({{0}}) end""",
    "lower": "lower({})",
    "words": "nullif(trim(regexp_replace(lower(nfc_normalize({})), '[^\\pL\\pM\\pN]+', ' ', 'g')), '')",
}
_CALL = re.compile(r"(\w+)\((\w+)\)")


def column(key: str) -> str:
    """The column that a key reads."""
    call = _CALL.fullmatch(key)
    return call[2] if call else key


def sql(con: duckdb.DuckDBPyConnection, key: str) -> str:
    """A key as SQL for a connection; RecipeError for a function that does not exist."""
    call = _CALL.fullmatch(key)
    if not call:
        return f'"{key}"'
    if call[1] not in FUNCTIONS:
        raise RecipeError(f"key {key}: there is no function {call[1]}; there are {', '.join(FUNCTIONS)}")
    if call[1] == "host" and not con.sql("from duckdb_functions() where function_name = 'url_site'").fetchall():
        con.create_function("url_site", _sites, ["VARCHAR"], "VARCHAR", type="arrow", null_handling="special")
    return FUNCTIONS[call[1]].format(f'"{call[2]}"')


def _sites(urls: pa.Array) -> pa.Array:
    return pa.array([site(u) for u in urls.to_pylist()], pa.string())


def listed(con: duckdb.DuckDBPyConnection, keys: tuple[str, ...]) -> str:
    """Several keys as an SQL list."""
    return ", ".join(sql(con, k) for k in keys)


def reads(keys: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """The columns behind keys and further columns, each once."""
    return tuple(dict.fromkeys([*(column(k) for k in keys), *more]))


@contextlib.contextmanager
def repeated(live: Live, key: str, where: str = "true") -> Iterator[str]:
    """The SQL of a table whose column `__hash` has the hashes of the keys that more than one row has. `key`, `where`: SQL over `live`.

    Most keys occur once, and an aggregate over all of them takes memory with the pool. So their hashes are set down in pieces, and
    each piece is sorted by itself.
    """
    with scratch(live) as folder:
        hashes = live.sql(f'select hash({key}) as "__hash" from live where {where}').to_arrow_reader(BATCH)
        files = pieces.places(folder / "hashes", live.count // 2)
        few = (pa.table({"__hash": _at_most_twice(batch["__hash"].to_numpy())}) for batch in hashes)
        pieces.scatter(few, lambda t: (t["__hash"].to_numpy() >> np.uint64(32)).astype(np.int64) * len(files) >> 32, files)
        found, fields = folder / "repeated.parquet", pa.schema({"__hash": pa.uint64()})
        with pq.ParquetWriter(found, fields) as writer:
            for file in files:
                ordered = np.sort(pieces.load(file, fields)["__hash"].to_numpy())
                writer.write_table(pa.table({"__hash": np.unique(ordered[1:][ordered[1:] == ordered[:-1]])}))
        yield parquet([str(found)])


def _at_most_twice(hashes: np.ndarray) -> np.ndarray:
    """Two tell as much as a million of the same, which would all be of one piece."""
    ordered = np.sort(hashes)
    return ordered[np.append([True, True], ordered[2:] != ordered[:-2])[: len(ordered)]]
