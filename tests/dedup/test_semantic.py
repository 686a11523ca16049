import numpy as np
import pytest

from curate.dedup import kmeans, vectors
from curate.dedup.kmeans import _Drawn, clustered, nearest, train
from curate.dedup.semantic import SemanticDedup
from curate.dedup.vectors import cosines, embedded, matrix, unit
from curate.errors import RecipeError
from curate.models import card
from curate.selector import coin
from tests.dedup.pool import edges, in_chunks, live, uid


def mixture(n=400, d=16, seed=0, copies=0.5, spread=0.25):
    """Random directions, half of them with near copies of each other."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(int(n * (1 - copies)), d))
    near = base[rng.integers(0, len(base), n - len(base))] + rng.normal(size=(n - len(base), d)) * spread
    points = np.concatenate([base, near])
    return [v.tolist() for v in (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)]


def oracle(points, bound, order, inclusive=True, share=None):
    """All against all, best first: a row falls if a better row that stays is too close; the best such row is its survivor."""
    points = unit(np.array(points, np.float32))
    alike = np.array([cosines(np.repeat(points[i : i + 1], len(points), 0), points) for i in range(len(points))])
    near = alike >= bound if inclusive else alike > bound
    if share is not None:
        near &= share
    survivor = {}
    for n, i in enumerate(order):
        better = [j for j in order[:n] if near[i, j] and j not in survivor]
        if better:
            survivor[i] = better[0]
    return survivor


def chosen(points, **parameters):
    return SemanticDedup(column="v", **{"eps": 0.05, "seed": 1} | parameters).select(live(v=points))


def survivors(selection):
    return dict(zip(edges(selection)["id"].to_pylist(), edges(selection)["survivor"].to_pylist()))


BY_UID = sorted(range(400), key=uid)


def test_one_cluster_agrees_with_comparing_all_with_all():
    points = mixture()
    selection = chosen(points, clusters=1)
    expected = oracle(points, 0.95, BY_UID)
    assert survivors(selection) == expected and len(expected) > 50
    stored = unit(np.array(points, np.float32))
    for e in edges(selection).to_pylist():
        assert (
            e["similarity"] == pytest.approx(cosines(stored[[e["id"]]], stored[[e["survivor"]]])[0], abs=1e-6)
            and e["similarity"] >= 0.95
        )


@pytest.mark.parametrize("probes", [1, 2])
def test_clusters_agree_with_the_same_rule_by_brute_force(probes, tmp_path):
    points = mixture()
    centroids = train(np.array(points, np.float32), 12, 0, "cpu")
    np.save(tmp_path / "centroids.npy", centroids)
    home = nearest(unit(np.array(points, np.float32)), centroids, probes)
    share = (home[:, None, :, None] == home[None, :, None, :]).any(axis=(2, 3))
    selection = chosen(points, centroids=str(tmp_path / "centroids.npy"), probes=probes)
    assert survivors(selection) == oracle(points, 0.95, BY_UID, share=share)
    if probes == 2:
        assert len(selection.dropped()) > 0.97 * len(oracle(points, 0.95, BY_UID))


def test_nothing_falls_because_of_a_row_that_fell():
    selection = chosen(mixture(spread=0.3), clusters=5)
    assert not set(edges(selection)["survivor"].to_pylist()) & set(selection.dropped().tolist())


@pytest.mark.parametrize("changed", [{"block": 4}, {"block": 7}])
def test_the_same_for_any_block(changed):
    points = mixture()
    assert edges(chosen(points, clusters=6, **changed)) == edges(chosen(points, clusters=6))


@pytest.mark.parametrize("at", [{"clusters": 6}, {"clusters": 6, "block": 7}, {"clusters": 1, "eps": 1.2}])
def test_the_same_through_torch_as_on_a_card(at, monkeypatch):
    """torch on its CPU stands in for a card: the same code, other hardware."""
    pytest.importorskip("torch")
    points = [*mixture(), [0.0] * len(mixture()[0])]
    by_cores = chosen(points, **at)

    monkeypatch.setattr(vectors, "place", lambda device: "cpu")
    assert len(edges(by_cores)) and edges(chosen(points, **at)) == edges(by_cores)


def test_products_that_are_off_by_nearly_the_margin_decide_the_same(monkeypatch):
    """As those of a card may be, that adds up in another order and precision."""
    torch = pytest.importorskip("torch")
    points, exactly = mixture(spread=0.3), card.product
    by_cores = chosen(points, clusters=4)

    def off(left, right):
        found = exactly(left, right)
        return found + 0.9 * card.MARGIN * (torch.rand(found.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1)

    monkeypatch.setattr(card, "product", off)
    monkeypatch.setattr(vectors, "place", lambda device: "cpu")
    assert len(edges(by_cores)) > 50 and edges(chosen(points, clusters=4)) == edges(by_cores)


def test_a_card_finds_the_centroids_that_cores_find(monkeypatch):
    pytest.importorskip("torch")
    points = unit(np.array(mixture(), np.float32))
    for l2 in (False, True):
        by_cores = train(points, 12, 0, "cpu", l2=l2)
        monkeypatch.setattr(kmeans, "place", lambda device: "cpu")
        assert np.array_equal(train(points, 12, 0, "auto", l2=l2), by_cores)
        monkeypatch.undo()


def test_centroids_of_points_in_chunks_are_as_good_as_those_of_one(tmp_path, monkeypatch):
    """Many points are trained on in chunks, whose sums meet; each time the same to the last bit."""
    points = live(v=mixture(600))
    one = clustered(*embedded(points, "v"), 8, 1, "", 7, "cpu")
    monkeypatch.setattr(kmeans, "PIECE", 100)
    cut = [
        clustered(*embedded(in_chunks(points, n, str(tmp_path / str(n))), "v"), 8, 1, "", 7, "cpu", l2=l2)[1]
        for n, l2 in ((3, False), (7, False), (3, True))
    ]
    assert np.array_equal(cut[0], cut[1]) and np.allclose(np.linalg.norm(cut[0], axis=1), 1)

    def mean_cosine(centroids):
        stored = matrix(embedded(points, "v")[0].table()["v"])
        return cosines(stored, centroids[nearest(stored, centroids, 1)[:, 0]]).mean()

    assert all(mean_cosine(c) > 0.97 * mean_cosine(one[1]) for c in cut)


def test_k_means_is_no_worse_than_that_of_faiss():
    import faiss

    points = unit(np.array(mixture(1200, copies=0.8), np.float32))
    theirs = faiss.Kmeans(16, 30, niter=20, seed=0, spherical=True, min_points_per_centroid=1)
    theirs.train(points.astype(np.float32))
    ours = train(points, 30, 0, "cpu", skew=1e9)
    of = lambda c: cosines(points, c[nearest(points, c, 1)[:, 0]]).mean()  # noqa: E731
    assert of(ours) > 0.98 * of(theirs.centroids)


def test_the_order_of_the_rows_decides_nothing():
    points = mixture()
    order = np.random.default_rng(5).permutation(len(points))
    mixed = SemanticDedup(column="v", eps=0.05, seed=1, clusters=6).select(
        live(v=[points[i] for i in order], uid=[uid(i) for i in order])
    )
    assert {int(order[i]) for i in mixed.dropped()} == set(chosen(points, clusters=6).dropped().tolist())


def test_the_bound_itself():
    points = [[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]  # 0.6 and 0.8 are not float16 values: the cosine is 0.600156
    at = {"eps": 1 - 0.600156, "clusters": 1}
    stored = unit(np.array(points, np.float32))
    assert cosines(stored[:1], stored[1:2])[0] == 0.600156
    assert len(chosen(points, **at).dropped()) == 1
    assert len(chosen(points, **at, inclusive=False).dropped()) == 0
    assert len(chosen(points, eps=1 - 0.600157, clusters=1).dropped()) == 0


def test_hard_easy_random_and_quality_survivors(tmp_path):
    points = [[1.0, 0.0], [1.0, 0.02], [1.0, 0.01]]
    np.save(tmp_path / "c.npy", np.array([[1.0, 0.0]]))
    given = {"centroids": str(tmp_path / "c.npy")}
    kept = lambda **p: ({0, 1, 2} - set(chosen(points, **given, **p).dropped().tolist())).pop()  # noqa: E731
    assert kept(keep="hard") == 1 and kept(keep="easy") == 0
    assert kept(keep="random", seed=3) == int(np.argmin(coin([uid(i) for i in range(3)], 3, "semantic_dedup")))
    scored = SemanticDedup(column="v", by=("score",), **given).select(live(v=points, score=[0.1, 0.2, 0.9]))
    assert sorted(scored.dropped()) == [0, 1]
    with pytest.raises(RecipeError):
        SemanticDedup(keep="best")


def test_rows_without_a_vector_stay():
    nan = float("nan")
    selection = chosen([[1.0, 0.0], None, [0.0, 0.0], [nan, 1.0], [0.0, 0.0], None, [1.0, 0.0]], clusters=1)
    assert set(selection.dropped()) <= {0, 2, 4, 6} and len(set(selection.dropped()) & {0, 6}) == 1
    assert len(chosen([None, None]).dropped()) == 0


def test_copies_in_great_number():
    points = [[1.0, 0.0]] * 3000 + [[0.0, 1.0]]
    selection = chosen(points, clusters=1)
    assert len(selection.dropped()) == 2999 and len(set(edges(selection)["survivor"].to_pylist())) == 1
    assert selection.notes["distinct"] == 2 and selection.notes["pairs"] <= 1


def test_a_dense_crowd_needs_a_bounded_number_of_pairs():
    rng = np.random.default_rng(0)
    crowd = [[1.0, *row] for row in (rng.normal(size=(1500, 15)) * 0.01).tolist()]
    selection = chosen(crowd, clusters=1, block=200)
    assert len(selection.dropped()) == 1499 and selection.notes["pairs"] <= 64 * 1500


def test_skewed_clusters_are_cut():
    rng = np.random.default_rng(0)
    narrow = rng.normal(size=(3000, 8)) * 0.05 + np.eye(8)[0]
    wide = rng.normal(size=(300, 8))
    points = np.concatenate([narrow, wide]).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for skew in (8.0, 2.0):
        centroids = train(points, 20, 0, "cpu", skew=skew)
        sizes = np.bincount(nearest(points, centroids, 1)[:, 0])
        assert sizes.max() <= max(2, skew) * len(points) / 20
    assert len(train(np.ones((50, 4), np.float32), 3, 0, "cpu")) <= 3


def test_vectors_of_different_lengths_are_refused(tmp_path):
    for points in ([[1.0], [1.0, 2.0]], [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]):
        with pytest.raises(RecipeError):
            embedded(live(v=points), "v")
        with pytest.raises(RecipeError, match="different lengths"):
            embedded(in_chunks(live(v=points), len(points), str(tmp_path)), "v")


def test_the_sample_does_not_depend_on_the_order(tmp_path):
    points = mixture(100)
    order = np.random.default_rng(5).permutation(100)
    pools = live(v=points), live(v=[points[i] for i in order], uid=[uid(i) for i in order])
    drawn = [clustered(*embedded(p, "v"), 3, 1, "", 7, "cpu")[1] for p in pools]
    assert drawn[0].shape[1] == 16 and np.array_equal(*drawn)


def test_the_centroids_are_named_in_the_notes(tmp_path):
    selection = SemanticDedup(column="v", clusters=3).select(live(v=mixture(100)))
    assert len(selection.notes["centroids_hash"]) == 12
    (tmp_path / "c.npy").write_bytes(selection.files["centroids.npy"])
    again = SemanticDedup(column="v", centroids=str(tmp_path / "c.npy"))
    assert again.identity()["centroids_hash"] == selection.notes["centroids_hash"]
    assert edges(again.select(live(v=mixture(100)))) == edges(selection)


def test_zeros_and_nan_are_like_nothing_not_even_each_other():
    nan = [float("nan")] * 2
    assert not len(chosen([[0.0, 0.0], [0.0, 0.0], nan, nan, [1.0, 0.0]]).dropped())


def test_the_sample_is_of_rows_that_have_a_vector():
    rows, _ = embedded(live(v=[[1.0, float(i)] if i % 50 == 0 else None for i in range(2000)]), "v")
    assert rows.rows == 40 and len(rows.each(_Drawn(1.0, 7)).table()) == 40
    assert clustered(rows, 2, 4, 1, "", 7, "cpu")[1].shape == (4, 2)


def published(points, bound, home, centroids):
    """SemDeDup's rule, as its paper and code say it: inside a cluster, farthest from the centroid first, a row falls if its highest
    cosine with any row before it is above the bound."""
    points, fell = unit(np.array(points, np.float32)), set()
    for cluster in np.unique(home):
        mine = np.flatnonzero(home == cluster)
        close = cosines(points[mine], np.repeat(centroids[cluster][None], len(mine), 0))
        mine = mine[np.lexsort(([uid(i) for i in mine], close))]
        for n, i in enumerate(mine):
            if n and cosines(np.repeat(points[i : i + 1], n, 0), points[mine[:n]]).max() > bound:
                fell.add(int(i))
    return fell


@pytest.mark.parametrize("block", [7, 2048])
def test_the_published_rule_lets_rows_that_fell_drop_others(block, tmp_path):
    points = [
        *mixture(spread=0.3),
        *mixture(spread=0.3)[:20],
        [0.0] * 16,
        [0.0] * 16,
    ]  # some twice, and two that are like nothing
    centroids = train(np.array(points, np.float32)[:-2], 6, 0, "cpu")
    np.save(tmp_path / "c.npy", centroids)
    home = nearest(unit(np.array(points, np.float32)), centroids, 1)[:, 0]
    rule = {"centroids": str(tmp_path / "c.npy"), "probes": 1, "keep": "hard", "inclusive": False, "eps": 0.1, "block": block}
    theirs = set(chosen(points, **rule, published=True).dropped().tolist())
    ours = set(chosen(points, **rule).dropped().tolist())
    assert theirs == published(points, 0.9, home, centroids) and ours < theirs


def test_the_published_rule_is_the_same_in_any_chunks(tmp_path):
    points, rule = mixture(spread=0.3), {"clusters": 6, "probes": 1, "keep": "hard", "published": True}
    whole = chosen(points, **rule)
    cut = SemanticDedup(column="v", eps=0.05, seed=1, **rule).select(in_chunks(live(v=points), 5, str(tmp_path)))
    assert edges(cut) == edges(whole) and len(edges(whole))
