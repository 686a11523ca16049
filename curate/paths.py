"""Literal paths for DuckDB and fsspec: without unintended globs, Hive partitions (`x=1/`) or chained URLs (`a::b`)."""

import os
from collections.abc import Iterable
from typing import Any

import fsspec
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem

from curate.errors import RecipeError

_GLOB_CHARACTERS = "*?["


#: Concurrent requests of a process to S3; the library's default is ten.
CONNECTIONS = 64

#: Bytes read ahead in a file of an object store. s3fs reads 50 MiB, too much for one column or one picture.
BLOCK = 1 << 20


def filesystem(path: str, listings: bool = True) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a path or URL, and the path in it. RecipeError if no installed package can read such URLs.

    listings: whether the file system may use cached directory listings.
    """
    protocol = split_protocol(path)[0]
    if protocol in (None, "file", "local") or "::" in protocol:
        return LocalFileSystem(), os.path.abspath(path.removeprefix(f"{protocol}://"))
    head, chain, tail = path.partition("::")  # fsspec would interpret it as a chain of file systems
    try:
        fs, inner = fsspec.core.url_to_fs(f"{head}_" if chain else head, **_options(protocol, listings))
    except (ValueError, ImportError, TypeError) as e:
        raise RecipeError(f"{path}: cannot be read: {e}") from e
    if hasattr(fs, "default_block_size"):
        fs.default_block_size = 5 * BLOCK  # DuckDB uses it; the smallest part size that s3fs writes
    return fs, inner.removesuffix("_") + chain + tail if chain else inner


def _options(protocol: str, listings: bool) -> dict[str, Any]:
    options: dict[str, Any] = {} if listings else {"use_listings_cache": False}
    return options | ({"config_kwargs": {"max_pool_connections": CONNECTIONS}} if protocol in ("s3", "s3a") else {})


def folder_fault(path: str) -> str:
    """Why a run's folder cannot have this name; empty if it can."""
    if not is_utf8(path):
        return "the name is not UTF-8"
    # DuckDB treats a backslash as a slash in globs.
    return f"the name has a backslash and one of {_GLOB_CHARACTERS}" if "\\" in path and has_magic(path) else ""


def is_utf8(path: str) -> bool:
    """Whether the bytes of a path are UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path: str) -> str:
    """Any path as valid text, with bytes that are not UTF-8 as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def open_file(path: str) -> Any:
    """Open a path or URL as a binary file for reading."""
    fs, inner = filesystem(path)
    return fs.open(inner, "rb", **read_ahead(fs))


def read_ahead(fs: fsspec.AbstractFileSystem) -> dict[str, int]:
    """The options of a file system's `open` that limit its read-ahead."""
    return {"block_size": BLOCK} if hasattr(fs, "default_block_size") else {}


def has_magic(path: str) -> bool:
    """Whether a path contains glob characters."""
    return any(c in path for c in _GLOB_CHARACTERS)


def escaped(path: str) -> str:
    """A path as a glob that matches only it. `::` in a URL is escaped too, so that it is no chain."""
    plain = "".join(f"[{c}]" if c in _GLOB_CHARACTERS else c for c in path)
    return plain.replace("::", "[:]:") if "://" in path else plain


def matching(fs: fsspec.AbstractFileSystem, inner: str) -> list[str]:
    """The files and folders of a path: the one of that name if it exists, else those that match it as a glob. Leading folders that
    exist under their literal name are not expanded."""
    if fs.exists(inner):
        return [inner]
    if not has_magic(inner):
        return []
    head = inner.rpartition("/")[0]
    while has_magic(head) and not fs.exists(head):
        head = head.rpartition("/")[0]
    return [str(name) for name in fs.glob(escaped(head) + inner[len(head) :])]


def parquet(files: Iterable[str], options: str = "") -> str:
    """The SQL expression with which DuckDB reads these Parquet files, by full paths or URLs; options: as in SQL."""
    listed = ", ".join("'" + escaped(file).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], hive_partitioning = false{options and ', '}{options})"
