"""Base class of sources, which list input files and read each as a stream of parts; and the identity of input files."""

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

#: How the name of a folder ends that is one input: a Lance table.
FOLDERS = (".lance",)


@dataclass
class Source:
    """Base class of readers of input files.

    Subclasses implement `read`, which streams one file as dicts of tables (`images`, and for pages `documents` and `texts`), one dict
    a part, in the file's order, with at most one part in memory. It raises PoolError naming the file and the row if the file
    cannot be read; an invalid row gets a reason in the column `drop_reason` instead (null for valid rows).
    """

    tables: ClassVar[tuple[str, ...]] = ("images",)
    version: ClassVar[int] = 1
    removed: ClassVar[Any] = None  # removed.Removed: content that a source which fetches must not request
    asks: ClassVar[bool] = (
        False  # it reads the web, whose answers change: `read` takes the last `source_row` that was read before
    )

    def files(self) -> list[str]:
        """The input files in a stable order; RecipeError if there are none."""
        raise NotImplementedError

    def read(self, file: str, part_size: int) -> Iterator[dict[str, pa.Table]]:
        raise NotImplementedError

    def steps(self) -> list[Step]:
        """Steps that a recipe puts before all others for this source's rows."""
        return []

    def allow_networks(self, networks: tuple[str, ...]) -> None:
        """Allow it to contact networks that are not public, such as `127.0.0.0/8`; no effect on a source that contacts none."""

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        """The columns that all files have in `table`; a file may have more."""
        return schema.TABLES[table]

    def identity(self) -> dict[str, Any]:
        """What the rows of a file depend on: class, version, and the parameters except the paths."""
        fields = {k: v for k, v in plain(self).items() if k != "paths"}
        return {**fields, "version": self.version}


def expand(paths: str | list[str]) -> list[str]:
    """The sorted files, and folders of FOLDERS, of globs and plain paths (local or any fsspec URL). A path that exists literally is not
    expanded. RecipeError if nothing matches."""
    found: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        fs, inner = filesystem(path)
        names = [n for n in matching(fs, inner) if fs.isfile(n) or n.lower().endswith(FOLDERS)]
        if not names:
            raise RecipeError(f"no input file matches {path}")
        found += [n if "://" not in path else fs.unstrip_protocol(n) for n in names]
    return sorted(set(found))


def file_identity(path: str, earlier: dict[str, Any] | None = None) -> dict[str, Any]:
    """The identity of an input: `path`, `size`, `version` (the store's, which is cheap to get) and `hash`: of its content, or the version
    where the store makes a new one for each content. The identity of a folder or a glob (`folder:`) covers all its files.

    earlier: its identity when it was last read; if the version is the same the content is not read again.
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
    """The files of an input that is a folder, or a glob of small files that are read together, with the store's information on each; None
    if it is a file."""
    if _is_glob(fs, inner):
        root = root_of(fs, inner)
        found: Any = fs.glob(escaped(root[:-1]) + inner[len(root) - 1 :], detail=True)
        return {name: f for name, f in found.items() if f["type"] == "file"}
    below: Any = fs.find(inner, detail=True) if fs.isdir(inner) else None
    return below


def _is_glob(fs: fsspec.AbstractFileSystem, inner: str) -> bool:
    """Whether a path is a glob: it has glob characters, and no file or folder with this literal name exists."""
    return has_magic(inner) and not fs.exists(inner)


def root_of(fs: fsspec.AbstractFileSystem, inner: str) -> str:
    """The folder that the members' names are relative to, with a slash at its end; of a glob the last folder before its glob characters."""
    if fs.isdir(inner):
        return inner.rstrip("/") + "/"
    head = inner.rpartition("/")[0]
    while has_magic(head) and not fs.exists(head):
        head = head.rpartition("/")[0]
    return head + "/"


def _version(found: dict[str, Any]) -> str:
    """The version of a file from its store's information: ETag or generation of an object, blob on Hugging Face's hub, modification time
    and inode on a local disk."""
    for name in ("ETag", "etag", "generation", "md5Hash", "blob_id"):
        value = str(found.get(name) or "")
        if value and not value.startswith("W/"):  # a weak ETag may stay while the bytes change
            return f"{name.lower()}:{value.strip(chr(34))}"
    if "ino" in found:
        return f"{found['mtime']!r}-{found['ino']}"
    return ""


def _hash(fs: fsspec.AbstractFileSystem, name: str, version: str) -> str:
    """The version if it identifies the content, else the SHA-256 of the content."""
    if ":" in version:
        return version
    with fs.open(name, "rb") as f:
        return "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
