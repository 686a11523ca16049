"""DataComp's baselines against an oracle written from baselines/apply_filter.py (arXiv 2304.14108), on made data with ties and edges."""

import numpy as np
import pyarrow as pa
import pytest

from curate.balance.image_based import ImageBased
from curate.errors import RecipeError
from curate.runner.recipes import load
from curate.select.top_fraction import TopFraction
from curate.sources.url_pairs import UrlPairs
from curate.stage import Filter
from tests.dedup.pool import live
from tests.dedup.pool import rows as rows_of


def steps(name: str, **options) -> list:
    return load(name).build(UrlPairs("pool.csv"), **options).steps


def kept(name: str, table: pa.Table, **options) -> list[bool]:
    """By the filters of a recipe that read nothing but the table's columns, in its order."""
    alive = np.ones(len(table), bool)
    for step in steps(name, **options):
        if isinstance(step, Filter) and set(step.reads) <= set(table.column_names):
            alive &= np.asarray(step.judge(step.run(table)).is_null())
    return alive.tolist()


TEXTS = [
    "",
    "a",
    "ab cd",
    "abc de",
    "a b c",
    "ab cd ef",
    "a  b\tc\nd",
    "日本の写真を撮る",
    " a b c ",
    "abcdef",
    "a dog on grass",
    "ééé éé é",
]
SIZES = [(200, 200), (199, 400), (600, 200), (601, 200), (200, 600), (200, 601), (0, 300), (1000, 334), (1000, 333)]


def test_the_basic_filter_without_its_language():
    rows = [(t, *s) for t in TEXTS for s in SIZES]
    expected = [
        len(t.split()) > 2 and len(t) > 5 and min(w, h) >= 200 and max(w, h) / max(min(w, h), 1) <= 3.0 for t, w, h in rows
    ]
    table = pa.table(
        {
            "uid": [str(i) for i in range(len(rows))],
            "text": pa.array([r[0] for r in rows], pa.large_string()),
            "original_width": pa.array([r[1] for r in rows], pa.int32()),
            "original_height": pa.array([r[2] for r in rows], pa.int32()),
        }
    )
    assert kept("datacomp_basic", table) == expected and 0 < sum(expected) < len(expected)


def test_the_captions_of_the_image_based_filter():
    table = pa.table({"uid": [str(i) for i in range(len(TEXTS))], "text": pa.array(TEXTS, pa.large_string())})
    expected = [len(t.split()) > 1 and len(t) > 5 for t in TEXTS]
    assert kept("datacomp_image_based", table, reference="r.npy") == expected


@pytest.mark.parametrize("fraction", [0.3, 0.15])
def test_the_best_fraction_with_ties(fraction):
    scores = np.random.default_rng(4).integers(0, 12, 97).astype(np.float32) / 32
    cut = -np.sort(-scores)[int(len(scores) * fraction)]
    found = TopFraction("clip_score", fraction).select(live(clip_score=scores.tolist()))
    assert sorted(set(range(97)) - set(found.dropped().tolist())) == np.flatnonzero(scores >= cut).tolist()


def save(path, vectors) -> str:
    np.save(path, np.asarray(vectors, np.float32))
    return str(path)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_found_by_the_inner_product_with_the_centroids_as_they_are(tmp_path, seed):
    """Means of unit vectors are shorter where a cluster is wide: by the cosine some rows would be elsewhere."""
    rng = np.random.default_rng(seed)
    points, reference = (
        v / np.linalg.norm(v, axis=1, keepdims=True) for v in (rng.normal(size=(300, 8)), rng.normal(size=(9, 8)))
    )
    points = points.astype(np.float16).astype(np.float32)
    groups = rng.integers(0, 20, len(points))
    centroids = np.stack([points[groups == g].mean(axis=0) * rng.choice([0.5, 1, 2]) for g in range(20)]).astype(np.float32)
    nearest = (points @ centroids.T).argmax(axis=1)
    hit = np.unique((reference @ centroids.T).argmax(axis=1))
    cosine = (points @ (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T).argmax(axis=1)
    assert (cosine != nearest).any()
    selector = ImageBased(save(tmp_path / "r.npy", reference), "v", centroids=save(tmp_path / "c.npy", centroids))
    found = selector.select(live(v=points.tolist()))
    assert rows_of(found.columns)["image_based_cluster"] == nearest.tolist()
    assert sorted(found.dropped().tolist()) == np.flatnonzero(~np.isin(nearest, hit)).tolist()


def test_of_two_centroids_as_near_the_first_counts(tmp_path):
    centroids = save(tmp_path / "c.npy", [[1.0, 0], [1.0, 0], [0, 1.0]])
    found = ImageBased(save(tmp_path / "r.npy", [[1.0, 0]]), "v", centroids=centroids).select(
        live(v=[[1.0, 0], [0, 1.0], [1.0, 0]])
    )
    assert rows_of(found.columns)["image_based_cluster"] == [0, 2, 0] and list(found.dropped()) == [1]


def test_its_own_k_means_keeps_means_that_are_not_unit(tmp_path):
    rng = np.random.default_rng(2)
    wide = np.concatenate([rng.normal([4, 0, 0], 1.5, (40, 3)), rng.normal([0, 4, 0], 0.05, (40, 3))])
    points = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    found = ImageBased(save(tmp_path / "r.npy", points[:1]), "v", clusters=2, kmeans="l2").select(live(v=points.tolist()))
    clusters = np.array(rows_of(found.columns)["image_based_cluster"])
    assert (np.bincount(clusters[40:], minlength=2) == np.bincount(clusters[40:41], minlength=2) * 40).all()
    with pytest.raises(RecipeError, match="spherical or l2"):
        ImageBased("r.npy", kmeans="cosine")
