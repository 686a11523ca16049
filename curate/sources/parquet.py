"""Reader of Parquet and Arrow files. It runs in a child (contained.py), since a malformed file may exhaust memory and time, or crash it."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.sources.columns import carry_table, refused
from curate.sources.contained import ROWS, Opened

#: Largest number of columns of a file; each adds cost to every step.
COLUMNS = 1000


def read(opened: Opened, without: list[str], texts: list[str]) -> Iterator[tuple[pa.Table, list[bool]]]:
    """An empty table with the file's columns, then its rows in batches, in types of pools (columns.carry), each with the mask of its
    invalid rows.

    texts: required columns, which may be fields of others, like `meta.caption`. ValueError if the file cannot be read.
    """
    with opened() as f:
        meta = pq.read_metadata(f)
        found = meta.schema.to_arrow_schema()
        names, texts = chosen(found, without, texts)
        # Without pre-buffering, and with buffered column streams, a huge row group is read page by page.
        file = pq.ParquetFile(
            f, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True, read_dictionary=_shared(meta, names)
        )
        yield plain(file.schema_arrow.empty_table().select(names), texts)
        for group in range(meta.num_row_groups):  # a broken group yields nothing, those before it everything
            for batch in file.iter_batches(ROWS, row_groups=[group], columns=names, use_threads=False):
                if len(batch):
                    yield plain(pa.Table.from_batches([batch]), texts)


def read_arrow(opened: Opened, without: list[str], texts: list[str]) -> Iterator[tuple[pa.Table, list[bool]]]:
    """As `read`, for a stream of Arrow batches, as `datasets` stores them."""
    with opened() as f, pa.ipc.open_stream(f) as stream:
        names, texts = chosen(stream.schema, without, texts)
        yield plain(stream.schema.empty_table().select(names), texts)
        for batch in stream:
            for start in range(0, len(batch), ROWS):
                yield plain(pa.Table.from_batches([batch.select(names).slice(start, ROWS)]), texts)


def chosen(found: pa.Schema, without: list[str], texts: list[str]) -> tuple[list[str], list[str]]:
    """The columns to read, and those of `texts` that are fields of others; ValueError if there are too many columns, or one is duplicated
    or of a refused type."""
    if len(found) - len(without) > COLUMNS:
        raise ValueError(f"{len(found):,} columns, more than {COLUMNS:,}; leave some out (--without)")
    names = [n for n in found.names if n not in without]
    if doubled := [n for n in names if found.names.count(n) > 1]:
        raise ValueError(f"more than one column is named {doubled[0]!r}")
    for field in (found.field(n) for n in names):
        if kind := refused(field):
            message = f"column {field.name!r} has the extension type {kind!r}, which is never loaded; leave the column out"
            raise ValueError(f"{message} (--without {field.name})")
    return names, [t for t in texts if t not in found.names and _field(found, t) is not None]


def _shared(meta: pq.FileMetaData, names: list[str]) -> list[str]:
    """The columns to read as dictionaries, so that a value which many rows share is in memory once."""
    groups = [meta.row_group(g) for g in range(meta.num_row_groups)]
    shared = {
        c.path_in_schema
        for g in groups
        for c in (g.column(i) for i in range(g.num_columns))
        if c.physical_type == "BYTE_ARRAY" and {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}.intersection(c.encodings)
    }
    found = meta.schema.to_arrow_schema()
    return [n for n in names if n in shared and (pa.types.is_string(k := found.field(n).type) or pa.types.is_binary(k))]


def plain(rows: pa.Table, texts: list[str]) -> tuple[pa.Table, list[bool]]:
    """Rows in types of pools, with the required fields as columns, and the mask of invalid rows."""
    for text in texts:
        head, *inner = text.split(".")
        column = rows[head].combine_chunks()
        for name in inner:
            column = pc.struct_field(column, [name])
        rows = rows.append_column(text, column)
    table, bad = carry_table(rows.replace_schema_metadata(None))
    return table, bad.tolist()


def _field(schema: pa.Schema, path: str) -> pa.DataType | None:
    """The type of a field of a struct, `meta.caption`; None if there is none."""
    head, *inner = path.split(".")
    kind = schema.field(head).type if schema.names.count(head) == 1 else None
    for name in inner:
        if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind
