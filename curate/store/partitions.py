"""Rows that are too many for memory: set down on the local disk in pieces, each of which is then taken by itself."""

import math
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.store.memory import give_back

#: About how many rows a piece has where these are narrow, and the most pieces.
ROWS, MOST = 1 << 17, 2048
#: Bytes of rows that wait in memory for their pieces.
WAIT = 4 << 20

_SIZES = struct.Struct("<QQ")  # before each batch: its bytes, and those before they were packed


def places(folder: Path, rows: int) -> list[Path]:
    """Files for the pieces of so many rows, in a new folder."""
    folder.mkdir()
    return [folder / str(n) for n in range(max(1, min(math.ceil(rows / ROWS), MOST)))]


def scatter(tables: Iterable[pa.Table], piece: Callable[[pa.Table], np.ndarray], files: list[Path]) -> int:
    """Append each row to the file of its piece; `piece` numbers those of a table's rows. Returns how many rows there were. A file
    that gets no row is not there."""
    held: list[tuple[pa.Table, np.ndarray]] = []
    size = rows = 0
    for table in tables:
        held.append((table, piece(table).astype(np.uint16)))  # numpy sorts short integers in linear time
        size, rows = size + table.nbytes, rows + len(table)
        if size > WAIT:
            _append(held, files)
            held, size = [], 0
    if held:
        _append(held, files)
    held.clear()
    give_back()
    return rows


def _append(held: list[tuple[pa.Table, np.ndarray]], files: list[Path]) -> None:
    numbers = np.concatenate([n for _, n in held])
    order = np.argsort(numbers, kind="stable")
    rows = pa.concat_tables([t.cast(_plain(t.schema)) for t, _ in held]).take(order)
    bounds = np.searchsorted(numbers[order], np.arange(len(files) + 1))
    for file, first, last in zip(files, bounds, bounds[1:]):
        if last > first:  # there may be more files than a process may hold open
            some = rows.slice(first, last - first).combine_chunks().to_batches()[0].serialize()
            packed = pa.compress(some, "lz4")
            with open(file, "ab") as f:
                f.write(_SIZES.pack(packed.size, some.size))
                f.write(packed)


def load(file: Path, fields: pa.Schema) -> pa.Table:
    """The rows of a piece, in the order in which they came."""
    batches = []
    if file.exists():
        with open(file, "rb") as f:
            while sizes := f.read(_SIZES.size):
                packed, size = _SIZES.unpack(sizes)
                batches.append(pa.ipc.read_record_batch(pa.decompress(f.read(packed), size, "lz4"), _plain(fields)))
    return pa.Table.from_batches(batches, _plain(fields)).cast(fields)


def _plain(fields: pa.Schema) -> pa.Schema:
    """The same fields without dictionaries, which a message does not carry."""
    return pa.schema([f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in fields])
