"""Duplicates: recall against planted truth, loss across cluster borders, growth of cost.

python benchmarks/dedup.py near [FOLDER_OF_PICTURES]     recall by edit, false merges
python benchmarks/dedup.py semantic [N ...]              time, memory, recall; beside the algorithm as published
python benchmarks/dedup.py rows [N ...]                  ExactDedup, NearDedup and TextDedup on N rows
"""

import io
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageEnhance, ImageOps

from curate.dedup.exact import ExactDedup
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.selector import Live, Selection, Selector


def clock() -> tuple[float, float]:
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in use)


def run(selector: Selector, file: str, folder: str) -> tuple[Selection, str]:
    con = duckdb.connect(config={"temp_directory": folder})
    start = clock()
    chosen = selector.select(Live(con.sql(f"select * from '{file}'"), con, map, folder))
    wall, cpu = np.subtract(clock(), start)
    return chosen, f"{wall:7.1f} s, {cpu:7.1f} CPU s, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB"


# ---- near duplicates of pictures


def photo(seed: int) -> Image.Image:
    """A picture with a photo's spectrum: noise whose amplitude falls as 1/f, in three colours that go together."""
    rng = np.random.default_rng(seed)
    size = (240, 320)
    f = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None] * 1.0)
    f[0, 0] = 1
    planes = [np.fft.irfft2(np.fft.rfft2(rng.normal(size=size)) / f**1.1, s=size) for _ in range(2)]
    mix = rng.normal(size=(3, 2))
    image = np.stack([m @ np.array([p.ravel() / p.std() for p in planes]) for m in mix], axis=1).reshape(*size, 3)
    return Image.fromarray((128 + 45 * image + rng.normal(size=3) * 20).clip(0, 255).astype(np.uint8))


