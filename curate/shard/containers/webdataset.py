"""The shards as they are, with the indices that loaders with random access want: wids' JSON, and Energon's `.nv-meta` and `.tar.idx`."""

import json
import sqlite3
import struct
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa

from curate.shard.containers.base import ContainerShards, share, suffixes
from curate.shard.write import pretty
from curate.sources.tarindex import BLOCK, Member, members, samples
from curate.store.atomic import Store


class IndexedWebDataset:
    """`00042.tar` beside `wids.json` (webdataset's `wids.ShardListDataset`), `00042.tar.idx` and `.nv-meta/` (Megatron Energon, which
    finds samples by key in `.nv-meta/index.sqlite` from release 7 on).

    On one disk the tars are further names of the run's own; their bytes are the same everywhere.
    """

    def write(self, shards: ContainerShards, out: Store, number: int, of: int, shard: dict[str, Any]) -> dict[str, Any]:
        name = f"{shard['name']}.tar"
        share(shards.store, f"shards/{name}", out, name)
        begins, members_ = located(shards.store, f"shards/{name}")
        out.publish_bytes(f"{name}.idx", struct.pack(f"<{len(begins)}Q", *begins))
        out.publish_table(_members_file(name), members_)
        return {"url": name, "nsamples": shard["samples"], "filesize": shard["tar"]["bytes"], "sha256": shard["tar"]["sha256"]}

    def finish(self, shards: ContainerShards, out: Store, dataset: dict[str, Any], written: Sequence[dict[str, Any]]) -> None:
        counts = {w["url"]: w["nsamples"] for w in written}
        # JSON is YAML: files of both names have the same content for older and newer releases of Energon.
        _publish_index(out, list(counts))
        info = {"shard_counts": counts}
        for name in (".info.json", ".info.yaml"):
            out.publish_bytes(f".nv-meta/{name}", pretty(info))
        out.publish_bytes(".nv-meta/split.yaml", pretty({"split_parts": {"train": list(counts)}, "exclude": []}))
        out.publish_bytes(".nv-meta/dataset.yaml", pretty(_sample_type(shards.table)))
        index = {
            "__kind__": "wids-shard-index-v1",
            "wids_version": 1,
            "name": dataset["root_hash"][:16],
            "shardlist": list(written),
        }
        out.publish_bytes("wids.json", json.dumps(index, indent=1).encode())


def _sample_type(table: str) -> dict[str, Any]:
    """How Energon reads a sample: pairs as captioning samples, documents as they are in the tar."""
    if table != "images":
        return {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
    kind = {"__module__": "megatron.energon", "__class__": "CaptioningSample"}
    return {"sample_type": kind, "field_map": {"image": suffixes(), "caption": "txt"}}


_MEMBERS = pa.schema(
    [("sample", pa.int64()), ("key", pa.string()), ("part", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]
)

_TABLES = """create table samples (tar_file_id integer, sample_key text, sample_index integer, byte_offset integer, byte_size integer);
    create table sample_parts (tar_file_id integer, sample_index integer, part_name text, content_byte_offset integer,
        content_byte_size integer)"""
_INDICES = """create index idx_samples_sample_key on samples(sample_key);
    create index idx_samples_by_tar_and_idx on samples(tar_file_id, sample_index);
    create index idx_sample_parts_seq on sample_parts(tar_file_id, sample_index, content_byte_offset);
    create index idx_sample_parts_full on sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size)"""


def located(store: Store, name: str) -> tuple[list[int], pa.Table]:
    """Where each sample of a tar begins, and where the last one ends: Energon's `.tar.idx`. And its members: of which sample, in order."""
    begins, end, found = [], 0, []
    with store.open(name) as f:
        for number, sample in enumerate(samples(members(f, name))):
            mine: list[tuple[str, Member]] = list(sample.members.items())
            begins.append(mine[0][1].offset - BLOCK)
            end = mine[-1][1].offset + mine[-1][1].size + -mine[-1][1].size % BLOCK
            found += [(number, sample.key, part, m.offset, m.size) for part, m in mine]
    columns = list(zip(*found)) or [()] * len(_MEMBERS)
    return [*begins, end], pa.table([pa.array(c, f.type) for c, f in zip(columns, _MEMBERS)], schema=_MEMBERS)


def _members_file(name: str) -> str:
    """Where a tar's members are until the index of all tars is written."""
    return f".nv-meta/members/{name}.parquet"


def _publish_index(out: Store, names: Sequence[str]) -> None:
    """`index.sqlite` of Energon: where every sample and every member of it is, made of what the tasks found."""
    index = ".nv-meta/index.sqlite"
    if not out.exists(index):
        with out.private(index) as path:
            with closing(sqlite3.connect(path)) as db:
                db.executescript(_TABLES)
                for number, name in enumerate(names):
                    of_samples, of_members = _rows(out, number, name)
                    db.executemany("insert into samples values (?, ?, ?, ?, ?)", of_samples)
                    db.executemany("insert into sample_parts values (?, ?, ?, ?, ?)", of_members)
                    db.commit()
                db.executescript(_INDICES)
            out.publish(index, path)
    out.publish_bytes(".nv-meta/index.uuid", str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(names))).encode())
    for name in names:
        out.remove(_members_file(name))


def _rows(out: Store, number: int, name: str) -> tuple[Iterator[tuple], Iterator[tuple]]:
    """The rows of a tar's samples and of their members."""
    found = out.table(_members_file(name)).to_pydict()
    begins = np.frombuffer(out.read(f"{name}.idx"), "<u8").tolist()
    keys = dict(zip(found["sample"], found["key"]))
    of_samples = ((number, keys[n], n, begins[n], begins[n + 1] - begins[n]) for n in range(len(begins) - 1))
    of_members = ((number, *row) for row in zip(found["sample"], found["part"], found["offset"], found["size"]))
    return of_samples, of_members
