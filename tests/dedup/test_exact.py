import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.exact import ExactDedup
from curate.dedup.uid import DuplicateUid
from tests.dedup.pool import live, rows, uid


def test_the_best_row_stays_and_the_edges_name_it():
    chosen = ExactDedup(by=("score",)).select(
        live(sha256=["a", "b", "a", "a", None, None], score=[0.1, 0.5, None, 0.3, 1.0, 1.0])
    )
    assert list(chosen.dropped()) == [0, 2]
    assert rows(chosen.edges) == {"id": [0, 2], "survivor": [3, 3], "similarity": [1.0, 1.0]}


def test_a_broken_score_never_wins():
    assert list(ExactDedup(by=("score",)).select(live(sha256=["a", "a"], score=[float("nan"), -5.0])).dropped()) == [0]


def test_a_minus_prefers_the_smaller():
    assert list(ExactDedup(by=("-score",)).select(live(sha256=["a", "a"], score=[1.0, 2.0])).dropped()) == [1]


def test_without_quality_the_smaller_uid_stays():
    kept = min(range(5), key=uid)
    assert set(ExactDedup().select(live(sha256=["x"] * 5)).dropped()) == set(range(5)) - {kept}


def test_several_key_columns():
    chosen = ExactDedup(key=("sha256", "text")).select(live(sha256=["a"] * 3, text=["x", "y", "x"], uid=["1", "2", "3"]))
    assert rows(chosen.edges) == {"id": [2], "survivor": [0], "similarity": [1.0]}
    assert ExactDedup(key=("a",), by=("-b", "a")).reads == ("a", "b")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=20), st.randoms())
def test_the_order_of_the_rows_decides_nothing(rows, random):
    def kept(order):
        pool = live(sha256=[rows[i][0] for i in order], score=[rows[i][1] for i in order], uid=[uid(i) for i in order])
        drop = set(ExactDedup(by=("score",)).select(pool).dropped())
        return {i for n, i in enumerate(order) if n not in drop}

    order = list(range(len(rows)))
    first = kept(order)
    random.shuffle(order)
    assert kept(order) == first
    best = {key: min((i for i, r in enumerate(rows) if r[0] == key), key=lambda i: (-rows[i][1], uid(i))) for key, _ in rows}
    assert first == set(best.values())
    assert np.all([i in first for i in best.values()])


@pytest.mark.parametrize("column", ["h", "k0", "k1", "survivor", "best", "first", "similarity"])
def test_columns_may_have_any_name(column):
    given = {"x": ["a", "a", "b", "a"], column: [1, 1, 1, 2]}
    assert list(ExactDedup((column, "x")).select(live(uid=list("1234"), **given)).dropped()) == [1]
    assert list(ExactDedup(("x",), by=(column,)).select(live(**given)).dropped()) == [0, 1]
    assert list(DuplicateUid(newest=column).select(live(uid=["a"] * 3, **{column: [1, 3, 2]})).dropped()) == [0, 2]


def test_the_newest_may_be_in_any_column():
    for column in ("fetched at", "order"):
        assert list(DuplicateUid(newest=column).select(live(**{"uid": ["a", "a"], column: [1, 2]})).dropped()) == [0]
