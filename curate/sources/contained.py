"""Reading of untrusted files in a child process, so that a file that crashes or exhausts its reader loses only itself.

A reader is a generator of tuples of plain values and Arrow tables. It runs in a child with limits on memory and CPU time; tables
are returned as Arrow batches. The child opens local files itself. It has no credentials of object stores: it requests their bytes
from this process, a range at a time, and this process serves it their folders (folder_server.py).
"""

import importlib
import io
import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from curate import errors
from curate.models.contained import Contained, Died, Parent
from curate.paths import filesystem, open_file
from curate.sources.folder_server import served

log = logging.getLogger(__name__)

#: CPU seconds within which the child must return a row or read a byte, and bytes of its address space.
SECONDS, MEMORY = 60.0, 3 << 30
#: Bytes a second that a reader must read at least before its first row, in wall-clock time.
SLOWEST = 1 << 20
#: Rows returned at a time, by readers that may choose.
ROWS = 1024
#: Bytes of a file that are read at a time.
BLOCK = 64 << 10

_READER = "curate.sources.contained:Reader"
_DIED = {
    "memory": f"its rows need more than {MEMORY >> 30} GiB of memory",
    "timeout": f"reading its next rows takes more than {SECONDS:.0f} s",
    "crash": "the reader crashed",
}


def read(function: str, files: list[str], *details: Any) -> Iterator[tuple]:
    """The items of the generator `module:function`, run in a child with a list of an `Opened` for each file and the details (plain values).

    CurateErrors are raised unchanged; ValueError for any other error and for an exceeded limit.
    """
    with ExitStack() as stack:
        paths, sizes, remote = [], [], {}
        for number, file in enumerate(files):
            fs, inner = filesystem(file)
            known, local = fs.info(inner), "file" in fs.protocol
            folder = known["type"] == "directory"
            sizes.append(fs.du(inner) if folder else known["size"] or 0)
            paths.append(inner if local else stack.enter_context(served(fs, inner)) if folder else "")
            if not paths[-1]:
                remote[number] = stack.enter_context(open_file(file))
        # pyarrow imports pandas, where it is installed, for the first array that it makes of Python's values.
        child = Contained(_READER, SECONDS, MEMORY, _Replies(remote), imports=(function.partition(":")[0], "pandas"))
        ask = stack.enter_context(child)
        ask.wall += sum(sizes) / SLOWEST
        _request(ask, "open", function, paths, sizes, details)
        while (found := _request(ask, "next")) is not None:
            marks, values = found
            yield tuple(pa.ipc.open_stream(v).read_all() if table else v for table, v in zip(marks, values))


def _request(ask: Contained, *question: Any) -> Any:
    """The child's result of a request; raises its error."""
    try:
        kind, found = ask(*question)
    except Died as e:
        raise ValueError(_DIED[e.word]) from e
    if kind:
        raise getattr(errors, kind, ValueError)(found)
    return found


class _Replies:
    """Handles the child's requests: bytes of files that it cannot open, and log messages."""

    def __init__(self, files: dict[int, BinaryIO]):
        self.files = files

    def __call__(self, what: str, *details: Any) -> Any:
        if what == "log":
            logger, level, message = details
            logging.getLogger(logger).log(level, "%s", message)
            return None
        number, start, size = details
        file = self.files[number]
        if size < 0:
            return file.seek(0, os.SEEK_END)
        file.seek(start)
        return file.read(size)


# ---- in the child


@dataclass(frozen=True)
class Opened:
    """A file that a reader may open repeatedly, or a folder. path: empty if the parent reads it, a URL if it serves it. size: in bytes."""

    number: int
    path: str
    size: int
    parent: Parent

    def __call__(self) -> BinaryIO:
        raw = _Local(self.path, self.parent) if self.path else _Remote(self.number, self.parent)
        return io.BufferedReader(raw, BLOCK)


class Reader:
    """The child's side: a running reader, with the requests `open` and `next`."""

    def __init__(self, parent: Parent):
        self.parent = parent
        self.rows: Iterator[tuple] = iter(())
        logging.getLogger().addHandler(_Logs(parent))

    def __call__(self, what: str, *details: Any) -> tuple[str, Any]:
        """("", the result), or the class name of an error and its message."""
        try:
            return "", self.open(*details) if what == "open" else self.next()
        except (pa.ArrowMemoryError, MemoryError):
            raise MemoryError from None
        except errors.CurateError as e:
            return type(e).__name__, str(e)
        except (OSError, ValueError, EOFError, pa.ArrowException, RecursionError, KeyError) as e:
            return "ValueError", str(e)
        except Exception as e:
            traceback.print_exc()
            return "ValueError", f"{type(e).__name__}: {e}"

    def open(self, function: str, paths: list[str], sizes: list[int], details: tuple) -> None:
        module, name = function.split(":")
        generator = getattr(importlib.import_module(module), name)
        files = [Opened(n, path, size, self.parent) for n, (path, size) in enumerate(zip(paths, sizes))]
        self.rows = generator(files, *details)

    def next(self) -> tuple[list[bool], list] | None:
        found = next(self.rows, None)
        if found is None:
            return None
        marks = [isinstance(value, pa.Table) for value in found]
        return marks, [_batches(value) if table else value for table, value in zip(marks, found)]


def _batches(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


class _Local(io.FileIO):
    """A local file; every read reports progress."""

    def __init__(self, path: str, parent: Parent):
        super().__init__(path, "r")
        self.parent = parent

    def readinto(self, buffer: Any) -> int | None:
        self.parent.alive()
        return super().readinto(buffer)


class _Remote(io.RawIOBase):
    """A file that the parent reads."""

    def __init__(self, number: int, parent: Parent):
        self.number, self.parent, self.at = number, parent, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.at}.get(whence)
        self.at = offset + (self.parent.ask("read", self.number, 0, -1) if start is None else start)
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        self.parent.alive()
        data = self.parent.ask("read", self.number, self.at, len(buffer))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


class _Logs(logging.Handler):
    """Sends log messages to the parent."""

    def __init__(self, parent: Parent):
        super().__init__()
        self.parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        self.parent.ask("log", record.name, record.levelno, record.getMessage())
