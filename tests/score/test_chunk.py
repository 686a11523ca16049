"""Chunks of rows whose pictures are in memory together."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from curate.score.chunk import CHUNK_PIXELS, Chunk, cuts
from curate.score.part import Rows

JPEG = b"\xff\xd8\xff"


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


class Slow:
    """A decoder that takes a second for each picture."""

    left = 0.0

    def decode(self, data):
        if self.left <= 0:
            return "decoder_timeout"
        self.left -= 1
        return "decoder_timeout" if data == JPEG + b"slow" else "pixels"


def test_slow_pictures_take_no_more_than_half_of_an_attempt():
    """Whoever comes later is `decoder_timeout` too, and the part is committed."""
    chunk = Chunk(SimpleNamespace(decoder=Slow(), work=SimpleNamespace(deadline=6)), None, None)
    chunk._bytes = {row: JPEG + (b"slow" if row < 2 else b"") for row in range(5)}
    assert chunk.images(np.arange(5)) == ["decoder_timeout", "decoder_timeout", "pixels", "decoder_timeout", "decoder_timeout"]
