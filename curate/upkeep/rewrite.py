"""Rewrite files of a run without the content taken down."""

import hashlib
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.removed import clear_rows, is_in
from curate.store.atomic import Store
from curate.store.parquet import write_groups


def blank_rows(store: Store, name: str, rows: np.ndarray, values: dict[str, Any], moved: dict[str, str]) -> None:
    """Blank some rows of a file except for their identity; values: what their columns get; moved: new names of payloads."""
    table = store.table(name)
    matching = np.zeros(len(table), dtype=bool)
    matching[rows] = True
    rewritten = _with_new_payloads(clear_rows(table, matching, values) if matching.any() else table, moved)
    if not rewritten.equals(table):
        store.publish_table(name, rewritten)


def remove_rows(store: Store, name: str, moved: dict[str, str], removed: dict[str, Collection]) -> None:
    """Rewrite a file without the rows that have one of the values to be removed in their column; a row group at a time."""
    with store.parquet(name) as data:
        groups = range(data.num_row_groups)
        keys = [c for c in (*removed, "payload") if c in data.schema_arrow.names]
        if not any(_affected(data.read_row_group(g, keys), moved, removed) for g in groups):
            return
        remaining = (
            _with_new_payloads(t.filter(pc.invert(_matching(t, removed))), moved) for t in map(data.read_row_group, groups)
        )
        with store.private(name) as path:
            store.publish(name, path, write_groups(path, data.schema_arrow, (t for t in remaining if len(t)), True))


def _affected(keys: pa.Table, moved: dict[str, str], removed: dict[str, Collection]) -> bool:
    return bool(pc.any(_matching(keys, removed)).as_py()) or _with_new_payloads(keys, moved) is not keys


def _matching(table: pa.Table, removed: dict[str, Collection]) -> pa.Array:
    matching = pa.array(np.zeros(len(table), dtype=bool))
    for column in removed.keys() & set(table.column_names):
        matching = pc.or_(matching, is_in(table[column], removed[column]))
    return matching


def _with_new_payloads(table: pa.Table, moved: dict[str, str]) -> pa.Table:
    """The table with payloads renamed; the same object if none is."""
    if not moved or "payload" not in table.column_names:
        return table
    old = table["payload"].combine_chunks()
    at = pc.index_in(old, value_set=pa.array(list(moved), old.type))
    if at.null_count == len(at):
        return table
    new = pa.array(list(moved.values()), old.type).take(at)
    return table.set_column(table.column_names.index("payload"), table.schema.field("payload"), pc.coalesce(new, old))


def copy_with_zeros(old: BinaryIO, new: BinaryIO, slices: list[tuple[int, int]]) -> tuple[str, int]:
    """Copy a file with zeros in these slices (offset, bytes); returns its SHA-256 and size."""
    hash, at = hashlib.sha256(), 0
    while data := old.read(1 << 20):
        data, end = bytearray(data), at + len(data)
        for start, size in slices:
            low, high = max(start, at), min(start + size, end)
            if low < high:
                data[low - at : high - at] = bytes(high - low)
        new.write(data)
        hash.update(data)
        at = end
    return hash.hexdigest(), at
