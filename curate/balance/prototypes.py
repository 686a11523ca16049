"""Prototypes selector: drops the rows nearest to their cluster's centroid, the most typical ones (SSL prototypes)."""

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.cost import Cost, clustering
from curate.dedup.kmeans import clustered
from curate.dedup.vectors import Without, bytes_hash, cosines, embedded, file_hash, matrix, taken, vectors_ready
from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.select.top_fraction import cut_at
from curate.selector import Selection, Selector, identifier


@dataclass
class Prototypes(Selector):
    """Keeps the `fraction` of the rows that are farthest from the centroid of their cluster, over all clusters together, and all ties at
    the cut (counted as TopFraction counts).

    SSL prototypes (Sorscher et al., 2206.14486): the rows nearest to a centroid are the most typical and the least informative. D4
    (2308.12284) applies it after SemDeDup, to new clusters. Adds `<name>_distance`, 1 - cosine. Rows without an embedding are dropped.

    fraction: share of the rows that is kept.
    """

    version = 2

    column: str = "clip_image"
    fraction: float = 0.5
    clusters: int = 1000
    centroids: str = ""
    seed: int = 0
    device: str = field(default="auto")

    untracked = ("device",)

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.fraction <= 1 or self.clusters < 1:
            raise RecipeError(f"{self.name}: fraction is above 0 and at most 1, clusters 1 or more")
        self.reads = (self.column,)

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_distance": pa.float32()}

    def costs(self, rows: int) -> list[Cost]:
        return clustering(rows, self.clusters)

    def weights(self) -> dict[str, str]:
        return {"centroids_hash": file_hash(self.centroids)} if self.centroids else {}

    def preflight(self, widths: dict[str, int]) -> None:
        if self.centroids:
            vectors_ready(self.name, self.centroids, self.column, widths.get(self.column))

    def select(self, live: Frame) -> Selection:
        rows, width = embedded(live, self.column)
        without = live.each(Without(self.column))
        if not rows.rows:
            return Selection(without, notes={"clusters": 0})
        rows, centroids, files = clustered(rows, width, self.clusters, 1, self.centroids, self.seed, self.device)
        name = f"{self.name}_distance"
        found = rows.each(_Distance(name, centroids))
        cut = cut_at(found, name, self.fraction)
        near = f"select id from live where {identifier(name)}::double < '{cut!r}'::double union all select id from other"
        notes = {
            "cut": cut if math.isfinite(cut) else None,
            "clusters": len(centroids),
            "centroids_hash": bytes_hash(files["centroids.npy"]),
            "device": taken(rows, self.device),
        }
        return Selection(found.each(Sql(near), without), columns=found, notes=notes, files=files)


@dataclass(frozen=True)
class _Distance:
    """Task: 1 - the cosine of each row and its centroid."""

    name: str
    centroids: np.ndarray

    def __call__(self, rows: pa.Table) -> pa.Table:
        distance = 1 - cosines(matrix(rows["v"]), self.centroids[matrix(rows["near"])[:, 0]]) if len(rows) else np.empty(0)
        return pa.table({"id": rows["id"], self.name: pa.array(distance, pa.float32())})
