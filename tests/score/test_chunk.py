"""Chunks of rows whose pictures are in memory together."""

import numpy as np
import pyarrow as pa

from curate.score.chunk import CHUNK_PIXELS, cuts
from curate.score.part import Rows


def cut(sides: list[int | None], size: int = 256, **columns) -> list[list[int]]:
    made = {c: pa.array(sides, pa.int32()) for c in ("width", "height")} if sides else {}
    rows = Rows(pa.table({"uid": pa.array([str(i) for i in range(len(sides) or 5)]), **made}))
    return [c.tolist() for c in cuts(rows, np.flatnonzero(rows.alive), size)]


def test_a_chunk_has_at_most_so_many_rows():
    assert cut([100] * 5, 2) == [[0, 1], [2, 3], [4]]
    assert cut([], 3) == [[0, 1, 2], [3, 4]]  # sizes that nobody knows


def test_large_pictures_make_small_chunks():
    large = int(CHUNK_PIXELS**0.5 / 2)  # four fill a chunk
    assert cut([large] * 6) == [[0, 1, 2, 3], [4, 5]]
    assert cut([10, 8000, None, 10, 60_000, 60_000, 10]) == [[0, 1, 2, 3], [4], [5], [6]]
