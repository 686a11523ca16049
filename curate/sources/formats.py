"""Streaming readers of tables: Parquet, Arrow, Lance, CSV, TSV and JSON lines, plain or compressed, from any fsspec path.

`tables(file, without)` yields pairs (table, bad): first an empty table with the file's columns, then its rows in batches.
`bad` has one boolean a row: True for a row that could not be read (its columns are null). Files are read in a child (contained.py).
"""

import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.schema import STR
from curate.sources import contained, lance_tables, parquet
from curate.sources.columns import carry_table, fit
from curate.sources.contained import ROWS, Opened
from curate.sources.lines import marked
from curate.sources.separated import LONGEST_LINE, Records

COMPRESSED = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}

#: A file must not decompress to more than both UNPACKED times its size and ANYWAY bytes.
UNPACKED, ANYWAY = 200, 2 << 30

#: Largest number of fields of a JSON object, and the column for fields beyond the largest number of columns.
FIELDS, FURTHER = 300, "further fields"

Stream = Iterator[tuple[pa.Table, list[bool]]]


def tables(file: str, without: Iterable[str] = (), texts: Iterable[str] = ()) -> Stream:
    """The stream of a file, by its extension. Columns in `without` are not read; those in `texts` may be fields of others
    (`meta.caption`). ValueError if it cannot be read."""
    kind, compression = file_format(file)
    return contained.read("curate.sources.formats:unpacked", [file], kind, compression, list(without), list(texts))


def unpacked(files: list[Opened], kind: str, compression: str | None, without: list[str], texts: list[str]) -> Stream:
    """The stream of one file, in the child that reads it. ValueError if it decompresses to too much."""

    opened = Unpacked(files[0], compression) if compression else files[0]
    limit, done, rows = max(ANYWAY, UNPACKED * files[0].size), 0, 0
    for table, bad in READERS[kind](opened, without, texts):
        left = table.drop_columns([c for c in table.column_names if c in without])
        done, rows = done + left.nbytes, rows + len(left)
        if done > limit:
            raise ValueError(f"it unpacks to more than {limit >> 20:,} MiB; from row {rows - len(left)} on it is not read")
        yield left, bad


@dataclass(frozen=True)
class Unpacked:
    """A compressed file that opens decompressed."""

    file: Opened
    compression: str

    def __call__(self) -> BinaryIO:
        return pa.CompressedInputStream(self.file(), self.compression)


def file_format(file: str) -> tuple[str, str | None]:
    """(extension, compression) of a file name; RecipeError for an unsupported one."""
    *_, stem, last = ["", "", *file.lower().rsplit("/", 1)[-1].split(".")]
    compression = COMPRESSED.get(last)
    kind = stem if compression else last
    if kind not in READERS or (compression and kind in UNCOMPRESSED):
        endings = ", ".join("." + k for k in READERS)
        raise RecipeError(
            f"{file}: not a table that can be read: the name must end in {endings} "
            f"(all but Parquet also with {', '.join('.' + c for c in COMPRESSED)})"
        )
    return kind, compression


# ---- CSV and TSV: every value is text; an empty one is null


def read_csv(opened: Opened, without: list[str], texts: list[str], tabs: bool = False) -> Stream:
    with opened() as f:
        records = iter(Records(_lines(f, newline=""), tabs))
        names = next(records, [])
        if names is None:
            raise ValueError("its first line is no header: it is too long, or has a quote that is not closed")
        if any("\0" in name for name in names):
            raise ValueError("NUL characters in its header: no text, or UTF-16 that does not say so; save it as UTF-8")
        yield _strings([], names)
        while chunk := list(itertools.islice(records, ROWS)):
            yield _strings(chunk, names)


def read_tsv(opened: Opened, without: list[str], texts: list[str]) -> Stream:
    return read_csv(opened, without, texts, tabs=True)


def _text(f: BinaryIO, newline: str) -> io.TextIOWrapper:
    """A file as text in UTF-8, with invalid bytes as surrogates, which `text_array` detects; or in the encoding of its byte order mark."""
    buffered = io.BufferedReader(f)  # type: ignore[type-var]
    encoding = marked(buffered.peek(4))
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return io.TextIOWrapper(buffered, encoding, errors, newline=newline)


def _lines(f: BinaryIO, newline: str) -> Iterator[str | None]:
    """Lines with their ends; None for a line that is too long."""
    text = _text(f, newline)
    while line := text.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(("\n", "\r")):
            yield line
            continue
        while (rest := text.readline(LONGEST_LINE)) and not rest.endswith(("\n", "\r")):
            pass
        yield None


def _strings(records: list[list[str] | None], names: list[str]) -> tuple[pa.Table, list[bool]]:
    blank = [""] * len(names)
    columns = zip(*[r or blank for r in records]) if records else [()] * len(names)
    if len(names) > parquet.COLUMNS:
        raise ValueError(f"{len(names):,} columns, more than {parquet.COLUMNS:,}")
    made = pa.table([text_array([v or None for v in column]) for column in columns], names=list(map(fit, names)))
    return plain(made, [r is None for r in records])


def plain(made: pa.Table, bad: list[bool]) -> tuple[pa.Table, list[bool]]:
    """A table in types of pools, and which rows are invalid."""
    table, hostile = carry_table(made)
    return table, (hostile | np.array(bad, bool)).tolist()


def text_array(values: list[str | None]) -> pa.Array:
    """Strings as an array. One that is not valid Unicode becomes invalid UTF-8, which `columns.carry` detects."""
    try:
        return pa.array(values, STR)
    except UnicodeEncodeError:
        return pa.array([v if v is None else _bytes(v) for v in values], pa.large_binary()).view(STR)


