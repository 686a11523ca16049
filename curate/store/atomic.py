"""The store: atomic commits of small files and payloads, on a local disk or an object store through fsspec.

One rule: a file is written somewhere private, made durable, and then appears under its final name whole or not at all.
A commit is an exclusive create: of two writers of one name the first wins and the second gets False. A published file
(shards, ledger, report) may be replaced; a commit never is. What a commit does not name is garbage.

On an object store "private" is a local file and the final name appears by one upload: nothing is ever streamed to a final
key, because client libraries complete the upload when the writer raises.
"""

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from curate.errors import PoolError
from curate.paths import filesystem, folder_fault, open_file, printable, read_ahead
from curate.store import failpoints
from curate.store.parquet import CHECKSUM, GROUP, metadata, write_table
from curate.store.records import record, verified

log = logging.getLogger(__name__)

#: Uploads of one file, and the longest pause before one, in seconds: for a store that is busy (429, 5xx) or in conflict (409).
UPLOADS, PAUSE = 6, 4.0

#: Seconds for which it holds that nobody has taken a run over: a lease is watched for much longer before it is taken for that of a
#: dead driver.
FRESH = 1.0

#: Bytes of a file of an object store that are asked for at once, whatever its size.
SMALL = 256 << 10

#: Errors of the disk or file server that a file is written to.
CANNOT_WRITE = frozenset({errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EFBIG})

#: What a file system answers that has no hard links (FAT, many FUSE ones), or cannot make durable what it is asked to.
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})
NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})

#: Where files are written before they have a name, on the same disk as the run.
PRIVATE = ".private"


