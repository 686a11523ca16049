import io

import numpy as np
import pytest

from curate.errors import PoolError
from curate.export import datacomp_subset
from tests.dedup.pool import uid


def test_the_records_and_their_order():
    uids = [uid(i) for i in range(100)] + [uid(3), "0" * 32, "f" * 32]
    found = np.load(io.BytesIO(datacomp_subset(uids)))
    assert found.dtype == np.dtype([("f0", "<u8"), ("f1", "<u8")]) and len(datacomp_subset(uids)) == 128 + 16 * len(uids)
    assert [f"{a:016x}{b:016x}" for a, b in found.tolist()] == sorted(uids)


def test_the_same_bytes_as_numpy_saves():
    uids = [uid(i) for i in range(10)]
    out = io.BytesIO()
    np.save(out, np.array(sorted((int(u[:16], 16), int(u[16:], 16)) for u in uids), np.dtype("u8,u8")))
    assert datacomp_subset(uids) == out.getvalue()
    assert len(np.load(io.BytesIO(datacomp_subset([])))) == 0


def test_other_names_are_refused():
    with pytest.raises(PoolError, match="photo-1"):
        datacomp_subset(["photo-1"])
