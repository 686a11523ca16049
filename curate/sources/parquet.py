"""Parquet files of strangers, read in a child process: a small file may ask its reader for any memory, any time, or crash it."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.models.contained import Contained, Died
from curate.paths import filesystem
from curate.sources.columns import carry_table, refused

#: What one question about a file may cost: CPU seconds, and bytes of the child's address space.
SECONDS, MEMORY = 60.0, 3 << 30
#: Rows that cross the pipe at a time.
ROWS = 1024
#: Columns of a file; each costs in every step behind.
COLUMNS = 1000

_DIED = {
    "memory": f"its rows need more than {MEMORY >> 30} GiB of memory",
    "timeout": f"reading {ROWS:,} rows takes more than {SECONDS:.0f} s",
    "crash": "the Parquet reader crashed",
}


def read(file: str, without: Iterable[str] = (), texts: Iterable[str] = ()) -> Iterator[tuple[pa.Table, list[bool]]]:
    """An empty table with the file's columns, then its rows, some at a time, in types that pools have (columns.carry), each with the
    rows in which something was hostile.

    texts: columns that are wanted, which may be fields of others, like `meta.caption`. ValueError says why it cannot be read.
    """
    with _local(file) as path, Contained("curate.sources.parquet:answer", SECONDS, MEMORY) as ask:
        schema = _asked(ask, "open", path, list(without), list(texts))
        yield pa.ipc.read_schema(pa.py_buffer(schema)).empty_table(), []
        while (found := _asked(ask, "next")) is not None:
            rows, bad = found
            yield pa.ipc.open_stream(rows).read_all(), np.frombuffer(bad, bool).tolist()


def _asked(ask: Contained, *question: Any) -> Any:
    try:
        kind, found = ask(*question)
    except Died as e:
        raise ValueError(_DIED[e.word]) from e
    if kind:
        raise ValueError(found)
    return found


@contextlib.contextmanager
def _local(file: str) -> Iterator[str]:
    """A file on this machine; the child has no keys to an object store."""
    fs, inner = filesystem(file)
    if "file" in fs.protocol:
        yield inner
        return
    with tempfile.NamedTemporaryFile(prefix="curate-", suffix=".parquet") as copy, fs.open(inner, "rb") as f:
        shutil.copyfileobj(f, copy, 4 << 20)
        copy.flush()
        yield copy.name


# ---- in the child


class Reader:
    """One file being read; answers `open` and `next`."""

    def answer(self, what: str, *details: Any) -> tuple[str, Any]:
        """("", an answer), or ("broken", a message)."""
        try:
            return self.open(*details) if what == "open" else ("", self.next())
        except (pa.ArrowMemoryError, MemoryError):
            raise MemoryError from None
        except (OSError, ValueError, pa.ArrowException, RecursionError, KeyError) as e:
            return "broken", str(e)

    def open(self, path: str, without: list[str], texts: list[str]) -> tuple[str, Any]:
        meta = pq.read_metadata(path)
        found = meta.schema.to_arrow_schema()
        if len(found) - len(without) > COLUMNS:
            return "broken", f"{len(found):,} columns, more than {COLUMNS:,}; leave some out (--without)"
        self.names = [n for n in found.names if n not in without]
        if doubled := [n for n in self.names if found.names.count(n) > 1]:
            return "broken", f"more than one column is named {doubled[0]!r}"
        for field in (found.field(n) for n in self.names):
            if kind := refused(field):
                message = f"column {field.name!r} has the extension type {kind!r}, which is never loaded; leave the column out"
                return "broken", f"{message} (--without {field.name})"
        # Read as dictionaries, what many rows share is there once, be it of megabytes.
        groups = [meta.row_group(g) for g in range(meta.num_row_groups)]
        shared = {
            c.path_in_schema
            for g in groups
            for c in (g.column(i) for i in range(g.num_columns))
            if c.physical_type == "BYTE_ARRAY" and {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}.intersection(c.encodings)
        }
        flat = [
            n for n in self.names if n in shared and (pa.types.is_string(k := found.field(n).type) or pa.types.is_binary(k))
        ]
        # Without pre-buffering, and with buffered column streams, a huge row group is read page by page.
        self.file = pq.ParquetFile(
            path, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True, read_dictionary=flat
        )
        self.texts = [t for t in texts if t not in found.names and _field(found, t) is not None]
        self.batches = (
            batch
            for group in range(meta.num_row_groups)  # of a group that is broken nothing comes, of those before it all
            for batch in self.file.iter_batches(ROWS, row_groups=[group], columns=self.names, use_threads=False)
        )
        empty = self._plain(self.file.schema_arrow.empty_table().select(self.names))[0]
        return "", empty.schema.serialize().to_pybytes()

    def next(self) -> tuple[bytes, bytes] | None:
        for batch in self.batches:
            if len(batch):
                rows, bad = self._plain(pa.Table.from_batches([batch]))
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, rows.schema) as out:
                    out.write_table(rows)
                return sink.getvalue().to_pybytes(), bad.tobytes()
        return None

    def _plain(self, rows: pa.Table) -> tuple[pa.Table, np.ndarray]:
        for text in self.texts:
            head, *inner = text.split(".")
            column = rows[head].combine_chunks()
            for name in inner:
                column = pc.struct_field(column, [name])
            rows = rows.append_column(text, column)
        return carry_table(rows.replace_schema_metadata(None))


def _field(schema: pa.Schema, path: str) -> pa.DataType | None:
    """The type of a field of a struct, `meta.caption`; None if there is none."""
    head, *inner = path.split(".")
    kind = schema.field(head).type if schema.names.count(head) == 1 else None
    for name in inner:
        if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind


#: What a child is asked: of one file, from its beginning to its end.
answer = Reader().answer
