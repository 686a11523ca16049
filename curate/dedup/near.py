"""Pictures that are the same but for size, compression, brightness, mirroring or a crop, found by perceptual hashes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.dedup.chunks import scratch
from curate.dedup.graph import Pairs, first_of, resolve, spread
from curate.dedup.likeness import Same, likeness
from curate.dedup.phash import CROPS, THUMB, VIEWS, stacked
from curate.dedup.quality import Ranks, better_first, columns, ranked
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector

_BANDS = 4  # of 16 bits: two hashes at distance d agree in some band but for d // 4 bits
_QUERIES = 4_096  # rows looked up at a time


@dataclass
class NearDedup(Selector):
    """Of pictures that look the same one stays: the best by the `by` columns, then by uid. Needs PerceptualHash before it.

    Two pictures look the same if their 64-bit hashes differ in at most `max_distance` bits, their thumbnails correlate (at
    least `min_similarity`, 1 being the same up to brightness and contrast), and no place of them differs by much
    (`tolerance` times the bounds of likeness.Same). One may also match the other made brighter,
    whites clipped, then with `min_view_similarity`. With `mirror` either may be mirrored (a b is then a d); with `crops` the whole of one may also match a
    crop of the other (10 or 25 % off), with the same bound; that looks up 37 hashes a row instead of three, and costs ten times as much on 10^5 rows. All
    pairs within `max_distance` are found (FAISS multi-index hashing is exact). The hash alone takes one icon or starry sky
    for another, correlation one flag for another with a star in it. Similarity in the edges is the correlation.
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
        _index.cache_clear()
        edges = done.edges(ranks.ids)
        return Selection(
            edges["id"].to_numpy(),
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
    """Hashes, thumbnails and index of the distinct rows as files, in order of rank; returns `first_of` for all rows."""
    import faiss

    total = len(ranks.ids)
    hashes = np.lib.format.open_memmap(folder / "all_hashes.npy", "w+", np.uint64, (total, len(VIEWS) + 1))
    thumbs = np.lib.format.open_memmap(folder / "all_thumbs.npy", "w+", np.uint8, (total, THUMB * THUMB * 3))
    keys = np.empty(total, np.uint64)
    query = """select id, phash, phash_mirror, phash_views, thumbnail, hash(phash_views, thumbnail) as key
        from live where phash is not null"""
    for batch in live.sql(query).to_arrow_reader(_QUERIES):
        at = ranks.of(batch["id"].to_numpy())
        hashes[at] = stacked(pa.Table.from_batches([batch]))
        thumbs[at] = np.frombuffer(b"".join(batch["thumbnail"].to_pylist()), np.uint8).reshape(len(at), -1)
        keys[at] = batch["key"].to_numpy()
    first = first_of(keys, thumbs, np.arange(total))
    distinct = first == np.arange(total)
    np.save(folder / "hashes.npy", hashes[distinct])
    np.save(folder / "thumbs.npy", thumbs[distinct])
    index = faiss.IndexBinaryMultiHash(64, _BANDS, 64 // _BANDS)
    for column in (0, -1):
        index.add(_bytes(hashes[distinct, column]))
    faiss.write_index_binary(index, str(folder / "index"))
    return first


def _bytes(hashes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)


@lru_cache(maxsize=1)
def _index(path: str):
    import faiss

    return faiss.read_index_binary(path)


def _pairs(item: tuple[str, int, int, tuple, Same]) -> Pairs:
    """Pairs of which one row is in a range of ranks."""
    folder, start, stop, (mirror, views), same = item
    hashes = np.load(Path(folder) / "hashes.npy", mmap_mode="r")
    asked, alive = (np.load(Path(folder) / f"{n}.npy") for n in ("asked", "alive"))
    thumbs = np.load(Path(folder) / "thumbs.npy", mmap_mode="r")
    index = _index(str(Path(folder) / "index"))
    index.nflip = same.distance // _BANDS
    found, known = [], np.empty(0, np.int64)  # pairs that are the same already need no other view
    for view in range(views):
        for low in range(start, stop, _QUERIES):
            rows = np.arange(low, min(low + _QUERIES, stop))
            rows = rows[alive[rows]]
            limits, _, hits = index.range_search(_bytes(hashes[rows, view]), same.distance + 1)
            one, other = np.repeat(rows, np.diff(limits).astype(np.int64)), hits % len(hashes)
            worse, better = np.maximum(one, other), np.minimum(one, other)
            mirrored = hits >= len(hashes)
            # Wholes are looked up from both sides: once is enough.
            fit = (one > other if view == 0 else one != other) | (mirrored & (one != other))
            fit &= asked[worse] & alive[better] & (mirror | ~mirrored)
            fit[fit] = ~np.isin(worse[fit] * len(hashes) + better[fit], known)
            alike = likeness(thumbs, thumbs, one[fit], other[fit], view, mirrored[fit], same)
            good = alike > 0
            found.append((worse[fit][good], better[fit][good], alike[good].astype(np.float32)))
            known = np.union1d(known, found[-1][0] * len(hashes) + found[-1][1])
    return tuple(np.concatenate(c) for c in zip(*found))
