"""Tables on disk as streams: Parquet, CSV, TSV and JSON lines, plain or compressed, from any fsspec path.

`tables(file, without)` yields pairs (table, bad): first an empty table that shows the file's columns, then its rows, some at a time.
`bad` has one boolean a row: True for a row that could not be read (its columns are null). Files are read in a child (contained.py).
"""

import io
import itertools
import json
import os
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

#: How many times its own size, and bytes, a file may unpack to: both are passed by none that anybody would download.
UNPACKED, ANYWAY = 200, 2 << 30

#: Fields of an object of JSON, and where those are whose names are new when there are too many columns already.
FIELDS, FURTHER = 300, "further fields"

Stream = Iterator[tuple[pa.Table, list[bool]]]


def tables(file: str, without: Iterable[str] = (), texts: Iterable[str] = ()) -> Stream:
    """The stream of a file, by its extension. Columns in `without` are not read; those in `texts` are wanted, and may be fields of
    others (`meta.caption`). ValueError says why it cannot be read."""
    kind, compression = file_format(file)
    return contained.read("curate.sources.formats:unpacked", [file], kind, compression, list(without), list(texts))


def unpacked(files: list[Opened], kind: str, compression: str | None, without: list[str], texts: list[str]) -> Stream:
    """The same of one file, for the child that reads it."""

    opened = Unpacked(files[0], compression) if compression else files[0]
    size = 0
    if kind != "lance":
        with files[0]() as f:
            size = f.seek(0, os.SEEK_END)
    limit, done, rows = max(ANYWAY, UNPACKED * size), 0, 0
    for table, bad in READERS[kind](opened, without, texts):
        left = table.drop_columns([c for c in table.column_names if c in without])
        done, rows = done + left.nbytes, rows + len(left)
        if done > limit:
            raise ValueError(f"it unpacks to more than {limit >> 20:,} MiB; from row {rows - len(left)} on it is not read")
        yield left, bad


@dataclass(frozen=True)
class Unpacked:
    """A compressed file, opened as what is in it."""

    file: Opened
    compression: str

    def __call__(self) -> BinaryIO:
        return pa.CompressedInputStream(self.file(), self.compression)


def file_format(file: str) -> tuple[str, str | None]:
    """(extension, compression) of a file name; RecipeError for one that is not readable here."""
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
    """A file as text. UTF-8, where bytes that are none become surrogates, and are found again by `text_array`; or what the byte order
    mark says."""
    buffered = io.BufferedReader(f)  # type: ignore[type-var]
    encoding = marked(buffered.peek(4))
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return io.TextIOWrapper(buffered, encoding, errors, newline=newline)


def _lines(f: BinaryIO, newline: str) -> Iterator[str | None]:
    """Lines with their ends, None for one that is too long."""
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
    table, hostile = carry_table(made)
    return table, (hostile | np.array(bad, bool)).tolist()


def text_array(values: list[str | None]) -> pa.Array:
    """Strings as an array. One that is not Unicode becomes invalid UTF-8, for `columns.carry` to find."""
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


def read_jsonl(opened: Opened, without: list[str], texts: list[str]) -> Stream:
    with opened() as f:
        found = _elements if _ARRAY.match(_text(f, "\n").read(4096)) else _lined
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
    """Each object, and whether there was none, or what is wanted as text is not."""
    for each in found:
        yield ({}, True) if each is None else _with_texts(each, texts)


def _lined(f: BinaryIO) -> Iterator[dict[str, Any] | None]:
    """The object of each line, None for a line that is none. Blank lines are not rows."""
    for line in _lines(f, newline="\n"):
        if line is None or line.strip():
            yield None if line is None else json_object(line)


#: The beginning of a file that is one array of objects, and what stands between its elements.
_ARRAY, _BETWEEN = re.compile(r"\s*\[\s*(?:$|[{\]])"), re.compile(r"[\s,]*")


def _elements(f: BinaryIO) -> Iterator[dict[str, Any] | None]:
    """The elements of an array, None for one that is no object. ValueError where it is no JSON: what comes before stays."""
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
        yield _fitting(value)


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
    """A JSON object, or None for anything else, be it one of too many fields."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _fitting(value)


def _fitting(value: Any) -> dict[str, Any] | None:
    """A value of JSON, if it is an object of not too many fields."""
    return {fit(n): v for n, v in value.items()} if isinstance(value, dict) and len(value) <= FIELDS else None


def json_types(objects: Iterable[dict[str, Any]]) -> dict[str, pa.DataType]:
    """For each name, in order of appearance, the one type that holds all its values; names beyond the first few hundred share a
    column of JSON text."""
    kinds: dict[str, set[type]] = {}
    for each in objects:
        for name, value in each.items():
            if name in kinds or len(kinds) < parquet.COLUMNS - 1:
                kinds.setdefault(name, set()).add(_kind(value))
            else:
                kinds[FURTHER] = {str}
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


def json_table(objects: list[dict[str, Any]], types: dict[str, pa.DataType]) -> pa.Table:
    """The objects as a table of these types; an empty one is a row of nulls."""
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
#: Formats that have a compression of their own.
UNCOMPRESSED = frozenset({"parquet", "pq", "arrow", "lance"})

#: How the name of a readable file ends.
ENDINGS = tuple(f".{kind}" for kind in READERS) + tuple(
    f".{k}.{c}" for k in READERS if k not in UNCOMPRESSED for c in COMPRESSED
)
