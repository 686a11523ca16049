"""Which rows of two blocks of vectors nearly coincide: by numpy on the cores, or by torch on a card."""

from typing import Any

import numpy as np

from curate.dedup import vectors
from curate.models import card


def place(device: str) -> str | None:
    """Where to compare, for `auto`, `cpu` or `gpu`: torch's name of a card; None for the cores, if FAISS has no card or torch none."""
    return card.name() if vectors.gpus(device) else None


def lengthened(rows: np.ndarray, place: str | None) -> Any:
    """Float32 copies of length 1, where they are compared; zeros stay zeros."""
    return vectors.lengthened(rows) if place is None else card.lengthened(rows, place)


def pairs(left: Any, right: Any, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a cosine of at least `least`, within vectors.MARGIN: places in `left`, ascending, places in `right`, cosines. Of a block
    with itself (`right is left`) each pair once, the later row in `left`."""
    if not isinstance(left, np.ndarray):
        return card.pairs(left, right, least)
    found = left @ right.T
    over = found >= least
    i, j = np.nonzero(np.tril(over, -1) if right is left else over)
    return i, j, found[i, j]
