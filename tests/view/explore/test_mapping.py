"""The map of embeddings: by PCA at once, then by t-SNE, which is computed once, kept, and missing with a word about it."""

import importlib.util

import numpy as np
import pytest

from curate.view.explore import mapping
from curate.view.explore.mapping import Map


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    """Four groups of fifteen embeddings in eight dimensions."""
    noise = np.random.default_rng(0)
    rows = np.repeat(np.eye(8)[:4], 15, axis=0) + noise.normal(scale=0.05, size=(60, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def nearest_are_of_the_group(places: np.ndarray) -> float:
    far = ((places[:, None] - places[None]) ** 2).sum(axis=2) + np.eye(len(places)) * 9
    return float(np.mean(far.argmin(axis=1) // 15 == np.arange(60) // 15))


def test_pca_answers_at_once_and_tsne_later_once(matrix, tmp_path, monkeypatch):
    pytest.importorskip("openTSNE")
    made = Map(matrix, tmp_path)
    made.start()
    assert made.places.shape == (60, 2)
    made.thread.join()
    assert made.method.startswith("t-SNE") and not made.pending
    assert 0 <= made.places.min() < made.places.max() <= 1 and nearest_are_of_the_group(made.places) == 1
    monkeypatch.setattr(mapping, "tsne", None)  # computing it again would fail
    again = Map(matrix, tmp_path)
    again.start()
    assert again.thread is None and np.array_equal(again.places, made.places)
    assert np.array_equal(np.load(made.file), made.places) and len(list(tmp_path.iterdir())) == 1


def test_without_the_package_it_is_pca_and_says_so(matrix, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    made = Map(matrix, tmp_path)
    made.start()
    assert not made.pending and made.method.startswith("PCA") and "curate-multimodal[map]" in made.method


def test_a_failure_leaves_pca(matrix, tmp_path, monkeypatch):
    pytest.importorskip("openTSNE")
    monkeypatch.setattr(mapping, "tsne", lambda matrix: 1 / 0)
    made = Map(matrix, tmp_path)
    made.start()
    made.thread.join()
    assert made.method == "PCA (t-SNE failed: ZeroDivisionError: division by zero)" and np.array_equal(made.places, made.pca)


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_few_rows_have_places(rows, tmp_path):
    made = Map(np.eye(3, dtype=np.float32)[:rows], tmp_path)
    made.start()
    assert made.places.shape == (rows, 2) and np.isfinite(made.places).all() and not made.pending
