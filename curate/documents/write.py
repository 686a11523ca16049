"""The documents of a run's shards in other tools' forms, as files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.documents import export
from curate.errors import PoolError
from curate.sources.tarindex import Broken, Sample, members, samples
from curate.store.atomic import Store
from curate.store.payload import tar_header

_TEXTS = pa.list_(pa.large_string())
OBELICS = pa.schema(
    [("texts", _TEXTS), ("images", _TEXTS), ("metadata", pa.large_string()), ("general_metadata", pa.large_string())]
)
MINT = pa.schema([("texts", _TEXTS), ("images", _TEXTS), ("url", pa.large_string()), ("uid", pa.large_string())])

#: A document: its key, its JSON, and a reader of its members.
Item = tuple[str, dict[str, Any], Callable[[str], bytes]]


def documents(store: Store, shard: str) -> Iterator[Item]:
    """The documents of one shard, in order; a member's bytes are read when asked for. PoolError where the tar is damaged."""
    name = f"shards/{shard}.tar"
    with store.open(name) as f:

        def member(sample: Sample, suffix: str) -> bytes:
            f.seek(sample.members[suffix].offset)
            return f.read(sample.members[suffix].size)

        for sample in samples(members(f, name)):
            if isinstance(sample, Broken) or sample.broken or "json" not in sample.members:
                raise PoolError(f"{name}: damaged; `curate check` says where")
            yield sample.key, json.loads(member(sample, "json")), lambda suffix, sample=sample: member(sample, suffix)


def write(store: Store, shards: list[str], form: str, out: Path) -> int:
    """Write all documents in a form of WRITERS; returns how many."""
    return WRITERS[form](store, shards, out)


def _parquet(schema: pa.Schema, row: Callable[[dict], dict]) -> Callable[[Store, list[str], Path], int]:
    """A writer of one Parquet file, a row group a shard's thousand."""

    def write_file(store: Store, shards: list[str], out: Path) -> int:
        count, rows = 0, []
        with pq.ParquetWriter(out, schema, compression="zstd") as file:
            for shard in shards:
                for _, document, _ in documents(store, shard):
                    rows.append(row(document))
                    if len(rows) == 1000:
                        file.write_table(pa.Table.from_pylist(rows, schema))
                        count, rows = count + len(rows), []
            file.write_table(pa.Table.from_pylist(rows, schema))
        return count + len(rows)

    return write_file


def _jsonl(store: Store, shards: list[str], out: Path) -> int:
    count = 0
    with open(out, "w", encoding="utf-8") as file:
        for shard in shards:
            for _, document, _ in documents(store, shard):
                file.write(json.dumps(export.mmc4(document), ensure_ascii=False) + "\n")
                count += 1
    return count


def _openflamingo(store: Store, shards: list[str], out: Path) -> int:
    """A tar for each shard, in which a document is one `.json` with its images in base64."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for shard in shards:
        with open(out / f"{shard}.tar", "wb") as file:
            for key, document, read in documents(store, shard):
                data = json.dumps(export.openflamingo(document, read), ensure_ascii=False).encode()
                file.write(tar_header(f"{key}.json", len(data)) + data + b"\0" * (-len(data) % 512))
                count += 1
            file.write(b"\0" * 1024)
    return count


def _markdown(store: Store, shards: list[str], out: Path) -> int:
    """A file for each document, and the images beside them."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    count = 0
    for shard in shards:
        for key, document, read in documents(store, shard):
            (out / f"{key}.md").write_text(export.markdown(document), encoding="utf-8")
            for name in filter(None, document["images"]):
                (out / "images" / f"{document['uid']}.{name}").write_bytes(read(name))
            count += 1
    return count


WRITERS: dict[str, Callable[[Store, list[str], Path], int]] = {
    "obelics": _parquet(OBELICS, export.obelics),
    "mint": _parquet(MINT, export.mint),
    "mmc4": _jsonl,
    "openflamingo": _openflamingo,
    "markdown": _markdown,
}
