import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.balance.caps import Caps
from curate.balance.clusters import ClusterBalance, hierarchical_quotas, proportional_quotas
from curate.errors import RecipeError
from curate.selector import PUBLISHED, coin
from tests.dedup.pool import in_chunks, live, uid

CENTRES = np.eye(4)


def pool(sizes=(60, 20, 8, 2), order=None, **columns):
    rng = np.random.default_rng(0)
    points = [(CENTRES[c] + rng.normal(size=4) * 0.02).tolist() for c, n in enumerate(sizes) for _ in range(n)]
    kind = [c for c, n in enumerate(sizes) for _ in range(n)]
    order = range(len(points)) if order is None else order
    return live(v=[points[i] for i in order], kind=[kind[i] for i in order], uid=[uid(i) for i in order], **columns), kind


@pytest.fixture
def centroids(tmp_path):
    np.save(tmp_path / "c.npy", CENTRES)
    return str(tmp_path / "c.npy")


def kept(selection, kind):
    return np.bincount(np.delete(kind, selection.dropped()), minlength=4).tolist()


def test_even_shares_and_what_a_small_cluster_cannot_give(centroids):
    rows, kind = pool()
    assert kept(ClusterBalance(40, "v", centroids=centroids).select(rows), kind) == [15, 15, 8, 2]
    assert kept(ClusterBalance(40, "v", temper=1, centroids=centroids).select(rows), kind) == [27, 9, 3, 1]
    assert kept(ClusterBalance(1000, "v", centroids=centroids).select(rows), kind) == [60, 20, 8, 2]


def test_a_fraction_in_place_of_a_total(centroids):
    rows, kind = pool()
    assert kept(ClusterBalance(fraction=40 / 90, column="v", centroids=centroids).select(rows), kind) == [15, 15, 8, 2]
    notes = ClusterBalance(fraction=0.5, column="v", clusters=(0,), device="cpu").select(rows).notes
    assert notes["clusters"] == 13 and notes["device"] == "cores"  # sqrt(2 x 90)
    for both in ({}, {"total": 3, "fraction": 0.5}, {"fraction": 1.5}):
        with pytest.raises(RecipeError, match="give total, of 1 and more, or a fraction"):
            ClusterBalance(column="v", **both)


def test_a_set_that_grows_gets_what_is_left_of_the_total(centroids):
    rows, kind = pool((40, 10, 8, 2))
    ids = np.arange(60) + np.where(np.arange(60) < 20, PUBLISHED, 0)  # twenty of the first kind are published
    grown = live(v=rows.table()["v"], id=ids, uid=rows.table()["uid"])
    new = lambda made: np.bincount([k for i, k in zip(ids, kind) if i < PUBLISHED and i not in made.dropped()], minlength=4)  # noqa: E731
    assert new(ClusterBalance(36, "v", centroids=centroids).select(grown)).tolist() == [0, 7, 7, 2]
    assert new(ClusterBalance(20, "v", centroids=centroids).select(grown)).sum() == 0
    assert new(ClusterBalance(fraction=0.5, column="v", centroids=centroids).select(grown)).sum() == 20


def test_trained_clusters_even_out_the_kinds():
    rows, kind = pool((400, 100, 50, 50))
    mix = kept(ClusterBalance(200, "v", clusters=(24,), seed=1).select(rows), kind)
    assert sum(mix) == 200 and mix[0] < 133 * 0.95  # 133 would be its share as it is


def test_draws_by_coin_or_by_quality(centroids):
    rows, _kind = pool((10, 0, 0, 0), score=[float(i) for i in range(10)])
    best = set(np.argsort(coin([uid(i) for i in range(10)], 5, "cluster_balance"))[:3].tolist())
    assert set(range(10)) - set(ClusterBalance(3, "v", centroids=centroids, seed=5).select(rows).dropped()) == best
    assert list(ClusterBalance(3, "v", by=("score",), centroids=centroids).select(rows).dropped()) == list(range(7))


def test_order_and_chunks_decide_nothing(centroids, tmp_path):
    rows, _ = pool()
    whole = set(ClusterBalance(40, "v", centroids=centroids).select(rows).dropped().tolist())
    cut = ClusterBalance(40, "v", centroids=centroids).select(in_chunks(rows, 7, str(tmp_path)))
    assert set(cut.dropped().tolist()) == whole
    order = np.random.default_rng(1).permutation(90)
    mixed, _ = pool(order=order)
    assert {int(order[i]) for i in ClusterBalance(40, "v", centroids=centroids).select(mixed).dropped()} == whole


def test_rows_without_an_embedding_are_dropped(centroids):
    selection = ClusterBalance(5, "v", centroids=centroids).select(live(v=[[1.0, 0, 0, 0], None]))
    assert list(selection.dropped()) == [1]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=12), st.integers(0, 300), st.floats(0, 1)
)
def test_shares_add_up_and_are_even(clusters, total, temper):
    there = np.array([published for _, published in clusters]) * (total % 2)  # every other time nothing is published
    sizes = np.array([new for new, _ in clusters]) + there
    quota = proportional_quotas(sizes, there, total, temper)
    assert (quota <= sizes).all() and (quota >= there).all() and quota.sum() == max(min(total, sizes.sum()), there.sum())
    short = (quota < sizes) & (quota > there)  # those that neither ran out nor had more get the same for their weight
    weight = sizes[short].astype(float) ** temper
    for one, w in zip(quota[short], weight):
        assert (np.abs(quota[short] / weight - one / w) <= 1 / weight + 1 / w + 1e-6).all()


def test_shares_from_the_top_down():
    sizes, parents = np.array([10, 10, 10, 10]), [np.array([0, 0, 0, 1])]
    none = np.zeros(4, int)
    assert hierarchical_quotas(sizes, none, [], 12, 0).tolist() == [3, 3, 3, 3]
    assert hierarchical_quotas(sizes, none, parents, 12, 0).tolist() == [2, 2, 2, 6]
    assert hierarchical_quotas(sizes, none, parents, 26, 0).tolist() == [6, 5, 5, 10]
    assert hierarchical_quotas(sizes, np.array([4, 0, 0, 1]), parents, 12, 0).tolist() == [4, 1, 1, 6]
    rows, kind = pool((30, 30, 30, 30))
    assert sum(kept(ClusterBalance(60, "v", clusters=(4, 2), seed=0).select(rows), kind)) == 60


def test_wrong_parameters_are_refused():
    for wrong in ({"total": 0}, {"total": 5, "temper": 2}, {"total": 5, "clusters": ()}):
        with pytest.raises(RecipeError):
            ClusterBalance(**wrong)


def test_caps():
    urls = [f"https://a.org/{i}" for i in range(5)] + ["http://www.a.org/x", "https://b.org/1", None]
    rows = live(url=urls, score=[1.0, 2, 3, 4, 5, 6, 7, 8])
    assert list(Caps(max=2, by=("score",)).select(rows).dropped()) == [0, 1, 2, 3]
    toss = coin([uid(i) for i in range(6)], 3, "caps")
    chosen = Caps(max=2, seed=3).select(rows)
    assert set(range(6)) - set(chosen.dropped()) == set(np.argsort(toss)[:2].tolist()) and chosen.notes["capped"] == 1
    assert len(Caps(("lang",), max=1).select(live(lang=["en", "en", "de", None, None])).dropped()) == 1
