"""Source ImageTables: tables that contain pictures, as Hugging Face's `datasets`, img2dataset and LAION write them."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from curate import schema
from curate.errors import PoolError, RecipeError
from curate.fetch.unpack import Unpack
from curate.paths import filesystem
from curate.source import FOLDERS, Source, expand
from curate.sources import lance_tables
from curate.sources.columns import as_text, carried, check_text, first_of, pick, refused, rows
from curate.sources.contained import Opened
from curate.sources.formats import file_format, tables
from curate.sources.url_pairs import naming, regrouped
from curate.stage import Step

#: How the names of such files end.
ENDINGS = (".parquet", ".pq", ".arrow", ".lance")
#: Default names of columns; the first that exists is used if none is named.
IMAGE = ("image", "jpg", "jpeg", "png", "webp", "image_bytes", "img", "bytes")
TEXT = ("text", "caption", "txt", "captions", "alt_text", "TEXT")
URL = ("url", "image_url", "URL")

#: The revision with the hub's conversion of a dataset to Parquet.
CONVERTED = "refs/convert/parquet"
#: A Lance table in the name of a file of it.
_LANCE = re.compile(r"([^/][.]lance)/.*", re.IGNORECASE)
#: The name of a data set of the hub, with a revision and a folder; and the address of a whole one.
_NAME, _DATA_SET = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[^/]+)?(/[^*?\[]+)?"), re.compile(r"hf://datasets/[^/@]+/[^/@]+/?")

#: Rows whose pictures are in memory together.
ROWS = 16


@dataclass
class ImageTables(Source):
    """One row = one picture in a table, with its text. Parquet and Arrow files, Lance tables (folders `x.lance`), folders of them at any
    depth, any fsspec path; the folder that `save_to_disk` wrote.

    `owner/name`, where no such folder is here, is that data set of Hugging Face's hub, `owner/name@revision/folder` a part of it, also
    written `hf://datasets/owner/name`. Of one that holds no tables the hub's own conversion to Parquet is read (refs/convert/parquet).
    A private one needs HF_TOKEN.

    image: the column with the bytes, or with a struct that has a field `bytes`, as `datasets` stores pictures; text, url: those of the
    caption and of the picture's address. Empty: the first of IMAGE, TEXT, URL that exists; without a URL `uid` is made of text, the
    file's name and the row. All other columns, except those in `without`, become `source_<name>`.

    The pictures are read by the step `unpack`, which comes first: a row without one has the reason `unpack:no_image`. Invalid rows
    are kept with the `drop_reason` `source:bad_row`, as in UrlPairs.
    """

    paths: str | list[str]
    image: str = ""
    text: str = ""
    url: str = ""
    without: tuple[str, ...] = ()

    version: ClassVar[int] = 1

    def files(self) -> list[str]:
        found = expand([f for p in ([self.paths] if isinstance(self.paths, str) else self.paths) for f in below(p)])
        for file in found:
            if not file.lower().endswith(ENDINGS):
                raise RecipeError(f"{file}: no table with pictures: the name must end in {', '.join(ENDINGS)}")
        return found

    def steps(self) -> list[Step]:
        return [Unpack(self.image)]

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        for file in self.files():
            with contextlib.suppress(PoolError), naming(file, 0), contextlib.closing(tables(file, self.without)) as stream:
                found = next(stream)[0].schema
                kinds = {new: found.field(n).type for n, new in carried(self._others(found, file)).items()}
                return {**schema.IMAGES, **kinds}
        return super().adds(table)

    def _others(self, found: pa.Schema, file: str) -> list[str]:
        """The further columns of a file; RecipeError if there is no picture, or a text that is none."""
        names = found.names
        image = pick_first(self.image, IMAGE, names, file, "picture")
        mine = [image, *(n for n in (self._text(names, file), self._url(names, file)) if n)]
        for name in mine[1:]:
            check_text(found.field(name), file)
        return [n for n in names if n not in mine]

    def _text(self, names: list[str], file: str) -> str:
        return pick(self.text, names, file, "text") if self.text else next((n for n in TEXT if n in names), "")

    def _url(self, names: list[str], file: str) -> str:
        return pick(self.url, names, file, "URL") if self.url else next((n for n in URL if n in names), "")

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        start = 0
        with naming(file, 0), contextlib.closing(tables(file, self.without)) as stream:
            found = next(stream)[0].schema
        others = self._others(found, file)
        image = pick_first(self.image, IMAGE, found.names, file, "picture")
        parts = regrouped(tables(file, [*self.without, image]), part_size)
        while True:
            with naming(file, start):
                part = next(parts, None)
            if part is None:
                return
            table = self._images(*part, others, file, start)
            yield {"images": table}
            start += len(table)

    def _images(self, table: pa.Table, bad: list[bool], others: list[str], file: str, start: int) -> pa.Table:
        text, no_text = _as_text(table, self._text(table.column_names, file))
        url, no_url = _as_text(table, self._url(table.column_names, file))
        names = [f"{file.rsplit('/', 1)[-1]}#{n}" for n in range(start, start + len(table))]
        reasons = [(pa.array(no_text | no_url | np.array(bad, bool)), "source:bad_row")]
        return pa.table(
            {
                "uid": schema.uids(text, pc.coalesce(url, pa.array(names, schema.STR))),
                **rows(file, start, len(table)),
                "url": url,
                "text": text,
                **{new: table[old] for old, new in carried(others).items()},
                "drop_reason": first_of(reasons, len(table)),
            }
        )


def below(path: str) -> list[str]:
    """The tables in a folder at any depth, or in a dataset of the hub; any other path unchanged."""
    path = named(path)
    fs, inner = filesystem(path)
    if inner.lower().endswith(FOLDERS) or not fs.isdir(inner):
        return [path]
    for folder in (inner, *([f"{inner}@{CONVERTED}"] if _DATA_SET.fullmatch(path) else [])):
        names = {_LANCE.sub(r"\1", n) for n in (fs.find(folder) if fs.isdir(folder) else ())}
        found = sorted(n for n in names if n.lower().endswith(ENDINGS))
        if found:
            return [fs.unstrip_protocol(n) if "://" in path else n for n in found]
    raise RecipeError(f"{path}: no table is below it: none ends in {', '.join(ENDINGS)}")


def named(path: str) -> str:
    """The hub's address of a dataset `owner/name`, unless a local file or folder has this name; any other path unchanged. RecipeError
    if the hub has no such dataset."""
    if not _NAME.fullmatch(path) or path.lower().endswith(ENDINGS) or os.path.exists(path):
        return path
    fs, inner = filesystem(f"hf://datasets/{path}")
    try:
        fs.info(inner)
    except FileNotFoundError as e:
        raise RecipeError(f"{path}: is neither here nor a data set of {fs.endpoint}; a private one needs HF_TOKEN") from e
    except Exception as e:  # the client's own, and those of the library that it asks by
        raise RecipeError(f"{path}: is not here, and {fs.endpoint} cannot be asked for a data set of that name: {e}") from e
    return f"hf://datasets/{path}"


def pick_first(wanted: str, known: tuple[str, ...], names: list[str], file: str, role: str) -> str:
    """The wanted column, or else the first of the known ones; RecipeError if it does not exist."""
    found = wanted or next((n for n in known if n in names), "")
    return pick(found or known[0], names, file, role)


def _as_text(table: pa.Table, name: str) -> tuple[pa.Array, np.ndarray]:
    if not name:
        return pa.nulls(len(table), schema.STR), np.zeros(len(table), bool)
    return as_text(table[name].combine_chunks())


# ---- in the child


def pictures(files: list[Opened], path: str, column: str, start: int, stop: int, longest: int) -> Iterator[tuple[int, Any]]:
    """(row, bytes) of the pictures in a range of rows: None for a row without one, the size instead of more than `longest` bytes."""
    for at, batch in _batches(files[0], file_format(path)[0], column, start, stop):
        values = batch.column(0)
        if pt.is_struct(values.type):
            values = pc.struct_field(values, ["bytes"])
        for row, value in enumerate(values, at):
            if start <= row < stop:
                data = value.as_py() if value.is_valid else None
                yield row, len(data) if isinstance(data, bytes) and len(data) > longest else data


def _batches(opened: Opened, kind: str, column: str, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a range, some more around them, a few at a time: the number of the first, and the one column."""
    if kind == "lance":
        names = lance_tables.fields(opened).names
        at = start
        for batch in lance_tables.batches(opened, pick_first(column, IMAGE, names, "the table", "picture"), start, stop, ROWS):
            yield at, _checked(batch, column)
            at += len(batch)
        return
    with opened() as f:
        yield from (_of_arrow if kind == "arrow" else _of_parquet)(f, column, start, stop)