def _bytes(text: str) -> bytes:
    """The original bytes of a text from `_lines`; for a lone surrogate from a JSON escape, bytes that are not UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


# ---- JSON lines: read twice, because the type of a column depends on all its values


def read_jsonl(opened: Opened, without: list[str], texts: list[str]) -> Stream:
    with opened() as f:
        found = _elements if _ARRAY.match(_text(f, "\n").read(4096)) else _objects_of_lines
    with opened() as f:
        types = json_types(o for o, _ in _objects(found(f), texts))
    if not types:
        with opened() as f:
            if any(bad for _, bad in _objects(found(f), texts)):
                raise ValueError("no line or element of it is a JSON object; write one object a line: jq -c .")
    yield json_table([], types), []
    with opened() as f:
        objects = _objects(found(f), texts)
        while chunk := list(itertools.islice(objects, ROWS)):
            yield plain(json_table([o for o, _ in chunk], types), [bad for _, bad in chunk])


def _objects(found: Iterable[dict[str, Any] | None], texts: list[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each object with the columns of `texts`, and whether the row is invalid: no object, or one of `texts` is not text."""
    for item in found:
        yield ({}, True) if item is None else _with_texts(item, texts)


def _objects_of_lines(f: BinaryIO) -> Iterator[dict[str, Any] | None]:
    """The object of each line, None for a line without one. Blank lines are skipped."""
    for line in _lines(f, newline="\n"):
        if line is None or line.strip():
            yield None if line is None else json_object(line)


#: The beginning of a file that is one array of objects, and the separators of its elements.
_ARRAY, _BETWEEN = re.compile(r"\s*\[\s*(?:$|[{\]])"), re.compile(r"[\s,]*")


def _elements(f: BinaryIO) -> Iterator[dict[str, Any] | None]:
    """The elements of an array, None for one that is not an object. ValueError at the first element that is not JSON."""
    text, decode = _text(f, "\n"), json.JSONDecoder().raw_decode
    held, at, number = text.read(1 << 20).lstrip(), 1, 0
    while True:
        at = _BETWEEN.match(held, at).end()
        if held[at : at + 1] == "]":
            return
        try:
            value, end = decode(held, at)
            if end == len(held):
                raise ValueError("it ends here")
        except (ValueError, RecursionError) as e:
            more = text.read(1 << 20)
            if not more or len(held) - at > LONGEST_LINE:
                raise ValueError(f"its element {number} is no JSON, or longer than {LONGEST_LINE >> 20} MB: {e}") from e
            held, at = held[at:] + more, 0
            continue
        number, at = number + 1, end
        yield _if_object(value)


def _with_texts(found: dict[str, Any], texts: list[str]) -> tuple[dict[str, Any], bool]:
    bad = False
    for name in texts:
        value: Any = found
        for step in [name] if name in found else name.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, (dict, list)):
            value, bad = None, True
        if name in found or value is not None:
            found[name] = value
    return found, bad


def json_object(text: str) -> dict[str, Any] | None:
    """A JSON object, or None for anything else and for one with too many fields."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _if_object(value)


def _if_object(value: Any) -> dict[str, Any] | None:
    """A JSON value if it is an object without too many fields, else None."""
    return {fit(n): v for n, v in value.items()} if isinstance(value, dict) and len(value) <= FIELDS else None


def json_types(objects: Iterable[dict[str, Any]]) -> dict[str, pa.DataType]:
    """The common type of the values of each name, in order of appearance; names beyond the largest number of columns share a column of
    JSON text."""
    kinds: dict[str, set[type]] = {}
    for found in objects:
        for name, value in found.items():
            if name in kinds or len(kinds) < parquet.COLUMNS - 1:
                kinds.setdefault(name, set()).add(_kind(value))
            else:
                kinds[FURTHER] = {str}
    return {name: _json_type(seen - {type(None)}) for name, seen in kinds.items()}


class _Long(int):
    """Marks an integer of 64 bits that a double may not represent exactly."""


def _kind(value: Any) -> type:
    """The Python type of a JSON value; `_Long` for large integers, object for those beyond 64 bits."""
    if type(value) is not int or abs(value) <= 2**53:
        return type(value)
    return _Long if -(2**63) <= value < 2**63 else object


def _json_type(kinds: set[type]) -> pa.DataType:
    """The Arrow type of a column: numbers and booleans are kept; lists, objects and mixtures become JSON text."""
    if kinds == {bool}:
        return pa.bool_()
    if kinds and kinds <= {int, _Long}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else STR


def json_table(objects: list[dict[str, Any]], types: dict[str, pa.DataType]) -> pa.Table:
    """Objects as a table of these types; an empty object is a row of nulls."""
    found = {name: [o.get(name) for o in objects] for name in types}
    if FURTHER in types:
        rest = ({n: v for n, v in o.items() if n not in types} for o in objects)
        found[FURTHER] = [more or None for more in rest]
    return pa.table({name: _json_array(found[name], kind) for name, kind in types.items()})


def _json_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind != STR:
        return pa.array(values, kind)
    return text_array([v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values])


READERS: dict[str, Callable[[Opened, list[str], list[str]], Stream]] = {
    "parquet": parquet.read,
    "arrow": parquet.read_arrow,
    "lance": lance_tables.read,
    "pq": parquet.read,
    "csv": read_csv,
    "tsv": read_tsv,
    "tab": read_tsv,
    "jsonl": read_jsonl,
    "ndjson": read_jsonl,
    "json": read_jsonl,
}
#: Formats with internal compression.
UNCOMPRESSED = frozenset({"parquet", "pq", "arrow", "lance"})

#: Endings of the names of supported files.
ENDINGS = tuple(f".{kind}" for kind in READERS) + tuple(
    f".{k}.{c}" for k in READERS if k not in UNCOMPRESSED for c in COMPRESSED
)
