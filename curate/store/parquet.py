"""Tables as Parquet: zstd, page checksums, the same bytes for the same rows, and a checksum of the whole file in its footer."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Rows of a group, where nobody wants less than a part.
GROUP = 100_000

#: Under this key the footer holds two SHA-256: of all bytes before the footer, and of the footer itself (with zeros in place of
#: the second). A file is verified by nothing but its own bytes, wherever it is copied to.
CHECKSUM = b"curate.sha256"
_ZEROS = b"0" * 64
_END = 8  # bytes behind the footer: its length, and the magic number
_TAIL = 64 << 10  # bytes that are read first: most footers are shorter


def write_table(path: Path, table: pa.Table, group: int = GROUP, checksum: bool = True) -> int:
    """Parquet as curate writes it: zstd, page checksums, and the same bytes for the same table. Returns the bytes written."""
    return write_groups(path, table.schema, [table], _repeating(table), group, checksum)


def write_groups(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    repeating: list[str] | bool,
    group: int = GROUP,
    checksum: bool = True,
) -> int:
    """Write tables of one schema after one another, in row groups of at most `group` rows. Returns the bytes written.

    repeating: the columns that get a dictionary. checksum: verifiable by `fault`.
    """
    note = {k: v for k, v in (schema.metadata or {}).items() if k != CHECKSUM}
    schema = schema.with_metadata(note) if note else schema.remove_metadata()
    with open(path, "w+b") as f:
        with pq.ParquetWriter(f, schema, compression="zstd", write_page_checksum=True, use_dictionary=repeating) as writer:
            for table in tables:
                writer.write_table(table.replace_schema_metadata(schema.metadata), group)
            if checksum:
                writer.add_key_value_metadata({CHECKSUM: 2 * _ZEROS})
        if checksum:
            _fill_in(f)
        return f.seek(0, 2)


def _fill_in(f: BinaryIO) -> None:
    """Put the checksums where the zeros are."""
    footer, start = _footer(f)
    at = footer.rindex(2 * _ZEROS)
    footer[at : at + 64] = _hash(f, start).encode()
    footer[at + 64 : at + 128] = hashlib.sha256(footer).hexdigest().encode()
    f.seek(start)
    f.write(footer)


def _footer(f: BinaryIO) -> tuple[bytearray, int]:
    """The footer with the end of the file, and where it starts; ValueError if there is none."""
    size = f.seek(0, 2)
    f.seek(max(0, size - _TAIL))
    tail = f.read()
    length = int.from_bytes(tail[-_END:-4], "little") + _END
    if tail[-4:] != b"PAR1" or length > size - 4:
        raise ValueError("the end of the file is not that of Parquet")
    if length > len(tail):
        f.seek(size - length)
        tail = f.read()
    return bytearray(tail[-length:]), size - length


def _hash(f: BinaryIO, size: int) -> str:
    f.seek(0)
    hash = hashlib.sha256()
    while size and (data := f.read(min(size, 1 << 20))):
        hash.update(data)
        size -= len(data)
    return hash.hexdigest()


def metadata(f: BinaryIO) -> pq.FileMetaData:
    """The footer of a Parquet file; ValueError if it is not as it was written. The rest of the file is not read."""
    footer, _ = _footer(f)
    try:
        found = pq.read_metadata(pa.BufferReader(b"PAR1" + footer))
    except OSError as e:  # it is in memory: no disk is at fault
        raise ValueError(e) from e
    if (value := (found.metadata or {}).get(CHECKSUM)) and not _is_as_written(footer, value):
        raise ValueError("the checksum of its footer is wrong")
    return found


def _is_as_written(footer: bytearray, value: bytes) -> bool:
    at = footer.rfind(value)
    blank = bytearray(footer)
    blank[at + 64 : at + 128] = _ZEROS
    return len(value) == 128 and at >= 0 and hashlib.sha256(blank).hexdigest().encode() == value[64:]


def fault(f: BinaryIO) -> str:
    """What is wrong with a file written with a checksum, of which every byte is read; empty if nothing is."""
    try:
        value = (metadata(f).metadata or {}).get(CHECKSUM)
        _, start = _footer(f)
    except (ValueError, pa.ArrowException, OverflowError) as e:
        return f"damaged ({e})"
    if value is None:
        return "damaged (it has no checksum)"
    return "" if _hash(f, start).encode() == value[:64] else "damaged (its checksum is wrong)"


def _repeating(table: pa.Table) -> list[str]:
    """The columns with repeating values: a dictionary makes them smaller. It makes others larger, and slower to write."""
    return [name for name in table.column_names if _repeats(table[name].slice(0, 1000))]


def _repeats(column: pa.ChunkedArray) -> bool:
    flat = not pa.types.is_nested(column.type) and not pa.types.is_null(column.type)
    return flat and 2 * pc.count_distinct(column, "all").as_py() <= len(column)
