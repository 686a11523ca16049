"""A map of embeddings in two dimensions: by PCA at once, by t-SNE as soon as it is computed, which is done once."""

import hashlib
import importlib.util
import logging
import os
import threading
from pathlib import Path

import numpy as np

#: Directions that t-SNE is given of the embeddings: those in which they differ most.
DIRECTIONS = 50
#: Goes up when the same embeddings would be placed another way.
VERSION = 1

log = logging.getLogger(__name__)


class Map:
    """Places of embeddings (rows of length 1) on a plane, (n, 2) in [0, 1].

    t-SNE (van der Maaten and Hinton 2008) by the package openTSNE puts near each other what is near in all dimensions; PCA shows the two
    directions of most variance. The first takes half a minute for 10,000 embeddings, in a thread, with a fixed seed; its result is kept in
    `folder` (default: `$CURATE_CACHE/maps`, else `~/.cache/curate/maps`) under a hash of the embeddings.
    """

    def __init__(self, matrix: np.ndarray, folder: Path | None = None):
        self.matrix = matrix
        home = Path(os.environ.get("CURATE_CACHE") or Path.home() / ".cache" / "curate")
        name = hashlib.sha256(np.ascontiguousarray(matrix).tobytes() + bytes([VERSION])).hexdigest()[:32]
        self.file = (folder or home / "maps") / f"{name}.npy"
        self.thread: threading.Thread | None = None
        self.failed = ""
        self.pca = spread(directions(matrix, 2))
        self.tsne = np.load(self.file) if self.file.is_file() else None

    def start(self) -> None:
        """Begin to compute t-SNE, unless it is there, under way, or cannot be had."""
        if self.tsne is None and self.thread is None and importlib.util.find_spec("openTSNE") and len(self.matrix) > 3:
            self.thread = threading.Thread(target=self._compute, daemon=True)
            self.thread.start()

    @property
    def pending(self) -> bool:
        """True while t-SNE is being computed."""
        return self.tsne is None and self.thread is not None and not self.failed

    @property
    def places(self) -> np.ndarray:
        """The best places that are there."""
        return self.pca if self.tsne is None else self.tsne

    @property
    def method(self) -> str:
        """How the places were found, for people."""
        if self.tsne is not None:
            return "t-SNE: neighbours on the map are alike, distances between groups mean little"
        if self.failed:
            return f"PCA (t-SNE failed: {self.failed})"
        if self.pending:
            return "PCA; t-SNE is being computed"
        return "PCA; pip install 'curate-multimodal[map]' for a map by t-SNE, which keeps neighbours together"

    def _compute(self) -> None:
        try:
            made = spread(tsne(self.matrix)).astype(np.float32)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            work = self.file.with_suffix(f".{os.getpid()}.npy")
            np.save(work, made)
            work.replace(self.file)
            self.tsne = made
        except Exception as e:  # the page still has PCA, and says why
            log.warning("the map by t-SNE: %s", e)
            self.failed = f"{type(e).__name__}: {e}"


def directions(matrix: np.ndarray, count: int) -> np.ndarray:
    """The embeddings in the `count` directions of most variance (PCA), (n, count); zeros where there are fewer."""
    centred = matrix - matrix.mean(axis=0) if len(matrix) else matrix
    _, axes = np.linalg.eigh(centred.T @ centred)
    at = centred @ axes[:, : -count - 1 : -1]
    if len(at):  # an axis has no sign of its own
        at *= np.where(at[np.abs(at).argmax(axis=0), np.arange(at.shape[1])] < 0, -1, 1)
    return np.pad(at, ((0, 0), (0, max(0, count - at.shape[1]))))


def tsne(matrix: np.ndarray) -> np.ndarray:
    """Places by t-SNE, from the first two principal components on, (n, 2)."""
    from openTSNE import TSNE

    fit = TSNE(
        perplexity=min(30, (len(matrix) - 1) / 3),
        initialization="pca",
        random_state=0,
        n_jobs=max(1, (os.cpu_count() or 2) // 2),
    )
    return np.asarray(fit.fit(directions(matrix, min(DIRECTIONS, matrix.shape[1]))))


def spread(at: np.ndarray) -> np.ndarray:
    """Places in [0, 1]; what is far outside lies on the border."""
    if len(at) < 2:
        return np.full((len(at), 2), 0.5, np.float32)
    low, high = np.quantile(at, 0.001, axis=0), np.quantile(at, 0.999, axis=0)
    return np.clip((at - low) / np.maximum(high - low, 1e-12), 0, 1)
