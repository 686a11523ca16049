"""Sources: where rows come from. A source names its input files and reads one of them as a stream of parts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import fsspec
import pyarrow as pa

from curate import schema
from curate.errors import RecipeError
from curate.paths import filesystem, matching
from curate.stage import plain

#: Files up to this size are hashed whole, larger ones by their size, first and last MiB.
HASH_WHOLE = 256 << 20


@dataclass
class Source:
    """Reads input files into parts.

    Write `read`: it streams one file as dicts of tables (`images`, and for pages `documents` and `texts`), one dict a part,
    in the file's order, never holding more than a part. It raises PoolError naming the file and the row if the file
    cannot be read; a row that is wrong gets a `drop_reason` column instead (null for good rows).
    """

    tables: ClassVar[tuple[str, ...]] = ("images",)
    version: ClassVar[int] = 1
    removed: ClassVar[Any] = None  # removed.Removed: what a source that fetches must not ask for
    asks: ClassVar[bool] = (
        False  # the web, which may answer otherwise: `read` takes the last `source_row` that is there already
    )

    def files(self) -> list[str]:
        """The input files in a stable order; RecipeError if there are none."""
        raise NotImplementedError

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        raise NotImplementedError

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        """The columns that every row of `table` has. A file may carry more."""
        return schema.TABLES[table]

    def identity(self) -> dict[str, Any]:
        """What decides how a file becomes rows: class, version, parameters other than which files."""
        fields = {k: v for k, v in plain(self).items() if k != "paths"}
        return {**fields, "version": self.version}


def expand(paths: str | list[str]) -> list[str]:
    """Globs, folders of files and plain paths (local or any fsspec URL) as a sorted list of files. What exists under just that name
    is no glob."""
    found: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        fs, inner = filesystem(path)
        names = [n for n in matching(fs, inner) if fs.isfile(n)]
        if not names:
            raise RecipeError(f"no input file matches {path}")
        found += [n if "://" not in path else fs.unstrip_protocol(n) for n in names]
    return sorted(set(found))


def file_identity(path: str) -> dict[str, Any]:
    """An input's size and hash. Large files are hashed by size, first and last MiB, and say so (`sampled:`); a folder by the
    names and hashes of all files below it (`folder:`)."""
    fs, inner = filesystem(path)
    if not fs.isdir(inner):
        size, hash = _hashed(fs, inner)
        return {"path": path, "size": size, "hash": hash}
    root = inner.rstrip("/") + "/"
    files = [(name.removeprefix(root), *_hashed(fs, name)) for name in sorted(fs.find(inner))]
    lines = "".join(f"{name} {hash}\n" for name, _, hash in files)
    return {
        "path": path,
        "size": sum(size for _, size, _ in files),
        "files": len(files),
        "hash": "folder:" + hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest(),
    }


def _hashed(fs: fsspec.AbstractFileSystem, name: str) -> tuple[int, str]:
    """A file's size and hash."""
    size = fs.size(name)
    with fs.open(name, "rb") as f:
        if size <= HASH_WHOLE:
            return size, "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
        head = f.read(1 << 20)
        f.seek(size - (1 << 20))
        return size, "sampled:" + hashlib.sha256(str(size).encode() + head + f.read()).hexdigest()
