"""Source Texts: text corpora for the training mix. A row of a table, or a text file, is a document without images."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import PoolError
from curate.schema import STR
from curate.source import Source, expand
from curate.sources import contained
from curate.sources.columns import as_text, carried, check_text, first_of, pick, rows
from curate.sources.contained import Opened
from curate.sources.formats import COMPRESSED, ENDINGS, Unpacked, tables
from curate.sources.lines import marked
from curate.sources.url_pairs import folders_opened, naming, regrouped

#: Names of the column with the text, and of those with address and title, of which the first that is there is taken.
TEXT, URL, TITLE = ("text", "content", "raw_content", "document"), ("url", "URL"), ("title",)
#: How the name of a file ends that is one document.
FILES = (".txt", *(f".txt.{c}" for c in COMPRESSED))
#: Bytes of such a file.
LARGEST = 64 << 20

#: Of the images, of which there are none, what shards are checked by.
_IMAGES = {**schema.IMAGES, **schema.PAYLOAD, "sha256": STR, "mime": STR, "doc_uid": STR, "position": pa.int32()}


@dataclass
class Texts(Source):
    """One row = one document of text: JSON lines, a JSON array, Parquet, CSV, TSV, as C4, RedPajama and The Pile have them; or a file
    `.txt`, which is one document. Globs, folders, any fsspec path, compressed or not.

    text, url, title: columns, or fields of others like `meta.url`; empty: the first of TEXT, URL, TITLE that exists. All other columns,
    except those in `without`, become `source_<name>`. Each line of a text that is not blank is a paragraph, a row of `texts`.

    Invalid rows are kept with a `drop_reason`: `source:bad_row` as in UrlPairs, `source:no_text` (null or blank), `source:bad_file`
    (a `.txt` that is not UTF-8, cannot be decompressed, or has more than 64 MB).
    """

    tables: ClassVar[tuple[str, ...]] = ("documents", "texts", "images")
    version: ClassVar[int] = 1
    needed: ClassVar[tuple[str, ...]] = ("text",)

    paths: str | list[str]
    text: str = ""
    url: str = ""
    title: str = ""
    without: tuple[str, ...] = ()

    def files(self) -> list[str]:
        return expand(folders_opened(self.paths, (*ENDINGS, *FILES)))

    def columns(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """For each role of a column the requested name and the default ones. The roles in `needed`, and requested columns, must exist."""
        return {"text": (self.text, TEXT), "url": (self.url, URL), "title": (self.title, TITLE)}

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        """The columns of the first file that can be read."""
        if table != "documents":
            return {"texts": schema.TEXTS, "images": _IMAGES}[table]
        for file in self.files():
            if _is_whole(file):
                break
            with contextlib.suppress(PoolError), naming(file, 0), contextlib.closing(self._stream(file)) as stream:
                found = next(stream)[0].schema
                others = self._others(found.names, self._chosen(found, file))
                return {**schema.DOCUMENTS, **{new: found.field(n).type for n, new in others.items()}}
        return schema.DOCUMENTS

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        if _is_whole(file):
            yield _tables(_whole(file))
            return
        with naming(file, 0), contextlib.closing(self._stream(file)) as stream:
            chosen = self._chosen(next(stream)[0].schema, file)
        start, parts = 0, regrouped(self._stream(file), part_size)
        while True:
            with naming(file, start):
                part = next(parts, None)
            if part is None:
                return
            yield _tables(self._documents(*part, chosen, file, start))
            start += len(part[0])

    def _stream(self, file: str) -> Any:
        return tables(file, self.without, [n for n, _ in self.columns().values() if n])

    def _chosen(self, found: pa.Schema, file: str) -> dict[str, str]:
        """The columns of text, URL and title, if they exist. RecipeError if there is no text, or one of them is not text."""
        usual = {role: n or next((k for k in known if k in found.names), "") for role, (n, known) in self.columns().items()}
        chosen = {role: pick(n or role, found.names, file, role) for role, n in usual.items() if n or role in self.needed}
        for name in chosen.values():
            check_text(found.field(name), file)
        return chosen

    def _others(self, names: list[str], chosen: dict[str, str]) -> dict[str, str]:
        return carried(n for n in names if n not in chosen.values())

    def _documents(self, table: pa.Table, bad: list[bool], chosen: dict[str, str], file: str, start: int) -> pa.Table:
        """The rows of a table as documents, with the column `text`."""
        found = {role: as_text(table[name].combine_chunks()) for role, name in chosen.items()}
        wrong = np.array(bad, bool)
        for _, no_text in found.values():
            wrong = wrong | no_text
        text, *more = (found[r][0] if r in found else pa.nulls(len(table), STR) for r in ("text", "url", "title"))
        names = [f"{file.rsplit('/', 1)[-1]}#{n}" for n in range(start, start + len(table))]
        blank = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(text, "")), "")
        return pa.table(
            {
                "uid": schema.uids(text, pc.coalesce(more[0], pa.array(names, STR))),
                **rows(file, start, len(table)),
                "url": more[0],
                "title": more[1],
                **{new: table[n] for n, new in self._others(table.column_names, chosen).items()},
                "drop_reason": first_of([(pa.array(wrong), "source:bad_row"), (blank, "source:no_text")], len(table)),
                "text": text,
            }
        )


def _tables(documents: pa.Table) -> dict[str, pa.Table]:
    """The tables of a part: documents, their paragraphs, and no images."""
    texts: list[dict[str, Any]] = []
    own = documents.select(["uid", "source_file", "source_row", "text", "drop_reason"])
    for row in own.filter(pc.is_null(own["drop_reason"])).to_pylist():
        lines = (line.strip() for line in row["text"].splitlines())
        where = {"source_file": row["source_file"], "source_row": row["source_row"], "doc_uid": row["uid"]}
        for at, line in enumerate(filter(None, lines)):
            texts.append({"uid": schema.uid(row["uid"], str(at)), **where, "position": at, "text": line})
    reason = {"drop_reason": STR}
    return {
        "documents": documents.drop_columns(["text"]),
        "texts": pa.Table.from_pylist(texts, schema.arrow({**schema.TEXTS, **reason})),
        "images": schema.arrow({**_IMAGES, **reason}).empty_table(),
    }


# ---- text files


def _is_whole(file: str) -> bool:
    return file.lower().endswith(FILES)


def _whole(file: str) -> pa.Table:
    """A text file as a table of one document."""
    text, reason = None, None
    try:
        for (text,) in contained.read("curate.sources.texts:content", [file], COMPRESSED.get(file.lower().rsplit(".", 1)[-1])):
            reason = None if text.strip() else "source:no_text"
    except (OSError, ValueError) as e:
        contained.log.warning("%s: %s", file, e)
        reason = "source:bad_file"
    uid = schema.uid(text, file.rsplit("/", 1)[-1])
    row = {"uid": uid, "source_file": file, "source_row": 0, "url": None, "title": None, "drop_reason": reason, "text": text}
    return pa.Table.from_pylist([row], schema.arrow({**schema.DOCUMENTS, "drop_reason": STR, "text": STR}))


def content(files: list[Opened], compression: str | None) -> Iterator[tuple[str]]:
    """The text of a file, in the child that reads it. ValueError if it is not text, or too long."""
    opened = Unpacked(files[0], compression) if compression else files[0]
    with opened() as f:
        data = f.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"more than {LARGEST >> 20} MB of text: a list of documents is a table, such as JSON lines")
    yield (data.decode(marked(data)),)
