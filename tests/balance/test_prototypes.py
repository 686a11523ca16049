"""The most typical rows of clusters go."""

import numpy as np
import pytest

from curate.balance.prototypes import Prototypes
from curate.dedup.kmeans import nearest
from curate.dedup.vectors import cosines, unit
from curate.errors import RecipeError
from tests.dedup.pool import in_chunks, live, shown


def points(n=200, d=8):
    rng = np.random.default_rng(1)
    return [v.tolist() for v in rng.normal(size=(n, d)).astype(np.float16)]


@pytest.fixture
def centroids(tmp_path):
    found = np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32)
    np.save(tmp_path / "c.npy", found)
    return str(tmp_path / "c.npy"), found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.75, 1.0])
def test_those_nearest_to_a_centroid_fall(fraction, centroids):
    path, middle = centroids
    pool = [*points(), None, points()[0]]
    stored = unit(np.array(points() + [points()[0]], np.float32))
    ids = [*range(200), 201]
    far = (1 - cosines(stored, middle[nearest(stored, middle, 1)[:, 0]])).astype(np.float32)
    cut = np.sort(far)[::-1][min(int(len(far) * fraction), len(far) - 1)]
    made = Prototypes(column="v", fraction=fraction, centroids=path, device="cpu").select(live(v=pool))
    assert made.notes["device"] == "cores"
    assert made.dropped().tolist() == sorted([200, *(i for i, f in zip(ids, far) if f < cut)])
    found = made.columns.table().sort_by("id")
    assert found["id"].to_pylist() == ids and np.allclose(found["prototypes_distance"].to_numpy(), far, atol=1e-6)


def test_the_same_in_any_chunks(tmp_path):
    rule = Prototypes(column="v", fraction=0.4, clusters=6, seed=3)
    assert shown(rule.select(live(v=points()))) == shown(rule.select(in_chunks(live(v=points()), 4, str(tmp_path))))


def test_nothing_to_cluster():
    assert Prototypes(column="v").select(live(v=[None, None])).dropped().tolist() == [0, 1]
    with pytest.raises(RecipeError, match="fraction is above 0"):
        Prototypes(fraction=0)
