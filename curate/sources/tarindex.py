"""Index of a tar from its headers: names, offsets and sizes of regular files, without extracting anything."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from curate.errors import PoolError

BLOCK = 512
ZEROS = bytes(BLOCK)

#: Bytes. A longer name (GNU) or extended header (pax) is a broken one.
LONGEST_NAME = 64 << 10

#: Digits of a size; Python refuses to make numbers of thousands.
DIGITS = 19

#: Bytes in which the next header after a broken one is searched.
LOOK = 64 << 20

REGULAR = (b"0", b"\0", b"7")


@dataclass(frozen=True)
class Member:
    """A regular file of the tar; `size` bytes from `offset`. `whole` is false if the tar ends before the member does."""

    name: str
    offset: int
    size: int
    whole: bool = True


@dataclass(frozen=True)
class Broken:
    """An offset at which a valid header is missing."""

    offset: int


@dataclass
class Sample:
    """Consecutive members of one key, as in webdataset. members: by the rest of the name, in lower case.

    broken: a damaged header is between its members; a Sample without members stands for the damage itself.
    """

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    broken: bool = False


def members(f: BinaryIO, name: str) -> Iterator[Member | Broken]:
    """The regular files of a tar in order. After a broken header reading continues at the next valid one.

    PoolError if the file is not a tar. The last member of a truncated tar is not `whole`.
    """
    end = f.seek(0, 2)
    at, extended = 0, {}
    while at < end:
        f.seek(at)
        header = f.read(BLOCK)
        if header == ZEROS:
            return
        found = _parse(header)
        if found is None:
            if at == 0:
                raise PoolError(f"{name}: not a tar (or a compressed one: unpack it first)")
            yield Broken(at)
            at, extended = _next_header(f, at + BLOCK), {}
            continue
        path, size, kind = found
        start = at + BLOCK
        if kind in (b"L", b"x") and size <= LONGEST_NAME:
            extended |= _long_name(f.read(size)) if kind == b"L" else _pax(f.read(size))
            at = start + _padded(size)
            continue
        path, size = extended.get("path", path), int(extended.get("size", size))
        if kind in REGULAR:
            yield Member(path, start, size, start + size <= end)
        # A member that exceeds the file is either truncated, or its header is wrong and others follow.
        at = start + _padded(size) if start + size <= end else _next_header(f, start)
        if kind != b"g":
            extended = {}
    if end == 0:
        raise PoolError(f"{name}: empty, not a tar")


def samples(found: Iterator[Member | Broken]) -> Iterator[Sample]:
    """Members grouped into samples. A repeated suffix begins a new sample of the same key, as in webdataset."""
    current: Sample | None = None
    crossed = False
    for each in found:
        if isinstance(each, Broken):
            # The lost members are unknown, perhaps whole samples: the damage is reported as a sample of its own.
            yield Sample("", broken=True)
            crossed = True
            continue
        folder, slash, name = each.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        key, suffix = folder + slash + stem, suffix.lower()
        if not stem or not suffix:
            continue
        if current is None or key != current.key or suffix in current.members:
            if current:
                yield current
            current, crossed = Sample(key), False
        current.broken |= crossed
        current.members[suffix] = each
    if current:
        yield current


def _parse(header: bytes) -> tuple[str, int, bytes] | None:
    """(name, size, type) of a header, None if its checksum or its numbers are wrong."""
    if len(header) < BLOCK:
        return None
    stated = _number(header[148:156])
    size = _number(header[124:136])
    if stated is None or size is None or stated != sum(header) - sum(header[148:156]) + 8 * 32:
        return None
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", "replace"), size, header[156:157]


def _number(field: bytes) -> int | None:
    """An octal number, or GNU's binary one; None for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    return None if digits.strip(b"01234567") else int(digits, 8)  # int alone takes signs, and a size below 0 has no end


def _long_name(data: bytes) -> dict[str, str]:
    return {"path": data.rstrip(b"\0").decode("utf-8", "replace")}


def _pax(data: bytes) -> dict[str, str]:
    """`path` and `size` of an extended header; anything malformed is left out."""
    found: dict[str, str] = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not (length.isdigit() and len(length) < 7 and 0 < int(length) <= len(data)):
            break
        name, _, value = data[len(length) + 1 : int(length)].rstrip(b"\n").partition(b"=")
        if name == b"path" or (name == b"size" and value.isdigit() and len(value) <= DIGITS):
            found[name.decode()] = value.decode("utf-8", "replace")
        data = data[int(length) :]
    return found


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _next_header(f: BinaryIO, at: int) -> int:
    """The offset of the next valid header, or the end of the file."""
    for place in range(at, at + LOOK + 1, BLOCK):
        f.seek(place)
        header = f.read(BLOCK)
        if len(header) < BLOCK:
            break
        if header[257:262] == b"ustar" and _parse(header):
            return place
    return f.seek(0, 2)
