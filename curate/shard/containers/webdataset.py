"""The shards as they are, with the indices that loaders with random access want: wids' JSON, and Energon's `.nv-meta` and `.tar.idx`."""

import json
import struct
from collections.abc import Sequence
from typing import Any

from curate.shard.containers.base import ContainerShards, share, suffixes
from curate.shard.write import pretty
from curate.sources.tarindex import BLOCK, Member, members, samples
from curate.store.atomic import Store


class IndexedWebDataset:
    """`00042.tar` beside `wids.json` (webdataset's `wids.ShardListDataset`), `00042.tar.idx` and `.nv-meta/` (Megatron Energon).

    On one disk the tars are further names of the run's own; their bytes are the same everywhere.
    """

    def write(self, shards: ContainerShards, out: Store, number: int, of: int, shard: dict[str, Any]) -> dict[str, Any]:
        name = f"{shard['name']}.tar"
        share(shards.store, f"shards/{name}", out, name)
        out.publish_bytes(f"{name}.idx", offsets(shards.store, f"shards/{name}"))
        return {"url": name, "nsamples": shard["samples"], "filesize": shard["tar"]["bytes"], "sha256": shard["tar"]["sha256"]}

    def finish(self, shards: ContainerShards, out: Store, dataset: dict[str, Any], written: Sequence[dict[str, Any]]) -> None:
        counts = {w["url"]: w["nsamples"] for w in written}
        # JSON is YAML: files of both names have the same content for older and newer releases of Energon.
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


def offsets(store: Store, name: str) -> bytes:
    """Energon's index of a tar: where each sample begins and where the last one ends, as unsigned 64-bit numbers."""
    found, end = [], 0
    with store.open(name) as f:
        for sample in samples(members(f, name)):
            mine: list[Member] = list(sample.members.values())
            found.append(mine[0].offset - BLOCK)
            end = mine[-1].offset + mine[-1].size + -mine[-1].size % BLOCK
    return struct.pack(f"<{len(found) + 1}Q", *found, end)
