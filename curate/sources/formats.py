"""Tables on disk as streams: Parquet, CSV, TSV and JSON lines, plain or compressed, from any fsspec path.

`tables(file, size, without)` yields pairs (table, bad): first an empty table that shows the file's columns, then tables
of at most `size` rows. `bad` has one boolean a row: True for a row that could not be read (its columns are null).
"""

import csv
import functools
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import RecipeError
from curate.paths import open_file
from curate.schema import STR
from curate.sources.columns import fit

COMPRESSED = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}

#: Characters; a longer line is not a row but a broken file.
LONGEST_LINE = 16 << 20

#: Lines; a longer record of CSV is a quote that nobody closed, and the rows that it swallowed.
MOST_LINES = 100

Stream = Iterator[tuple[pa.Table, list[bool]]]
Opened = Callable[[], BinaryIO]


def tables(file: str, size: int, without: Iterable[str] = ()) -> Stream:
    """The stream of a file, by its extension; columns in `without` are not read."""
    kind, compression = file_format(file)

    def opened() -> BinaryIO:
        raw = open_file(file)
        return pa.CompressedInputStream(raw, compression) if compression else raw

    for table, bad in READERS[kind](opened, size, frozenset(without)):
        yield table.drop_columns([c for c in table.column_names if c in without]), bad


def file_format(file: str) -> tuple[str, str | None]:
    """(extension, compression) of a file name; RecipeError for one that is not readable here."""
    *_, stem, last = ["", "", *file.lower().rsplit("/", 1)[-1].split(".")]
    compression = COMPRESSED.get(last)
    kind = stem if compression else last
    if kind not in READERS or (compression and kind in ("parquet", "pq")):
        endings = ", ".join("." + k for k in READERS)
        raise RecipeError(
            f"{file}: not a table that can be read: the name must end in {endings} "
            f"(all but Parquet also with {', '.join('.' + c for c in COMPRESSED)})"
        )
    return kind, compression


def read_parquet(opened: Opened, size: int, without: frozenset[str]) -> Stream:
    # Without pre-buffering, and with buffered column streams, a huge row group is read page by page.
    with opened() as f, pq.ParquetFile(f, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True) as parquet:
        yield parquet.schema_arrow.empty_table(), []
        columns = [c for c in parquet.schema_arrow.names if c not in without]
        for batch in parquet.iter_batches(batch_size=size, columns=columns, use_threads=False):
            yield pa.Table.from_batches([batch]), [False] * len(batch)


# ---- CSV and TSV: every value is text; an empty one is null


def read_csv(opened: Opened, size: int, without: frozenset[str], parsed: Callable = csv.reader) -> Stream:
    with opened() as f:
        rows = parsed(_lines(f, newline=""))
        names = next(rows, [])
        yield _strings([], names), []
        records = _records(rows, len(names))
        while chunk := list(itertools.islice(records, size)):
            yield _strings(chunk, names), [r is None for r in chunk]


def read_tsv(opened: Opened, size: int, without: frozenset[str]) -> Stream:
    return read_csv(opened, size, without, functools.partial(map, _cells))


def _cells(line: str) -> list[str]:
    """The cells of a line of TSV. Published lists (CC3M, CC12M) quote nothing: a quote is one where it closes before the next
    tab or the end of the line, else a character."""
    try:
        return next(csv.reader([line], delimiter="\t", strict=True))
    except csv.Error:
        return next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE))


def _lines(f: BinaryIO, newline: str) -> Iterator[str]:
    """Lines with their ends; bytes that are no UTF-8 become surrogates, and are found again by `text_array`."""
    text = io.TextIOWrapper(f, "utf-8-sig", "surrogateescape", newline=newline)
    return iter(lambda: text.readline(LONGEST_LINE), "")


def _records(rows: Iterator[list[str]], width: int) -> Iterator[list[str] | None]:
    """The records, with None for one that has not `width` fields, has too many lines or is not CSV. Blank lines are not records."""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield None
            continue
        if row:
            yield row if len(row) == width and sum(v.count("\n") for v in row) < MOST_LINES else None


def _strings(records: list[list[str] | None], names: list[str]) -> pa.Table:
    blank = [""] * len(names)
    columns = zip(*[r or blank for r in records]) if records else [()] * len(names)
    return pa.table([text_array([v or None for v in column]) for column in columns], names=names)


def text_array(values: list[str | None]) -> pa.Array:
    """Strings as an array. One that is not Unicode becomes invalid UTF-8, for `columns.repaired` to find."""
    try:
        return pa.array(values, STR)
    except UnicodeEncodeError:
        return pa.array([v if v is None else _bytes(v) for v in values], pa.large_binary()).view(STR)


def _bytes(text: str) -> bytes:
    """The bytes that `_lines` read; or, for a lone surrogate that JSON spelled out, bytes that are no UTF-8 either."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


# ---- JSON lines: read twice, because a column's type is known only when all values have been seen


def read_jsonl(opened: Opened, size: int, without: frozenset[str]) -> Stream:
    with opened() as f:
        types = json_types(_objects(f))
    yield json_table([], types), []
    with opened() as f:
        objects = _objects(f)
        while chunk := list(itertools.islice(objects, size)):
            yield json_table(chunk, types), [o is None for o in chunk]


def _objects(f: BinaryIO) -> Iterator[dict[str, Any] | None]:
    """The object of each line, None for a line that is not one. Blank lines are not rows."""
    return (json_object(line) for line in _lines(f, newline="\n") if line.strip())


def json_object(text: str) -> dict[str, Any] | None:
    """A JSON object, or None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return {fit(name): v for name, v in value.items()} if isinstance(value, dict) else None


def json_types(objects: Iterable[dict[str, Any] | None]) -> dict[str, pa.DataType]:
    """For each name, in order of appearance, the one type that holds all its values."""
    kinds: dict[str, set[type]] = {}
    for each in objects:
        for name, value in (each or {}).items():
            kinds.setdefault(name, set()).add(_kind(value))
    return {name: _json_type(seen - {type(None)}) for name, seen in kinds.items()}


class _Long(int):
    """A whole number of 64 bits that a float may not hold."""


def _kind(value: Any) -> type:
    """The Python type of a JSON value, with long whole numbers told apart, and those beyond 64 bits counted as objects."""
    if type(value) is not int or abs(value) <= 2**53:
        return type(value)
    return _Long if -(2**63) <= value < 2**63 else object


def _json_type(kinds: set[type]) -> pa.DataType:
    """Numbers and booleans are themselves; lists, objects and mixtures are carried as JSON text."""
    if kinds == {bool}:
        return pa.bool_()
    if kinds and kinds <= {int, _Long}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else STR


def json_table(objects: list[dict[str, Any] | None], types: dict[str, pa.DataType]) -> pa.Table:
    """The objects as a table of these types; None is a row of nulls."""
    return pa.table({name: _json_array([(o or {}).get(name) for o in objects], kind) for name, kind in types.items()})


def _json_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind != STR:
        return pa.array(values, kind)
    return text_array([v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values])


READERS = {
    "parquet": read_parquet,
    "pq": read_parquet,
    "csv": read_csv,
    "tsv": read_tsv,
    "tab": read_tsv,
    "jsonl": read_jsonl,
    "ndjson": read_jsonl,
    "json": read_jsonl,
}

#: How the name of a readable file ends.
ENDINGS = tuple(f".{kind}" for kind in READERS) + tuple(f".{kind}.{c}" for kind in READERS for c in COMPRESSED)
