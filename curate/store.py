"""The store: atomic commits of small files and payloads, on a local disk or an object store through fsspec.

One rule: a file is written somewhere private, made durable, and then appears under its final name whole or not at all.
A commit is an exclusive create: of two writers of one name the first wins and the second is told so. A published file
(shards, ledger, report) may be replaced; a commit never is. What a commit does not name is garbage.

On an object store "private" is a local file and the final name appears by one upload: nothing is ever streamed to a final
key, because client libraries complete the upload when the writer raises.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import failpoints
from curate.errors import PoolError

log = logging.getLogger(__name__)

#: Uploads of one file, and the longest pause before one, in seconds: for a store that is busy (429, 5xx) or in conflict (409).
UPLOADS, PAUSE = 6, 4.0

#: Where files are written before they have a name, on the same disk as the run.
PRIVATE = ".private"

#: Bytes of a tar's block, and how a tar ends.
BLOCK = 512
END = b"\0" * (2 * BLOCK)


class Store:
    """Files below one root, named by relative paths with forward slashes.

    exclusive: the store can create a file only where there is none (`probe` finds out). Where it cannot, a commit looks
    first; that is enough while one driver holds the run and gives a part to one worker at a time.
    holder: the lease under which this store is used; once a later one exists nothing more is written.
    """

    def __init__(self, root: str | os.PathLike, exclusive: bool = True, holder: str | None = None):
        # Listings are never taken from memory: other processes write to the same folder.
        remote = {"use_listings_cache": False} if "://" in str(root) and not str(root).startswith("file:") else {}
        self.fs, self.root = fsspec.core.url_to_fs(str(root), **remote)
        self.root = self.root.rstrip("/")
        self.local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        if self.local:
            self.root = os.path.abspath(self.root)
        self.url = self.root if self.local else self.fs.unstrip_protocol(self.root)
        self.exclusive, self.holder = exclusive, holder

    def __reduce__(self):
        return Store, (self.url, self.exclusive, self.holder)

    def path(self, name: str) -> str:
        """The full path or URL of a name; a full path or URL is returned as it is."""
        return name if "://" in name or os.path.isabs(name) else f"{self.url}/{name}"

    def _inner(self, name: str) -> str:
        return f"{self.root}/{name}"

    # ---- reading

    def exists(self, name: str) -> bool:
        return os.path.exists(self._inner(name)) if self.local else self.fs.exists(self._inner(name))

    def names(self, folder: str) -> list[str]:
        """The names of the files and folders directly in a folder, sorted; empty if there is none. Private ones are not listed."""
        if not self.local:
            return sorted(self.sizes(folder))
        try:
            return sorted(n for n in os.listdir(self._inner(folder)) if not n.startswith("."))
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        """The same names with their sizes in bytes, from one listing."""
        if self.local:
            return {n: os.path.getsize(self._inner(f"{folder}/{n}")) for n in self.names(folder)}
        inner = self._inner(folder).rstrip("/")
        self.fs.invalidate_cache(inner)
        try:
            listed = self.fs.ls(inner, detail=True)
        except FileNotFoundError:
            return {}
        found = {
            i["name"].rstrip("/").rsplit("/", 1)[-1]: i["size"] or 0 for i in listed if i["name"].strip("/") != inner.strip("/")
        }
        return {n: size for n, size in found.items() if not n.startswith(".")}

    def hash(self, name: str) -> str:
        """The SHA-256 of a file's bytes, in hex."""
        with self.open(name) as f:
            return hashlib.file_digest(f, "sha256").hexdigest()

    def read(self, name: str) -> bytes:
        with self.open(name) as f:
            return f.read()

    def json(self, name: str) -> Any:
        """What a JSON file says; None if there is no such file. PoolError if it is damaged."""
        try:
            return json.loads(self.read(name))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            raise PoolError(f"{self.path(name)}: damaged ({e}){_hint(name)}") from e

    def open(self, name: str):
        """A seekable binary file for reading, of a name in the store or of a full path or URL elsewhere."""
        if "://" not in name and not os.path.isabs(name) and not self.local:
            return self.fs.open(self._inner(name), "rb")
        path = self.path(name)
        return fsspec.open(path, "rb").open() if "://" in path else open(path, "rb")

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file as a table; page checksums are verified."""
        try:
            with self.open(name) as f:
                return pq.ParquetFile(f, page_checksum_verification=True).read(columns=columns)
        except FileNotFoundError as e:
            raise PoolError(f"{self.path(name)}: missing{_hint(name)}") from e
        except (pa.ArrowException, OSError, ValueError) as e:
            raise PoolError(f"{self.path(name)}: cannot be read: {e}{_hint(name)}") from e

    # ---- writing

    @contextlib.contextmanager
    def private(self, near: str = "") -> Iterator[Path]:
        """A private local path to write to; removed afterwards if it is still there."""
        folder, head = self._private()
        for needed in (folder, os.path.dirname(self._inner(near)) if self.local else folder):
            try:
                os.makedirs(needed, exist_ok=True)
            except OSError as e:
                raise PoolError(f"{self.url}: cannot write here: {e.strerror}") from e
        path = Path(folder) / f"{head}{os.path.basename(near) or 'tmp'}.{uuid.uuid4().hex}"
        try:
            failpoints.at("open", near)
            yield path
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO):
                raise PoolError(f"{self.path(near)}: cannot write: {e.strerror}") from e
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _private(self) -> tuple[str, str]:
        """The folder of private files, and how their names begin: those of an object store lie among other programs' files."""
        if self.local:
            return self._inner(PRIVATE), ""
        return tempfile.gettempdir(), f"curate-{hashlib.sha256(self.url.encode()).hexdigest()[:16]}-"

    def sweep(self) -> None:
        """Remove what dead writers on this machine left half-written. For the driver that holds the run."""
        folder, head = self._private()
        for name in os.listdir(folder) if os.path.exists(folder) else ():
            if name.startswith(head):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{name}")

    def commit(self, name: str, path: Path, size: int | None = None) -> bool:
        """Give a finished private file its final name, unless the name is taken. True if this call did it.

        size: the bytes that were written; PoolError if the file has another size, because the disk lost some.
        """
        self._ready(name, path, size)
        if not self.local:
            return self._upload_new(name, path)
        try:
            os.link(path, self._inner(name))
        except FileExistsError:
            return False
        self._named(name)
        return True

    def publish(self, name: str, path: Path, size: int | None = None) -> None:
        """Give a finished private file its final name, replacing what was there."""
        self._ready(name, path, size)
        if not self.local:
            self._upload(name, path, "overwrite")
            return
        os.replace(path, self._inner(name))
        self._named(name)

    def _ready(self, name: str, path: Path, size: int | None) -> None:
        """Make a private file durable, and be sure that it is whole and that the run is still ours."""
        failpoints.at("fsync", name, path)
        _sync(path)
        found = path.stat().st_size
        if size is not None and found != size:
            raise PoolError(f"{self.path(name)}: {size} bytes were written, the disk holds {found}")
        self.fence()
        failpoints.at("name", name)

    def _named(self, name: str) -> None:
        failpoints.at("sync", name)
        _sync(Path(self._inner(name)).parent)
        failpoints.at("named", name)

    def fence(self) -> None:
        """PoolError if another driver has taken the run over since this one did."""
        if self.holder and any(n.split(".")[0] > self.holder for n in self.names("lease")):
            raise PoolError(
                f"{self.url}: another driver has taken this run over; this one (lease {self.holder}) writes no more"
            )

    def _upload(self, name: str, path: Path, mode: str) -> None:
        """One file, in one step; again after a pause if the store is busy. FileExistsError if mode is create and it is there."""
        for attempt in range(UPLOADS):
            try:
                failpoints.at("upload", name)
                self.fs.put_file(str(path), self._inner(name), mode=mode)
                failpoints.at("named", name)
                return
            except FileExistsError:
                raise
            except (OSError, TimeoutError) as e:
                if attempt + 1 == UPLOADS or isinstance(e, (PermissionError, FileNotFoundError)):
                    raise PoolError(f"{self.path(name)}: cannot write: {e}") from e
                time.sleep(random.uniform(0, min(PAUSE, 0.1 * 2**attempt)))

    def _upload_new(self, name: str, path: Path) -> bool:
        if not self.exclusive and self.exists(name):
            return False
        try:
            self._upload(name, path, "create" if self.exclusive else "overwrite")
        except FileExistsError:
            # An upload whose answer was lost is refused when it is repeated: what is there is ours if it is what we wrote.
            return self._same(name, path)
        return True

    def _same(self, name: str, path: Path) -> bool:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest() == self.hash(name)

    def probe(self) -> None:
        """Find out whether the store can create a file only where there is none, by trying twice."""
        if self.local:
            return
        name = f".probe-{uuid.uuid4().hex}"
        with self.private(name) as path:
            path.write_bytes(name.encode())
            try:
                self._upload(name, path, "create")
                self._upload(name, path, "create")
                self.exclusive = False
            except FileExistsError:
                self.exclusive = True
            except (PoolError, NotImplementedError, ValueError):
                self.exclusive = False
        self.remove(name)

    def commit_table(self, name: str, table: pa.Table) -> bool:
        with self.private(name) as path:
            return self.commit(name, path, write_table(path, table))

    def publish_table(self, name: str, table: pa.Table) -> None:
        with self.private(name) as path:
            self.publish(name, path, write_table(path, table))

    def commit_bytes(self, name: str, data: bytes) -> bool:
        with self.private(name) as path:
            return self.commit(name, path, path.write_bytes(data))

    def publish_bytes(self, name: str, data: bytes) -> None:
        with self.private(name) as path:
            self.publish(name, path, path.write_bytes(data))

    def note(self, name: str, data: bytes) -> None:
        """Put a small file that nobody relies on: it is not made durable, and when it cannot be written nothing stops."""
        try:
            if self.local:
                os.makedirs(self._inner(PRIVATE), exist_ok=True)
                path = Path(self._inner(f"{PRIVATE}/{name}"))
                path.write_bytes(data)
                os.replace(path, self._inner(name))
            else:
                self.fs.pipe_file(self._inner(name), data)
        except OSError as e:
            log.debug("%s: cannot write: %s", self.path(name), e)

    def remove(self, name: str) -> None:
        """Remove a file; none there is fine."""
        self.fence()
        try:
            failpoints.at("remove", name)
            if self.local:
                os.unlink(self._inner(name))
                _sync(Path(self._inner(name)).parent)
            else:
                self.fs.rm_file(self._inner(name))
            failpoints.at("removed", name)
        except FileNotFoundError:
            return
        except OSError as e:
            raise PoolError(f"{self.path(name)}: cannot be removed: {e.strerror or e}") from e


