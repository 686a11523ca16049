"""Pictures that are the same but for size, compression, brightness, mirroring or a crop, found by perceptual hashes."""

import hashlib
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from curate.dedup.bands import Bands, arrays
from curate.dedup.greedy import duplicates, pairs_table
from curate.dedup.matching import PictureMatcher
from curate.dedup.phash import CROPS, VIEWS, stacked
from curate.dedup.quality import columns, sort_key
from curate.dedup.similarity import Bounds
from curate.errors import RecipeError
from curate.select.database import query
from curate.select.exchange import Frame
from curate.selector import PUBLISHED, Selection, Selector

#: Rows up to which all pairs are found, in one task; beyond, most of them by bands (bands.py).
EXACT = 65_536


@dataclass
class NearDedup(Selector):
    """Of pictures that look the same one stays: the best by the `by` columns, then by uid. Needs PerceptualHash before it.

    Two pictures look the same if their 64-bit hashes differ in at most `max_distance` bits, their thumbnails correlate (at
    least `min_similarity`, 1 being the same up to brightness and contrast), no place of them differs by much (`tolerance` times the
    bounds of similarity.Bounds), and what is finer than a thumbnail shows correlates in every place where both have some (at least
    `min_fine`; other words in the same lines do not, but for one pair in hundreds; -2: not looked at). One may also match the other made brighter, whites clipped, then with
    `min_view_similarity`. With `mirror` either may be mirrored (a b is then a d); with `crops` the whole of one may also match
    a crop of the other (10 or 25 % off), with the same bound: 37 hashes a row are looked up instead of three. In a pool of up to 65,536 rows
    with different pictures all pairs within `max_distance` are found (hamming.within); in a larger one those that bands of bits propose,
    and the notes estimate their share (bands.Bands.recall). The hash alone takes one icon or starry sky for another, correlation one flag
    for another with a star in it. Similarity in the edges is the correlation.

    max_distance: differing bits of 64, 0 to 15. min_similarity, min_view_similarity: correlation of thumbnails, -1 to 1. tolerance: factor of the bounds
    on local differences. min_fine: correlation of the fine structure, -1 to 1.
    mirror, crops: whether mirror images and crops count.

    The bounds are ours, measured by benchmarks/near.py; perceptual hashes of 64 bits are pHash's (https://www.phash.org).
    """

    reads = ("phash", "phash_mirror", "phash_views", "thumbnail")
    version = 4
    sees_published = True

    max_distance: int = 7
    min_similarity: float = 0.95
    min_view_similarity: float = 0.93
    tolerance: float = 1.0
    min_fine: float = 0.5
    mirror: bool = True
    crops: bool = True
    by: tuple[str, ...] = ("original_width", "original_height")

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.max_distance < 16:
            raise RecipeError(f"{self.name}: max_distance must be from 0 to 15 bits of 64")
        if self.tolerance <= 0:
            raise RecipeError(f"{self.name}: tolerance must be above 0; 1 is what the bounds were made for")
        self.by = tuple(self.by)
        self.reads = (*type(self).reads, *columns(self.by))

    def select(self, live: Frame) -> Selection:
        rows = live.each(_Hashed(f"{sort_key(self.by)} as rank"))
        views = len(VIEWS) if self.crops else len(VIEWS) - len(CROPS)
        bounds = Bounds(self.max_distance, self.min_similarity, self.min_view_similarity, self.tolerance, self.min_fine)
        matcher = PictureMatcher(views, self.mirror, bounds)
        bands = Bands(live, matcher) if rows.rows > EXACT else None
        found = duplicates(live, rows, bands or partial(_all, matcher))
        notes = {"hashed": rows.rows, **found.notes(), **({"recall": bands.recall()} if bands else {})}
        return Selection(found.edges, edges=found.edges, notes=notes)


@dataclass(frozen=True)
class _Hashed:
    """The rows that have hashes: `hashes` (8 bytes for each view and the mirror image), `thumb`, `rank`, and `same`, equal for identical pictures."""

    rank: str

    def __call__(self, live: pa.Table) -> pa.Table:
        live = live.filter(live["phash"].is_valid())
        ranks = query(
            f"select id, uid, {self.rank} from live order by id", {"live": live.drop_columns(["thumbnail", "phash_views"])}
        )
        live = live.take(pa.array(np.argsort(live["id"].to_numpy(), kind="stable")))
        hashed = stacked(live) if len(live) else np.empty((0, len(VIEWS) + 1), np.uint64)
        thumbs = live["thumbnail"].to_pylist()
        same = [hashlib.md5(h.tobytes() + t, usedforsecurity=False).digest() for h, t in zip(hashed, thumbs)]
        columns = [
            pa.array([h.tobytes() for h in hashed], pa.large_binary()),
            pa.array(thumbs, pa.large_binary()),
            pa.array(same, pa.binary()),
        ]
        for name, values in zip(("hashes", "thumb", "same"), columns):
            ranks = ranks.append_column(name, values)
        return ranks


def _all(matcher: PictureMatcher, rows: Frame) -> Frame:
    """For each duplicate its best kept match, found in one task."""
    return rows.gathered(_Find(matcher))


@dataclass(frozen=True)
class _Find:
    matcher: PictureMatcher

    def __call__(self, rows: pa.Table) -> pa.Table:
        rows = rows.sort_by("rank")
        settled = int((rows["id"].to_numpy() >= PUBLISHED).sum())
        hashes, thumbs = arrays(rows["hashes"], np.uint64), arrays(rows["thumb"], np.uint8)
        return pairs_table(rows, *self.matcher.survivors(hashes, thumbs, settled))
