"""ClusterBalance selector: samples rows evenly from clusters of embeddings, so that frequent kinds of images are reduced and rare ones kept."""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.balance.image_based import UNION
from curate.cost import Cost, clustering
from curate.dedup.kmeans import clustered, nearest, train
from curate.dedup.quality import coin_key, columns, sort_key
from curate.dedup.vectors import Without, bytes_hash, embedded, file_hash, matrix, taken, vectors_ready
from curate.errors import RecipeError
from curate.select.database import query
from curate.select.exchange import Frame, Sql
from curate.select.partition import ByHash
from curate.selector import PUBLISHED, Selection, Selector, identifier


@dataclass
class ClusterBalance(Selector):
    """Keeps `total` rows (or a `fraction` of the pool), sampled from the clusters of an embedding column.

    The quota of a cluster is proportional to its size to the power `temper`: 0 gives all clusters the same, 1 keeps the mix
    as it is. A cluster smaller than its quota is kept whole, and the others share the rest. With several numbers of
    `clusters`, the second level clusters the centroids of the first, and so on; quotas are divided from the top level down
    (hierarchical k-means, Vo et al. 2405.15613); 0 on the lowest level is sqrt(2 N). Within a cluster rows are sampled at random with a seed, or the best
    by the `by` columns are kept.

    Adds the cluster of the lowest level. Rows without an embedding are dropped. Over several releases `total` counts the rows of all, and
    new rows get what remains of it, in the clusters with the fewest published rows. A `fraction` is that of the new rows.

    total: rows that are kept, 0: by `fraction`. fraction: share of the rows that is kept, 0: by `total`. temper: power of a cluster's size to which its
    quota is proportional.
    clusters: numbers of clusters from the lowest level up; 0: the square root of twice the rows.
    """

    version = 4
    sees_published = True

    total: int = 0
    column: str = "clip_image"
    clusters: tuple[int, ...] = (1000,)
    temper: float = 0.0
    by: tuple[str, ...] = ()
    centroids: str = ""
    seed: int = 0
    device: str = field(default="auto")
    fraction: float = 0.0

    untracked = ("device",)

    def __post_init__(self):
        super().__post_init__()
        self.clusters, self.by = tuple(self.clusters), tuple(self.by)
        if (self.total < 1) != (0 < self.fraction <= 1):
            raise RecipeError(f"{self.name}: give total, of 1 and more, or a fraction above 0 and at most 1")
        if not self.clusters or min(self.clusters[1:], default=1) < 1 or self.clusters[0] < 0 or not 0 <= self.temper <= 1:
            raise RecipeError(
                f"{self.name}: clusters must be at least 1 (on the lowest level 0: sqrt(2 N)), temper from 0 to 1"
            )
        self.reads = (self.column, *columns(self.by))

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_cluster": pa.int32()}

    def costs(self, rows: int) -> list[Cost]:
        return clustering(rows, self.clusters[0])

    def weights(self) -> dict[str, str]:
        return {"centroids_hash": file_hash(self.centroids)} if self.centroids else {}

    def preflight(self, widths: dict[str, int]) -> None:
        if self.centroids:
            vectors_ready(self.name, self.centroids, self.column, widths.get(self.column))

    def select(self, live: Frame) -> Selection:
        coin = coin_key(self.seed, self.name)
        rows, width = embedded(live, self.column, f"{sort_key(self.by) if self.by else coin} as rank")
        without = live.each(Without(self.column))
        if not rows.rows:
            return Selection(without, notes={"kept": 0, "clusters": 0})
        lowest = self.clusters[0] or max(1, round((2 * rows.rows) ** 0.5))
        rows, centroids, files = clustered(rows, width, lowest, 1, self.centroids, self.seed, self.device)
        name = f"{self.name}_cluster"
        found = rows.each(_AssignedCluster(name))
        sizes, published = _sizes(found, name, len(centroids))
        total = self.total or int(published.sum()) + round(self.fraction * int((sizes - published).sum()))
        parents = _parents(centroids, self.clusters[1:], self.seed)
        quota = hierarchical_quotas(sizes, published, parents, total, self.temper)
        quotas = pa.table({"cluster": np.arange(len(quota), dtype=np.int32), "quota": quota})
        beyond = _beyond_quota(found, name, quotas).home(live).each(Sql(f"select id from live where id < {PUBLISHED}"))
        drop = beyond.each(Sql(UNION), without)
        notes = {
            "centroids_hash": bytes_hash(files["centroids.npy"]),
            "kept": rows.rows - beyond.rows,
            "clusters": len(sizes),
            "cluster_largest": int(sizes.max(initial=0)),
            "cluster_median": float(np.median(sizes)),
            "clusters_kept_whole": int((quota >= sizes).sum()),
            "device": taken(rows, self.device),
        }
        columns = found.each(Sql(f"select id, {identifier(name)} from live"))
        return Selection(drop, columns=columns, notes=notes, files=files)


