"""Tables of image URLs and captions: the main job's input."""

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import PoolError, RecipeError
from curate.paths import filesystem
from curate.schema import STR
from curate.source import Source, expand
from curate.sources.columns import carried, first_of, pick, plain_type, repaired, rows, text_type
from curate.sources.formats import ENDINGS, Stream, file_format, tables

#: The start of an http(s) URL with a host. Nothing else can be fetched; the web client looks closer at the rest.
URL = r"(?i)^\s*https?://[^\s/?#]"


@dataclass
class UrlPairs(Source):
    """One row = one image URL and its caption. Parquet, CSV, TSV or JSON lines; globs, folders, any fsspec path.

    url, text: the names of the two columns. All other columns travel as `source_<name>`, but for those in `without`. Values of
    CSV and TSV are text, an empty one is null; a quote in TSV that does not close in its line is a character.

    Rows that are wrong stay, with a `drop_reason`: `source:bad_row` (a wrong number of fields, no JSON object, no UTF-8,
    a record of CSV over 100 lines: a quote that nobody closed) or `fetch:bad_url` (null, blank, not http or https). A null caption is left for a filter to judge.
    """

    version: ClassVar[int] = 3

    paths: str | list[str]
    url: str = "url"
    text: str = "text"
    without: tuple[str, ...] = ()

    def files(self) -> list[str]:
        found = expand(folders_opened(self.paths, ENDINGS))
        for file in found:
            file_format(file)
        return found

    def columns(self, file: str) -> dict[str, pa.DataType]:
        """The columns of the rows of a file; RecipeError if `url` or `text` is missing or cannot be used."""
        with naming(file, 0):
            stream = tables(file, 1, self.without)
            names = self._names(next(stream)[0].schema, file)
            stream.close()
        return {**schema.IMAGES, **{new: kind for new, kind in names.values()}}

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        """The columns of the first file that can be read."""
        for file in self.files():
            with contextlib.suppress(PoolError):
                return self.columns(file)
        return super().adds(table)

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        start, stream = 0, tables(file, part_size, self.without)
        with naming(file, start):
            names = self._names(next(stream)[0].schema, file)
        parts = regrouped(stream, part_size)
        while True:
            with naming(file, start):
                part = next(parts, None)
                if part is None:
                    return
                table = self._images(*part, names, file, start)
            yield {"images": table}
            start += len(table)

    def _names(self, found: pa.Schema, file: str) -> dict[str, tuple[str, pa.DataType]]:
        """For each further column: its new name and type."""
        doubled = sorted({n for n in found.names if found.names.count(n) > 1})
        if doubled:
            raise RecipeError(f"{file}: more than one column is named {doubled[0]!r}")
        for wanted, role in ((self.url, "URL"), (self.text, "text")):
            text_type(found.field(pick(wanted, found.names, file, role)), file)
        others = [n for n in found.names if n not in (self.url, self.text)]
        return {n: (new, plain_type(found.field(n), file)) for n, new in carried(others).items()}

    def _images(self, table: pa.Table, bad: list[bool], names: dict, file: str, start: int) -> pa.Table:
        columns = {"url": as_text(table[self.url]), "text": as_text(table[self.text])}
        columns |= {new: table[old].cast(kind) for old, (new, kind) in names.items()}
        plain, broken = repaired(pa.table(columns), file)
        no_url = pc.invert(pc.fill_null(pc.match_substring_regex(plain["url"], URL), False))
        bad_row = pc.or_(broken, pa.array(bad, pa.bool_()))
        uids = schema.uids(plain["text"], plain["url"])
        reasons = first_of([(bad_row, "source:bad_row"), (no_url, "fetch:bad_url")], len(plain))
        ordered = {c: plain[c] for c in plain.column_names}
        return pa.table({"uid": uids, **rows(file, start, len(plain)), **ordered, "drop_reason": reasons})


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any flat column as strings. Bytes are taken as they are: whether they are UTF-8 is seen later."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        raw = column.cast(pa.large_binary())
        return pa.chunked_array([chunk.view(STR) for chunk in raw.chunks], STR)
    return column.cast(STR)


def regrouped(stream: Stream, size: int) -> Iterator[tuple[pa.Table, list[bool]]]:
    """The same rows in tables of exactly `size` rows, but for the last: parts must not depend on row groups."""
    held: list[pa.Table] = []
    flags: list[bool] = []
    for table, bad in stream:
        while len(flags) + len(table) >= size:
            take = size - len(flags)
            yield pa.concat_tables([*held, table.slice(0, take)]), flags + bad[:take]
            table, bad, held, flags = table.slice(take), bad[take:], [], []
        if len(table):
            held.append(table)
            flags += bad
    if held:
        yield pa.concat_tables(held), flags


@contextlib.contextmanager
def naming(file: str, row: int) -> Iterator[None]:
    """What goes wrong inside is said of the file, with the row reached."""
    try:
        yield
    except (OSError, pa.ArrowException, EOFError, ValueError, csv.Error) as e:
        raise PoolError(f"{file}: cannot be read from row {row} on: {e}") from e


def folders_opened(paths: str | list[str], endings: tuple[str, ...]) -> list[str]:
    """The paths, with a folder replaced by the files in it that have one of the endings."""
    found: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        fs, inner = filesystem(path)
        if not fs.isdir(inner):
            found.append(path)
            continue
        names = sorted(n for n in fs.ls(inner, detail=False) if n.lower().endswith(endings))
        if not names:
            raise RecipeError(f"no input file in {path}: none ends in {', '.join(endings)}")
        found += [fs.unstrip_protocol(n) if "://" in path else n for n in names]
    return found
