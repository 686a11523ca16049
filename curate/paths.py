"""Paths that mean themselves: what DuckDB and fsspec open for us has no globs, Hive partitions (`x=1/`) or chained URLs (`a::b`)."""

import os
from collections.abc import Iterable
from typing import Any

import fsspec
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem

from curate.errors import RecipeError

_MAGIC = "*?["


#: Requests to S3 that a process has under way at a time; its library has ten.
CONNECTIONS = 64

#: Bytes that a file of an object store is read ahead. s3fs reads 50 MiB, to hand out one column or one picture.
BLOCK = 1 << 20


def filesystem(path: str, listings: bool = True) -> tuple[fsspec.AbstractFileSystem, str]:
    """Where a path or URL leads: the file system, and the path in it. RecipeError if nothing here can read such URLs.

    listings: whether the file system may answer from a list of files that it took before.
    """
    protocol = split_protocol(path)[0]
    if protocol in (None, "file", "local") or "::" in protocol:
        return LocalFileSystem(), os.path.abspath(path.removeprefix(f"{protocol}://"))
    head, chain, tail = path.partition("::")  # fsspec would take it for a chain of file systems
    try:
        fs, inner = fsspec.core.url_to_fs(f"{head}_" if chain else head, **_options(protocol, listings))
    except (ValueError, ImportError, TypeError) as e:
        raise RecipeError(f"{path}: cannot be read: {e}") from e
    if hasattr(fs, "default_block_size"):
        fs.default_block_size = 5 * BLOCK  # what DuckDB takes; the least that s3fs writes in
    return fs, inner.removesuffix("_") + chain + tail if chain else inner


def _options(protocol: str, listings: bool) -> dict[str, Any]:
    options: dict[str, Any] = {} if listings else {"use_listings_cache": False}
    return options | ({"config_kwargs": {"max_pool_connections": CONNECTIONS}} if protocol in ("s3", "s3a") else {})


def unusable(path: str) -> str:
    """What is wrong with the name of a run's folder; empty if nothing is."""
    if not printable(path):
        return "the name is not UTF-8"
    # DuckDB takes a backslash for a slash where it has to look for a file.
    return f"the name has a backslash and one of {_MAGIC}" if "\\" in path and has_magic(path) else ""


def printable(path: str) -> bool:
    """Whether a path can be written down: its bytes are UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    """Any path as text, with bytes that are not UTF-8 as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def open_file(path: str) -> Any:
    """A path or URL as a binary file for reading."""
    fs, inner = filesystem(path)
    return fs.open(inner, "rb", **ahead(fs))


def ahead(fs: fsspec.AbstractFileSystem) -> dict[str, int]:
    """How far a file system reads ahead, as an option of its `open`."""
    return {"block_size": BLOCK} if hasattr(fs, "default_block_size") else {}


def has_magic(path: str) -> bool:
    """Whether a path has characters that globs use."""
    return any(c in path for c in _MAGIC)


def escaped(path: str) -> str:
    """A path as a glob that matches nothing else. Of `::` in a URL nothing is left that could be a chain."""
    plain = "".join(f"[{c}]" if c in _MAGIC else c for c in path)
    return plain.replace("::", "[:]:") if "://" in path else plain


def matching(fs: fsspec.AbstractFileSystem, inner: str) -> list[str]:
    """The files and folders that a path means: the one of that name where there is one, else those that match it as a glob, in
    which the folders in front that exist under such a name mean themselves."""
    if fs.exists(inner):
        return [inner]
    if not has_magic(inner):
        return []
    head = inner.rpartition("/")[0]
    while has_magic(head) and not fs.exists(head):
        head = head.rpartition("/")[0]
    return [str(name) for name in fs.glob(escaped(head) + inner[len(head) :])]


def parquet(files: Iterable[str], options: str = "") -> str:
    """An SQL expression with which DuckDB reads these Parquet files, by their full paths or URLs; `options` as in SQL."""
    listed = ", ".join("'" + escaped(file).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], hive_partitioning = false{options and ', '}{options})"
