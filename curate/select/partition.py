"""Partitioners of an exchange: the bucket that each row of a table goes to."""

import bisect
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class ByHash:
    """Partition by a uint64 hash column: rows with equal hashes share a bucket."""

    column: str

    def __call__(self, table: pa.Table, buckets: int) -> np.ndarray:
        high = table[self.column].to_numpy().astype(np.uint64) >> np.uint64(32)
        return (high * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)


@dataclass(frozen=True)
class ByShare:
    """Partition into ranges of a column in [0, 1): buckets in order, sorted within, are sorted as a whole."""

    column: str

    def __call__(self, table: pa.Table, buckets: int) -> np.ndarray:
        return (table[self.column].to_numpy() * buckets).astype(np.int64)


@dataclass(frozen=True)
class ById:
    """Partition by chunk of the pool, given a column of ids. starts: the first id of each chunk."""

    starts: tuple[int, ...]
    column: str = "id"

    def __call__(self, table: pa.Table, buckets: int) -> np.ndarray:
        found = np.searchsorted(np.array(self.starts), table[self.column].to_numpy(), side="right") - 1
        if len(found) and found.min() < 0:
            raise ValueError(f"there is no row with the id {table[self.column][int(found.argmin())]}")
        return found


@dataclass(frozen=True)
class ByBounds:
    """Partition into ranges of a column of bytes, divided at these bounds."""

    column: str
    bounds: tuple[bytes, ...]

    def __call__(self, table: pa.Table, buckets: int) -> np.ndarray:
        return np.array([bisect.bisect_right(self.bounds, v) for v in table[self.column].to_pylist()], np.int64)


By = ByHash | ByShare | ById | ByBounds
