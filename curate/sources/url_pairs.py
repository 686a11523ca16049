"""Source UrlPairs: tables of image URLs and captions."""

import bisect
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import PoolError, RecipeError
from curate.paths import filesystem
from curate.source import FOLDERS, Source, expand
from curate.sources.columns import as_text, carried, check_text, first_of, pick, rows
from curate.sources.formats import ENDINGS, Stream, file_format, tables

#: The start of an http(s) URL with a host. Nothing else can be fetched; the web client checks the rest.
URL = r"(?i)^\s*https?://[^\s/?#]"


#: Largest size of a part in bytes, since it is held in memory: a part of large rows has fewer rows.
BYTES = 256 << 20


@dataclass
class UrlPairs(Source):
    """One row = one image URL and its caption. Parquet, CSV, TSV or JSON lines; globs, folders, any fsspec path.

    url, text: the names of the two columns, or of fields of others, like `meta.caption`. All other columns, except those in
    `without`, become `source_<name>`: booleans, numbers, strings, bytes, dates and lists unchanged, all others as text.
    Values of CSV and TSV are text, an empty one is null; a quote that is not closed loses its line, in TSV it is a character.

    Invalid rows are kept with a `drop_reason`: `source:bad_row` (a wrong number of fields, not a JSON object, a list or an object
    as URL or caption, not UTF-8, a value of more than 1 MB) or `fetch:bad_url` (null, blank, not http or https). A null caption is
    left to the filters. A date before year 1 or after 9999 is null.
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

    def names(self) -> list[str]:
        """The names of the columns of the first file that can be read; none if none can."""
        for file in self.files():
            with contextlib.suppress(PoolError), naming(file, 0):
                stream = tables(file, self.without)
                found = next(stream)[0].schema.names
                stream.close()
                return found
        return []

    def columns(self, file: str) -> dict[str, pa.DataType]:
        """The columns of the rows of a file; RecipeError if `url` or `text` is missing or cannot be used."""
        with naming(file, 0):
            stream = tables(file, self.without, (self.url, self.text))
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
        start, stream = 0, tables(file, self.without, (self.url, self.text))
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
            check_text(found.field(pick(wanted, found.names, file, role)), file)
        others = [n for n in found.names if n not in (self.url, self.text)]
        return {n: (new, found.field(n).type) for n, new in carried(others).items()}

    def _images(self, table: pa.Table, bad: list[bool], names: dict, file: str, start: int) -> pa.Table:
        url, no_text = as_text(table[self.url].combine_chunks())
        text, no_text_either = as_text(table[self.text].combine_chunks())
        no_url = pc.invert(pc.fill_null(pc.match_substring_regex(url, URL), False))
        reasons = [(pa.array(no_text | no_text_either | np.array(bad, bool)), "source:bad_row"), (no_url, "fetch:bad_url")]
        return pa.table(
            {
                "uid": schema.uids(text, url),
                **rows(file, start, len(table)),
                "url": url,
                "text": text,
                **{new: table[old] for old, (new, _) in names.items()},
                "drop_reason": first_of(reasons, len(table)),
            }
        )


def regrouped(stream: Stream, size: int) -> Iterator[tuple[pa.Table, list[bool]]]:
    """The rows of a stream in tables of `size` rows (fewer in the last, and where rows are large), independent of row groups."""
    held: list[pa.Table] = []
    flags: list[bool] = []
    try:
        for table, bad in stream:
            while len(table):
                room = BYTES - sum(t.nbytes for t in held)
                take = min(
                    size - len(flags), len(table) if table.nbytes <= room else _rows_within(table, room) or int(not held)
                )
                held.append(table.slice(0, take))
                flags += bad[:take]
                table, bad = table.slice(take), bad[take:]
                if len(flags) == size or len(table):
                    yield pa.concat_tables(held), flags
                    held, flags = [], []
    except (OSError, ValueError, EOFError, pa.ArrowException):
        if held:  # the rows before a fault are kept
            yield pa.concat_tables(held), flags
        raise
    if held:
        yield pa.concat_tables(held), flags


def _rows_within(table: pa.Table, room: int) -> int:
    """The number of a table's first rows that have at most `room` bytes."""
    return bisect.bisect_right(range(len(table)), room, key=lambda n: table.slice(0, n + 1).nbytes)


@contextlib.contextmanager
def naming(file: str, row: int) -> Iterator[None]:
    """Raise errors of the block as PoolError with the file and the row reached."""
    try:
        yield
    except (OSError, pa.ArrowException, EOFError, ValueError) as e:
        raise PoolError(f"{file}: cannot be read from row {row} on: {e}") from e


def folders_opened(paths: str | list[str], endings: tuple[str, ...]) -> list[str]:
    """The paths, with each folder replaced by its files with one of the endings, except one that is an input itself."""
    found: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        fs, inner = filesystem(path)
        if inner.lower().endswith(FOLDERS) or not fs.isdir(inner):
            found.append(path)
            continue
        names = sorted(n for n in fs.ls(inner, detail=False) if n.lower().endswith(endings))
        if not names:
            raise RecipeError(f"no input file in {path}: none ends in {', '.join(endings)}")
        found += [fs.unstrip_protocol(n) if "://" in path else n for n in names]
    return found