class Store:
    """Files below one root, named by relative paths with forward slashes.

    exclusive: the store can create a file only where there is none (`probe` finds out). Where it cannot, a commit looks
    first; that is enough while one driver holds the run and gives a part to one worker at a time.
    holder: the lease under which this store is used; once a later one exists nothing more is written.
    """

    def __init__(self, root: str | os.PathLike, exclusive: bool = True, holder: str | None = None):
        # Listings are never taken from memory: other processes write to the same folder.
        if why := folder_fault(str(root)):
            raise PoolError(f"{printable(str(root))}: {why}; choose another folder")
        self.fs, self.root = filesystem(str(root), listings=False)
        self.root = self.root.rstrip("/")
        self.local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        if self.local:
            self.root = os.path.abspath(self.root)
        self.url = self.root if self.local else self.fs.unstrip_protocol(self.root)
        self.exclusive, self.holder = exclusive, holder
        self.looked = -FRESH  # when nobody else held the run, see `fence`
        self.inputs: frozenset[str] = frozenset()  # see inputs.is_input

    def __reduce__(self):
        return Store, (self.url, self.exclusive, self.holder)

    def path(self, name: str) -> str:
        """The full path or URL of a name; a full path or URL is returned as it is."""
        return name if "://" in name or os.path.isabs(name) else f"{self.url}/{name}"

    def inner(self, name: str) -> str:
        """The path of a name in the store's file system."""
        return f"{self.root}/{name}"

    # ---- reading

    def exists(self, name: str) -> bool:
        return os.path.exists(self.inner(name)) if self.local else self.fs.exists(self.inner(name))

    def names(self, folder: str) -> list[str]:
        """The names of the files and folders directly in a folder, sorted; empty if there is none. Private ones are not listed."""
        if not self.local:
            return sorted(self.sizes(folder))
        try:
            return sorted(n for n in os.listdir(self.inner(folder)) if not n.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        """The same names with their sizes in bytes, from one listing."""
        if self.local:
            return {n: os.path.getsize(self.inner(f"{folder}/{n}")) for n in self.names(folder)}
        inner = self.inner(folder).rstrip("/")
        self.fs.invalidate_cache(inner)
        try:
            listed = self.fs.ls(inner, detail=True)
        except FileNotFoundError:
            return {}
        found = {
            i["name"].rstrip("/").rsplit("/", 1)[-1]: i["size"] or 0 for i in listed if i["name"].strip("/") != inner.strip("/")
        }
        return {n: size for n, size in found.items() if not n.startswith(".")}

    def listed(self, *folders: str) -> AbstractFileSystem:
        """A file system of its own that knows what is in these folders now: for DuckDB, which asks for each file many times."""
        fs = type(self.fs)(**{**self.fs.storage_options, "use_listings_cache": True, "skip_instance_cache": True})
        if hasattr(fs, "default_block_size"):
            fs.default_block_size = self.fs.default_block_size
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                fs.ls(self.inner(folder))
        return fs

    def hash(self, name: str) -> str:
        """The SHA-256 of a file's bytes, in hex."""
        with self.open(name) as f:
            return hashlib.file_digest(f, "sha256").hexdigest()

    def read(self, name: str) -> bytes:
        with self.open(name) as f:
            return f.read()

    def json(self, name: str) -> Any:
        """What a JSON file says; None if there is no such file. PoolError if it is damaged, or its `checksum`, if it has one, is wrong."""
        try:
            found = json.loads(self.read(name))
            return verified(found) if isinstance(found, dict) and "checksum" in found else found
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            raise PoolError(f"{self.path(name)}: damaged ({e}){hint(name)}") from e

    def open(self, name: str) -> Any:
        """A seekable binary file for reading, of a name in the store or of a full path or URL elsewhere."""
        if "://" not in name and not os.path.isabs(name) and not self.local:
            return self._small(name) or self.fs.open(self.inner(name), "rb", **read_ahead(self.fs))
        path = self.path(name)
        return open_file(path) if "://" in path else open(path, "rb")

    def _small(self, name: str) -> io.BytesIO | None:
        """The whole of a small file, from one request instead of three; None if it is larger."""
        if name.endswith(".tar"):
            return None
        head = self.fs.cat_file(self.inner(name), start=0, end=SMALL)
        return io.BytesIO(head) if 0 < len(head) < SMALL else None

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file as a table; the checksums of its footer and of the pages that are read are verified."""
        with self.parquet(name) as file:
            found = file.read(columns=columns)
            kept = {k: v for k, v in (found.schema.metadata or {}).items() if k != CHECKSUM}
            return found.replace_schema_metadata(kept or None)

    def fields(self, name: str) -> pa.Schema:
        """The columns of a Parquet file."""
        with self.parquet(name) as file:
            return file.schema_arrow

    @contextlib.contextmanager
    def parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        """A Parquet file, opened; PoolError if it is missing or damaged, also while the block reads it."""
        try:
            with self.open(name) as f:
                yield pq.ParquetFile(f, metadata=metadata(f), page_checksum_verification=True)
        except FileNotFoundError as e:
            raise PoolError(f"{self.path(name)}: missing{hint(name)}") from e
        except (pa.ArrowException, OSError, ValueError) as e:
            raise PoolError(f"{self.path(name)}: cannot be read: {e}{hint(name)}") from e

    # ---- writing

    @contextlib.contextmanager
    def private(self, near: str = "") -> Iterator[Path]:
        """A private local path to write to; removed afterwards if it is still there."""
        self.fence()
        folder, head = self._private()
        for needed in (folder, os.path.dirname(self.inner(near)) if self.local else folder):
            try:
                os.makedirs(needed, exist_ok=True)
            except OSError as e:
                raise PoolError(f"{self.url}: cannot write here: {e.strerror}") from e
        path = Path(folder) / f"{head}{os.path.basename(near) or 'tmp'}.{uuid.uuid4().hex}"
        try:
            failpoints.at("open", near)
            yield path
        except OSError as e:
            self.fence()  # else a file that a later driver swept away would be reported as missing
            if e.errno in CANNOT_WRITE:
                raise PoolError(f"{self.path(near)}: cannot write: {e.strerror}") from e
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _private(self) -> tuple[str, str]:
        """The folder of private files, and how their names begin: those of an object store lie among other programs' files."""
        if self.local:
            return self.inner(PRIVATE), ""
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
        made = self._link(name, path) if self.local else self._upload_new(name, path)
        if made:
            self._named(name)
        return made

    def _link(self, name: str, path: Path) -> bool:
        """Give a file its name by a hard link, which fails where the name is taken. Where there are no links this looks first."""
        try:
            if self.exclusive:
                os.link(path, self.inner(name))
                self._still_ours(name)
                return True
        except FileExistsError:
            return os.path.samefile(
                path, self.inner(name)
            )  # the answer to a first attempt was lost on its way from a file server
        except OSError as e:
            if e.errno not in NO_LINKS:
                raise
            log.info("%s: no hard links (%s): a commit looks first", self.path(name), e.strerror)
            self.exclusive = False
        if self.exists(name):
            return False
        os.replace(path, self.inner(name))
        self._still_ours(name)
        return True

    def _still_ours(self, name: str) -> None:
        """A commit that appeared after another driver took over is taken back: what it names may be gone. A process can be stopped for
        any time between looking at the lease and this."""
        try:
            self.fence()
        except PoolError:
            if self.local:
                os.unlink(self.inner(name))
            else:
                self.fs.rm_file(self.inner(name))
            raise

    def publish(self, name: str, path: Path, size: int | None = None) -> None:
        """Give a finished private file its final name, replacing what was there."""
        self._ready(name, path, size)
        if self.local:
            os.replace(path, self.inner(name))
        else:
            self._upload(name, path, "overwrite")
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
        if self.local:
            failpoints.at("sync", name)
            _sync(Path(self.inner(name)).parent)
        failpoints.at("named", name)

    def fence(self) -> None:
        """PoolError if another driver has taken the run over since this one did.

        What was seen a moment ago counts: nobody takes a run over that soon. The clock goes on while a process or the machine sleeps.
        """
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if not self.holder or now - self.looked < FRESH:
            return
        if any(n.split(".")[0] > self.holder for n in self.names("lease")):
            raise PoolError(
                f"{self.url}: another driver has taken this run over; this one (lease {self.holder}) writes no more"
            )
        self.looked = now

    def _upload(self, name: str, path: Path, mode: str) -> None:
        """One file, in one step; again after a pause if the store is busy. FileExistsError if mode is create and it is there."""
        for attempt in range(UPLOADS):
            try:
                failpoints.at("upload", name)
                self.fs.put_file(str(path), self.inner(name), mode=mode)
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
            self._still_ours(name)
        except FileExistsError:
            # An upload whose answer was lost is refused when it is repeated: what is there is ours if it is what we wrote.
            return self._same(name, path)
        return True

    def _same(self, name: str, path: Path) -> bool:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest() == self.hash(name)

    def probe(self) -> None:
        """Find out whether the store can create a file only where there is none, by trying twice. A local one finds out as it commits."""
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

    def publish_table(self, name: str, table: pa.Table, group: int = GROUP) -> None:
        with self.private(name) as path:
            self.publish(name, path, write_table(path, table, group))

    def commit_bytes(self, name: str, data: bytes) -> bool:
        with self.private(name) as path:
            return self.commit(name, path, path.write_bytes(data))

    def commit_record(self, name: str, value: dict[str, Any]) -> bool:
        """Commit a JSON object with its checksum."""
        return self.commit_bytes(name, record(value))

    def publish_record(self, name: str, value: dict[str, Any]) -> None:
        """Publish a JSON object with its checksum."""
        self.publish_bytes(name, record(value))

    def publish_bytes(self, name: str, data: bytes) -> None:
        with self.private(name) as path:
            self.publish(name, path, path.write_bytes(data))

    def note(self, name: str, data: bytes) -> None:
        """Put a small file that nobody relies on: it is not made durable, and when it cannot be written nothing stops."""
        try:
            self.fence()
            if self.local:
                os.makedirs(self.inner(PRIVATE), exist_ok=True)
                path = Path(self.inner(f"{PRIVATE}/{name}"))
                path.write_bytes(data)
                os.replace(path, self.inner(name))
            else:
                self.fs.pipe_file(self.inner(name), data)
        except (OSError, PoolError) as e:
            log.debug("%s: cannot write: %s", self.path(name), e)

    def remove(self, name: str) -> None:
        """Remove a file; none there is fine."""
        self.fence()
        try:
            failpoints.at("remove", name)
            if self.local:
                os.unlink(self.inner(name))
                _sync(Path(self.inner(name)).parent)
            else:
                self.fs.rm_file(self.inner(name))
            failpoints.at("removed", name)
        except FileNotFoundError:
            return
        except OSError as e:
            raise PoolError(f"{self.path(name)}: cannot be removed: {e.strerror or e}") from e

    def clear(self, folder: str) -> None:
        """Remove a folder with all that is in it; none there is fine."""
        self.fence()
        with contextlib.suppress(FileNotFoundError):
            if self.local:
                shutil.rmtree(self.inner(folder))
            else:
                self.fs.rm(self.inner(folder), recursive=True)


def hint(name: str) -> str:
    """What helps where a file of the run itself is damaged."""
    return "" if "://" in name or os.path.isabs(name) else "; `curate run --repair` makes it again"


def _sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable. Some file systems cannot do that with folders, a few with nothing."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in NO_SYNC:
            raise
        log.debug("%s: the file system does not say when this is durable: %s", path, e.strerror)
    finally:
        os.close(fd)
