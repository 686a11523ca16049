import numpy as np
import pytest

from curate.dedup.hamming import within


def hashes(rng, count):
    """Half of them a few bits off another one; some with few bits set, as flat pictures have."""
    out = rng.integers(0, 2**64, count, dtype=np.uint64)
    half = count // 2
    out[half:] = out[rng.integers(0, half, count - half)]
    for _ in range(9):
        out[half:] ^= np.uint64(1) << rng.integers(0, 64, count - half).astype(np.uint64)
    out[:: count // 20] &= np.uint64(0xFF)
    return out


@pytest.mark.parametrize("distance", [0, 1, 3, 7, 10, 15])
@pytest.mark.parametrize("sizes", [(200, 300), (1, 300), (300, 1)])
def test_all_pairs_within_the_distance_and_each_once(distance, sizes):
    rng = np.random.default_rng(distance)
    sought, among = hashes(rng, 400)[: sizes[0]], hashes(rng, 400)[: sizes[1]]
    among[: min(sizes)] = sought[: min(sizes)] ^ np.uint64(1 << 40)
    found = [(i, j) for one, other in within(sought, among, distance) for i, j in zip(one.tolist(), other.tolist())]
    every = np.argwhere(np.bitwise_count(sought[:, None] ^ among) <= distance)
    assert sorted(found) == [tuple(pair) for pair in every.tolist()]
    assert len(every) or distance == 0


def test_more_blocks_find_the_same(monkeypatch):
    rng = np.random.default_rng(5)
    sought, among = hashes(rng, 500), hashes(rng, 500)
    among[:250] = sought[250:] ^ np.uint64(1)
    outcome = []
    for blocks in (8, 9, 10):
        monkeypatch.setattr("curate.dedup.hamming._blocks", lambda *sizes, blocks=blocks: blocks)
        outcome.append(sorted(p for pair in within(sought, among, 7) for p in zip(*map(np.ndarray.tolist, pair))))
    assert outcome[0] == outcome[1] == outcome[2] and len(outcome[0]) >= 250


def test_many_hashes_in_one_place_are_compared_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr("curate.dedup.hamming._COMPARED", 50)
    sought, among = np.arange(40, dtype=np.uint64), np.arange(100, dtype=np.uint64)
    pieces = list(within(sought, among, 3))
    found = sorted((i, j) for one, other in pieces for i, j in zip(one.tolist(), other.tolist()))
    assert found == [tuple(p) for p in np.argwhere(np.bitwise_count(sought[:, None] ^ among) <= 3).tolist()]
    assert len(pieces) > 40 and max(len(one) for one, _ in pieces) <= 150


def test_a_hash_that_many_hold_is_looked_up_once(monkeypatch):
    """Simple pictures share hashes: work and memory go by the pairs that are told."""
    compared = []
    monkeypatch.setattr("curate.dedup.hamming.np.bitwise_count", lambda x: compared.append(len(x)) or np.zeros(len(x), int))
    one = np.full(300, 7, np.uint64)
    found = list(within(one, one, 7))
    assert sum(compared) < 100 and sum(len(a) for a, _ in found) == 90_000


def test_nothing_to_look_for_or_among():
    none, one = np.empty(0, np.uint64), np.zeros(1, np.uint64)
    assert not [pair for sides in ((none, none), (none, one), (one, none)) for pair in within(*sides, 7)]
