"""Pictures that are the same but for size, compression, brightness, mirroring or a crop, found by perceptual hashes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.dedup.chunks import scratch
from curate.dedup.graph import Pairs, first_of, resolve, spread
from curate.dedup.hamming import within
from curate.dedup.likeness import Same, likeness
from curate.dedup.phash import CROPS, THUMB, VIEWS, stacked
from curate.dedup.quality import Ranks, better_first, columns, ranked
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector

_BATCH = 4_096  # rows read at a time
_LOOKED_AT = 1 << 22  # pairs that are near by their hashes, before a task looks at their thumbnails


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

    max_distance: int = 7
    min_similarity: float = 0.95
    min_view_similarity: float = 0.93
    tolerance: float = 1.0
    mirror: bool = True
    crops: bool = True
    by: tuple[str, ...] = ("original_width", "original_height")
    chunk: int = 65_536  # rows a task; moves nothing but speed

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
            done = spread(resolve(distinct, lambda asked, alive: self._find(live, folder, asked, alive)), first)
        edges = done.edges(ranks.ids)
        return Selection(
            edges,
            edges=edges,
            notes={"hashed": len(first), "distinct": distinct, "pairs": done.pairs, "rounds": done.rounds},
        )

    def _find(self, live: Live, folder: Path, asked: np.ndarray, alive: np.ndarray) -> Iterator[Pairs]:
        np.save(folder / "asked.npy", asked)
        np.save(folder / "alive.npy", alive)
        kinds = (self.mirror, len(VIEWS) if self.crops else len(VIEWS) - len(CROPS))
        bounds = Same(self.max_distance, self.min_similarity, self.min_view_similarity, self.tolerance)
        yield from live.map(
            _pairs,
            [
                (str(folder), start, min(start + self.chunk, len(asked)), kinds, bounds)
                for start in range(0, len(asked), self.chunk)
            ],
        )


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
    distinct = first == np.arange(total)
    np.save(folder / "hashes.npy", hashes[distinct])
    np.save(folder / "thumbs.npy", thumbs[distinct])
    return first


def _pairs(item: tuple[str, int, int, tuple, Same]) -> Pairs:
    """Pairs of which one row, or a view of it, is in a range of ranks; how alike they are is said of the first view that matches."""
    folder, start, stop, (mirror, views), same = item
    hashes, thumbs, asked, alive = (
        np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in ("hashes", "thumbs", "asked", "alive")
    )
    rows = start + np.flatnonzero(alive[start:stop])
    found, waiting, size = Found(), [], 0
    for hits in _hits(hashes, rows, views, mirror, same.distance, asked, alive):
        waiting.append(hits)
        size += hits.shape[1]
        if size > _LOOKED_AT:
            found, waiting, size = _look(thumbs, waiting, same, found), [], 0
    found = _look(thumbs, waiting, same, found)
    one, other = np.divmod(found.pair, len(hashes))
    return np.maximum(one, other), np.minimum(one, other), found.alike


@dataclass(frozen=True)
class Found:
    """Pairs that are the same: one * rows + other, sorted; the first view in which, and how alike in that."""

    pair: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    view: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    alike: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def before(self, view: int) -> np.ndarray:
        return self.pair[self.view < view]

    def also(self, pair: np.ndarray, view: int, alike: np.ndarray) -> "Found":
        pair, alike = np.concatenate([self.pair, pair]), np.concatenate([self.alike, alike.astype(np.float32)])
        views = np.concatenate([self.view, np.full(len(pair) - len(self.view), view)])
        order = np.lexsort((-alike, views, pair))
        order = order[np.diff(pair[order], prepend=-1) != 0]
        return Found(pair[order], views[order], alike[order])


def _hits(
    hashes: np.ndarray, rows: np.ndarray, views: int, mirror: bool, distance: int, asked: np.ndarray, alive: np.ndarray
) -> Iterator[np.ndarray]:
    """(4, hits): view, row, other row and whether that is mirrored, for every view of the rows that is near the whole of another."""
    wholes = np.concatenate([hashes[:, 0], hashes[:, -1]] if mirror else [hashes[:, 0]])
    for at, hits in within(hashes[rows, :views].ravel(), wholes, distance):
        one, view, other, mirrored = rows[at // views], at % views, hits % len(hashes), hits >= len(hashes)
        worse, better = np.maximum(one, other), np.minimum(one, other)
        # Wholes are looked up from both sides: once is enough.
        fit = (one != other) & asked[worse] & alive[better] & ((view > 0) | mirrored | (one > other))
        yield np.stack([view, one, other, mirrored])[:, fit]


def _look(thumbs: np.ndarray, hits: list[np.ndarray], same: Same, found: Found) -> Found:
    """The pairs found, and those of the hits whose thumbnails show the same: view after view, as one that matched needs no later one."""
    hits = np.concatenate([np.empty((4, 0), np.int64), *hits], axis=1)
    hits = hits[:, np.lexsort(hits[::-1])]
    for view in np.unique(hits[0]).tolist():
        _, one, other, mirrored = hits[:, slice(*np.searchsorted(hits[0], (view, view + 1)))]
        new = ~np.isin(one * len(thumbs) + other, found.before(view))
        one, other, mirrored = one[new], other[new], mirrored[new].astype(bool)
        alike = likeness(thumbs, thumbs, one, other, view, mirrored, same)
        good = alike > 0
        found = found.also(one[good] * len(thumbs) + other[good], view, alike[good])
    return found