class Parcel:
    """The payload tar of one part being written: members are added one by one, in any order.

    The tar's name holds the hash of its bytes and is known when it is closed; until then rows keep offset and size.
    """

    def __init__(self, store: Store, file: BinaryIO):
        self.store, self.file, self.offset, self.count, self.hash = store, file, 0, 0, hashlib.sha256()

    def add(self, name: str, data: bytes) -> int:
        """Append a member; returns the offset of its bytes in the tar."""
        start = self.offset + BLOCK
        pad = -len(data) % BLOCK
        for piece in (tar_header(name, len(data)), data, b"\0" * pad):
            self.file.write(piece)
            self.hash.update(piece)
        self.offset = start + len(data) + pad
        self.count += 1
        return start

    def close(self) -> str:
        """Write the tar's end; returns the SHA-256 of the whole file, in hex."""
        self.file.write(END)
        self.hash.update(END)
        self.offset += len(END)
        return self.hash.hexdigest()


def read_slices(
    store: Store, files: list[str | None], offsets: list[int | None], sizes: list[int | None]
) -> list[bytes | None]:
    """Slices of files, in the order given; each file is opened once. None where the file is None. PoolError names a file that
    is gone, or too short."""
    found: list[bytes | None] = [None] * len(files)
    for name in dict.fromkeys(f for f in files if f is not None):
        try:
            with store.open(name) as f:
                for i in sorted((i for i, n in enumerate(files) if n == name), key=lambda i: offsets[i]):
                    f.seek(offsets[i])
                    found[i] = f.read(sizes[i])
                    if len(found[i]) != sizes[i]:
                        held = f"holds {len(found[i])} bytes at {offsets[i]}, not {sizes[i]}"
                        raise PoolError(f"{store.path(name)}: {held}{_hint(name)}")
        except FileNotFoundError as e:
            raise PoolError(f"{store.path(name)}: missing{_hint(name)}") from e
    return found


