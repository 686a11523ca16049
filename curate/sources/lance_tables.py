"""Lance tables, for the child that reads them (contained.py), by pylance; of an object store from the address at which the parent
serves the folder."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from curate.sources import parquet
from curate.sources.contained import ROWS, Opened
from curate.sources.folder_server import FOLDER


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
    try:
        import lance
    except ImportError as e:
        raise ValueError("Lance tables need the package pylance: pip install 'curate-multimodal[lance]'") from e
    if not opened.path.startswith("http://"):
        return lance.dataset(opened.path)
    url = urlsplit(opened.path)
    options = {"aws_endpoint": f"http://{url.netloc}", "allow_http": "true", "aws_skip_signature": "true", "aws_region": "any"}
    return lance.dataset(f"s3:/{url.path}/{FOLDER}", storage_options=options)
