"""Writing shards, against webdataset.ShardWriter: `python benchmarks/shards.py [--samples 10000] [--kb 20]`.

Both read the same images from the same payload tars and write the same samples (image, .txt, .json of twelve columns) into
shards of the same size. ShardWriter does it in the order in which the images lie, and nothing else. curate also shuffles
them over all shards, checks every image's SHA-256, hashes the shards, writes the Parquet sidecars, and syncs to disk.
"""

import argparse
import hashlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import webdataset

from curate.schema import uid
from curate.shard import write as shards
from curate.store.atomic import Store
from curate.store.payload import Parcel

PARTS = 8


def park(store: Store, count: int, size: int) -> pa.Table:
    """`count` images of about `size` bytes, parked in eight payloads, and their rows."""
    noise, rows = random.Random(0), []
    for part in range(PARTS):
        name = f"work/parts/{part}.tar"
        with store.private(name) as path, open(path, "wb") as f:
            parcel = Parcel(store, f)
            for i in range(part * count // PARTS, (part + 1) * count // PARTS):
                data = b"\xff\xd8\xff" + noise.randbytes(noise.randint(size // 2, size * 3 // 2))
                url = f"http://host{i % 97}.example/{i}.jpg"
                text = f"a photograph of thing number {i} on a table beside a window"
                rows.append(
                    {
                        "uid": uid(text, url),
                        "url": url,
                        "text": text,
                        "sha256": hashlib.sha256(data).hexdigest(),
                        "mime": "image/jpeg",
                        "original_width": 640,
                        "original_height": 480,
                        "width": 640,
                        "height": 480,
                        "clip_score": i % 1000 / 2048,
                        "language": "en",
                        "language_probability": 0.5,
                        "payload": name,
                        "payload_offset": parcel.add(f"{i}.jpg", data),
                        "payload_size": len(data),
                    }
                )
            parcel.close()
            f.flush()
            store.publish(name, path)
    return pa.Table.from_pylist(rows)


def with_curate(store: Store, rows: pa.Table, size: int) -> None:
    plan = shards.plan(rows, shards.Shards(size))
    count, infos = len(shards.assign(len(rows), size)), []
    for i in range(count):
        infos.append(shards.write_shard(store, plan.filter(pc.equal(plan["shard"], i)), shards.shard_name(i, count), "plan"))
    shards.finish(store, infos)


def with_webdataset(store: Store, rows: pa.Table, size: int) -> None:
    os.makedirs(store.path("wds"))
    with webdataset.ShardWriter(store.path("wds/%05d.tar"), maxcount=size, maxsize=1 << 40, verbose=0) as writer:
        payload, source = None, None
        for row in rows.to_pylist():
            if row["payload"] != payload:
                payload, source = row["payload"], store.open(row["payload"])
            source.seek(row["payload_offset"])
            said = {k: v for k, v in row.items() if not k.startswith("payload")}
            writer.write({"__key__": row["uid"], "jpg": source.read(row["payload_size"]), "txt": row["text"], "json": said})


def measure(work: Callable[[Store, pa.Table, int], None], store: Store, rows: pa.Table, size: int) -> tuple[float, float]:
    """CPU seconds and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(store, rows, size)
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--kb", type=int, default=20, help="mean size of an image")
    parser.add_argument("--size", type=int, default=2_500, help="samples in a shard")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where to write (default: the temporary folder)")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="curate-shards-", dir=args.folder)
    try:
        store = Store(folder)
        rows = park(store, args.samples, args.kb << 10)
        total = pc.sum(rows["payload_size"]).as_py() / 1e6
        best: dict[str, tuple[float, float]] = {}
        for _ in range(args.rounds):
            for name, work in (("webdataset", with_webdataset), ("curate", with_curate)):
                for made in ("shards", "wds"):
                    shutil.rmtree(store.path(made), ignore_errors=True)
                best[name] = min(best.get(name, (1e9, 1e9)), measure(work, store, rows, args.size))
        for name, (cpu, wall) in best.items():
            print(
                f"{name:<11} {args.samples / cpu:8.0f} samples per CPU-second  {total / cpu:7.1f} MB per CPU-second  "
                f"{total / wall:7.1f} MB/s"
            )
        ratio = best["webdataset"][0] / best["curate"][0]
        print(
            f"curate writes {ratio:.2f} times as many samples per CPU-second ({args.samples} images of {args.kb} kB on "
            f"average, webdataset {webdataset.__version__})"
        )
        print(f"ratio shards, ShardWriter's CPU over ours: {ratio:.3f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
