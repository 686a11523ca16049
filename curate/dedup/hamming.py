"""64-bit hashes within a few bits of others, all of them, without comparing all with all."""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np

_STEP = 1 << 15  # hashes looked up at a time
_COMPARED = 1 << 21  # and compared with so many, or told, at a time
_ROUNDS = 20_000  # at most
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd: a product with it has something of every bit in its top bits


def within(sought: np.ndarray, among: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where in `sought` and where in `among` the hashes of a pair stand, for all pairs that differ in at most `distance` bits.

    Each pair comes once; the pieces come in an order that only the hashes decide. Both are uint64; distance is below 64.

    Of n blocks of bits two such hashes agree in n - distance at least. So for each choice of that many blocks the hashes are
    sorted into places by what these hold, and compared within a place (Manku et al. 2007, Detecting near-duplicates for web
    crawling). More blocks are more rounds with fewer hashes in a place: the more hashes, the more blocks. A pair is given in
    the round of the first blocks that it agrees in.
    """
    (sought, one), (among, other) = (
        (h, _Holders(at)) for h, at in (np.unique(x, return_inverse=True) for x in (sought, among))
    )
    for u, v in _distinct(sought, among, distance):
        for which, i in one.each(u):
            for again, j in other.each(v[which]):
                yield i[again], j


class _Holders:
    """Who holds each of the distinct hashes: places sorted by hash, `count` from `first` on."""

    def __init__(self, at: np.ndarray):
        self.places, self.count = np.argsort(at, kind="stable"), np.bincount(at)
        self.first = np.cumsum(self.count) - self.count

    def each(self, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Which of these hashes, and a holder of it: for all holders, in pieces."""
        for turn in _turns(self.count[hashes]):
            first, count = self.first[hashes[turn]], self.count[hashes[turn]]
            nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            yield np.repeat(turn, count), self.places[np.repeat(first, count) + nth]


def _turns(sizes: np.ndarray) -> list[np.ndarray]:
    """Places of neighbours that are not too much for the memory together, or of one."""
    turns = np.cumsum(sizes) // _COMPARED
    return np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(turns)) + 1)


def _distinct(sought: np.ndarray, among: np.ndarray, distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`within` for hashes that are all different."""
    count = _blocks(len(sought), len(among), distance)
    blocks = [np.bitwise_or.reduce(np.uint64(1) << np.arange(n, 64, count, dtype=np.uint64)) for n in range(count)]
    for chosen in combinations(range(count), count - distance):
        mask = np.bitwise_or.reduce([blocks[n] for n in chosen])
        passed = [blocks[n] for n in range(chosen[-1]) if n not in chosen]
        for one, other, differ in _round(sought, among, mask, distance):
            new = (differ & mask) == 0
            for block in passed:
                new &= (differ & block) != 0
            yield one[new], other[new]


def _blocks(sought: int, among: int, distance: int) -> int:
    """The number of blocks that takes least work: a hash costs as much in a round as a comparison."""

    def work(agree: int) -> float:
        bits = 64 * agree / (distance + agree)
        return comb(distance + agree, agree) * (sought + among + sought * among / 2**bits)

    return distance + min((n for n in range(1, 65 - distance) if n == 1 or comb(distance + n, n) <= _ROUNDS), key=work)


def _round(sought: np.ndarray, among: np.ndarray, mask: np.uint64, distance: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Pairs within the distance that share a place, and the bits in which they differ."""
    bits = max(len(among), 2).bit_length() + 1
    place = _places(among, mask, bits)
    # Sorting numbers that end in their index is many times as fast as argsort.
    order = np.sort(place << 32 | np.arange(len(among))).astype(np.uint32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=1 << bits))]).astype(np.int32)
    among = among[order]
    for low in range(0, len(sought), _STEP):
        part = sought[low : low + _STEP]
        at = _places(part, mask, bits)
        first = starts[at]
        count = starts[at + 1] - first
        some = np.flatnonzero(count)
        first, count, part = first[some], count[some], part[some]
        for turn in _turns(count):
            ends = np.cumsum(count[turn])
            other = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first[turn] - ends + count[turn], count[turn])
            differ = np.repeat(part[turn], count[turn]) ^ among[other]
            near = np.flatnonzero(np.bitwise_count(differ) <= distance)
            if len(near):
                one = some[turn[np.searchsorted(ends, near, side="right")]]
                yield low + one, order[other[near]].astype(np.int64), differ[near]


def _places(hashes: np.ndarray, mask: np.uint64, bits: int) -> np.ndarray:
    return ((hashes & mask) * _MIXER >> np.uint64(64 - bits)).view(np.int64)