def cut(image: Image.Image, share: float, where: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """Take `share` off width and height."""
    w, h = image.size
    x, y = int(w * share * where[0]), int(h * share * where[1])
    return image.crop((x, y, x + int(w * (1 - share)), y + int(h * (1 - share))))


EDITS = {
    "resize 2/3": lambda p, r: p.resize((max(64, p.width * 2 // 3), max(64, p.height * 2 // 3)), Image.Resampling.LANCZOS),
    "jpeg q30": lambda p, r: p,
    "mirror": lambda p, r: ImageOps.mirror(p),
    "brightness x0.75": lambda p, r: ImageEnhance.Brightness(p).enhance(0.75),
    "brightness x1.25": lambda p, r: ImageEnhance.Brightness(p).enhance(1.25),
    "crop 10 % centre": lambda p, r: cut(p, 0.10),
    "crop 10 % anywhere": lambda p, r: cut(p, 0.10, tuple(r.random(2))),
    "crop 25 % centre": lambda p, r: cut(p, 0.25),
    "crop 25 % anywhere": lambda p, r: cut(p, 0.25, tuple(r.random(2))),
}


def pictures(folder: str, most: int) -> list[Image.Image]:
    if not folder:
        return [photo(n) for n in range(most)]
    files = sorted(f for f in Path(folder).rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    order = np.random.default_rng(0).permutation(len(files))
    found = []
    for n in order:
        if len(found) == most:
            break
        image = Image.open(files[n]).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        white.thumbnail((800, 800))
        if min(white.size) >= 64:
            found.append(white.convert("RGB"))
    return found


def near(folder: str = "", most: int = 2_000, edited: int = 300) -> None:
    cv2.setNumThreads(1)
    rng, originals = np.random.default_rng(0), pictures(folder, most)
    edited = min(edited, len(originals))
    rows, of, kind = list(map(np.asarray, originals)), [-1] * len(originals), [""] * len(originals)
    for name, edit in EDITS.items():
        for n in range(edited):
            out = io.BytesIO()
            edit(originals[n], rng).save(out, "JPEG", quality=30 if name == "jpeg q30" else 90)
            rows.append(np.asarray(Image.open(out)))
            of.append(n)
            kind.append(name)
    table = pa.table(
        {"id": np.arange(len(rows)), "uid": [f"{n:032x}" for n in range(len(rows))], "first": [int(k == "") for k in kind]}
    )
    start = clock()
    hashed = PerceptualHash().run(table, rows)
    print(
        f"{len(originals):,} pictures, {edited} of them edited in {len(EDITS)} ways; hashing {(clock()[1] - start[1]) / len(rows) * 1e3:.2f} CPU ms a picture"
    )
    for name in hashed.column_names:
        table = table.append_column(name, hashed[name])
    kind, of = np.array(kind), np.array(of)
    with tempfile.TemporaryDirectory() as scratch:
        for label, crops in (("with crops", True), ("without", False)):
            pq.write_table(table, f"{scratch}/p.parquet")
            chosen, cost = run(NearDedup(by=("first",), crops=crops), f"{scratch}/p.parquet", scratch)
            survivor = dict(zip(chosen.edges["id"].to_pylist(), chosen.edges["survivor"].to_pylist()))
            print(f"{label}: {cost}")
            for name in EDITS:
                right = [survivor.get(i) is not None for i in np.flatnonzero(kind == name)]
                print(f"  {name:20} found {np.mean(right):.3f}")
            false = [i for i in np.flatnonzero(kind == "") if i in survivor]
            print(f"  originals that fell (false merges, unless the folder holds duplicates): {len(false)} of {len(originals)}")
            wrong = sum(
                1 for i in np.flatnonzero(kind != "") if i in survivor and survivor[i] != of[i] and of[survivor[i]] != of[i]
            )
            print(f"  edits joined to another picture: {wrong} of {len(rows) - len(originals)}")


# ---- embeddings


def mixture(rows: int, file: str, width: int = 512, seed: int = 0) -> np.ndarray:
    """Clusters of directions, 30 % of the rows a near copy (cosine about 0.97) of another; returns whose copy a row is."""
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


def published(vectors: np.ndarray, centroids: np.ndarray, eps: float) -> tuple[np.ndarray, str]:
    """SemDeDup as its repository does it, given centroids: sort a cluster by distance, drop what any earlier row resembles."""
    import torch

    from curate.dedup.vectors import nearest

    start = clock()
    home, dropped = nearest(vectors, centroids, 1)[:, 0], []
    for cluster in range(len(centroids)):
        rows = np.flatnonzero(home == cluster)
        points = torch.from_numpy(vectors[rows].astype(np.float32))
        order = torch.argsort(points @ torch.from_numpy(centroids[cluster]))
        alike = torch.triu(points[order] @ points[order].T, diagonal=1)
        if len(rows):
            dropped.append(rows[order[alike.max(dim=0).values > 1 - eps].numpy()])
    wall, cpu = np.subtract(clock(), start)
    return np.concatenate(dropped), f"{wall:7.1f} s, {cpu:7.1f} CPU s"


def semantic(sizes: list[int], eps: float = 0.05) -> None:
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            of = mixture(rows, f"{folder}/p.parquet")
            planted = np.flatnonzero(of >= 0)
            print(f"{rows:,} vectors of 512 float16, {len(planted):,} planted copies, eps {eps}")
            for probes in (2, 1):
                given = f"{folder}/given.npy" if probes == 1 else ""
                chosen, cost = run(SemanticDedup("v", eps=eps, probes=probes, centroids=given), f"{folder}/p.parquet", folder)
                Path(f"{folder}/semantic_dedup-centroids.npy").rename(f"{folder}/given.npy")
                fell = np.zeros(rows, bool)
                fell[chosen.drop] = True
                # A pair is settled if one of it fell: which one is a matter of uid.
                settled = (fell[planted] | fell[of[planted]]).mean()
                false = (fell & ~np.isin(np.arange(rows), np.concatenate([planted, of[planted]]))).sum()
                print(
                    f"  probes {probes}: {cost}; recall {settled:.4f}, unplanted rows that fell {false}; "
                    f"{chosen.notes['clusters']} clusters, largest {chosen.notes['cluster_largest']}, {rows / float(cost.split()[0]):,.0f} vectors/s"
                )
            vectors = np.concatenate(
                [
                    np.array(b["v"].flatten()).reshape(-1, 512)
                    for b in pq.ParquetFile(f"{folder}/p.parquet").iter_batches(columns=["v"])
                ]
            )
            gone, cost = published(vectors, np.load(f"{folder}/given.npy"), eps)
            print(f"  as published, centroids and vectors in memory given: {cost}; dropped {len(gone):,}")


# ---- growth of the others


def rows(sizes: list[int]) -> None:
    for n in sizes:
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            words = np.array([f"w{i}" for i in range(5_000)])
            model = np.where(rng.random(n) < 0.2, rng.integers(0, n, n), np.arange(n))
            texts = [" ".join(t) for t in words[rng.integers(0, 5_000, (n, 10))].tolist()]
            hashes = rng.integers(0, 2**63, (n, 20), dtype=np.uint64)
            flips = np.uint64(1) << rng.integers(0, 64, n).astype(np.uint64)
            thumbs = rng.integers(0, 256, (n, 768), dtype=np.uint8)
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
                    "phash_crops": pa.ListArray.from_arrays(
                        np.arange(0, 18 * n + 1, 18, dtype=np.int32), hashes[:, 2:].ravel()
                    ),
                    "thumbnail": pa.array([t.tobytes() for t in thumbs[model]], pa.large_binary()),
                }
            )
            pq.write_table(table, f"{folder}/p.parquet")
            expected = n - len(np.unique(model))
            print(f"{n:,} rows, {expected:,} copies")
            for selector in (ExactDedup(), TextDedup(), NearDedup(crops=False), NearDedup(name="with_crops")):
                chosen, cost = run(selector, f"{folder}/p.parquet", folder)
                print(f"  {selector.name:12} {cost}; dropped {len(chosen.drop):,}")


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["near"]
    if what == "near":
        near(*rest[:1])
    else:
        {"semantic": semantic, "rows": rows}[what]([int(float(r)) for r in rest] or [100_000])
