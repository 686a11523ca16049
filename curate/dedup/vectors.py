"""Embeddings of a pool as one file, clusters of them, and exact cosines.

Files, not memory, hold the vectors: float16, unit length, one row after the other. Whatever decides something is computed
again in float64 for the few pairs in question, so that block sizes, threads and devices cannot move a decision.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.errors import RecipeError
from curate.selector import Live, coin_sql

#: Decimals that count in a cosine: two equal vectors have similarity 1, whatever the last bits say.
DECIMALS = 6

#: Rows a task.
ROWS = 100_000

#: Cosines in float32 are right within this; what is closer to a bound, or to another, is computed again.
MARGIN = 2e-5

_BATCH = 16_384


@dataclass
class Vectors:
    """Vectors of the live rows that have one. Row i of the file belongs to `ids[i]`; ids ascend."""

    path: str
    column: str
    ids: np.ndarray
    keys: np.ndarray  # 64-bit hashes of the vectors as they came; of zeros, like nothing else, the number of the row

    def open(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r")

    def given(self, path: str, least: int = 1) -> np.ndarray:
        """`load_vectors`, of the width of these."""
        return load_vectors(path, self.open().shape[1] if len(self.ids) else None, least)

    def without(self, live: Live) -> np.ndarray:
        """Rows that have no vector: where one decides, they are dropped, as a null score is."""
        return live.sql(f'select id from live where "{self.column}" is null').to_arrow_table()["id"].to_numpy()

    def rows(self, ids: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.ids, ids)


def write_vectors(live: Live, column: str, path: Path) -> Vectors:
    """Stream a column of embeddings into a file. A vector of zeros or with NaN in it becomes zeros: like nothing else."""
    ids = live.sql(f'select id from live where "{column}" is not null order by id').to_arrow_table()["id"].to_numpy()
    keys = np.empty(len(ids), np.uint64)
    out = None
    query = f'select id, "{column}"::float[] as v, hash("{column}") as key from live where "{column}" is not null'
    with live.sql(query).to_arrow_reader(_BATCH) as reader:
        for batch in reader:
            if not len(batch):
                continue
            flat = batch["v"].flatten().to_numpy()
            width = len(flat) // len(batch)
            if out is None:
                out = np.lib.format.open_memmap(path, "w+", np.float16, (len(ids), width))
            if width != out.shape[1] or len(flat) != width * len(batch) or (np.diff(batch["v"].offsets) != width).any():
                raise RecipeError(f"column {column}: vectors of different lengths")
            at = np.searchsorted(ids, batch["id"].to_numpy())
            out[at] = scaled = unit(flat.reshape(-1, width))
            keys[at] = np.where(scaled.any(axis=1), batch["key"].to_numpy(), at)
    if out is None:
        np.save(path, np.empty((0, 1), np.float16))
    return Vectors(str(path), column, ids, keys)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Float16 vectors of length 1 (within float16's precision)."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scaled = vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return np.where(np.isfinite(scaled).all(axis=1, keepdims=True), scaled, 0).astype(np.float16)


def lengthened(vectors: np.ndarray) -> np.ndarray:
    """Float32 copies of length 1 in float32's precision; zeros stay zeros."""
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each row of `a` with the same row of `b`, rounded to DECIMALS; 0 where a vector is zero."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.round((a * b).sum(axis=1) / np.where(size > 0, size, np.inf), DECIMALS)


def gpus(device: str) -> int:
    """How many GPUs FAISS shall use for `auto`, `cpu` or `gpu`."""
    import faiss

    if device not in ("auto", "cpu", "gpu"):
        raise RecipeError(f"device must be auto, cpu or gpu, not {device}")
    found = faiss.get_num_gpus() if device != "cpu" and hasattr(faiss, "get_num_gpus") else 0
    if device == "gpu" and not found:
        raise RecipeError("device gpu: FAISS sees no GPU (is faiss-gpu installed instead of faiss-cpu?)")
    return found


def sample(live: Live, vectors: Vectors, size: int, seed: int) -> np.ndarray:
    """Vectors of `size` live rows: those with the smallest coins, so that the order of the pool decides nothing."""
    order = f"{coin_sql('uid', seed, 'kmeans')}, uid"
    query = f'select id from live where "{vectors.column}" is not null order by {order} limit {size}'
    chosen = live.sql(query).to_arrow_table()["id"].to_numpy()
    return vectors.open()[vectors.rows(chosen)].astype(np.float32)


def train(points: np.ndarray, k: int, seed: int, device: str = "auto", rounds: int = 20, skew: float = 8.0) -> np.ndarray:
    """Spherical k-means by FAISS: about k unit centroids.

    A cluster with more than `skew` times the average number of points is cut by k-means of its own, so that k grows a
    little. On a GPU k-means is not repeatable to the last bit: the centroids, once stored, are what later steps rely on.
    """
    centroids = _kmeans(points, min(k, len(points)), seed, device, rounds)
    for _ in range(4):
        home = nearest(points, centroids, 1)[:, 0]
        sizes = np.bincount(home, minlength=len(centroids))
        mean = len(points) / len(centroids)
        large = np.flatnonzero(sizes > max(skew * mean, 2))
        parts = [_kmeans(points[home == c], int(np.ceil(sizes[c] / mean)), seed, device, rounds) for c in large]
        parts = [p for p in parts if len(np.unique(p, axis=0)) > 1]  # copies of one point cannot be cut
        if not parts:
            break
        centroids = np.concatenate([np.delete(centroids, large, axis=0), *parts])
    return centroids


