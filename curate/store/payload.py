"""Bytes of samples in tars, written by a part: the same bytes for the same members."""

import hashlib
from typing import Any, BinaryIO

from curate.store.atomic import Store

#: Bytes of a tar's block, and how a tar ends.
BLOCK = 512
END = b"\0" * (2 * BLOCK)


class Parcel:
    """The payload tar of one part being written: members are added one by one, in any order.

    The tar's name holds the hash of its bytes and is known when it is closed; until then rows keep offset and size.
    removed: what was taken down (removed.Removed), and may not come in again; None where the store has yet to be asked.
    """

    def __init__(self, store: Store, file: BinaryIO, removed: Any = None):
        self.store, self.file, self.removed = store, file, removed
        self.offset, self.count, self.hash = 0, 0, hashlib.sha256()

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