def _of_arrow(f: Any, column: str, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    at = 0
    for batch in pa.ipc.open_stream(f):
        for begin in range(0, len(batch), ROWS) if at + len(batch) > start and at < stop else ():
            yield at + begin, _checked(batch, column).slice(begin, ROWS)
        at += len(batch)


def _of_parquet(f: Any, column: str, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    at = 0
    file = pq.ParquetFile(f, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True)
    wanted = pick_first(column, IMAGE, file.schema_arrow.names, "the table", "picture")
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if at + count > start and at < stop:
            begin = at
            for batch in file.iter_batches(ROWS, row_groups=[group], columns=[wanted], use_threads=False):
                yield begin, _checked(batch, column)
                begin += len(batch)
        at += count


def _checked(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    """The picture's column alone; ValueError for one of a type that is never loaded, or that holds no bytes."""
    name = pick_first(column, IMAGE, batch.schema.names, "the table", "picture")
    field = batch.schema.field(name)
    kind = (
        field.type.field("bytes").type if pt.is_struct(field.type) and field.type.get_field_index("bytes") >= 0 else field.type
    )
    if refused(field) or not (pt.is_binary(kind) or pt.is_large_binary(kind)):
        raise ValueError(f"column {name!r} holds {field.type}, not pictures' bytes")
    return batch.select([name])