def _sizes(found: Frame, name: str, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of rows of each cluster: in all, and in earlier releases."""
    sizes, published = np.zeros(clusters, np.int64), np.zeros(clusters, np.int64)
    counted = f"""select {identifier(name)} as cluster, count(*) as n, count(*) filter (id >= {PUBLISHED}) as published
        from live group by all"""
    for t in found.each(Sql(counted)).tables():
        sizes[t["cluster"].to_numpy()] += t["n"].to_numpy()
        published[t["cluster"].to_numpy()] += t["published"].to_numpy()
    return sizes, published


def _beyond_quota(found: Frame, name: str, quotas: pa.Table) -> Frame:
    """The ids of the rows that are not among the best `quota` rows of their cluster.

    A row beyond the quota within its chunk is beyond it in the pool: only the others are ranked across chunks.
    """
    ranked = f"""select live.*, row_number() over (partition by {identifier(name)} order by rank) as place, quota
        from live join other on other.cluster = live.{identifier(name)}"""
    local = found.each(Sql(f"select *, hash({identifier(name)}) as hash from ({ranked})"), found.constant(quotas))
    ranked_in_bucket = f"select *, row_number() over (partition by {identifier(name)} order by rank) as place from (select * exclude (place) from live)"
    mark_beyond = Sql("select * replace (if(place <= quota, place, -1) as place) from live")
    return local.shuffle(ByHash("hash"), _BeyondQuota(ranked_in_bucket), mark_beyond)


@dataclass(frozen=True)
class _BeyondQuota:
    """Task on a bucket: the ids beyond the quota, within their chunk (place -1) or within the bucket."""

    ranked: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        text = f"""with out as (select id from live where place = -1),
            among as (select * from live where place != -1)
            select id from out union all select id from ({self.ranked.replace("from live", "from among")}) where place > quota"""
        return query(text, {"live": rows})


@dataclass(frozen=True)
class _AssignedCluster:
    """Task: the rank and the nearest centroid of each row."""

    name: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        near = matrix(rows["near"])[:, 0] if len(rows) else np.empty(0, np.int32)
        return pa.table({"id": rows["id"], "rank": rows["rank"], self.name: pa.array(near, pa.int32())})


def _parents(centroids: np.ndarray, levels: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """For each higher level the parent of every cluster of the level below."""
    parents = []
    for k in levels:
        above = train(centroids, k, seed, "cpu")
        parents.append(nearest(centroids, above, 1)[:, 0])
        centroids = above
    return parents


def hierarchical_quotas(
    sizes: np.ndarray, published: np.ndarray, parents: list[np.ndarray], total: int, temper: float
) -> np.ndarray:
    """Quotas of the lowest clusters: `total` is divided among the top clusters, then that of each cluster among its children."""
    if not parents:
        return proportional_quotas(sizes, published, total, temper)
    sums = (np.bincount(parents[0], n, parents[0].max() + 1).astype(np.int64) for n in (sizes, published))
    parent_quota = hierarchical_quotas(*sums, parents[1:], total, temper)
    quota = np.zeros(len(sizes), np.int64)
    for parent in np.flatnonzero(parent_quota):
        children = np.flatnonzero(parents[0] == parent)
        quota[children] = proportional_quotas(sizes[children], published[children], int(parent_quota[parent]), temper)
    return quota


def proportional_quotas(sizes: np.ndarray, published: np.ndarray, total: int, temper: float) -> np.ndarray:
    """Whole numbers that sum to `total`: at least `published`, at most `sizes`, in between proportional to sizes ** temper.

    `sizes` where `total` is at least their sum, `published` where it is at most theirs. Remainders go to the largest fractions.
    """
    if total >= sizes.sum() or total <= published.sum():
        return (sizes if total >= sizes.sum() else published).astype(np.int64)
    weight = np.maximum(np.where(sizes > 0, sizes.astype(float) ** temper, 0), 1e-300)
    begins, ends = published / weight, sizes / weight
    # A quota is a common factor times its weight, clipped. The sum over all clusters is linear in the factor between two of these
    # bounds: the last bound whose sum `total` allows is found, then the rest by division.
    factors = np.unique(np.concatenate([begins, ends]))
    last = bisect_right(factors, total, key=lambda factor: float(np.clip(factor * weight, published, sizes).sum())) - 1
    factor = factors[last] if last >= 0 else 0.0
    grows = (begins <= factor) & (factor < ends)
    factor += (total - np.clip(factor * weight, published, sizes).sum()) / weight[grows].sum() if grows.any() else 0.0
    exact = np.clip(factor * weight, published, sizes)
    quota = np.floor(exact + 1e-9).astype(np.int64)
    largest_fraction = np.lexsort((np.arange(len(sizes)), -(exact - quota)))
    quota[largest_fraction[: total - quota.sum()]] += 1
    return quota
