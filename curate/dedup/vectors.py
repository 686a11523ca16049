"""Embeddings of a pool in chunks, clusters of them, and exact cosines.

In frames vectors are float16 and of unit length. Whatever decides something is computed again in float64 for the few pairs in
question, so that block sizes, threads and devices cannot move a decision.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.models import card
from curate.select.database import query
from curate.select.exchange import Frame, npy
from curate.selector import coin_sql

#: Decimals that count in a cosine: two equal vectors have similarity 1, whatever the last bits say.
DECIMALS = 6

#: Cosines in float32 are right within this; what is closer to a bound, or to another, is computed again.
MARGIN = 2e-5

_BATCH = 16_384


# ---- vectors in tables


def matrix(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of vectors as (rows, width), in its own type. RecipeError if they differ in length."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
    if not len(values):
        return np.empty((0, 0), np.float32)
    flat = values.flatten().to_numpy(zero_copy_only=False)
    width = len(flat) // len(values)
    lengths = values.value_lengths().to_numpy(zero_copy_only=False) if not pa.types.is_fixed_size_list(values.type) else []
    if len(flat) != width * len(values) or any(n != width for n in np.unique(lengths)):
        raise RecipeError("vectors of different lengths")
    return flat.reshape(len(values), width)


def column(vectors: np.ndarray, kind: type = np.float16) -> pa.Array:
    """(rows, width) vectors as a column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors, kind).ravel()), max(vectors.shape[1], 1))


@dataclass(frozen=True)
class Embedded:
    """A task: the rows that have a vector in a column: `id`, `uid`, the columns of an SQL select list, the vector as `v` (float16, unit length;
    zeros for one that is zero or has NaN in it: like nothing else), and `same`, 16 bytes that equal vectors share."""

    column: str
    more: str = ""

    def __call__(self, live: pa.Table) -> pa.Table:
        found = live.filter(live[self.column].is_valid())
        try:
            raw = matrix(found[self.column])
        except RecipeError as e:
            raise RecipeError(f"column {self.column}: {e}") from e
        rows = found.drop_columns([self.column])
        more = f", {self.more}" if self.more else ""
        order = query(f"select row_number() over () - 1 as at, id, uid{more} from live", {"live": rows})
        order = order.take(pa.array(np.argsort(order["id"].to_numpy(), kind="stable")))
        # DuckDB may give the rows in any order: they are put beside their vectors by id.
        ids = found["id"].to_numpy()
        raw = raw[np.argsort(ids, kind="stable")]
        vectors = unit(raw.astype(np.float32))
        zero = ~vectors.any(axis=1)
        same = [hashlib.md5(v.tobytes(), usedforsecurity=False).digest() for v in raw]
        same = [i.to_bytes(16, "big") if z else s for s, z, i in zip(same, zero.tolist(), order["id"].to_pylist())]
        return order.drop_columns(["at"]).append_column("v", column(vectors)).append_column("same", pa.array(same, pa.binary()))


def embedded(live: Frame, name: str, more: str = "") -> tuple[Frame, int]:
    """The rows with a vector in a column (Embedded), and the vectors' width, 0 if there are none."""
    rows = live.each(Embedded(name, more))
    widths = {w for t in rows.each(_width).tables() for w in t["width"].to_pylist() if w}
    if len(widths) > 1:
        raise RecipeError(f"column {name}: vectors of different lengths: {', '.join(map(str, sorted(widths)))}")
    return rows, max(widths, default=0)


def _width(rows: pa.Table) -> pa.Table:
    return pa.table({"width": [rows["v"].type.list_size if len(rows) else 0]})


@dataclass(frozen=True)
class Without:
    """A task: the ids of the rows that have no vector. Where one decides they are dropped, as a null score is."""

    column: str

    def __call__(self, live: pa.Table) -> pa.Table:
        return live.filter(live[self.column].is_null()).select(["id"])


# ---- arithmetic


