"""Several sets of annotations over one copy of the media: a table for each shard, whose n-th row is the tar's n-th sample."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.shard.containers.base import ContainerShards
from curate.shard.write import pretty
from curate.store.atomic import Store
from curate.store.parquet import write_table


class Annotations:
    """`<shard>.parquet`: key, uid and the columns that were chosen of the ledger, captions, scores or embeddings, in the order of the
    tar, which is neither read nor written. `index.json` names the shards, and the tars that they go with by SHA-256."""

    def write(self, shards: ContainerShards, out: Store, number: int, of: int, shard: dict[str, Any]) -> dict[str, Any]:
        beside = shards.sidecar(shard["name"])
        further = [c for c in shards.columns if c not in beside.column_names]
        rows = _of(shards, beside["uid"], further) if further else beside
        columns = {c: (rows if c in further else beside)[c] for c in shards.columns}
        made = pa.table({"key": beside["key"], "uid": beside["uid"], **columns})
        name = f"{shard['name']}.parquet"
        with out.private(name) as path:
            out.publish(name, path, write_table(path, made.combine_chunks()))
        return {"name": name, "samples": len(made), "tar_sha256": shard["tar"]["sha256"]}

    def finish(self, shards: ContainerShards, out: Store, dataset: dict[str, Any], written: Sequence[dict[str, Any]]) -> None:
        index = {"of": shards.root_hash, "columns": list(shards.columns), "shards": list(written)}
        out.publish_bytes("index.json", pretty(index))


def _of(shards: ContainerShards, uids: pa.ChunkedArray, columns: list[str]) -> pa.Table:
    """The ledger's rows of some samples, in their order: for embeddings, which the sidecars of shards do not have."""
    found, folder = [], f"ledger/{shards.table}"
    for name in shards.store.names(folder):
        have = shards.store.fields(f"{folder}/{name}").names
        if missing := [c for c in columns if c not in have]:
            raise RecipeError(f"{shards.store.url}: no column {missing[0]} in the ledger; there are: {', '.join(have)}")
        rows = shards.store.table(f"{folder}/{name}", ["uid", "kept", *columns])
        found.append(rows.filter(pc.and_(rows["kept"], pc.is_in(rows["uid"], uids.combine_chunks()))))
    table = pa.concat_tables(found, promote_options="permissive").combine_chunks()
    at = pc.index_in(uids.combine_chunks(), table["uid"].combine_chunks())
    return table.take(pa.array(np.asarray(at)))
