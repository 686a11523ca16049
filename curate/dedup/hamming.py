"""All pairs of 64-bit hashes within a Hamming distance, without comparing all with all."""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np

_STEP = 1 << 15  # hashes looked up at a time
_COMPARED = 1 << 21  # comparisons, or pairs returned, at a time
_ROUNDS = 20_000  # at most
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd: a product with it has something of every bit in its top bits


def within(queries: np.ndarray, base: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of index pairs (into `queries`, into `base`) whose hashes differ in at most `distance` bits.

    Each pair comes once; the order of batches depends on the hashes alone. Both arrays are uint64; distance is below 64.

    With the bits cut into n blocks, two such hashes agree in at least n - distance blocks. So for each choice of that many blocks the
    hashes are put into buckets by the bits of these, and compared within a bucket (Manku et al. 2007, Detecting near-duplicates for
    web crawling). More blocks mean more rounds with smaller buckets: the more hashes, the more blocks. A pair is returned in the
    round of the first blocks that it agrees in.
    """
    (queries, one), (base, other) = (
        (h, _Occurrences(at)) for h, at in (np.unique(x, return_inverse=True) for x in (queries, base))
    )
    for u, v in _distinct(queries, base, distance):
        for which, i in one.each(u):
            for again, j in other.each(v[which]):
                yield i[again], j


class _Occurrences:
    """The indices of each distinct hash: `places` sorted by hash, `count` of them from `first` on."""

    def __init__(self, at: np.ndarray):
        self.places, self.count = np.argsort(at, kind="stable"), np.bincount(at)
        self.first = np.cumsum(self.count) - self.count

    def each(self, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of (position in `hashes`, index of an occurrence), for all occurrences."""
        for batch in _batches(self.count[hashes]):
            first, count = self.first[hashes[batch]], self.count[hashes[batch]]
            nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            yield np.repeat(batch, count), self.places[np.repeat(first, count) + nth]


def _batches(sizes: np.ndarray) -> list[np.ndarray]:
    """Runs of consecutive positions whose sizes add up to a batch, at least one position each."""
    batch = np.cumsum(sizes) // _COMPARED
    return np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(batch)) + 1)


def _distinct(queries: np.ndarray, base: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`within` for hashes that are all different."""
    count = _blocks(len(queries), len(base), distance)
    blocks = [np.bitwise_or.reduce(np.uint64(1) << np.arange(n, 64, count, dtype=np.uint64)) for n in range(count)]
    for chosen in combinations(range(count), count - distance):
        mask = np.bitwise_or.reduce([blocks[n] for n in chosen])
        passed = [blocks[n] for n in range(chosen[-1]) if n not in chosen]
        for one, other, differ in _round(queries, base, mask, distance):
            new = (differ & mask) == 0
            for block in passed:
                new &= (differ & block) != 0
            yield one[new], other[new]


def _blocks(queries: int, base: int, distance: int) -> int:
    """The number of blocks that takes least work: a hash costs as much in a round as a comparison."""

    def work(agree: int) -> float:
        bits = 64 * agree / (distance + agree)
        return comb(distance + agree, agree) * (queries + base + queries * base / 2**bits)

    return distance + min((n for n in range(1, 65 - distance) if n == 1 or comb(distance + n, n) <= _ROUNDS), key=work)


def _round(queries: np.ndarray, base: np.ndarray, mask: np.uint64, distance: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Pairs within the distance that share a bucket, and the bits in which they differ."""
    bits = max(len(base), 2).bit_length() + 1
    bucket = _buckets(base, mask, bits)
    # Sorting numbers that end in their index is many times as fast as argsort.
    order = np.sort(bucket << 32 | np.arange(len(base))).astype(np.uint32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=1 << bits))]).astype(np.int32)
    base = base[order]
    for low in range(0, len(queries), _STEP):
        part = queries[low : low + _STEP]
        at = _buckets(part, mask, bits)
        first = starts[at]
        count = starts[at + 1] - first
        some = np.flatnonzero(count)
        first, count, part = first[some], count[some], part[some]
        for batch in _batches(count):
            ends = np.cumsum(count[batch])
            other = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first[batch] - ends + count[batch], count[batch])
            differ = np.repeat(part[batch], count[batch]) ^ base[other]
            near = np.flatnonzero(np.bitwise_count(differ) <= distance)
            if len(near):
                one = some[batch[np.searchsorted(ends, near, side="right")]]
                yield low + one, order[other[near]].astype(np.int64), differ[near]


def _buckets(hashes: np.ndarray, mask: np.uint64, bits: int) -> np.ndarray:
    return ((hashes & mask) * _MIXER >> np.uint64(64 - bits)).view(np.int64)
