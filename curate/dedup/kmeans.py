"""k-means of embeddings, and the clusters of a pool.

Points are a frame: each round a task a chunk assigns its points to the nearest centroids and adds them up by cluster, and the sums of
the chunks meet by cluster. Near ties are decided in float64, and sums are float64 in an order that follows from the points alone: the
centroids are the same from any number of workers, and from cores and cards.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.vectors import MARGIN, column, gpus, l2_normalize, load_vectors, matrix, place, products
from curate.models import card
from curate.select.database import query
from curate.select.exchange import ROWS, Exchange, Frame, Held
from curate.select.partition import ByShare
from curate.select.schemas import unified
from curate.selector import coin_sql
from curate.store.atomic import Store

_BATCH = 16_384

#: Vectors a cluster that k-means is trained on, and points of a chunk of them.
PER_CLUSTER, PIECE = 64, 1 << 17


# ---- nearest centroids


def nearest(
    points: np.ndarray, centroids: np.ndarray, count: int, device: str = "cpu", offset: np.ndarray | None = None
) -> np.ndarray:
    """For each point, made unit, its `count` nearest centroids, nearest first, by the inner product (see `products`): by cosine where
    centroids are unit; of two as near, the first in the list. offset: added to the products, one number for each centroid.

    Found in float32, by FAISS on cores and on cards that it knows, by torch on other cards; what is close is decided in float64.
    """
    count = min(count, len(centroids))
    wide = min(count + 2, len(centroids))  # a few more: float32 may have them in the wrong order
    offset = np.zeros(len(centroids)) if offset is None else offset
    margin = MARGIN * max(1.0, float(np.linalg.norm(centroids, axis=1).max(initial=0.0) + np.abs(offset).max(initial=0.0)))
    search, out = _search(centroids, offset, wide, device), np.empty((len(points), count), np.int32)
    for low in range(0, len(points), _BATCH):
        some = points[low : low + _BATCH]
        alike, found = search(l2_normalize(some))
        close = np.flatnonzero((np.diff(alike, axis=1) > -margin).any(axis=1))
        exact = [products(some[close], centroids[found[close, i]]) + offset[found[close, i]] for i in range(wide)]
        order = np.lexsort((found[close], -np.stack(exact, axis=1)), axis=1)
        found[close] = np.take_along_axis(found[close], order, axis=1)
        out[low : low + _BATCH] = found[:, :count]
    return out


def _search(
    centroids: np.ndarray, offset: np.ndarray, wide: int, device: str
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A function from unit points to their largest products and the numbers of these centroids."""
    import faiss

    moved = bool(offset.any())
    where, cards = place(device), faiss.get_num_gpus() if device != "cpu" and hasattr(faiss, "get_num_gpus") else 0
    if where and not cards:
        return card.searcher(centroids, offset, wide, where)
    # The offset is one more dimension, in which every point is 1.
    known = np.column_stack([centroids, offset]).astype(np.float32) if moved else centroids
    index = faiss.IndexFlatIP(known.shape[1])
    index = faiss.index_cpu_to_all_gpus(index) if cards else index
    index.add(np.ascontiguousarray(known))
    return lambda points: index.search(np.column_stack([points, np.ones(len(points), np.float32)]) if moved else points, wide)


@dataclass(frozen=True)
class Assign:
    """A task: the rows with `near`, the numbers of their nearest centroids, nearest first (`count`, or all there are)."""

    count: int
    device: str

    @property
    def gpus(self) -> float:
        return gpus(self.device)

    def __call__(self, rows: pa.Table, centroids: pa.Table) -> pa.Table:
        found = np.empty((0, self.count), np.int32)
        if len(rows):
            found = nearest(matrix(rows["v"]), matrix(centroids["c"]), self.count, self.device)
        values = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), max(found.shape[1], 1))
        return rows.append_column("near", values)


def sizes(rows: Frame, k: int) -> np.ndarray:
    """How many rows each of k centroids is near to, by the column `near`."""
    found = np.zeros(k, np.int64)
    for table in rows.each(_counted).tables():
        found[table["cluster"].to_numpy()] += table["n"].to_numpy()
    return found


def _counted(rows: pa.Table) -> pa.Table:
    clusters, n = np.unique(rows["near"].combine_chunks().flatten().to_numpy(), return_counts=True)
    return pa.table({"cluster": clusters.astype(np.int64), "n": n})


# ---- training


def train(
    points: np.ndarray, k: int, seed: int, device: str = "auto", rounds: int = 20, skew: float = 8.0, l2: bool = False
) -> np.ndarray:
    """About k centroids of unit points in memory, see `trained`."""
    order = np.random.default_rng(seed).permutation(len(points))
    return trained(_in_memory(pa.table({"v": column(points[order], np.float32)})), k, device, rounds, skew, l2)