def tar_header(name: str, size: int) -> bytes:
    """A ustar header that depends on nothing but name (at most 100 bytes) and size: time 0, owner 0, mode 0644."""
    raw = name.encode()
    if len(raw) > 100:
        raise ValueError(f"member name longer than 100 bytes: {name}")
    head = bytearray(512)
    head[0 : len(raw)] = raw
    head[100:108], head[108:116], head[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    head[124:136], head[136:148] = b"%011o\0" % size, b"%011o\0" % 0
    head[148:156], head[156:157] = b" " * 8, b"0"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def write_table(path: Path, table: pa.Table) -> int:
    """Parquet as curate writes it: zstd, page checksums, and the same bytes for the same table. Returns the bytes written."""
    with open(path, "wb") as f:
        pq.write_table(
            table, f, compression="zstd", write_page_checksum=True, row_group_size=100_000, use_dictionary=_repeating(table)
        )
        return f.tell()


def write_batches(path: Path, batches: pa.RecordBatchReader, count: int) -> int:
    """The same from a stream of about `count` rows, of which readers want a part's at a time (part.slice_of): in row groups of
    about a part, but not many more than 4,096, so that neither a group nor the list of them costs a reader much. One group
    is in memory at a time. Returns the bytes written."""
    held, rows, group = [], 0, max(10_000, count // 4096)
    with open(path, "wb") as f:
        with pq.ParquetWriter(
            f, batches.schema, compression="zstd", write_page_checksum=True, use_dictionary=["reason"]
        ) as writer:
            for batch in batches:
                held, rows = [*held, batch], rows + len(batch)
                while rows >= group:
                    table = pa.Table.from_batches(held)
                    writer.write_table(table.slice(0, group), group)
                    held, rows = table.slice(group).to_batches(), rows - group
            if rows:  # an empty group would have no bounds
                writer.write_table(pa.Table.from_batches(held), group)
        return f.tell()


def _repeating(table: pa.Table) -> list[str]:
    """The columns with repeating values: a dictionary makes them smaller. It makes others larger, and slower to write."""
    return [name for name in table.column_names if _repeats(table[name].slice(0, 1000))]


def _repeats(column: pa.ChunkedArray) -> bool:
    flat = not pa.types.is_nested(column.type) and not pa.types.is_null(column.type)
    return flat and 2 * pc.count_distinct(column, "all").as_py() <= len(column)


def _hint(name: str) -> str:
    """What helps where a file of the run itself is damaged."""
    return "" if "://" in name or os.path.isabs(name) else "; `curate run --repair` makes it again"


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
