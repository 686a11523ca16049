"""SemDeDup: rows whose embeddings nearly coincide, found cluster by cluster."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.cost import Cost, clustering
from curate.dedup.greedy import PAIRS, duplicates, pairs_table
from curate.dedup.kmeans import clustered, sizes
from curate.dedup.quality import PUBLISHED_FIRST, coin_key, columns, sort_key
from curate.dedup.vectors import (
    DECIMALS,
    bytes_hash,
    comparer,
    cosines,
    embedded,
    file_hash,
    gpus,
    matrix,
    taken,
    vectors_ready,
)
from curate.errors import RecipeError
from curate.select.database import query
from curate.select.exchange import Frame, in_order, rows_at
from curate.select.partition import ByHash
from curate.selector import Selection, Selector

_LIMIT = 64  # better neighbours listed for a row; see greedy.duplicates


@dataclass
class SemanticDedup(Selector):
    """Of rows whose embeddings have a cosine of 1 - eps or more one stays (SemDeDup, 2303.09540).

    Vectors are clustered by spherical k-means on a seeded sample; rows are compared exactly with all rows that share one
    of their `probes` nearest clusters. SemDeDup probes one, and loses pairs across a border.

    eps        0.01 is NeMo Curator's default; SemDeDup's own values for LAION lie between 0.001 and 0.1
    inclusive  a cosine of exactly 1 - eps counts (NeMo Curator) or not (SemDeDup's code)
    keep       who is better: `quality` (the `by` columns), `hard` (far from its centroid, SemDeDup's choice), `easy`
               (near it) or `random` (a coin); then the smaller uid
    clusters   k; 0 = sqrt(2 N), where assigning and comparing cost the same
    centroids  a .npy file to use instead of training: the same centroids give the same kept rows on any machine
    block      rows compared at a time; a task needs about 8 block^2 + 16 block dimensions bytes, whatever a cluster's size
    device     where tasks compute: `auto` is a card where the worker has one

    published  a row falls for any better row of a cluster of its, also for one that fell itself, as in SemDeDup's code; with
               probes=1, keep="hard" and inclusive=False it is that code's rule

    Unless `published`, a row falls only if a row that stays is too close. Rows without an embedding stay.

    probes     clusters in which a row is compared
    """

    version = 4
    sees_published = True

    column: str = "clip_image"
    eps: float = 0.01
    inclusive: bool = True
    keep: str = "quality"
    by: tuple[str, ...] = ()
    clusters: int = 0
    probes: int = 2
    centroids: str = ""
    seed: int = 0
    device: str = "auto"
    block: int = 2_048
    published: bool = False

    untracked = ("block", "device")

    def __post_init__(self):
        super().__post_init__()
        if self.keep not in ("quality", "hard", "easy", "random"):
            raise RecipeError(f"{self.name}: keep must be quality, hard, easy or random, not {self.keep}")
        if not 0 <= self.eps <= 2 or self.probes < 1 or self.block < 1:
            raise RecipeError(f"{self.name}: eps must lie between 0 and 2, probes and block be at least 1")
        self.by = tuple(self.by)
        self.reads = (self.column, *columns(self.by))

    def costs(self, rows: int) -> list[Cost]:
        return clustering(rows, self.clusters, self.probes)

    def weights(self) -> dict[str, str]:
        return {"centroids_hash": file_hash(self.centroids)} if self.centroids else {}

    def preflight(self, widths: dict[str, int]) -> None:
        if self.centroids:
            vectors_ready(self.name, self.centroids, self.column, widths.get(self.column))

    def select(self, live: Frame) -> Selection:
        drawn = coin_key(self.seed, self.name)
        rank = {"quality": sort_key(self.by), "random": drawn}.get(self.keep, sort_key(()))
        rows, width = embedded(live, self.column, f"{rank} as rank")
        if not rows.rows:
            return Selection(notes={"vectors": 0})
        k = self.clusters or max(1, round((2 * rows.rows) ** 0.5))
        rows, centroids, files = clustered(rows, width, k, self.probes, self.centroids, self.seed, self.device)
        if self.keep in ("hard", "easy"):
            rows = rows.each(_ByCentroid(self.keep == "hard", centroids))
        number = sizes(rows, len(centroids))
        found = duplicates(live, rows, self._find, _LIMIT, self.published)
        notes = {
            "vectors": rows.rows,
            **found.notes(),
            "clusters": len(centroids),
            "cluster_largest": int(number.max(initial=0)),
            "cluster_median": float(np.median(number)),
            "centroids_hash": bytes_hash(files["centroids.npy"]),
            "device": taken(rows, self.device),
        }
        return Selection(found.edges, edges=found.edges, notes=notes, files=files)

    def _find(self, rows: Frame) -> Frame:
        bound = round(1 - self.eps, DECIMALS)
        return rows.shuffle(ByHash("hash"), _Compare(bound, self.inclusive, self.block, self.device), _probed, self.probes)


def _probed(rows: pa.Table) -> pa.Table:
    """Each row once for each of its clusters, with the `hash` of the cluster's number."""
    near = matrix(rows["near"]) if len(rows) else np.empty((0, 1), np.int32)
    cluster = pa.array(near.ravel().astype(np.int64))
    hashed = query(
        "select hash(cluster) as hash, row_number() over () as n from live", {"live": pa.table({"cluster": cluster})}
    )
    at = pa.array(np.repeat(np.arange(len(rows)), near.shape[1]))
    rows = rows.drop_columns([c for c in ("near", "same") if c in rows.column_names]).take(at)
    return rows.append_column("cluster", cluster).append_column("hash", hashed.sort_by("n")["hash"])


@dataclass(frozen=True)
class _ByCentroid:
    """The rows with a rank by their distance to the nearest centroid: the farthest best (`hard`), or the nearest."""

    hard: bool
    centroids: np.ndarray

    def __call__(self, rows: pa.Table) -> pa.Table:
        close = np.empty(0)
        if len(rows):
            close = cosines(matrix(rows["v"]), self.centroids[matrix(rows["near"])[:, 0]])
        given = pa.table({"id": rows["id"], "uid": rows["uid"], "close": close if self.hard else -close})
        ranks = query(
            f"select id, create_sort_key({PUBLISHED_FIRST}, close, 'ASC NULLS LAST', uid, 'ASC NULLS LAST') as rank from live order by id",
            {"live": given},
        )
        at = pa.array(np.argsort(np.argsort(rows["id"].to_numpy())))
        return rows.set_column(rows.schema.get_field_index("rank"), "rank", ranks["rank"].take(at))


@dataclass(frozen=True)
class _Compare:
    """The pairs of each cluster of a bucket."""

    bound: float
    inclusive: bool
    block: int
    device: str

    @property
    def gpus(self) -> float:
        return gpus(self.device)

    def __call__(self, rows: pa.Table) -> Iterator[pa.Table]:
        rows = rows_at(rows, in_order(rows, "cluster", "rank"))
        asked, edges = rows["asked"].to_numpy(), np.flatnonzero(np.diff(rows["cluster"].to_numpy(), prepend=-1, append=-1))
        yield PAIRS.empty_table()
        for low, high in itertools.pairwise(edges.tolist()):
            for worse, better, alike in self._triangle(rows["v"].slice(low, high - low), asked[low:high]):
                yield pairs_table(rows, low + worse, low + better, alike)

    def _triangle(self, vectors: pa.ChunkedArray, asked: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """All rows of one cluster, best first, against the better ones, in blocks; of each row's sure neighbours the best _LIMIT + 1."""
        there, pairs, margin = comparer(self.device)
        for top in range(0, len(vectors), self.block):
            mine = asked[top : top + self.block]
            if not mine.any():
                continue
            near = matrix(vectors.slice(top, self.block))
            left = there(near)
            seen = np.where(mine, 0, _LIMIT + 1)
            for side in range(0, top + len(mine), self.block):
                far = near if side == top else matrix(vectors.slice(side, self.block))
                right = left if side == top else there(far)
                i, j, cosine = pairs(left, right, self.bound - margin)
                i, j = _few(i, j, cosine >= self.bound + margin, seen, mine)
                exact = _exact(near, far, i, j)
                good = exact >= self.bound if self.inclusive else exact > self.bound
                yield top + i[good], side + j[good], exact[good].astype(np.float32)


def _few(i: np.ndarray, j: np.ndarray, sure: np.ndarray, seen: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out sure neighbours beyond what is listed for a row (`seen` counts them), and rows not asked about."""
    nth = np.cumsum(sure) - 1
    starts = np.searchsorted(i, np.arange(len(seen)))
    before = np.concatenate([[0], np.cumsum(sure)])[starts]
    keep = asked[i] & (~sure | (seen[i] + nth - before[i] <= _LIMIT))
    seen += np.bincount(i[sure], minlength=len(seen))
    return i[keep], j[keep]


def _exact(left: np.ndarray, right: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    parts = [cosines(left[one[n : n + 8192]], right[other[n : n + 8192]]) for n in range(0, len(one), 8192)]
    return np.concatenate([np.empty(0), *parts])
