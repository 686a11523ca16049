"""Search for bytes in all files of a folder, also inside Parquet, tars and HTML pages."""

import base64
import gzip
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq


def holding(folder: Path, *needles: bytes) -> list[str]:
    """The files (and what in them) that hold one of these byte strings; hidden files too."""
    return [
        name
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
        for name, data in contents(str(path.relative_to(folder)), path.read_bytes())
        if any(n in data for n in needles)
    ]


def contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, and those of everything packed in it."""
    yield name, name.encode() + b" " + data
    if name.endswith(".parquet") or data[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(data))
        yield f"{name}: schema", str(table.schema.to_string(truncate_metadata=False)).encode()
        for column in table.column_names:
            for chunk in table[column].chunks:  # a string, a blob, a vector: its bytes lie in some buffer
                yield from ((f"{name}: {column}", bytes(b)) for b in chunk.buffers() if b is not None)
    elif name.endswith(".tar") or data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                yield from contents(f"{name}: {member.name}", tar.extractfile(member).read())
    elif data[:2] == b"\x1f\x8b":
        yield f"{name}: unpacked", gzip.decompress(data)
    for found in re.finditer(rb"base64,([A-Za-z0-9+/=]+)", data):
        yield f"{name}: base64", base64.b64decode(found[1])
