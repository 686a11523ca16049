"""SemDeDup: rows whose embeddings nearly coincide, found cluster by cluster."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.dedup.chunks import scratch
from curate.dedup.graph import Pairs, first_of, resolve, spread
from curate.dedup.products import lengthened, pairs, place
from curate.dedup.quality import better_first, columns, ranked
from curate.dedup.vectors import DECIMALS, MARGIN, ROWS, Vectors, clusters, cosines, file_hash, vectors_ready, write_vectors
from curate.errors import RecipeError
from curate.selector import NONE, Live, Selection, Selector, coin_sql

_READERS = 8
_LIMIT = 64  # better neighbours listed for a row; see graph.resolve


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

    A row falls only if a row that stays is too close. Rows without an embedding stay.
    """

    version = 2

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

    free = ("block", "device")

    def __post_init__(self):
        super().__post_init__()
        if self.keep not in ("quality", "hard", "easy", "random"):
            raise RecipeError(f"{self.name}: keep must be quality, hard, easy or random, not {self.keep}")
        if not 0 <= self.eps <= 2 or self.probes < 1 or self.block < 1:
            raise RecipeError(f"{self.name}: eps must lie between 0 and 2, probes and block be at least 1")
        self.by = tuple(self.by)
        self.reads = (self.column, *columns(self.by))

    def weights(self) -> dict[str, str]:
        return {"centroids_hash": file_hash(self.centroids)} if self.centroids else {}

    def preflight(self, widths: dict[str, int]) -> None:
        if self.centroids:
            vectors_ready(self.name, self.centroids, self.column, widths.get(self.column))

    def select(self, live: Live) -> Selection:
        with scratch(live) as folder:
            vectors = write_vectors(live, self.column, folder / "vectors.npy")
            if not len(vectors.ids):
                return Selection(NONE, notes={"vectors": 0})
            k = self.clusters or max(1, round((2 * len(vectors.ids)) ** 0.5))
            saved = Path(live.folder) / f"{self.name}-centroids.npy"
            centroids, home, hashed = clusters(live, vectors, k, self.probes, self.centroids, self.seed, self.device, saved)
            rows = self._order(live, vectors, home, centroids)
            first = first_of(vectors.keys[rows], vectors.open(), rows)
            distinct = np.flatnonzero(first == np.arange(len(rows)))
            sizes = _members(folder, home[rows[distinct]], len(centroids))
            np.save(folder / "rows.npy", rows[distinct])
            judged = resolve(len(distinct), lambda asked, alive: self._find(live, folder, sizes, asked, alive), _LIMIT)
            done = spread(judged, first)
            notes = {
                "vectors": len(rows),
                "distinct": len(distinct),
                "clusters": len(centroids),
                "cluster_largest": int(sizes.max()),
                "cluster_median": float(np.median(sizes)),
                "centroids_hash": hashed,
                "pairs": done.pairs,
                "rounds": done.rounds,
            }
        edges = done.edges(vectors.ids[rows])
        return Selection(edges, edges=edges, notes=notes)

    def _order(self, live: Live, vectors: Vectors, home: np.ndarray, centroids: np.ndarray) -> np.ndarray:
        """The rows of the vector file from best to worst."""
        drawn = f"{coin_sql('uid', self.seed, self.name)}, uid"
        order = {"quality": better_first(self.by), "random": drawn}.get(self.keep, "uid")
        rows = vectors.rows(ranked(live, order, f'"{self.column}" is not null').ids)
        if self.keep in ("quality", "random"):
            return rows
        close = np.empty(len(rows))
        for low in range(0, len(rows), ROWS):
            close[low : low + ROWS] = cosines(vectors.open()[low : low + ROWS], centroids[home[low : low + ROWS, 0]])
        return rows[np.argsort(close[rows] if self.keep == "hard" else -close[rows], kind="stable")]

    def _find(self, live: Live, folder: Path, sizes: np.ndarray, asked: np.ndarray, alive: np.ndarray) -> Iterator[Pairs]:
        np.save(folder / "asked.npy", asked)
        np.save(folder / "alive.npy", alive)
        bound, where = round(1 - self.eps, DECIMALS), place(self.device)
        items = [(str(folder), low, high, bound, self.inclusive, self.block, where) for low, high in tasks(sizes)]
        # A card belongs to this process: the engine's workers have none of it.
        yield from live.map(_compare, items) if where is None else compared(items)


