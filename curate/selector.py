"""Base class of selectors, which decide over the whole pool by columns, never by pixels; and their seeded random numbers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.stage import Step

#: The first id of rows of earlier releases; ids of the pool itself are smaller.
PUBLISHED = 1 << 62

#: Pairs of duplicates: the dropped row, its survivor, and their similarity (1.0 = identical).
EDGES = pa.schema(
    [
        ("id", pa.int64()),
        ("uid", pa.large_string()),
        ("survivor", pa.int64()),
        ("survivor_uid", pa.large_string()),
        ("similarity", pa.float32()),
    ]
)


@dataclass
class Selection:
    """The decision of a selector. Rows that are not in `drop` are kept.

    `drop`, `columns` and `edges` are frames (curate.select.exchange.Frame) in the chunks of the pool, as `each` and `home` return them;
    for a small pool Arrow tables, or an array of ids; or None. Their order does not matter.
    """

    drop: Any = None  # the column `id` and, where the selector's name is not the reason, `reason`
    columns: Any = None  # `id` and the columns to add to the ledger, for any rows
    edges: Any = None  # the columns of EDGES
    notes: dict[str, Any] = field(default_factory=dict)  # for the report: realised shares, counts, hashes of artefacts
    files: dict[str, bytes] = field(default_factory=dict)  # stored with the decision, such as centroids

    def dropped(self) -> np.ndarray:
        """The ids of the dropped rows, ascending; for a small pool."""
        if self.drop is None or isinstance(self.drop, (np.ndarray, list)):
            return np.sort(np.array([] if self.drop is None else self.drop, np.int64))
        table = self.drop if isinstance(self.drop, pa.Table) else self.drop.table()
        return np.sort(table["id"].to_numpy())


@dataclass
class Selector(Step):
    """Base class of decisions over the whole pool: ranking, deduplication, balancing. Its name is the drop reason.

    Subclasses implement `select`, which takes the live rows and returns a Selection. It must not depend on the order of the rows, nor
    on their division into chunks. `live` is a frame (curate.select.exchange.Frame) with `id` (the row's number in the pool), `uid` and
    the selector's `reads`; its tasks run on the engine's workers, without access to files of this machine. A selector that
    `sees_published` compares new rows with those of earlier releases; its decisions about the latter have no effect.
    """

    overwrites: ClassVar[tuple[str, ...]] = ()  # existing columns that get new values in the rows of `Selection.columns`
    sees_published: ClassVar[bool] = False  # `live` also has the rows of earlier releases, with ids from PUBLISHED on

    def select(self, live: Any) -> Selection:
        raise NotImplementedError(f"{type(self).__name__} must define select()")


def quoted(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def coin(uids: Iterable[str], seed: int, salt: str = "") -> np.ndarray:
    """A pseudo-random number in [0, 1) for each uid, independent of machine and order: 52 bits of md5(uid:salt:seed)."""
    tail = f":{salt}:{seed}".encode()
    high = (int(hashlib.md5(u.encode() + tail, usedforsecurity=False).hexdigest()[:13], 16) for u in uids)
    return np.fromiter(high, dtype=np.float64) / 2.0**52


def coin_sql(uid: str, seed: int, salt: str = "") -> str:
    """The number of `coin` as an SQL expression; `uid` is an SQL expression too."""
    tail = quoted(f":{salt}:{seed}")
    return f"(('0x' || substr(md5({uid} || {tail}), 1, 13))::bigint / {2**52}::double)"
