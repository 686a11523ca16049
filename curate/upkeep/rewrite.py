"""Files of a run written again without what was taken down."""

import hashlib
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.removed import clear_rows, is_in
from curate.store.atomic import Store
from curate.store.parquet import write_groups


def empty(store: Store, name: str, rows: np.ndarray, values: dict[str, Any], moved: dict[str, str]) -> None:
    """Leave nothing of some rows of a file but who they were."""
    table = store.table(name)
    hit = np.zeros(len(table), dtype=bool)
    hit[rows] = True
    made = _renamed(clear_rows(table, hit, values) if hit.any() else table, moved)
    if not made.equals(table):
        store.publish_table(name, made)


def leave_out(store: Store, name: str, moved: dict[str, str], gone: dict[str, Collection]) -> None:
    """A file without the rows whose value in one of these columns is one of these; a row group at a time."""
    with store.parquet(name) as data:
        groups = range(data.num_row_groups)
        keys = [c for c in (*gone, "payload") if c in data.schema_arrow.names]
        if not any(_changed(data.read_row_group(g, keys), moved, gone) for g in groups):
            return
        left = (_renamed(t.filter(pc.invert(_hit(t, gone))), moved) for t in map(data.read_row_group, groups))
        with store.private(name) as path:
            store.publish(name, path, write_groups(path, data.schema_arrow, (t for t in left if len(t)), True))


def _changed(keys: pa.Table, moved: dict[str, str], gone: dict[str, Collection]) -> bool:
    return bool(pc.any(_hit(keys, gone)).as_py()) or _renamed(keys, moved) is not keys


def _hit(table: pa.Table, gone: dict[str, Collection]) -> pa.Array:
    hit = pa.array(np.zeros(len(table), dtype=bool))
    for column in gone.keys() & set(table.column_names):
        hit = pc.or_(hit, is_in(table[column], gone[column]))
    return hit


def _renamed(table: pa.Table, moved: dict[str, str]) -> pa.Table:
    """The table with the new names of payloads; the same object where there is none."""
    if not moved or "payload" not in table.column_names:
        return table
    old = table["payload"].combine_chunks()
    at = pc.index_in(old, value_set=pa.array(list(moved), old.type))
    if at.null_count == len(at):
        return table
    new = pa.array(list(moved.values()), old.type).take(at)
    return table.set_column(table.column_names.index("payload"), table.schema.field("payload"), pc.coalesce(new, old))


def copied(old: BinaryIO, new: BinaryIO, cut: list[tuple[int, int]]) -> tuple[str, int]:
    """Copy a file with zeros at some slices (offset, bytes); returns its SHA-256 and size."""
    hash, at = hashlib.sha256(), 0
    while data := old.read(1 << 20):
        data, end = bytearray(data), at + len(data)
        for start, size in cut:
            low, high = max(start, at), min(start + size, end)
            if low < high:
                data[low - at : high - at] = bytes(high - low)
        new.write(data)
        hash.update(data)
        at = end
    return hash.hexdigest(), at
