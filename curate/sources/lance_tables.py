"""Lance tables, for the child that reads them (contained.py), by pylance."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curate.sources import parquet
from curate.sources.contained import ROWS, Opened


def read(opened: Opened, without: list[str], texts: list[str]) -> Iterator[tuple[pa.Table, list[bool]]]:
    """The rows of a table, as parquet.read has them."""
    table = _opened(opened)
    names, texts = parquet.chosen(table.schema, without, texts)
    yield parquet.plain(table.schema.empty_table().select(names), texts)
    for batch in table.to_batches(columns=names, batch_size=ROWS):
        yield parquet.plain(pa.Table.from_batches([batch]), texts)


def batches(opened: Opened, column: str, start: int, stop: int, size: int) -> Iterator[pa.RecordBatch]:
    """One column of a range of rows, some at a time."""
    yield from _opened(opened).scanner(columns=[column], offset=start, limit=stop - start, batch_size=size).to_batches()


def fields(opened: Opened) -> pa.Schema:
    return _opened(opened).schema


def _opened(opened: Opened) -> Any:
    if not opened.path:
        raise ValueError("a Lance table is read from a disk of this machine: copy it there")
    try:
        import lance
    except ImportError as e:
        raise ValueError("Lance tables need the package pylance: pip install 'curate-multimodal[lance]'") from e
    return lance.dataset(opened.path)
