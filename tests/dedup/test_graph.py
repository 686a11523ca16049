import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.graph import resolve


def oracle(count, pairs):
    """Best first: a row falls if a better row that stays is a neighbour; its survivor is the best such row."""
    fallen, survivor = set(), {}
    for row in range(count):
        stays = [b for w, b in sorted(pairs) if w == row and b not in fallen]
        if stays:
            fallen.add(row)
            survivor[row] = stays[0]
    return survivor


def finder(pairs, blocks=1):
    def find(asked, alive):
        some = [(w, b) for w, b in pairs if asked[w] and alive[b]]
        for n in range(blocks):
            worse, better = np.array(some[n::blocks], np.int64).reshape(-1, 2).T
            yield worse, better, (1 - (worse + better) / 1000).astype(np.float32)

    return find


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 14), st.data(), st.integers(1, 4), st.integers(1, 3), st.sampled_from([None, 1, 2, 3]))
def test_agrees_with_the_rule_however_short_the_lists(count, data, limit, blocks, sample):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda p: p[0] > p[1])))
    done = resolve(count, finder(pairs, blocks), limit, sample)
    expected = oracle(count, pairs)
    assert set(np.flatnonzero(done.dropped)) == set(expected)
    assert not done.dropped[done.survivor[done.dropped]].any()
    for row in expected:
        assert (row, done.survivor[row]) in pairs
        assert done.similarity[row] == pytest.approx(1 - (row + done.survivor[row]) / 1000)
        if limit >= 4 * count:
            assert done.survivor[row] == expected[row]


def test_a_chain_keeps_every_second_row():
    done = resolve(6, finder([(i + 1, i) for i in range(5)]))
    assert list(done.dropped) == [False, True] * 3


def test_a_row_whose_listed_neighbours_all_fell_is_asked_about_again():
    # 1, 2, 3 fall for 0; row 5 knows only 1, 2, 3 and 4 (kept), and its list is cut before 4.
    pairs = [(1, 0), (2, 0), (3, 0), (5, 1), (5, 2), (5, 3), (5, 4)]
    done = resolve(6, finder(pairs), limit=2)
    assert done.rounds == 2 and done.survivor[5] == 4


def test_memory_is_bounded_by_the_limit():
    n = 300
    done = resolve(n, finder([(i, j) for i in range(n) for j in range(i)]), limit=3)
    assert done.dropped.sum() == n - 1 and done.pairs <= 3 * n and set(done.survivor[1:]) == {0}


def crowd(n, listed):
    """Three crowds: every row resembles every third one before it. What is found goes to a list."""

    def find(asked, alive):
        pairs = [(w, b) for w in np.flatnonzero(asked) for b in np.flatnonzero(alive[:w]) if (w - b) % 3 == 0]
        if not (asked & alive).any():  # one is enough
            pairs = list({w: (w, b) for w, b in reversed(pairs)}.values())
        listed.append(len(pairs))
        worse, better = np.array(pairs, np.int64).reshape(-1, 2).T
        yield worse, better, np.ones(len(pairs), np.float32)

    return find


def test_a_crowd_is_asked_about_its_survivors_before_each_other(monkeypatch):
    monkeypatch.setattr("curate.dedup.graph._PAIRS", 200)
    n, listed = 400, []
    done = resolve(n, crowd(n, listed), sample=20)
    assert np.flatnonzero(~done.dropped).tolist() == [0, 1, 2] and (done.survivor[3:] == np.arange(3, n) % 3).all()
    assert sum(listed) < 4 * n < sum(range(n)) // 3  # not all pairs


def test_a_crowd_among_the_worst_rows_is_seen(monkeypatch):
    monkeypatch.setattr("curate.dedup.graph._PAIRS", 200)
    n, m, listed = 300, 900, []

    def find(asked, alive):
        for worse, better, alike in crowd(n, listed)(asked[m:], alive[m:]):
            yield worse + m, better + m, alike

    done = resolve(n + m, find, sample=32)
    assert np.flatnonzero(~done.dropped).tolist() == list(range(m + 3)) and sum(listed) < sum(range(n)) // 3 / 5


def test_where_pairs_are_few_all_rows_are_judged_at_once():
    asked_of = []

    def find(asked, alive):
        asked_of.append((asked.sum(), alive.sum()))
        yield from finder([(50, 3)])(asked, alive)

    assert resolve(100, find, sample=20).survivor[50] == 3 and asked_of == [(20, 20), (100, 100)]


def test_a_row_paired_with_itself_is_asked_about_again():
    rounds = []

    def find(asked, alive):
        rounds.append(np.flatnonzero(asked).tolist())
        pairs = [(1, 0), (3, 3)] if len(rounds) == 1 else [(3, 2)]
        yield (*np.array(pairs, np.int64).T, np.array([0.9 * (w != b) for w, b in pairs], np.float32))

    done = resolve(4, find)
    assert rounds == [[0, 1, 2, 3], [3]] and done.survivor[done.dropped].tolist() == [0, 2] and done.pairs == 2