def trained(points: Frame, k: int, device: str, rounds: int = 20, skew: float = 8.0, l2: bool = False) -> np.ndarray:
    """About k centroids of the unit vectors `v` of a frame in any order that is drawn: spherical k-means, which begins with the first
    points of each chunk. l2: plain k-means instead, k means as they are, no cluster cut (DataComp's).

    A cluster with more than `skew` times the average number of points is cut by k-means of its own, so that k grows a little.
    """
    centroids = _lloyd(points, k, device, rounds, l2)
    for _ in range(0 if l2 or not len(centroids) else 4):
        assigned = points.each(Assign(1, device), points.constant(_centroids(centroids)))
        number, mean = sizes(assigned, len(centroids)), points.rows / len(centroids)
        large = _Large(tuple(np.flatnonzero(number > max(skew * mean, 2)).tolist()), len(centroids))
        if not large.clusters:
            break
        found = assigned.shuffle(ByShare("share"), _Cut(mean, device, rounds), large).table()
        cut = np.unique(found["cluster"].to_numpy())
        if not len(cut):  # copies of one point cannot be cut
            break
        centroids = np.concatenate([np.delete(centroids, cut, axis=0), matrix(found.sort_by("cluster")["c"])])
    return centroids


def _lloyd(points: Frame, k: int, device: str, rounds: int, l2: bool) -> np.ndarray:
    """k centroids (fewer if there are fewer points) after at most `rounds` Lloyd iterations."""
    first = points.each(_First(-(-k // max(len(points.chunks), 1)))).table()
    centroids = matrix(first["v"])[:k].astype(np.float32)
    for _ in range(rounds if len(centroids) else 0):
        before, centroids = centroids, _updated(points, centroids, device, l2)
        if np.array_equal(before, centroids):
            break
    return centroids


def _updated(points: Frame, centroids: np.ndarray, device: str, l2: bool) -> np.ndarray:
    """One Lloyd update: the mean of the points nearest to each centroid; an empty cluster is moved next to the largest one."""
    sums = points.each(_Sums(device, l2), points.constant(_centroids(centroids)))
    means = sums.shuffle(ByShare("share"), _Means(l2), factor=max(1, centroids.shape[1] / 32)).table()
    moved, number = centroids.copy(), np.zeros(len(centroids), np.int64)
    at = means["cluster"].to_numpy()
    moved[at], number[at] = matrix(means["c"]), means["n"].to_numpy()
    empty, large = np.flatnonzero(number == 0), np.argsort(-number, kind="stable")
    nudge = np.where(np.arange(centroids.shape[1]) % 2, 1 + 2**-10, 1 - 2**-10).astype(np.float32)
    for lone, full in zip(empty.tolist(), large[: len(empty)].tolist()):
        if number[full] > 1:
            moved[lone], moved[full] = moved[full] * nudge, moved[full] * (2 - nudge)
    return moved if l2 else l2_normalize(moved)


def _in_memory(points: pa.Table) -> Frame:
    return Frame(Exchange(Store(".")), [Held(len(points), table=points)])


def _centroids(vectors: np.ndarray) -> pa.Table:
    return pa.table({"c": column(vectors, np.float32)})


@dataclass(frozen=True)
class _First:
    count: int

    def __call__(self, points: pa.Table) -> pa.Table:
        return points.slice(0, self.count).select(["v"])


@dataclass(frozen=True)
class _Sums:
    """The sums of the points that are nearest to each centroid, by `cluster`, and their number; `share` is the cluster's place among all."""

    device: str
    l2: bool

    @property
    def gpus(self) -> float:
        return gpus(self.device)

    def __call__(self, points: pa.Table, centroids: pa.Table) -> pa.Table:
        known, vectors = matrix(centroids["c"]), l2_normalize(matrix(points["v"]))
        offset = -0.5 * (known.astype(np.float64) ** 2).sum(axis=1) if self.l2 else None
        home = nearest(vectors, known, 1, self.device, offset)[:, 0] if len(points) else np.empty(0, np.int32)
        return _summed(home.astype(np.int64), np.ones(len(home), np.int64), vectors, len(known))


def _summed(cluster: np.ndarray, n: np.ndarray, vectors: np.ndarray, k: int) -> pa.Table:
    """Rows added up by cluster, in their order, in float64."""
    order = np.argsort(cluster, kind="stable")
    found, starts = np.unique(cluster[order], return_index=True)
    width = vectors.shape[1] if len(vectors) else 1
    sums = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64) if len(starts) else np.empty((0, width))
    counts = np.add.reduceat(n[order], starts) if len(starts) else np.empty(0, np.int64)
    return pa.table({"cluster": found, "n": counts, "sum": column(sums, np.float64), "share": found / max(k, 1)})


@dataclass(frozen=True)
class _Means:
    """The mean of each cluster of a bucket as `c`, of unit length unless `l2`, and its number of points."""

    l2: bool

    def __call__(self, rows: pa.Table) -> pa.Table:
        found = _summed(rows["cluster"].to_numpy(), rows["n"].to_numpy(), matrix(rows["sum"]), 1)
        means = matrix(found["sum"]) / np.maximum(found["n"].to_numpy(), 1)[:, None]
        if not self.l2:
            means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return pa.table({"cluster": found["cluster"], "n": found["n"], "c": column(means, np.float32)})


@dataclass(frozen=True)
class _Large:
    """The points of the given clusters, of k."""

    clusters: tuple[int, ...]
    k: int

    def __call__(self, assigned: pa.Table) -> pa.Table:
        cluster = matrix(assigned["near"])[:, 0].astype(np.int64) if len(assigned) else np.empty(0, np.int64)
        assigned = (
            assigned.select(["v"])
            .append_column("cluster", pa.array(cluster))
            .append_column("share", pa.array(cluster / self.k))
        )
        return assigned.filter(pa.array(np.isin(cluster, self.clusters)))


@dataclass(frozen=True)
class _Cut:
    """Centroids in place of that of each cluster of a bucket, so many that each has about `mean` points; none where all points are one."""

    mean: float
    device: str
    rounds: int

    @property
    def gpus(self) -> float:
        return gpus(self.device)

    def __call__(self, rows: pa.Table) -> pa.Table:
        clusters, found = rows["cluster"].to_numpy(), [pa.table({"cluster": pa.array([], pa.int64())})]
        for cluster in np.unique(clusters).tolist():
            mine = rows.filter(pa.array(clusters == cluster))
            parts = _lloyd(_in_memory(mine), int(np.ceil(len(mine) / self.mean)), self.device, self.rounds, False)
            if len(np.unique(parts, axis=0)) > 1:
                found.append(_centroids(parts).append_column("cluster", pa.array(np.full(len(parts), cluster))))
        return unified(found)


# ---- clusters of a pool


@dataclass(frozen=True)
class _Drawn:
    """The vectors of rows with a coin below `share`, and the coin as a share of that."""

    share: float
    seed: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        coin = coin_sql("uid", self.seed, "kmeans")
        ids = query(f"select id, {coin} as coin from live where {coin} < {self.share!r}", {"live": rows.select(["id", "uid"])})
        ids = ids.sort_by("id")
        drawn = rows.filter(pa.array(np.isin(rows["id"].to_numpy(), ids["id"].to_numpy()))).sort_by("id").select(["uid", "v"])
        return drawn.append_column("coin", pc.divide(ids["coin"], self.share))


def _in_order(drawn: pa.Table) -> pa.Table:
    return drawn.sort_by([("coin", "ascending"), ("uid", "ascending")]).select(["v"])


@dataclass(frozen=True)
class _Train:
    """k-means of points that fit into one task."""

    k: int
    device: str
    l2: bool

    @property
    def gpus(self) -> float:
        return gpus(self.device)

    def __call__(self, points: pa.Table) -> pa.Table:
        return _centroids(trained(_in_memory(points), self.k, self.device, l2=self.l2))


def clustered(
    rows: Frame, width: int, k: int, probes: int, path: str, seed: int, device: str, scaled: bool = True, l2: bool = False
) -> tuple[Frame, np.ndarray, dict[str, bytes]]:
    """Embedded rows with the numbers of their `probes` nearest centroids (`near`); the centroids, trained on a sample of 64 k rows or read
    from a .npy file; and these as a file to keep beside the decision.

    scaled: vectors of a file are made unit, or (False) taken as they are. l2: see `trained`; on all rows.
    The sample is drawn by the coins of the rows' uids, so that the order of the pool, and its chunks, decide nothing.
    """
    if path:
        found = load_vectors(path, width or None)
        found = l2_normalize(found) if scaled else found
    else:
        found = _of_sample(rows, k, seed, device, l2)
    assigned = rows.each(Assign(probes, device), rows.constant(_centroids(found)))
    return assigned, found, {"centroids.npy": npy(found)}


def _of_sample(rows: Frame, k: int, seed: int, device: str, l2: bool) -> np.ndarray:
    size = rows.rows if l2 else PER_CLUSTER * k
    share = min(1.0, (size + 8 * size**0.5) / max(rows.rows, 1))
    points = rows.each(_Drawn(share, seed)).shuffle(ByShare("coin"), _in_order, factor=ROWS / PIECE)
    if len(points.chunks) == 1:
        return matrix(points.each(_Train(k, device, l2)).table()["c"])
    return trained(points, k, device, l2=l2)


def npy(values: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file."""
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()
