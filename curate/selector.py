"""Selectors: decisions that need the whole pool. They read columns, never pixels; and the seeded coin they toss."""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa

from curate.paths import parquet
from curate.stage import Step

#: Rows of a pool that are read at a time.
BATCH = 100_000

#: Why a row fell, pair by pair: the dropped row, its survivor, and how alike they are (1.0 = the same).
EDGES = pa.schema([("id", pa.int64()), ("survivor", pa.int64()), ("similarity", pa.float32())])

Rows = pa.Table | duckdb.DuckDBPyRelation


@dataclass
class Live:
    """The live rows of one table, as a selector sees them: `id` (the row's number in the pool), `uid`, and its `reads`.

    `rows` is a DuckDB relation over files, of `count` rows; nothing is in memory until asked for. `folder` is a local scratch
    folder. `map` runs a function over items on the run's engine (`map(f, items)` yields results in the order of the items).
    """

    rows: duckdb.DuckDBPyRelation
    con: duckdb.DuckDBPyConnection
    folder: str
    count: int
    map: Callable[[Callable, Iterable], Iterable] = map

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """A query in which `live` names the rows."""
        return self.rows.query("live", query)

    def keep(self, query: str) -> duckdb.DuckDBPyRelation:
        """What a query gives, computed once and kept in a file, with the types that Parquet has: a sum of whole numbers, a HUGEINT,
        becomes a double unless cast."""
        file = f"{self.folder}/kept-{secrets.token_hex(4)}.parquet"
        self.sql(query).to_parquet(file)
        return self.con.sql(f"from {parquet([file])}")

    def table(self, *columns: str) -> pa.Table:
        """Columns of the live rows, in order of `id`."""
        listed = ", ".join(map(identifier, columns))
        return self.sql(f"select {listed} from live order by id").to_arrow_table()


#: No row falls.
NONE = np.empty(0, np.int64)


@dataclass
class Selection:
    """What a selector decided. Rows that are not named stay, in any order.

    Rows are an Arrow table, or what `Live.keep` gave: then they are never all in this process's memory.
    """

    drop: Rows | np.ndarray  # ids; or `id` and, where the selector's name is not the reason, `reason`
    columns: Rows | None = None  # `id` and the columns to add to the ledger, for any rows
    edges: Rows | None = None  # the columns of EDGES
    notes: dict[str, Any] = field(default_factory=dict)  # for the report: realised shares, counts, hashes of artefacts

    def dropped(self) -> np.ndarray:
        """The ids of the rows that fall, ascending."""
        if isinstance(self.drop, np.ndarray):
            return np.sort(self.drop)
        table = self.drop if isinstance(self.drop, pa.Table) else self.drop.to_arrow_table()
        return np.sort(table["id"].to_numpy())


@dataclass
class Selector(Step):
    """A decision over the whole pool: rank, dedup, balance. Its name is the drop reason.

    Write `select`: the live rows in, a Selection out. It must not depend on the order of the rows.
    """

    fills: ClassVar[tuple[str, ...]] = ()  # columns that exist already, and get values in the rows that it names

    def select(self, live: Live) -> Selection:
        raise NotImplementedError(f"{type(self).__name__} must define select()")


def quoted(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name in SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def coin(uids: Iterable[str], seed: int, salt: str = "") -> np.ndarray:
    """For each uid a number in [0, 1), the same on every machine, in every order: 52 bits of md5(uid:salt:seed)."""
    tail = f":{salt}:{seed}".encode()
    high = (int(hashlib.md5(u.encode() + tail, usedforsecurity=False).hexdigest()[:13], 16) for u in uids)
    return np.fromiter(high, dtype=np.float64) / 2.0**52


def coin_sql(uid: str, seed: int, salt: str = "") -> str:
    """The same number as an SQL expression; `uid` is an SQL expression too."""
    tail = quoted(f":{salt}:{seed}")
    return f"(('0x' || substr(md5({uid} || {tail}), 1, 13))::bigint / {2**52}::double)"
