"""Slices of payloads: the bytes of many samples, read in few requests.

From a local disk a slice is one read. Of an object store slices near each other come with one request, and many requests are under
way at a time, over all payloads that a caller names at once.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from curate.errors import PoolError
from curate.paths import filesystem
from curate.store.atomic import Store, hint
from curate.store.folder import PARTS
from curate.store.inputs import is_input

#: Bytes that are fetched at a time, and those of one request (a larger slice is one by itself).
ROUND, REQUEST = 64 << 20, 8 << 20
#: What lies between neighbours comes along with them: gaps of so many bytes, and wider ones up to this share of the bytes wanted.
GAP, BETWEEN = 4 << 10, 0.08

#: The payloads that a run commits itself.
_OWN = re.compile(PARTS + r"/(?:[\w-]+/)?[\w-]+\.tar", re.ASCII)

#: A payload's name, an offset in it, and a number of bytes.
Slice = tuple[str, int, int]


def open_payload(store: Store, name: str) -> BinaryIO:
    """A payload for reading: a tar that the run committed, or an input that its record names. PoolError for anything else: a row
    may say what it likes, and no file or server that the run was not started on is opened for it."""
    _allow(store, name)
    return store.open(name)


def _allow(store: Store, name: str) -> None:
    if not _OWN.fullmatch(name) and not is_input(store, name):
        raise PoolError(f"{name}: is neither a payload of {store.url} nor one of its inputs, and is not opened")


def slices(store: Store, wanted: Iterable[Slice]) -> Iterator[bytes]:
    """The bytes of slices, which are sorted by payload and offset; short where a payload ends. OSError if one cannot be read."""
    for remote, some in itertools.groupby(wanted, key=lambda s: _is_remote(store, s[0])):
        yield from (_remote if remote else _local)(store, some)


def _is_remote(store: Store, name: str) -> bool:
    return "://" in name or not (store.local or os.path.isabs(name))


def _local(store: Store, wanted: Iterable[Slice]) -> Iterator[bytes]:
    for name, group in itertools.groupby(wanted, key=lambda s: s[0]):
        with open_payload(store, name) as source:
            for _, offset, size in group:
                source.seek(offset)
                yield source.read(size)


# ---- object stores


@dataclass
class _Range:
    """Bytes [start, end) of an object, that one request brings."""

    name: str
    start: int
    end: int


def _remote(store: Store, wanted: Iterable[Slice]) -> Iterator[bytes]:
    for some in _rounds(wanted):
        ranges, numbers = _merged(some)
        found = _fetched(store, ranges)
        for (_, offset, size), number in zip(some, numbers):
            data, low = found[number], offset - ranges[number].start
            if isinstance(data, Exception):
                raise data
            yield data[low : low + size]


def _rounds(wanted: Iterable[Slice]) -> Iterator[list[Slice]]:
    """The slices in groups of about ROUND bytes."""
    some: list[Slice] = []
    held = 0
    for each in wanted:
        some.append(each)
        held += each[2]
        if held >= ROUND:
            yield some
            some, held = [], 0
    if some:
        yield some


def _merged(wanted: list[Slice]) -> tuple[list[_Range], list[int]]:
    """Ranges that hold all slices, and the number of that which holds each. Narrow gaps are read too."""
    gaps = [two[1] - one[1] - one[2] if one[0] == two[0] else -1 for one, two in itertools.pairwise(wanted)]
    left, widest = BETWEEN * sum(size for _, _, size in wanted), GAP
    for gap in sorted(g for g in gaps if g > 0):
        left -= gap
        if left < 0:
            break
        widest = max(gap, GAP)
    ranges: list[_Range] = []
    numbers = []
    for name, offset, size in wanted:
        last = ranges[-1] if ranges else None
        near = last is not None and last.name == name and offset - last.end <= widest
        if near and (offset < last.end or offset + size - last.start <= REQUEST):
            last.end = max(last.end, offset + size)
        else:
            ranges.append(_Range(name, offset, offset + size))
        numbers.append(len(ranges) - 1)
    return ranges, numbers


def _fetched(store: Store, ranges: list[_Range]) -> list[bytes | Exception]:
    """The bytes of ranges, or why they cannot be read; all of one store at once."""
    found: list[bytes | Exception] = [b""] * len(ranges)
    stores: dict[Any, list[tuple[int, str]]] = {}
    where = {name: _where(store, name) for name in dict.fromkeys(r.name for r in ranges)}
    for number, each in enumerate(ranges):
        if each.end > each.start:
            fs, path = where[each.name]
            stores.setdefault(fs, []).append((number, path))
    for fs, some in stores.items():
        asked = [ranges[n] for n, _ in some]
        got = fs.cat_ranges([p for _, p in some], [r.start for r in asked], [r.end for r in asked], on_error="return")
        for (number, _), each, data in zip(some, asked, got):
            # A web server that knows no ranges answers with the whole file.
            whole = isinstance(data, bytes) and len(data) > each.end - each.start
            found[number] = data[each.start : each.end] if whole else data
    return found


def _where(store: Store, name: str) -> tuple[Any, str]:
    """The file system of a payload, and its path in it."""
    _allow(store, name)
    return filesystem(name) if "://" in name else (store.fs, store.inner(name))


def read_slices(
    store: Store, files: list[str | None], offsets: list[int | None], sizes: list[int | None]
) -> list[bytes | None]:
    """Slices of files, in the order given. None where the file is None. PoolError names a file that is gone, or too short."""
    found: list[bytes | None] = [None] * len(files)
    rows = sorted((i for i, name in enumerate(files) if name is not None), key=lambda i: (files[i], offsets[i]))
    read = slices(store, [(files[i], offsets[i], sizes[i]) for i in rows])
    for i in rows:
        path, mended = store.path(files[i]), hint(files[i])
        try:
            data = next(read)
        except FileNotFoundError as e:
            raise PoolError(f"{path}: missing{mended}") from e
        if len(data) != sizes[i]:
            raise PoolError(f"{path}: holds {len(data)} bytes at {offsets[i]}, not {sizes[i]}{mended}")
        found[i] = data
    return found
