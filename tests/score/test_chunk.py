"""Chunks of rows whose pictures are in memory together."""

import numpy as np
import pyarrow as pa

from curate.fetch.decode import Decode
from curate.filters.sharpness import Sharpness
from curate.preprocess import Preprocess
from curate.score.chunk import CHUNK_BYTES, CHUNK_PIXELS, chunk_rows, wanted_of
from curate.score.part import Rows


def cut(sides: list[int | None], size: int = 256, whole: bool = True, **columns) -> list[list[int]]:
    made = {c: pa.array(sides, pa.int32()) for c in ("width", "height")} if sides else {}
    made |= {c: pa.array(v, pa.int64()) for c, v in columns.items()}
    rows = Rows(pa.table({"uid": pa.array([str(i) for i in range(len(sides) or 5)]), **made}))
    return [c.tolist() for c in chunk_rows(rows, np.flatnonzero(rows.alive), size, whole)]


def test_a_chunk_has_at_most_so_many_rows():
    assert cut([100] * 5, 2) == [[0, 1], [2, 3], [4]]
    assert cut([], 3) == [[0, 1, 2], [3, 4]]  # sizes that nobody knows


def test_large_pictures_make_small_chunks():
    large = int(CHUNK_PIXELS**0.5 / 2)  # four fill a chunk
    assert cut([large] * 6) == [[0, 1, 2, 3], [4, 5]]
    assert cut([10, 8000, None, 10, 60_000, 60_000, 10]) == [[0, 1, 2, 3], [4], [5], [6]]


def test_where_no_stage_sees_whole_pictures_only_their_files_count():
    large, file = int(CHUNK_PIXELS**0.5), CHUNK_BYTES // 2
    assert cut([large] * 4, whole=False) == [[0, 1, 2, 3]]
    assert cut([large] * 5, whole=False, payload_size=[file, file, 1, None, CHUNK_BYTES]) == [[0, 1], [2, 3], [4]]


def test_a_picture_is_decoded_as_its_stages_want_it_and_once_for_those_that_want_the_same():
    small, other = Sharpness(name="a"), Sharpness(name="b")
    small.preprocess = other.preprocess = Preprocess(224)
    assert wanted_of([Decode()]) == () and wanted_of([]) is None
    assert wanted_of([Decode(), small, other]) == (Preprocess(224),)
    assert wanted_of([Decode(), small, Sharpness()]) == (Preprocess(224), None)
