"""ImageBased and NormSim selectors: keep rows whose image embeddings are similar to a reference set (DataComp's image-based filter, NormSim)."""

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.cost import Cost, clustering
from curate.dedup.kmeans import clustered, nearest
from curate.dedup.vectors import (
    Without,
    bytes_hash,
    column,
    embedded,
    file_hash,
    l2_normalize,
    load_vectors,
    matrix,
    taken,
    vectors_ready,
)
from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.select.top_fraction import cut_at
from curate.selector import Selection, Selector, identifier


@dataclass
class ImageBased(Selector):
    """Keeps rows whose nearest centroid is also the nearest of some image of a reference set (DataComp, 2304.14108).

    `reference` is a .npy file of embeddings, ImageNet-1k's in the paper. `clusters` centroids are trained on the pool
    (100,000 in the paper) unless `centroids` names a .npy file; those are compared unnormalized, by the inner product, as in DataComp's
    code. kmeans: "spherical", trained on 64 rows a cluster, or "l2", DataComp's: means of all rows. Adds the cluster. Rows without an embedding are dropped.

    reference: `.npy` file of the reference set's embeddings. clusters: number of centroids trained on the pool.
    """

    version = 4

    reference: str = ""
    column: str = "clip_image"
    clusters: int = 1000
    centroids: str = ""
    seed: int = 0
    kmeans: str = "spherical"
    device: str = field(default="auto")

    untracked = ("device",)

    def __post_init__(self):
        super().__post_init__()
        if not self.reference:
            raise RecipeError(f"{self.name}: reference= must name a .npy file of embeddings")
        if self.kmeans not in ("spherical", "l2"):
            raise RecipeError(f"{self.name}: kmeans is spherical or l2, not {self.kmeans}")
        self.reads = (self.column,)

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_cluster": pa.int32()}

    def costs(self, rows: int) -> list[Cost]:
        return clustering(rows, self.clusters)

    def weights(self) -> dict[str, str]:
        files = {"reference_hash": self.reference, "centroids_hash": self.centroids}
        return {role: file_hash(path) for role, path in files.items() if path}

    def preflight(self, widths: dict[str, int]) -> None:
        for path in filter(None, (self.reference, self.centroids)):
            vectors_ready(self.name, path, self.column, widths.get(self.column))

    def select(self, live: Frame) -> Selection:
        rows, width = embedded(live, self.column)
        reference, without = load_vectors(self.reference, width or None), live.each(Without(self.column))
        if not rows.rows:
            return Selection(without, notes={"kept": 0})
        rows, centroids, files = clustered(
            rows, width, self.clusters, 1, self.centroids, self.seed, self.device, scaled=False, l2=self.kmeans == "l2"
        )
        in_reference = np.zeros(len(centroids), bool)
        in_reference[nearest(reference, centroids, 1)] = True
        name = identifier(f"{self.name}_cluster")
        found = rows.each(_NearestCentroid(f"{self.name}_cluster"))
        wanted = found.constant(pa.table({"cluster": np.flatnonzero(in_reference).astype(np.int32)}))
        outside = found.each(Sql(f"select id from live anti join other on other.cluster = live.{name}"), wanted)
        notes = {
            "centroids_hash": bytes_hash(files["centroids.npy"]),
            "clusters": len(in_reference),
            "clusters_hit": int(in_reference.sum()),
            "kept": found.rows - outside.rows,
            "device": taken(rows, self.device),
        }
        return Selection(outside.each(Sql(UNION), without), columns=found, notes=notes, files=files)


#: SQL: the ids of two tables.
UNION = "select id from live union all select id from other"


@dataclass(frozen=True)
class _NearestCentroid:
    """Task: the nearest centroid of each row, as a column called `name`."""

    name: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        near = matrix(rows["near"])[:, 0] if len(rows) else np.empty(0, np.int32)
        return pa.table({"id": rows["id"], self.name: pa.array(near, pa.int32())})


@dataclass
class NormSim(Selector):
    """Keeps rows whose embedding is similar to a target set (NormSim, 2405.19547).

    The score is the p-norm of the cosines with all vectors of `target` (a .npy file): `p=2` for
    sqrt(sum of squares), `p="inf"` for the largest cosine; it is added as a column named like the selector. Keeps the
    `fraction` with the highest scores, ties at the cut included, or scores of `min` or more. The paper keeps
    20 % after another filter. Rows without an embedding are dropped.

    target: `.npy` file of the target set's embeddings. p: of the norm, a number or `inf`. fraction: share of the rows that is kept; none: by `min`. min:
    smallest score that is kept.
    """

    target: str = ""
    column: str = "clip_image"
    p: float | str = "inf"
    fraction: float | None = None
    min: float | None = None

    untracked = ("fraction", "min")

    def __post_init__(self):
        super().__post_init__()
        if not self.target or (self.fraction is None) == (self.min is None):
            raise RecipeError(f"{self.name}: give target (a .npy file of embeddings), and one of fraction and min")
        if self.p not in (2, "inf"):
            raise RecipeError(f"{self.name}: p must be 2 or 'inf', not {self.p}")
        self.reads = (self.column,)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.float32()}

    def weights(self) -> dict[str, str]:
        return {"target_hash": file_hash(self.target)}

    def preflight(self, widths: dict[str, int]) -> None:
        vectors_ready(self.name, self.target, self.column, widths.get(self.column))

    def select(self, live: Frame) -> Selection:
        rows, width = embedded(live, self.column)
        target = load_vectors(self.target, width or None)
        scored = rows.each(_NormSimScore(self.name, str(self.p)), rows.constant(pa.table({"v": column(target, np.float32)})))
        low = float(self.min) if self.fraction is None else cut_at(scored, self.name, self.fraction)
        below = scored.each(Sql(f"select id from live where not {identifier(self.name)} >= '{low!r}'::float"))
        drop = below.each(Sql(UNION), live.each(Without(self.column)))
        return Selection(
            drop, columns=scored, notes={"min": low if math.isfinite(low) else None, "kept": scored.rows - below.rows}
        )


@dataclass(frozen=True)
class _NormSimScore:
    """Task: the p-norm of each row's cosines, rounded to float16 precision, because the last bits depend on the machine."""

    name: str
    p: str

    def __call__(self, rows: pa.Table, target: pa.Table) -> pa.Table:
        vectors, wanted = matrix(rows["v"]), l2_normalize(matrix(target["v"]))
        out = np.empty(len(rows), np.float32)
        for low in range(0, len(rows), 1024):
            cosines = l2_normalize(vectors[low : low + 1024]) @ wanted.T
            out[low : low + 1024] = cosines.max(axis=1) if self.p == "inf" else np.sqrt((cosines**2).sum(axis=1))
        return pa.table({"id": rows["id"], self.name: out.astype(np.float16).astype(np.float32)})
