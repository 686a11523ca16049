"""Rows whose images lie where a reference set lies: DataComp's image-based filter, and NormSim."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.dedup.chunks import scratch
from curate.dedup.vectors import ROWS, clusters, file_hash, lengthened, load_vectors, nearest, vectors_ready, write_vectors
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector


@dataclass
class ImageBased(Selector):
    """Keeps rows whose nearest centroid is also the nearest of some image of a reference set (DataComp, 2304.14108).

    `reference` is a .npy file of embeddings, ImageNet-1k's in the paper. `clusters` centroids are trained on the pool
    (100,000 in the paper) unless `centroids` names a .npy file. Adds the cluster. Rows without an embedding are dropped.
    """

    version = 2

    reference: str = ""
    column: str = "clip_image"
    clusters: int = 1000
    centroids: str = ""
    seed: int = 0
    device: str = field(default="auto")

    free = ("device",)

    def __post_init__(self):
        super().__post_init__()
        if not self.reference:
            raise RecipeError(f"{self.name}: reference= must name a .npy file of embeddings")
        self.reads = (self.column,)

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_cluster": pa.int32()}

    def weights(self) -> dict[str, str]:
        files = {"reference_hash": self.reference, "centroids_hash": self.centroids}
        return {role: file_hash(path) for role, path in files.items() if path}

    def preflight(self, widths: dict[str, int]) -> None:
        for path in filter(None, (self.reference, self.centroids)):
            vectors_ready(self.name, path, self.column, widths.get(self.column))

    def select(self, live: Live) -> Selection:
        with scratch(live) as folder:
            vectors = write_vectors(live, self.column, folder / "vectors.npy")
            reference = vectors.given(self.reference)
            if not len(vectors.ids):
                return Selection(vectors.without(live), notes={"kept": 0})
            saved = Path(live.folder) / f"{self.name}-centroids.npy"
            centroids, home, hashed = clusters(live, vectors, self.clusters, 1, self.centroids, self.seed, self.device, saved)
        home, hit = home[:, 0], np.zeros(len(centroids), bool)
        hit[nearest(reference, centroids, 1, self.device)] = True
        table = pa.table({"id": vectors.ids, f"{self.name}_cluster": home.astype(np.int32)})
        notes = {"centroids_hash": hashed, "clusters": len(hit), "clusters_hit": int(hit.sum()), "kept": int(hit[home].sum())}
        drop = np.concatenate([vectors.ids[~hit[home]], vectors.without(live)])
        return Selection(np.sort(drop), columns=table, notes=notes)


@dataclass
class NormSim(Selector):
    """Keeps rows whose embedding is similar to a target set (NormSim, 2405.19547).

    The score is the p-norm of the cosines with all vectors of `target` (a .npy file): `p=2` for
    sqrt(sum of squares), `p="inf"` for the largest cosine; it is added as a column named like the selector. Keeps the
    `fraction` with the highest scores (rows as good as the last of them too), or scores of `min` or more. The paper keeps
    20 % after another filter. Rows without an embedding are dropped.
    """

    target: str = ""
    column: str = "clip_image"
    p: float | str = "inf"
    fraction: float | None = None
    min: float | None = None

    free = ("fraction", "min")

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

    def select(self, live: Live) -> Selection:
        with scratch(live) as folder:
            vectors = write_vectors(live, self.column, folder / "vectors.npy")
            vectors.given(self.target)
            items = [(vectors.path, self.target, str(self.p), low, low + ROWS) for low in range(0, len(vectors.ids), ROWS)]
            scores = np.concatenate([np.empty(0, np.float32), *live.map(_similar, items)])
        low = self.min if self.fraction is None else lowest(scores, self.fraction)
        table = pa.table({"id": vectors.ids, self.name: scores})
        drop = np.concatenate([vectors.ids[~(scores >= low)], vectors.without(live)])
        return Selection(np.sort(drop), columns=table, notes={"min": float(low), "kept": int((scores >= low).sum())})


def lowest(scores: np.ndarray, fraction: float) -> float:
    """The score at place floor(N * fraction) from the top, counted from 0: DataComp's rule for a fraction."""
    if not len(scores):
        return 0.0
    return float(np.sort(scores)[::-1][min(int(len(scores) * fraction), len(scores) - 1)])


def _similar(item: tuple[str, str, str, int, int]) -> np.ndarray:
    """Scores of a range of rows, rounded to float16 precision: the last bits depend on the machine."""
    path, target, p, start, stop = item
    rows = np.load(path, mmap_mode="r")[start:stop]
    wanted = lengthened(load_vectors(target, rows.shape[1]))
    out = np.empty(len(rows), np.float32)
    for low in range(0, len(rows), 1024):
        alike = lengthened(rows[low : low + 1024]) @ wanted.T
        out[low : low + 1024] = alike.max(axis=1) if p == "inf" else np.sqrt((alike**2).sum(axis=1))
    return out.astype(np.float16).astype(np.float32)