def _kmeans(points: np.ndarray, k: int, seed: int, device: str, rounds: int) -> np.ndarray:
    if k < 2:
        mean = points.mean(axis=0, keepdims=True, dtype=np.float64) if len(points) else np.zeros((1, points.shape[1]))
        return (mean / max(np.linalg.norm(mean), 1e-12)).astype(np.float32)
    import faiss

    engine = faiss.Kmeans(
        points.shape[1],
        k,
        niter=rounds,
        seed=seed,
        spherical=True,
        gpu=gpus(device) or False,
        min_points_per_centroid=1,
        max_points_per_centroid=1 << 30,
    )
    engine.train(points)
    return engine.centroids


def nearest(points: np.ndarray, centroids: np.ndarray, count: int, device: str = "cpu") -> np.ndarray:
    """For each point its `count` nearest centroids by cosine, nearest first; of two as near, the first in the list."""
    import faiss

    count = min(count, len(centroids))
    index = faiss.IndexFlatIP(centroids.shape[1])
    if gpus(device):
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(centroids)
    out = np.empty((len(points), count), np.int32)
    wide = min(count + 2, len(centroids))  # a few more: float32 may have them in the wrong order
    for low in range(0, len(points), _BATCH):
        some = points[low : low + _BATCH]
        alike, found = index.search(lengthened(some), wide)
        close = np.flatnonzero((np.diff(alike, axis=1) > -MARGIN).any(axis=1))
        exact = np.stack([cosines(some[close], centroids[found[close, i]]) for i in range(wide)], axis=1)
        order = np.lexsort((found[close], -exact), axis=1)
        found[close] = np.take_along_axis(found[close], order, axis=1)
        out[low : low + _BATCH] = found[:, :count]
    return out


def file_hash(path: str | Path) -> str:
    """12 hex digits of the SHA-256 of a file."""
    try:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()[:12]
    except OSError as e:
        raise RecipeError(f"{path}: {e.strerror}") from e


def clusters(
    live: Live, vectors: Vectors, k: int, probes: int, given: str, seed: int, device: str, saved: Path
) -> tuple[np.ndarray, np.ndarray, str]:
    """Unit centroids, trained on a sample of 64 k rows or read from a file; `homes`; and the hash of the centroids, saved as a .npy file
    for the workers."""
    centroids = lengthened(vectors.given(given)) if given else train(sample(live, vectors, 64 * k, seed), k, seed, device)
    np.save(saved, centroids)
    return centroids, homes(live, vectors, saved, probes, device), file_hash(saved)


def vectors_ready(who: str, path: str, column: str, width: int | None, least: int = 1) -> None:
    """RecipeError unless a .npy file has `least` vectors, of the width of the column's; only its head is read."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as e:
        raise RecipeError(f"{who}: {path}: not a .npy file of vectors: {e}") from e
    if found.ndim != 2 or len(found) < least or found.dtype.kind not in "fiu":
        raise RecipeError(f"{who}: {path}: {found.dtype} of shape {found.shape}, and not a row of numbers for each vector")
    if width not in (None, found.shape[1]):
        raise RecipeError(f"{who}: {path} has vectors of {found.shape[1]} numbers, {column} of {width}: made by another model?")


def load_vectors(path: str, width: int | None, least: int = 1) -> np.ndarray:
    """A .npy file of `least` finite vectors or more, of a given width (None: any); RecipeError if it is something else."""
    try:
        found = np.load(path)
    except (OSError, ValueError) as e:
        raise RecipeError(f"{path}: not a .npy file of vectors: {e}") from e
    if found.ndim != 2 or width not in (None, found.shape[1]):
        raise RecipeError(f"{path}: shape {found.shape} does not fit vectors of {width or 'some'} numbers")
    if len(found) < least:
        raise RecipeError(f"{path}: no vectors")
    found = found.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(broken):
        raise RecipeError(f"{path}: row {broken[0]} has NaN or infinity in it ({len(broken)} such rows)")
    return found


def homes(live: Live, vectors: Vectors, saved: Path, count: int, device: str) -> np.ndarray:
    """For each row of the vector file the numbers of its `count` nearest centroids (or all there are), nearest first."""
    where = "gpu" if gpus(device) else "cpu"
    items = [(vectors.path, str(saved), low, low + ROWS, count, where) for low in range(0, len(vectors.ids), ROWS)]
    # A GPU belongs to this process: the engine's workers have none of it.
    found = list((map if where == "gpu" else live.map)(_assign, items))
    return np.concatenate(found) if found else np.empty((0, count), np.int32)


def _assign(item: tuple[str, str, int, int, int, str]) -> np.ndarray:
    path, saved, start, stop, count, device = item
    return nearest(np.load(path, mmap_mode="r")[start:stop], np.load(saved), count, device)
