"""Bytes of samples in tars: written by a part, read as slices, the same bytes for the same members."""

import bisect
import hashlib
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from fsspec.spec import AbstractBufferedFile

from curate.errors import PoolError
from curate.store.atomic import Store, hint

#: Bytes of a tar's block, and how a tar ends.
BLOCK = 512
END = b"\0" * (2 * BLOCK)


#: The payloads that a run commits itself.
_OWN = re.compile(r"parts/(?:[\w-]+/)?[\w-]+\.tar", re.ASCII)


def open_payload(store: Store, name: str) -> BinaryIO:
    """A payload for reading: a tar that the run committed, or an input that its record names. PoolError for anything else: a row
    may say what it likes, and no file or server that the run was not started on is opened for it."""
    if not _OWN.fullmatch(name) and not store.reads(name):
        raise PoolError(f"{name}: is neither a payload of {store.url} nor one of its inputs, and is not opened")
    return store.open(name)


#: Slices of a payload on an object store that are nearer to each other than so many bytes come with one request; so many bytes come at a time.
GAP, ROUND = 4 << 10, 32 << 20


def slices(source: Any, wanted: list[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of slices (offset, size) of an open payload, sorted by offset; short where it ends. Of an object store no other bytes are
    read but those between near neighbours, and several requests are under way at a time."""
    if not isinstance(source, AbstractBufferedFile):
        for offset, size in wanted:
            source.seek(offset)
            yield source.read(size)
        return
    for some in _rounds(wanted):
        ranges: list[list[int]] = []
        for offset, size in some:
            if ranges and offset - ranges[-1][1] <= GAP:
                ranges[-1][1] = max(ranges[-1][1], offset + size)
            else:
                ranges.append([offset, offset + size])
        starts, ends = zip(*ranges)
        found = source.fs.cat_ranges([source.path] * len(ranges), list(starts), list(ends), on_error="raise")
        for offset, size in some:
            at = bisect.bisect_right(starts, offset) - 1
            yield found[at][offset - starts[at] : offset - starts[at] + size]


def _rounds(wanted: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """The slices in groups of about ROUND bytes."""
    some, held = [], 0
    for offset, size in wanted:
        some, held = [*some, (offset, size)], held + size
        if held >= ROUND:
            yield some
            some, held = [], 0
    if some:
        yield some


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
            with open_payload(store, name) as f:
                mine = sorted((i for i, n in enumerate(files) if n == name), key=lambda i: offsets[i])
                for i, data in zip(mine, slices(f, [(offsets[i], sizes[i]) for i in mine])):
                    found[i] = data
                    if len(found[i]) != sizes[i]:
                        held = f"holds {len(found[i])} bytes at {offsets[i]}, not {sizes[i]}"
                        raise PoolError(f"{store.path(name)}: {held}{hint(name)}")
        except FileNotFoundError as e:
            raise PoolError(f"{store.path(name)}: missing{hint(name)}") from e
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