def _members(folder: Path, home: np.ndarray, k: int) -> np.ndarray:
    """Write for each cluster the ranks of the rows that probe it, best first; returns the clusters' sizes."""
    flat = home.ravel()
    order = np.argsort(flat, kind="stable")  # stable: ranks ascend within a cluster
    sizes = np.bincount(flat, minlength=k)
    np.save(folder / "members.npy", (order // home.shape[1]).astype(np.int64))
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(sizes)]))
    return sizes


def tasks(sizes: np.ndarray, count: int = 256) -> list[tuple[int, int]]:
    """Ranges of clusters of about the same cost."""
    cost = np.cumsum(sizes.astype(float) ** 2 + 1)
    cuts = np.searchsorted(cost, np.linspace(0, cost[-1], count + 1)[1:-1])
    edges = np.unique(np.concatenate([[0], cuts, [len(sizes)]]))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist()))


def compared(items: list[tuple]) -> Iterator[Pairs]:
    """The pairs of all tasks, found in this process; threads read ahead of the card."""
    with ThreadPoolExecutor(_READERS) as readers:
        yield from readers.map(_compare, items)


def _compare(item: tuple[str, int, int, float, bool, int, str | None]) -> Pairs:
    """The pairs of a range of clusters."""
    folder, low, high, bound, inclusive, block, where = item
    names = ("vectors", "rows", "members", "offsets")
    vectors, rows, members, offsets = (np.load(Path(folder) / f"{n}.npy", mmap_mode="r") for n in names)
    asked, alive = (np.load(Path(folder) / f"{n}.npy") for n in ("asked", "alive"))
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for cluster in range(low, high):
        ranks = members[offsets[cluster] : offsets[cluster + 1]]
        ranks = ranks[alive[ranks]]
        found += _triangle(vectors, rows, ranks, asked, bound, inclusive, block, where)
    return tuple(np.concatenate(c) for c in zip(*found))


def _triangle(
    vectors: np.ndarray,
    rows: np.ndarray,
    ranks: np.ndarray,
    asked: np.ndarray,
    bound: float,
    inclusive: bool,
    block: int,
    where: str | None,
) -> Iterator[Pairs]:
    """All rows of one cluster against the better ones, in blocks; of each row's sure neighbours the best _LIMIT + 1."""
    for top in range(0, len(ranks), block):
        worse = ranks[top : top + block]
        if not asked[worse].any():
            continue
        left = lengthened(vectors[rows[worse]], where)
        seen = np.where(asked[worse], 0, _LIMIT + 1)
        for side in range(0, top + len(worse), block):
            better = ranks[side : side + block]
            right = left if side == top else lengthened(vectors[rows[better]], where)
            i, j, cosine = pairs(left, right, bound - MARGIN)
            i, j = _few(i, j, cosine >= bound + MARGIN, seen, asked[worse])
            exact = _exact(vectors, rows[worse[i]], rows[better[j]])
            good = exact >= bound if inclusive else exact > bound
            yield worse[i[good]], better[j[good]], exact[good].astype(np.float32)


def _few(i: np.ndarray, j: np.ndarray, sure: np.ndarray, seen: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out sure neighbours beyond what is listed for a row (`seen` counts them), and rows not asked about."""
    nth = np.cumsum(sure) - 1
    starts = np.searchsorted(i, np.arange(len(seen)))
    before = np.concatenate([[0], np.cumsum(sure)])[starts]
    keep = asked[i] & (~sure | (seen[i] + nth - before[i] <= _LIMIT))
    seen += np.bincount(i[sure], minlength=len(seen))
    return i[keep], j[keep]


def _exact(vectors: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    parts = [cosines(vectors[one[n : n + 8192]], vectors[other[n : n + 8192]]) for n in range(0, len(one), 8192)]
    return np.concatenate([np.empty(0), *parts])