def unit(vectors: np.ndarray) -> np.ndarray:
    """Float16 vectors of length 1 (within float16's precision)."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scaled = vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return np.where(np.isfinite(scaled).all(axis=1, keepdims=True), scaled, 0).astype(np.float16)


def l2_normalize(vectors: np.ndarray) -> np.ndarray:
    """Float32 copies of length 1 in float32's precision; zeros stay zeros."""
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each row of `a` with the same row of `b`, rounded to DECIMALS; 0 where a vector is zero."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.round((a * b).sum(axis=1) / np.where(size > 0, size, np.inf), DECIMALS)


def products(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The inner product of each point, made unit, with the same row of `centroids` as they are, rounded to DECIMALS: the cosine where
    these are unit too."""
    points, centroids = points.astype(np.float64), centroids.astype(np.float64)
    size = np.sqrt((points * points).sum(axis=1))
    return np.round((points * centroids).sum(axis=1) / np.where(size > 0, size, np.inf), DECIMALS)


def place(device: str) -> str | None:
    """Where this process computes, for `auto`, `cpu` or `gpu`: torch's name of a card, or None for its cores."""
    if device not in ("auto", "cpu", "gpu"):
        raise RecipeError(f"device must be auto, cpu or gpu, not {device}")
    found = card.name() if device != "cpu" else None
    if device == "gpu" and not found:
        raise RecipeError("device gpu: torch sees no card in this process")
    return found


def pairs(left: Any, right: Any, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a cosine of at least `least`, within MARGIN: places in `left`, ascending, places in `right`, cosines. Of a block with
    itself (`right is left`) each pair once, the later row in `left`."""
    if not isinstance(left, np.ndarray):
        return card.pairs(left, right, least)
    found = left @ right.T
    over = found >= least
    i, j = np.nonzero(np.tril(over, -1) if right is left else over)
    return i, j, found[i, j]


def train(
    points: np.ndarray, k: int, seed: int, device: str = "auto", rounds: int = 20, skew: float = 8.0, l2: bool = False
) -> np.ndarray:
    """Spherical k-means by FAISS: about k unit centroids. l2: plain k-means instead, k means as they are, no cluster cut (DataComp's).

    A cluster with more than `skew` times the average number of points is cut by k-means of its own, so that k grows a
    little. On a GPU k-means is not repeatable to the last bit: the centroids, once stored, are what later steps rely on.
    """
    centroids = _kmeans(points, min(k, len(points)), seed, device, rounds, l2)
    for _ in range(0 if l2 else 4):
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


def _kmeans(points: np.ndarray, k: int, seed: int, device: str, rounds: int, l2: bool = False) -> np.ndarray:
    if k < 2:
        mean = points.mean(axis=0, keepdims=True, dtype=np.float64) if len(points) else np.zeros((1, points.shape[1]))
        return (mean / (1.0 if l2 else max(np.linalg.norm(mean), 1e-12))).astype(np.float32)
    import faiss

    engine = faiss.Kmeans(
        points.shape[1],
        k,
        niter=rounds,
        seed=seed,
        spherical=not l2,
        gpu=_faiss_gpus(device) or False,
        min_points_per_centroid=1,
        max_points_per_centroid=1 << 30,
    )
    engine.train(points)
    return engine.centroids


def nearest(points: np.ndarray, centroids: np.ndarray, count: int, device: str = "cpu") -> np.ndarray:
    """For each point its `count` nearest centroids, nearest first, by the inner product (see `products`): by cosine where centroids are
    unit; of two as near, the first in the list."""
    import faiss

    count = min(count, len(centroids))
    index = faiss.IndexFlatIP(centroids.shape[1])
    if _faiss_gpus(device):
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(centroids)
    out = np.empty((len(points), count), np.int32)
    wide = min(count + 2, len(centroids))  # a few more: float32 may have them in the wrong order
    margin = MARGIN * max(1.0, float(np.linalg.norm(centroids, axis=1).max(initial=0.0)))
    for low in range(0, len(points), _BATCH):
        some = points[low : low + _BATCH]
        alike, found = index.search(l2_normalize(some), wide)
        close = np.flatnonzero((np.diff(alike, axis=1) > -margin).any(axis=1))
        exact = np.stack([products(some[close], centroids[found[close, i]]) for i in range(wide)], axis=1)
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


def _faiss_gpus(device: str) -> int:
    """The cards that FAISS may use: those of faiss-gpu."""
    import faiss

    return faiss.get_num_gpus() if device != "cpu" and hasattr(faiss, "get_num_gpus") else 0


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


# ---- clusters of a pool


@dataclass(frozen=True)
class _Drawn:
    """The vectors of rows with a coin below `share`."""

    share: float
    seed: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        coin = coin_sql("uid", self.seed, "kmeans")
        ids = query(f"select id, {coin} as coin from live where {coin} < {self.share!r}", {"live": rows.select(["id", "uid"])})
        at = np.isin(rows["id"].to_numpy(), ids["id"].to_numpy())
        drawn, order = rows.filter(pa.array(at)), np.argsort(ids["id"].to_numpy())
        drawn = drawn.take(pa.array(np.argsort(drawn["id"].to_numpy()))).select(["uid", "v"])
        return drawn.append_column("coin", ids["coin"].take(pa.array(order)))


@dataclass(frozen=True)
class _Train:
    """k-means of drawn vectors, in order of their coins."""

    k: int
    size: int
    seed: int
    device: str
    l2: bool = False

    def __call__(self, drawn: pa.Table) -> pa.Table:
        rows = drawn.sort_by([("coin", "ascending"), ("uid", "ascending")]).slice(0, self.size)
        if not len(rows):
            return pa.table({"c": column(np.empty((0, 1)))})
        return _centroids(train(matrix(rows["v"]).astype(np.float32), self.k, self.seed, self.device, l2=self.l2))


def _centroids(vectors: np.ndarray) -> pa.Table:
    return pa.table({"c": column(vectors, np.float32)})


@dataclass(frozen=True)
class Assign:
    """A task: the rows with `near`, the numbers of their nearest centroids, nearest first (`count`, or all there are)."""

    count: int
    device: str

    def __call__(self, rows: pa.Table, centroids: pa.Table) -> pa.Table:
        found = np.empty((0, self.count), np.int32)
        if len(rows):
            found = nearest(matrix(rows["v"]), matrix(centroids["c"]), self.count, self.device)
        values = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), max(found.shape[1], 1))
        return rows.append_column("near", values)


#: Vectors a cluster that k-means is trained on.
PER_CLUSTER = 64


def clustered(
    rows: Frame, width: int, k: int, probes: int, path: str, seed: int, device: str, scaled: bool = True, l2: bool = False
) -> tuple[Frame, np.ndarray, dict[str, bytes]]:
    """Embedded rows with the numbers of their `probes` nearest centroids (`near`); the centroids, trained on a sample of 64 k rows or read
    from a .npy file; and these as a file to keep beside the decision.

    scaled: vectors of a file are made unit, or (False) taken as they are. l2: see `train`, on all rows, in the memory of one task.
    The sample is drawn by the coins of the rows' uids, so that the order of the pool, and its chunks, decide nothing.
    """
    if path:
        found = load_vectors(path, width or None)
        found = l2_normalize(found) if scaled else found
    else:
        # A few more than wanted are drawn, and the first in order of their coins are taken.
        size = rows.rows if l2 else PER_CLUSTER * k
        share = min(1.0, (size + 8 * size**0.5) / max(rows.rows, 1))
        found = matrix(rows.gathered(_Train(k, size, seed, device, l2), _Drawn(share, seed)).table()["c"])
    assigned = rows.each(Assign(probes, device), rows.constant(_centroids(found)))
    return assigned, found, {"centroids.npy": npy(found)}
