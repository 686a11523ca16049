"""Sources: where rows come from. A source names its input files and reads one of them as a stream of parts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import fsspec
import pyarrow as pa

from curate import schema
from curate.errors import RecipeError
from curate.paths import escaped, filesystem, has_magic, matching
from curate.stage import Step, plain


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

    def steps(self) -> list[Step]:
        """The steps that its rows need before any other: a recipe puts them first."""
        return []

    def allow_networks(self, networks: tuple[str, ...]) -> None:
        """Let it contact networks that are not public, such as `127.0.0.0/8`; nothing for a source that contacts none."""

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


def file_identity(path: str, earlier: dict[str, Any] | None = None) -> dict[str, Any]:
    """What an input is known by: `path`, `size`, `version` (that of the store, which is cheap to look at) and `hash`: of its content, or
    the version where the store makes a new one for each new content. A folder or a glob (`folder:`) is known by all its files.

    earlier: what it was known by when it was last read; where the version is the same the content is not read again.
    """
    known = file_version(path)
    if earlier and known["version"] and all(earlier.get(k) == known[k] for k in ("size", "version")) and earlier.get("hash"):
        return {**known, "hash": earlier["hash"]}
    fs, inner = filesystem(path)
    below = members(fs, inner)
    if below is None:
        return {**known, "hash": _hash(fs, inner, known["version"])}
    root = root_of(fs, inner)
    lines = "".join(f"{n.removeprefix(root)} {_hash(fs, n, _version(below[n]))}\n" for n in sorted(below))
    return {**known, "hash": "folder:" + hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()}


def file_version(path: str) -> dict[str, Any]:
    """`path`, `size` and `version` of an input, without reading it. The version is empty where the store has none."""
    fs, inner = filesystem(path)
    if not _is_glob(fs, inner):
        found = fs.info(inner)
        if found["type"] != "directory":
            return {"path": path, "size": found["size"], "version": _version(found)}
    below = members(fs, inner) or {}
    versions = [(name, f["size"], _version(f)) for name, f in sorted(below.items())]
    known = hashlib.sha256(repr(versions).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    size = sum(f["size"] for f in below.values())
    return {"path": path, "size": size, "files": len(below), "version": known if all(v for *_, v in versions) else ""}


def members(fs: fsspec.AbstractFileSystem, inner: str) -> dict[str, dict[str, Any]] | None:
    """The files of an input that is a folder, or a glob of small files that are read together, with what the store says of each; None of
    one that is a file."""
    if _is_glob(fs, inner):
        root = root_of(fs, inner)
        found = fs.glob(escaped(root[:-1]) + inner[len(root) - 1 :], detail=True)
        return {name: f for name, f in found.items() if f["type"] == "file"}
    return fs.find(inner, detail=True) if fs.isdir(inner) else None


def _is_glob(fs: fsspec.AbstractFileSystem, inner: str) -> bool:
    """Whether a path is a glob: it has their signs, and nothing exists under just that name."""
    return has_magic(inner) and not fs.exists(inner)


def root_of(fs: fsspec.AbstractFileSystem, inner: str) -> str:
    """The folder that the members' names are relative to, with a slash at its end: of a glob the last one before its signs."""
    if fs.isdir(inner):
        return inner.rstrip("/") + "/"
    head = inner.rpartition("/")[0]
    while has_magic(head) and not fs.exists(head):
        head = head.rpartition("/")[0]
    return head + "/"


def _version(found: dict[str, Any]) -> str:
    """The version of a file by what its store says of it: of an object its ETag or generation, on Hugging Face's hub its blob, on a
    local disk time and inode."""
    for name in ("ETag", "etag", "generation", "md5Hash", "blob_id"):
        value = str(found.get(name) or "")
        if value and not value.startswith("W/"):  # a weak ETag may stay while the bytes change
            return f"{name.lower()}:{value.strip(chr(34))}"
    if "ino" in found:
        return f"{found['mtime']!r}-{found['ino']}"
    return ""


def _hash(fs: fsspec.AbstractFileSystem, name: str, version: str) -> str:
    if ":" in version:
        return version
    with fs.open(name, "rb") as f:
        return "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
