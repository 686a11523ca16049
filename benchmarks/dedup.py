"""Duplicates: loss across cluster borders, growth of cost. Edited pictures are in near.py.

python benchmarks/dedup.py semantic [N ...]              time, memory, recall; beside the algorithm as published
python benchmarks/dedup.py rows [N ...]                  ExactDedup, NearDedup and TextDedup on N rows
python benchmarks/dedup.py crowd [N ...]                 NearDedup on N versions of one picture
python benchmarks/dedup.py hashes [N ...]                hashes within 7 bits of the 37 views of N pictures; beside FAISS's multi-hash
"""

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.exact import ExactDedup
from curate.dedup.hamming import within
from curate.dedup.near import NearDedup
from curate.dedup.phash import THUMB, VIEWS, PerceptualHash
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.select.exchange import frame_of
from curate.selector import Selection, Selector


def clock() -> tuple[float, float]:
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in use)


@dataclass
class Cost:
    """Seconds, CPU seconds, and the peak of memory in GB."""

    wall: float
    cpu: float
    peak: float

    def __str__(self) -> str:
        return f"{self.wall:7.1f} s, {self.cpu:7.1f} CPU s, peak {self.peak:.1f} GB"


def since(start: tuple[float, float]) -> Cost:
    return Cost(*np.subtract(clock(), start), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def run(selector: Selector, file: str, folder: str) -> tuple[Selection, Cost]:
    start = clock()
    chosen = selector.select(frame_of(pq.read_table(file), f"{folder}/{selector.name}-{time.monotonic_ns()}"))
    return chosen, since(start)


# ---- embeddings


def mixture(rows: int, file: str, width: int = 512, seed: int = 0) -> np.ndarray:
    """Clusters of directions, 15 % of the rows a near copy (cosine about 0.97) of another; returns whose copy a row is."""
    rng, step = np.random.default_rng(seed), 50_000
    centres = rng.normal(size=(max(rows // 500, 2), width)).astype(np.float32)
    of = np.full(rows, -1)
    type_ = pa.schema([("id", pa.int64()), ("uid", pa.large_string()), ("v", pa.list_(pa.float16()))])
    with pq.ParquetWriter(file, type_) as out:
        for low in range(0, rows, step):
            n = min(step, rows - low)
            points = centres[rng.integers(0, len(centres), n)] + 0.9 * rng.normal(size=(n, width)).astype(np.float32)
            copies = np.flatnonzero(rng.random(n) < 0.3)
            copies = copies[copies > n // 2]
            model = rng.integers(0, n // 2, len(copies))
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            points[copies] = points[model] + 0.25 / width**0.5 * rng.normal(size=(len(copies), width)).astype(np.float32)
            of[low + copies] = low + model
            values = pa.ListArray.from_arrays(
                np.arange(0, (n + 1) * width, width, dtype=np.int32), pa.array(points.astype(np.float16).ravel())
            )
            ids = np.arange(low, low + n)
            out.write_table(
                pa.table(
                    [
                        pa.array(ids),
                        pa.array([f"{i * 2654435761 % 2**64:032x}" for i in ids.tolist()], pa.large_string()),
                        values,
                    ],
                    schema=type_,
                )
            )
    return of


def published(vectors: np.ndarray, centroids: np.ndarray, eps: float) -> tuple[np.ndarray, Cost]:
    """SemDeDup as its repository does it, given centroids: sort a cluster by distance, drop what any earlier row resembles."""
    import torch

    from curate.dedup.kmeans import nearest

    start = clock()
    home, dropped = nearest(vectors, centroids, 1)[:, 0], []
    for cluster in range(len(centroids)):
        rows = np.flatnonzero(home == cluster)
        points = torch.from_numpy(vectors[rows].astype(np.float32))
        order = torch.argsort(points @ torch.from_numpy(centroids[cluster]))
        alike = torch.triu(points[order] @ points[order].T, diagonal=1)
        if len(rows):
            dropped.append(rows[order[alike.max(dim=0).values > 1 - eps].numpy()])
    return np.concatenate(dropped), since(start)


def semantic(sizes: list[int], eps: float = 0.05) -> None:
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            of = mixture(rows, f"{folder}/p.parquet")
            planted = np.flatnonzero(of >= 0)
            print(f"{rows:,} vectors of 512 float16, {len(planted):,} planted copies, eps {eps}")
            for probes in (2, 1):
                given = f"{folder}/given.npy" if probes == 1 else ""
                chosen, cost = run(SemanticDedup("v", eps=eps, probes=probes, centroids=given), f"{folder}/p.parquet", folder)
                Path(f"{folder}/given.npy").write_bytes(chosen.files["centroids.npy"])
                fell = np.zeros(rows, bool)
                fell[chosen.dropped()] = True
                # A pair is settled if one of it fell: which one is a matter of uid.
                settled = (fell[planted] | fell[of[planted]]).mean()
                false = (fell & ~np.isin(np.arange(rows), np.concatenate([planted, of[planted]]))).sum()
                if probes == 2:
                    print(f"ratio semantic dedup, recall of planted copies: {settled:.3f}")
                ours = cost.cpu
                how = "centroids of the run above given, k-means not included" if given else "k-means included"
                print(
                    f"  probes {probes}, {how}: {cost}; recall {settled:.4f}, unplanted rows that fell {false}; "
                    f"{chosen.notes['clusters']} clusters, largest {chosen.notes['cluster_largest']}, {rows / cost.wall:,.0f} vectors/s"
                )
            vectors = np.concatenate(
                [
                    np.array(b["v"].flatten()).reshape(-1, 512)
                    for b in pq.ParquetFile(f"{folder}/p.parquet").iter_batches(columns=["v"])
                ]
            )
            gone, cost = published(vectors, np.load(f"{folder}/given.npy"), eps)
            print(f"  as published, centroids and vectors in memory given: {cost}; dropped {len(gone):,}")
            print(f"ratio semantic dedup, CPU as published over ours with one probe: {cost.cpu / ours:.3f}")


# ---- growth of the others


def rows(sizes: list[int]) -> None:
    for n in sizes:
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            words = np.array([f"w{i}" for i in range(5_000)])
            model = np.where(rng.random(n) < 0.2, rng.integers(0, n, n), np.arange(n))
            texts = [" ".join(t) for t in words[rng.integers(0, 5_000, (n, 10))].tolist()]
            views = len(VIEWS) - 1
            hashes = rng.integers(0, 2**63, (n, 2 + views), dtype=np.uint64)
            flips = np.uint64(1) << rng.integers(0, 64, n).astype(np.uint64)
            thumbs = rng.integers(0, 256, (n, 3 * THUMB**2), dtype=np.uint8)
            table = pa.table(
                {
                    "id": np.arange(n),
                    "uid": [f"{i * 2654435761 % 2**64:032x}" for i in range(n)],
                    "sha256": [f"{m:064x}" for m in model.tolist()],
                    "text": [texts[m] for m in model.tolist()],
                    "original_width": rng.integers(200, 2000, n).astype(np.int32),
                    "original_height": rng.integers(200, 2000, n).astype(np.int32),
                    "phash": hashes[model, 0] ^ np.where(model != np.arange(n), flips, np.uint64(0)),
                    "phash_mirror": hashes[:, 1],
                    "phash_views": pa.ListArray.from_arrays(
                        np.arange(0, views * n + 1, views, dtype=np.int32), hashes[:, 2:].ravel()
                    ),
                    "thumbnail": pa.array([t.tobytes() for t in thumbs[model]], pa.large_binary()),
                }
            )
            pq.write_table(table, f"{folder}/p.parquet")
            expected = n - len(np.unique(model))
            print(f"{n:,} rows, {expected:,} copies")
            for selector in (ExactDedup(), TextDedup(), NearDedup(crops=False), NearDedup(name="with_crops")):
                chosen, cost = run(selector, f"{folder}/p.parquet", folder)
                print(f"  {selector.name:12} {cost}; dropped {len(chosen.dropped()):,}")


# ---- a crowd


def crowd(sizes: list[int]) -> None:
    """A picture that many sites use, as each of them has it: other sizes, other JPEG qualities. One stays. Half of the rows of the pool
    are others, with hashes of their own."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.float32), (640, 480), interpolation=cv2.INTER_CUBIC)
    picture = picture.clip(0, 255).astype(np.uint8)
    for n in sizes:
        versions = []
        for width, quality in zip(rng.integers(100, 640, n).tolist(), rng.integers(30, 95, n).tolist()):
            small = cv2.resize(picture, (width, width * 3 // 4), interpolation=cv2.INTER_AREA)
            versions.append(cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR))
        same = PerceptualHash().run(pa.table({"uid": [""] * n}), versions)
        other = rng.integers(0, 2**63, (n, 2 + len(VIEWS) - 1), dtype=np.uint64)
        thumbs = rng.integers(0, 256, (n, 3 * THUMB**2), dtype=np.uint8)
        others = pa.table(
            {
                "phash": other[:, 0],
                "phash_mirror": other[:, 1],
                "phash_views": pa.array(list(other[:, 2:])),
                "thumbnail": pa.array([t.tobytes() for t in thumbs], pa.large_binary()),
            }
        )
        sides = [[v.shape[1] for v in versions] + [800] * n, [v.shape[0] for v in versions] + [600] * n]
        table = pa.concat_tables([same, others]).append_column("original_width", [sides[0]])
        table = table.append_column("original_height", [sides[1]]).append_column("id", [np.arange(2 * n)])
        table = table.append_column("uid", [[f"{i * 2654435761 % 2**64:032x}" for i in range(2 * n)]])
        with tempfile.TemporaryDirectory() as folder:
            pq.write_table(table, f"{folder}/p.parquet")
            chosen, cost = run(NearDedup(), f"{folder}/p.parquet", folder)
        print(f"{n:,} versions of a picture among {n:,} others: {cost}; dropped {len(chosen.dropped()):,}, {chosen.notes}")


# ---- hashes within a few bits


def hashes(sizes: list[int], distance: int = 7) -> None:
    """All pairs of the views of N made pictures with their wholes, 20 % of them copies a few bits off: each way must find the same."""
    views = len(VIEWS)
    for n in sizes:
        rng = np.random.default_rng(0)
        among = rng.integers(0, 2**64, n, dtype=np.uint64)
        sought = rng.integers(0, 2**64, (n, views), dtype=np.uint64)
        sought[::5, rng.integers(views)] = rng.permutation(among)[: len(sought[::5])] ^ np.uint64(0b1011 << 30)
        sought = sought.ravel()
        start = clock()
        ours = np.concatenate([np.stack(pair) for pair in within(sought, among, distance)], axis=1)
        _, mine = np.subtract(clock(), start)
        index = faiss.IndexBinaryMultiHash(64, 4, 16)
        index.nflip = distance // 4
        start = clock()
        index.add(among.view(np.uint8).reshape(-1, 8))
        limits, _, other = index.range_search(sought.view(np.uint8).reshape(-1, 8), distance + 1)
        _, theirs = np.subtract(clock(), start)
        one = np.repeat(np.arange(len(sought)), np.diff(limits).astype(np.int64))
        same = set(zip(*ours.tolist())) == set(zip(one.tolist(), other.tolist()))
        print(
            f"{len(sought):,} among {n:,}: {ours.shape[1]:,} pairs, {mine:.1f} CPU s; FAISS {theirs:.1f} CPU s; the same: {same}"
        )
        print(
            f"ratio hashes within {distance} bits, CPU of FAISS's multi-hash over ours, {n:,} pictures: {theirs / mine * same:.3f}"
        )


if __name__ == "__main__":
    said = sys.argv[1:] or ["semantic"]
    while said:
        what = {"semantic": semantic, "rows": rows, "crowd": crowd, "hashes": hashes}[said.pop(0)]
        sizes = []
        while said and said[0][0].isdigit():
            sizes.append(int(float(said.pop(0))))
        what(sizes or [100_000])
