"""MosaicML's MDS: what `streaming.StreamingDataset` reads. Written from the format, without `streaming`, which pins numpy below 2.2."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.shard.containers.base import ContainerShards
from curate.shard.members import to_json
from curate.shard.samples import ShardSample
from curate.shard.write import pretty
from curate.store.atomic import Store

#: Bytes of a file, from which on the next one is begun: what MDSWriter takes.
SIZE = 64 << 20

#: The columns in their order, which is that of their names. `jpeg` is decoded by Pillow, whatever format the file is of.
COLUMNS = {"image": "jpeg", "json": "json", "key": "str", "text": "str"}
_CONFIG = {
    "column_encodings": list(COLUMNS.values()),
    "column_names": list(COLUMNS),
    "column_sizes": [None] * len(COLUMNS),
    "compression": None,
    "format": "mds",
    "hashes": [],
    "size_limit": SIZE,
    "version": 2,
}


class Mds:
    """`<shard>.<n>.mds` and `index.json`: image, text (the caption that trains), json (all columns of the sidecar), key."""

    def write(self, shards: ContainerShards, out: Store, number: int, of: int, shard: dict[str, Any]) -> dict[str, Any]:
        if shards.table != "images":
            raise RecipeError(f"MDS has one picture a sample; the samples of this run are {shards.table}")
        files = []
        for n, some in enumerate(_files(shards.samples(shard["name"]))):
            name, data = f"{shard['name']}.{n:03d}.mds", _file(some)
            out.publish_bytes(name, data)
            raw = {"basename": name, "bytes": len(data), "hashes": {}}
            files.append({**_CONFIG, "raw_data": raw, "samples": len(some), "zip_data": None})
        return {"files": files}

    def finish(self, shards: ContainerShards, out: Store, dataset: dict[str, Any], written: Sequence[dict[str, Any]]) -> None:
        out.publish_bytes("index.json", pretty({"shards": [f for w in written for f in w["files"]], "version": 2}))


def _files(samples: Iterator[ShardSample]) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    for sample in samples:
        some.append(_encoded(sample))
        if sum(map(len, some)) >= SIZE:
            yield some
            some = []
    if some:
        yield some


def _encoded(sample: ShardSample) -> bytes:
    """The sizes of the columns, and then their bytes."""
    values = [sample.read(sample.picture), to_json(sample.info), sample.key.encode(), sample.caption().encode()]
    return np.array([len(v) for v in values], "<u4").tobytes() + b"".join(values)


def _file(samples: list[bytes]) -> bytes:
    """The number of samples, where each begins and the last one ends, the configuration, the samples."""
    config = json.dumps({k: v for k, v in _CONFIG.items()}, sort_keys=True).encode()
    sizes = np.array([4 + 4 * (len(samples) + 1) + len(config), *map(len, samples)])
    return np.uint32(len(samples)).tobytes() + sizes.cumsum().astype("<u4").tobytes() + config + b"".join(samples)
