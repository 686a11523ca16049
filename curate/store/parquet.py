"""Tables as Parquet: zstd, page checksums, and the same bytes for the same rows."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: Rows of a group, where nobody wants less than a part.
GROUP = 100_000


def write_table(path: Path, table: pa.Table, group: int = GROUP) -> int:
    """Parquet as curate writes it: zstd, page checksums, and the same bytes for the same table. Returns the bytes written."""
    with open(path, "wb") as f:
        pq.write_table(
            table, f, compression="zstd", write_page_checksum=True, row_group_size=group, use_dictionary=_repeating(table)
        )
        return f.tell()


def write_batches(path: Path, batches: pa.RecordBatchReader, count: int) -> int:
    """The same from a stream of about `count` rows, of which readers want a part's at a time (part.slice_of): in row groups of
    about a part, that grow with the square root of many rows, as then does what a reader spends on a group and on the list of
    them. One group is in memory at a time. Returns the bytes written."""
    held, rows, group = [], 0, max(10_000, math.isqrt(100 * count))
    with open(path, "wb") as f:
        with pq.ParquetWriter(
            f, batches.schema, compression="zstd", write_page_checksum=True, use_dictionary=["reason"]
        ) as writer:
            for batch in batches:
                held, rows = [*held, batch], rows + len(batch)
                while rows >= group:
                    table = pa.Table.from_batches(held)
                    writer.write_table(table.slice(0, group), group)
                    held, rows = table.slice(group).to_batches(), rows - group
            if rows:  # an empty group would have no bounds
                writer.write_table(pa.Table.from_batches(held), group)
        return f.tell()


def _repeating(table: pa.Table) -> list[str]:
    """The columns with repeating values: a dictionary makes them smaller. It makes others larger, and slower to write."""
    return [name for name in table.column_names if _repeats(table[name].slice(0, 1000))]


def _repeats(column: pa.ChunkedArray) -> bool:
    flat = not pa.types.is_nested(column.type) and not pa.types.is_null(column.type)
    return flat and 2 * pc.count_distinct(column, "all").as_py() <= len(column)
