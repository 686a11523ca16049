"""SemDeDup (arXiv 2303.09540, semdedup.py of its code) against an oracle: within a cluster rows in order of their distance to the centroid,
the farthest first; a row falls if it is nearer than eps to a row before it."""

import numpy as np
import pytest

from curate.dedup.semantic import SemanticDedup
from curate.dedup.vectors import cosines, unit
from tests.dedup.pool import live, uid


def published(points: np.ndarray, centroids: np.ndarray, eps: float, chains: bool) -> set[int]:
    """The rows that fall. chains: a row that fell still makes others fall, as the code's maximum over all earlier rows has it; else only
    rows that stay do, as here."""
    vectors = unit(points.astype(np.float32))
    home = [int(np.argmax(cosines(np.repeat(vectors[i : i + 1], len(centroids), 0), centroids))) for i in range(len(vectors))]
    fallen: set[int] = set()
    for c in range(len(centroids)):
        mine = [i for i in range(len(vectors)) if home[i] == c]
        far = {i: float(cosines(vectors[[i]], centroids[[c]])[0]) for i in mine}
        order = sorted(mine, key=lambda i: (far[i], uid(i)))
        for n, i in enumerate(order):
            before = [j for j in order[:n] if chains or j not in fallen]
            if before and max(cosines(np.repeat(vectors[[i]], len(before), 0), vectors[before])) > 1 - eps:
                fallen.add(i)
    return fallen


def points(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(40, 8))
    near = base[rng.integers(0, 40, 60)] + rng.normal(size=(60, 8)) * 0.2
    found = np.concatenate([base, near, base[:5]])  # the last five are copies
    centroids = rng.normal(size=(4, 8)).astype(np.float32)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16), unit(centroids).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("eps", [0.02, 0.1])
@pytest.mark.parametrize("chains", [True, False])
def test_rows_fall_as_published(tmp_path, seed, eps, chains):
    vectors, centroids = points(seed)
    np.save(tmp_path / "c.npy", centroids)
    stage = SemanticDedup(
        "v", eps=eps, inclusive=False, keep="hard", probes=1, centroids=str(tmp_path / "c.npy"), published=chains
    )
    found = set(stage.select(live(v=[v.tolist() for v in vectors.astype(np.float32)])).dropped().tolist())
    assert found == published(vectors, centroids, eps, chains) and found
