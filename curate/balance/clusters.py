"""Equal shares for clusters of embeddings: frequent kinds of images are thinned, rare ones stay."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.dedup.chunks import scratch
from curate.dedup.quality import better_first, columns, ranked
from curate.dedup.vectors import clusters, file_hash, nearest, train, vectors_ready, write_vectors
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector, coin_sql


@dataclass
class ClusterBalance(Selector):
    """Keeps `total` rows, drawn from clusters of an embedding column in even shares.

    A cluster's share is proportional to its size to the power `temper`: 0 gives all clusters the same, 1 leaves the mix as
    it is. A cluster smaller than its share gives all it has, and the others share the rest. With several numbers of
    `clusters`, the second level clusters the centroids of the first, and so on; shares go from the top down
    (hierarchical k-means, Vo et al. 2405.15613). Inside a cluster rows are drawn by coin, or best first by the `by` columns.

    Adds the cluster of the lowest level. Rows without an embedding are dropped.
    """

    version = 2

    total: int = 0
    column: str = "clip_image"
    clusters: tuple[int, ...] = (1000,)
    temper: float = 0.0
    by: tuple[str, ...] = ()
    centroids: str = ""
    seed: int = 0
    device: str = field(default="auto")

    free = ("device",)

    def __post_init__(self):
        super().__post_init__()
        self.clusters, self.by = tuple(self.clusters), tuple(self.by)
        if self.total < 1 or not self.clusters or min(self.clusters) < 1 or not 0 <= self.temper <= 1:
            raise RecipeError(f"{self.name}: total and clusters must be at least 1, temper from 0 to 1")
        self.reads = (self.column, *columns(self.by))

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_cluster": pa.int32()}

    def weights(self) -> dict[str, str]:
        return {"centroids_hash": file_hash(self.centroids)} if self.centroids else {}

    def preflight(self, widths: dict[str, int]) -> None:
        if self.centroids:
            vectors_ready(self.name, self.centroids, self.column, widths.get(self.column))

    def select(self, live: Live) -> Selection:
        order = better_first(self.by) if self.by else f"{coin_sql('uid', self.seed, self.name)}, uid"
        with scratch(live) as folder:
            vectors = write_vectors(live, self.column, folder / "vectors.npy")
            saved = Path(live.folder) / f"{self.name}-centroids.npy"
            centroids, home, hashed = clusters(
                live, vectors, self.clusters[0], 1, self.centroids, self.seed, self.device, saved
            )
            home, ranks = home[:, 0], ranked(live, order).of(vectors.ids)
        sizes = np.bincount(home, minlength=len(centroids))
        quota = descend(sizes, _tree(centroids, self.clusters[1:], self.seed), self.total, self.temper)
        keep = within_quota(home, ranks, quota)
        table = pa.table({"id": vectors.ids, f"{self.name}_cluster": home.astype(np.int32)})
        notes = {
            "centroids_hash": hashed,
            "kept": int(keep.sum()),
            "clusters": len(sizes),
            "cluster_largest": int(sizes.max(initial=0)),
            "cluster_median": float(np.median(sizes)),
            "clusters_kept_whole": int((quota >= sizes).sum()),
        }
        return Selection(np.sort(np.concatenate([vectors.ids[~keep], vectors.without(live)])), columns=table, notes=notes)


def _tree(centroids: np.ndarray, levels: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """For each higher level the parent of every cluster below."""
    parents = []
    for k in levels:
        above = train(centroids, k, seed, "cpu")
        parents.append(nearest(centroids, above, 1)[:, 0])
        centroids = above
    return parents


def descend(sizes: np.ndarray, parents: list[np.ndarray], total: int, temper: float) -> np.ndarray:
    """Quotas of the lowest clusters: shared out at the top, then inside each cluster of a level among its children."""
    if not parents:
        return shares(sizes, total, temper)
    above = np.bincount(parents[0], weights=sizes, minlength=parents[0].max() + 1).astype(np.int64)
    granted = descend(above, parents[1:], total, temper)
    quota = np.zeros(len(sizes), np.int64)
    for parent in np.flatnonzero(granted):
        children = np.flatnonzero(parents[0] == parent)
        quota[children] = shares(sizes[children], int(granted[parent]), temper)
    return quota


def shares(sizes: np.ndarray, total: int, temper: float) -> np.ndarray:
    """Whole numbers that add up to `total` (or all there is), at most `sizes`, else proportional to sizes ** temper."""
    if total >= sizes.sum():
        return sizes.astype(np.int64)
    weight = np.where(sizes > 0, sizes.astype(float) ** temper, 0)
    # Clusters in the order in which they run out as the common factor grows: the factor lies between two of them.
    out = np.argsort(np.where(weight > 0, sizes / np.maximum(weight, 1e-300), np.inf), kind="stable")
    whole = np.concatenate([[0], np.cumsum(sizes[out])])[:-1]
    rest = np.cumsum(weight[out][::-1])[::-1]
    factor = (total - whole) / np.maximum(rest, 1e-300)
    at = int(np.argmax(factor * weight[out] <= sizes[out]))
    exact = np.minimum(sizes, factor[at] * weight)
    quota = np.floor(exact + 1e-9).astype(np.int64)
    most = np.lexsort((np.arange(len(sizes)), -(exact - quota)))
    quota[most[: total - quota.sum()]] += 1
    return quota


def within_quota(group: np.ndarray, ranks: np.ndarray, quota: np.ndarray) -> np.ndarray:
    """True for the best `quota[g]` rows of each group g; rank 0 is the best."""
    order = np.lexsort((ranks, group))
    starts = np.searchsorted(group[order], np.arange(len(quota)))
    keep = np.empty(len(group), bool)
    keep[order] = np.arange(len(group)) - starts[group[order]] < quota[group[order]]
    return keep
