"""The pairs of pictures that look the same, among those whose hashes are within a few bits."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from curate.dedup.hamming import within
from curate.dedup.likeness import Same, likeness

_BLOCK = 64  # rows of the first block
_LOOKED_AT = 1 << 22  # pairs that are near by their hashes, before their thumbnails are compared


@dataclass(frozen=True)
class Look:
    """What of pictures is compared: so many of their views (phash.VIEWS), also mirrored, within these bounds."""

    views: int
    mirror: bool
    same: Same

    def survivors(
        self, hashes: np.ndarray, thumbs: np.ndarray, settled: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of rows sorted by rank, best first: those that fall, the best row that stays and looks the same, how alike, and the first view
        in which they match. hashes: (rows, views and mirror image), uint64; thumbs: (rows, pixels), uint8. The first `settled`
        rows stay, whatever they look like.

        Ever larger blocks of rows are compared with those of the blocks before that stay, and only what is left among itself: in a crowd
        of look-alikes a few looks a row, not all pairs.
        """
        stays, fell, start, size = np.arange(settled), [], settled, _BLOCK
        while start < len(hashes):
            rest = np.arange(start, min(start + size, len(hashes)))
            for others in (stays, None):
                found = self.pairs(hashes, thumbs, rest, others)
                fell.append(found := _first_that_stays(found))
                rest = np.setdiff1d(rest, found[0])
            stays, start, size = np.concatenate([stays, rest]), start + size, 2 * size
        return tuple(np.concatenate(part) for part in zip(*fell)) if fell else _none()

    def pairs(
        self, hashes: np.ndarray, thumbs: np.ndarray, rows: np.ndarray, others: np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        """Pairs of these rows with others, or (None) among themselves: worse row, better row, how alike, first view."""
        found, waiting, size = Found(), [], 0
        sides = [(rows, rows)] if others is None else [(rows, others), (others, rows)]
        for hits in (h for side in sides for h in self._hits(hashes, *side)):
            waiting.append(hits)
            size += hits.shape[1]
            if size > _LOOKED_AT:
                found, waiting, size = self._seen(thumbs, waiting, found), [], 0
        found = self._seen(thumbs, waiting, found)
        one, other = np.divmod(found.pair, max(len(thumbs), 1))
        worse, better = np.maximum(one, other), np.minimum(one, other)
        # A pair that was seen from both sides counts once: by its first view.
        order = np.lexsort((-found.alike, found.view, better, worse))
        worse, better, alike, view = worse[order], better[order], found.alike[order], found.view[order]
        new = np.append(True, (np.diff(worse) != 0) | (np.diff(better) != 0))[: len(worse)]
        return worse[new], better[new], alike[new], view[new]

    def _hits(self, hashes: np.ndarray, rows: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
        """(4, hits): view, row, other row and whether that is mirrored, for every view of a row that is near the whole of another."""
        if not len(rows) or not len(others):
            return
        wholes = hashes[others][:, [0, -1] if self.mirror else [0]].T.ravel()
        for at, hits in within(hashes[rows, : self.views].ravel(), wholes, self.same.distance):
            one, view, other = rows[at // self.views], at % self.views, others[hits % len(others)]
            mirrored = hits >= len(others)
            # Wholes among themselves are looked up from both sides: once is enough.
            fit = (one != other) & ((view > 0) | mirrored | (one > other) | (rows is not others))
            yield np.stack([view, one, other, mirrored])[:, fit]

    def _seen(self, thumbs: np.ndarray, hits: list[np.ndarray], found: "Found") -> "Found":
        """View after view, as a pair that matched in one needs no later one."""
        joined = np.concatenate([np.empty((4, 0), np.int64), *hits], axis=1)
        joined = joined[:, np.lexsort(joined[::-1])]
        for view in np.unique(joined[0]).tolist():
            _, one, other, mirrored = joined[:, slice(*np.searchsorted(joined[0], (view, view + 1)))]
            new = ~np.isin(one * len(thumbs) + other, found.before(view))
            one, other, mirrored = one[new], other[new], mirrored[new].astype(bool)
            alike = likeness(thumbs, thumbs, one, other, view, mirrored, self.same)
            good = alike > 0
            found = found.also(one[good] * len(thumbs) + other[good], view, alike[good])
        return found


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


def _first_that_stays(pairs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Of pairs sorted by worse and better row, for each row that falls the one with the best row that does not."""
    fallen, chosen = set(), []
    for n, (worse, better) in enumerate(zip(pairs[0].tolist(), pairs[1].tolist())):
        # `better` is judged: all of its own pairs came before.
        if worse not in fallen and better not in fallen:
            fallen.add(worse)
            chosen.append(n)
    at = np.array(chosen, np.int64)
    return tuple(part[at] for part in pairs)


def _none() -> tuple[np.ndarray, ...]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64)
