"""Pictures that are the same but for size, compression, brightness, mirroring or a crop, found by perceptual hashes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.dedup.chunks import save_rows, scratch
from curate.dedup.graph import Pairs, first_of, resolve, spread
from curate.dedup.hamming import within
from curate.dedup.likeness import Same, likeness
from curate.dedup.phash import CROPS, THUMB, VIEWS, stacked
from curate.dedup.quality import Ranks, better_first, columns, ranked
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector

_BATCH = 4_096  # rows read at a time
_LOOKED_AT = 1 << 22  # pairs that are near by their hashes, before a task looks at their thumbnails
_FEW = 8_192  # rows a task at least
_SAMPLE = 32  # rows that are compared to see whether there are crowds
_TURNS = (0, 4, 16, 64, 1 << 62)  # of the rows that a row may fall for, best first, so many are looked at before the next ones


@dataclass
class NearDedup(Selector):
    """Of pictures that look the same one stays: the best by the `by` columns, then by uid. Needs PerceptualHash before it.

    Two pictures look the same if their 64-bit hashes differ in at most `max_distance` bits, their thumbnails correlate (at
    least `min_similarity`, 1 being the same up to brightness and contrast), and no place of them differs by much
    (`tolerance` times the bounds of likeness.Same). One may also match the other made brighter, whites clipped, then with
    `min_view_similarity`. With `mirror` either may be mirrored (a b is then a d); with `crops` the whole of one may also match
    a crop of the other (10 or 25 % off), with the same bound: 37 hashes a row are looked up instead of three. All pairs within
    `max_distance` are found (hamming.within). The hash alone takes one icon or starry sky for another, correlation one flag
    for another with a star in it. Similarity in the edges is the correlation.
    """

    reads = ("phash", "phash_mirror", "phash_views", "thumbnail")
    version = 2

    max_distance: int = 7
    min_similarity: float = 0.95
    min_view_similarity: float = 0.93
    tolerance: float = 1.0
    mirror: bool = True
    crops: bool = True
    by: tuple[str, ...] = ("original_width", "original_height")
    chunk: int = 65_536  # rows a task at most; moves nothing but speed

    free = ("chunk",)

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.max_distance < 16:
            raise RecipeError(f"{self.name}: max_distance must be from 0 to 15 bits of 64")
        if self.tolerance <= 0:
            raise RecipeError(f"{self.name}: tolerance must be above 0; 1 is what the bounds were made for")
        self.by = tuple(self.by)
        self.reads = (*type(self).reads, *columns(self.by))

    def select(self, live: Live) -> Selection:
        ranks = ranked(live, better_first(self.by), "phash is not null")
        with scratch(live) as folder:
            first = _write(live, ranks, folder)
            distinct = int((first == np.arange(len(first))).sum())
            judged = resolve(distinct, lambda asked, alive: self._find(live, folder, asked, alive), sample=_SAMPLE)
            done = spread(judged, first)
        edges = done.edges(ranks.ids)
        return Selection(
            edges,
            edges=edges,
            notes={"hashed": len(first), "distinct": distinct, "pairs": done.pairs, "rounds": done.rounds},
        )

    def _find(self, live: Live, folder: Path, asked: np.ndarray, alive: np.ndarray) -> Iterator[Pairs]:
        views = len(VIEWS) if self.crops else len(VIEWS) - len(CROPS)
        same = Same(self.max_distance, self.min_similarity, self.min_view_similarity, self.tolerance)
        settled = not (asked & alive).any()
        best = np.full(len(asked), len(asked))
        for name, rows in ("asked", asked), ("alive", alive), ("either", asked | alive):
            np.save(folder / f"{name}.npy", np.flatnonzero(rows))
        for sought, among in (("asked", "alive"), ("alive", "asked")) if settled else (("either", "either"),):
            np.save(folder / "best.npy", best)
            count, others = (len(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in (sought, among))
            step = min(self.chunk, max(_FEW, 8 * others // views))  # every task sorts all the others
            tasks = [
                _Task(str(folder), sought, among, start, start + step, views, self.mirror, same, settled)
                for start in range(0, count, step)
            ]
            for found in live.map(_pairs, tasks):
                if settled:
                    np.minimum.at(best, found[0], found[1])
                yield found


def _write(live: Live, ranks: Ranks, folder: Path) -> np.ndarray:
    """Hashes and thumbnails of the distinct rows as files, in order of rank; returns `first_of` for all rows."""
    total = len(ranks.ids)
    hashes = np.lib.format.open_memmap(folder / "all_hashes.npy", "w+", np.uint64, (total, len(VIEWS) + 1))
    thumbs = np.lib.format.open_memmap(folder / "all_thumbs.npy", "w+", np.uint8, (total, THUMB * THUMB * 3))
    keys = np.empty(total, np.uint64)
    query = """select id, phash, phash_mirror, phash_views, thumbnail, hash(phash_views, thumbnail) as key
        from live where phash is not null"""
    for batch in live.sql(query).to_arrow_reader(_BATCH):
        at = ranks.of(batch["id"].to_numpy())
        hashes[at] = stacked(pa.Table.from_batches([batch]))
        thumbs[at] = np.frombuffer(b"".join(batch["thumbnail"].to_pylist()), np.uint8).reshape(len(at), -1)
        keys[at] = batch["key"].to_numpy()
    first = first_of(keys, thumbs, np.arange(total))
    distinct = np.flatnonzero(first == np.arange(total))
    save_rows(folder / "hashes.npy", hashes, distinct)
    save_rows(folder / "thumbs.npy", thumbs, distinct)
    return first


@dataclass(frozen=True)
class _Task:
    """Rows whose views are looked up among wholes: places in two of the lists of ranks in `folder`.

    settled     the alive all stay: the pair with the best of them is enough
    """

    folder: str
    sought: str
    among: str
    start: int
    stop: int
    views: int
    mirror: bool
    same: Same
    settled: bool

    def load(self, name: str) -> np.ndarray:
        return np.load(Path(self.folder) / f"{name}.npy", mmap_mode="r")


def _pairs(task: _Task) -> Pairs:
    """Pairs of rows that are the same; how alike they are is said of the first view that matches."""
    thumbs, best, found, waiting, size = task.load("thumbs"), task.load("best").copy(), _Found(), [], 0
    for hits in _hits(task):
        waiting.append(hits)
        size += hits.shape[1]
        if size > _LOOKED_AT:
            found, waiting, size = _look(thumbs, waiting, task, found, best), [], 0
    found = _look(thumbs, waiting, task, found, best)
    one, other = np.divmod(found.pair, len(thumbs))
    return np.maximum(one, other), np.minimum(one, other), found.alike


@dataclass(frozen=True)
class _Found:
    """Pairs that are the same: one * rows + other, sorted; the first view in which, and how alike in that."""

    pair: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    view: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    alike: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def before(self, view: int) -> np.ndarray:
        return self.pair[self.view < view]

    def also(self, pair: np.ndarray, view: int, alike: np.ndarray) -> "_Found":
        pair, alike = np.concatenate([self.pair, pair]), np.concatenate([self.alike, alike.astype(np.float32)])
        views = np.concatenate([self.view, np.full(len(pair) - len(self.view), view)])
        order = np.lexsort((-alike, views, pair))
        order = order[np.diff(pair[order], prepend=-1) != 0]
        return _Found(pair[order], views[order], alike[order])


def _hits(task: _Task) -> Iterator[np.ndarray]:
    """(4, hits): view, row, other row and whether that is mirrored, for every view of the rows that is near the whole of another."""
    hashes, (rows, others) = task.load("hashes"), (np.array(task.load(name)) for name in (task.sought, task.among))
    asked, alive = np.zeros((2, len(hashes)), bool)
    asked[task.load("asked")] = alive[task.load("alive")] = True
    rows = rows[task.start : task.stop]
    wholes = hashes[others][:, [0, -1] if task.mirror else [0]].T.ravel()
    for at, hits in within(hashes[rows, : task.views].ravel(), wholes, task.same.distance):
        one, view, other, mirrored = rows[at // task.views], at % task.views, others[hits % len(others)], hits >= len(others)
        worse, better = np.maximum(one, other), np.minimum(one, other)
        # Wholes are looked up from both sides: once is enough.
        fit = (one != other) & asked[worse] & alive[better] & ((view > 0) | mirrored | (one > other))
        yield np.stack([view, one, other, mirrored])[:, fit]


def _look(thumbs: np.ndarray, hits: list[np.ndarray], task: _Task, found: _Found, best: np.ndarray) -> _Found:
    """The pairs found, and those of the hits whose thumbnails show the same. `best`, in place: the best row of those that match
    each row; where one is enough, worse ones are not looked at."""
    hits = np.concatenate([np.empty((4, 0), np.int64), *hits], axis=1)
    if not task.settled:
        return _seen(thumbs, hits, task.same, found)
    worse, better = hits[1:3].max(axis=0), hits[1:3].min(axis=0)
    order = np.lexsort((hits[0], better, worse))
    starts = np.flatnonzero(np.diff(worse[order], prepend=-1))
    nth = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    for low, high in pairwise(_TURNS):
        turn = order[(low <= nth) & (nth < high)]
        turn = turn[better[turn] <= best[worse[turn]]]
        found = _seen(thumbs, hits[:, turn], task.same, found)
        one, other = np.divmod(found.pair, len(thumbs))
        np.minimum.at(best, np.maximum(one, other), np.minimum(one, other))
    return found


def _seen(thumbs: np.ndarray, hits: np.ndarray, same: Same, found: _Found) -> _Found:
    """View after view, as a pair that matched in one needs no later one."""
    hits = hits[:, np.lexsort(hits[::-1])]
    for view in np.unique(hits[0]).tolist():
        _, one, other, mirrored = hits[:, slice(*np.searchsorted(hits[0], (view, view + 1)))]
        new = ~np.isin(one * len(thumbs) + other, found.before(view))
        one, other, mirrored = one[new], other[new], mirrored[new].astype(bool)
        alike = likeness(thumbs, thumbs, one, other, view, mirrored, same)
        good = alike > 0
        found = found.also(one[good] * len(thumbs) + other[good], view, alike[good])
    return found
