"""Duplicate pictures: candidate pairs by Hamming distance of their hashes, verified on their thumbnails."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from curate.dedup.hamming import within
from curate.dedup.similarity import Bounds, similarity

_BLOCK = 64  # rows of the first block
_BATCH_PAIRS = 1 << 22  # candidate pairs whose thumbnails are compared at a time


@dataclass(frozen=True)
class PictureMatcher:
    """Finds duplicates among pictures by the first `views` of phash.VIEWS and, with `mirror`, their mirror images."""

    views: int
    mirror: bool
    bounds: Bounds

    def survivors(
        self, hashes: np.ndarray, thumbs: np.ndarray, settled: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The duplicates among rows sorted by rank, best first, as four arrays: the row, the best kept row that it matches, their
        correlation, and the first view in which they match. hashes: (rows, views and mirror image), uint64; thumbs: (rows, SIGNATURE),
        uint8. The first `settled` rows are kept in any case.

        Blocks of doubling size are compared with the kept rows of all blocks before, and only what remains within itself: many
        versions of one picture cost a few comparisons a row instead of all pairs.
        """
        kept, dropped, start, size = np.arange(settled), [], settled, _BLOCK
        while start < len(hashes):
            rest = np.arange(start, min(start + size, len(hashes)))
            for others in (kept, None):
                found = self.pairs(hashes, thumbs, rest, others)
                dropped.append(found := _first_kept(found))
                rest = np.setdiff1d(rest, found[0])
            kept, start, size = np.concatenate([kept, rest]), start + size, 2 * size
        if not dropped:
            return _none()
        rows, best, alike, view = (np.concatenate(part) for part in zip(*dropped))
        return rows, best, alike, view

    def pairs(
        self, hashes: np.ndarray, thumbs: np.ndarray, rows: np.ndarray, others: np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        """Matching pairs of `rows` with `others`, or (None) among themselves: worse row, better row, correlation, first view."""
        found, waiting, size = Matches(), [], 0
        sides = [(rows, rows)] if others is None else [(rows, others), (others, rows)]
        for hits in (h for side in sides for h in self._candidates(hashes, *side)):
            waiting.append(hits)
            size += hits.shape[1]
            if size > _BATCH_PAIRS:
                found, waiting, size = self._verified(thumbs, waiting, found), [], 0
        found = self._verified(thumbs, waiting, found)
        one, other = np.divmod(found.pair, max(len(thumbs), 1))
        worse, better = np.maximum(one, other), np.minimum(one, other)
        # A pair that was seen from both sides counts once: by its first view.
        order = np.lexsort((-found.alike, found.view, better, worse))
        worse, better, alike, view = worse[order], better[order], found.alike[order], found.view[order]
        new = np.append(True, (np.diff(worse) != 0) | (np.diff(better) != 0))[: len(worse)]
        return worse[new], better[new], alike[new], view[new]

    def _candidates(self, hashes: np.ndarray, rows: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
        """Candidate pairs as (4, pairs) arrays: view, row, other row, mirrored; a view of the row is near the whole of the other."""
        if not len(rows) or not len(others):
            return
        wholes = hashes[others][:, [0, -1] if self.mirror else [0]].T.ravel()
        for at, hits in within(hashes[rows, : self.views].ravel(), wholes, self.bounds.distance):
            one, view, other = rows[at // self.views], at % self.views, others[hits % len(others)]
            mirrored = hits >= len(others)
            # Wholes among themselves are looked up from both sides: once is enough.
            fit = (one != other) & ((view > 0) | mirrored | (one > other) | (rows is not others))
            yield np.stack([view, one, other, mirrored])[:, fit]

    def _verified(self, thumbs: np.ndarray, hits: list[np.ndarray], found: "Matches") -> "Matches":
        """The candidates that match, added to `found`. View by view: a pair that matched in one is not compared in later ones."""
        joined = np.concatenate([np.empty((4, 0), np.int64), *hits], axis=1)
        joined = joined[:, np.lexsort(joined[::-1])]
        for view in np.unique(joined[0]).tolist():
            _, one, other, mirrored = joined[:, slice(*np.searchsorted(joined[0], (view, view + 1)))]
            new = ~np.isin(one * len(thumbs) + other, found.in_views_before(view))
            one, other, mirrored = one[new], other[new], mirrored[new].astype(bool)
            alike = similarity(thumbs, thumbs, one, other, view, mirrored, self.bounds)
            good = alike > 0
            found = found.merged(one[good] * len(thumbs) + other[good], view, alike[good])
        return found


@dataclass(frozen=True)
class Matches:
    """Matching pairs, sorted: `pair` is row * rows + other, `view` the first in which they match, `alike` the correlation in it."""

    pair: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    view: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    alike: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def in_views_before(self, view: int) -> np.ndarray:
        return self.pair[self.view < view]

    def merged(self, pair: np.ndarray, view: int, alike: np.ndarray) -> "Matches":
        pair, alike = np.concatenate([self.pair, pair]), np.concatenate([self.alike, alike.astype(np.float32)])
        views = np.concatenate([self.view, np.full(len(pair) - len(self.view), view)])
        order = np.lexsort((-alike, views, pair))
        order = order[np.diff(pair[order], prepend=-1) != 0]
        return Matches(pair[order], views[order], alike[order])


def _first_kept(pairs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Of pairs sorted by worse and better row: for each duplicate the pair with its best kept row."""
    dropped, chosen = set(), []
    for n, (worse, better) in enumerate(zip(pairs[0].tolist(), pairs[1].tolist())):
        # `better` is judged: all of its own pairs came before.
        if worse not in dropped and better not in dropped:
            dropped.add(worse)
            chosen.append(n)
    at = np.array(chosen, np.int64)
    return tuple(part[at] for part in pairs)


def _none() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64)
