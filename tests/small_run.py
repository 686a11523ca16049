"""A finished run's folder made without running a recipe, for tests of tools on finished runs: ledger, record, shards."""

import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from curate.schema import uid
from curate.shard import write as shards
from curate.store import checksums as seal
from curate.store.atomic import Store
from curate.store.payload import Parcel

KINDS = ("JPEG", "PNG", "WEBP")


def photo(n: int, kind: str = "JPEG") -> bytes:
    """A small image, dissimilar to that of any other n."""
    out = io.BytesIO()
    Image.new("RGB", (16 + n % 7, 16), (n * 37 % 256, n * 11 % 256, n % 256)).save(out, kind)
    return out.getvalue()


def payload_rows(store: Store, n: int, parts: int = 3, kinds: tuple[str, ...] = KINDS) -> pa.Table:
    """Rows of `n` images whose bytes are in the payloads of `parts` parts; every tenth one is dropped."""
    rows = []
    for part in range(parts):
        name = f"work/parts/{part}.tar"
        with store.private(name) as path, open(path, "wb") as f:
            parcel = Parcel(store, f)
            for i in range(part, n, parts):
                data, url, text = photo(i, kinds[i % len(kinds)]), f"http://a.example/{i}", f"caption {i} ünï"
                dropped = "score" if i % 10 == 0 else None
                rows.append(
                    {
                        "uid": uid(text, url),
                        "source_file": "/pool/pairs.parquet",
                        "source_row": i,
                        "url": url,
                        "text": text,
                        "score": i / 4,
                        "sha256": hashlib.sha256(data).hexdigest(),
                        "mime": f"image/{kinds[i % len(kinds)].lower()}",
                        "payload": name,
                        "payload_offset": parcel.add(f"{i}.bin", data),
                        "payload_size": len(data),
                        "fetched_at": "2026-01-01",
                        "copies": 2 if i % 10 == 1 else None,
                        "kept": dropped is None,
                        "drop_reason": dropped,
                        "drop_stage": dropped,
                    }
                )
            parcel.close()
            f.flush()
            store.publish(name, path)
    vectors = pa.array([[r["score"], 0.5] for r in rows], pa.list_(pa.float16()))
    return pa.Table.from_pylist(rows).append_column("vector", vectors)


def planned(table: pa.Table, how: shards.Shards) -> pa.Table:
    """The plan over the kept rows: the kept rows with `shard`, `place` and `key`, sorted by (shard, place)."""
    return shards.plan(table.filter(table["kept"]) if "kept" in table.column_names else table, how)


def write_shards(
    store: Store, plan: pa.Table, name: str = "plan", hashed: str | None = "sha256", how: shards.Shards | None = None
) -> dict:
    count = pc.max(plan["shard"]).as_py() + 1
    infos = []
    for i in range(count):
        rows = plan.filter(pc.equal(plan["shard"], i))
        infos.append(shards.write_shard(store, rows, shards.shard_name(i, count), name, shards=how, hashed=hashed))
    return shards.finish(store, infos, {"recipe": "small"})


def small_run(folder: Path, n: int = 30, size: int = 10, kinds: tuple[str, ...] = KINDS) -> Store:
    """A folder with ledger, shards, recipe.json and dataset.json that agree."""
    store = Store(folder)
    table = payload_rows(store, n, kinds=kinds)
    plan = planned(table, shards.Shards(size=size))
    write_shards(store, plan)
    place = {r["key"]: r for r in plan.select(["key", "shard", "place"]).to_pylist()}
    uids = table["uid"].to_pylist()
    ledger = table
    for name in ("shard", "place"):
        ledger = ledger.append_column(name, pa.array([place.get(u, {}).get(name) for u in uids], pa.int32()))
    ledger = ledger.append_column("key", pa.array([u if u in place else None for u in uids], pa.large_string()))
    for i in range(2):
        store.publish_table(f"ledger/images/{i:06d}.parquet", ledger.slice(i * (n // 2), n // 2))
    dropped = sum(1 for k in table["kept"].to_pylist() if not k)
    record = {
        "state": "finished",
        "inputs": [{"path": "/pool/pairs.parquet", "rows": {"images": n}}],
        "rows": {"images": {"kept": n - dropped, "score": dropped}},
    }
    store.publish_bytes("recipe.json", json.dumps(record).encode())
    names = [f"{folder}/{n}" for folder in ("shards", "ledger/images") for n in store.names(folder)]
    seal.write(store, {n: store.hash(n) for n in names})
    return store
