"""Selectors: decisions that need the whole pool. They read columns, never pixels; and the seeded coin they toss."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate.stage import Step

#: Ids of rows of earlier releases begin here: those of the pool itself are smaller.
PUBLISHED = 1 << 62

#: Why a row fell, pair by pair: the dropped row, its survivor, and how alike they are (1.0 = the same).
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
    """What a selector decided. Rows that are not named stay, in any order.

    Each is a frame (curate.select.exchange.Frame) in the chunks of the pool, as `each` and `home` return them; or of a small pool an
    Arrow table, or an array of ids; or None.
    """

    drop: Any = None  # the column `id` and, where the selector's name is not the reason, `reason`
    columns: Any = None  # `id` and the columns to add to the ledger, for any rows
    edges: Any = None  # the columns of EDGES
    notes: dict[str, Any] = field(default_factory=dict)  # for the report: realised shares, counts, hashes of artefacts
    files: dict[str, bytes] = field(default_factory=dict)  # kept beside the decision: centroids

    def dropped(self) -> np.ndarray:
        """The ids of the rows that fall, ascending: for a small pool."""
        if self.drop is None or isinstance(self.drop, (np.ndarray, list)):
            return np.sort(np.array([] if self.drop is None else self.drop, np.int64))
        table = self.drop if isinstance(self.drop, pa.Table) else self.drop.table()
        return np.sort(table["id"].to_numpy())


@dataclass
class Selector(Step):
    """A decision over the whole pool: rank, dedup, balance. Its name is the drop reason.

    Write `select`: the live rows in, a Selection out. It must not depend on the order of the rows, nor on how they are cut into
    chunks. `live` is a frame (curate.select.exchange.Frame) with `id` (the row's number in the pool), `uid` and the selector's
    `reads`; its tasks run on the engine's workers, and see no file of this machine. One that `sees_published` compares new rows with
    those of earlier releases; what it decides of the latter has no effect.
    """

    overwrites: ClassVar[tuple[str, ...]] = ()  # columns that exist already, and get values in the rows that it names
    sees_published: ClassVar[bool] = (
        False  # of a set that grows `live` has the rows of earlier releases too, with ids from PUBLISHED on
    )

    def select(self, live: Any) -> Selection:
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
