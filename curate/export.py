"""A pool's kept rows in the formats of other tools."""

import io
from collections.abc import Iterable

import numpy as np

from curate.errors import PoolError
from curate.schema import is_uid


def datacomp_subset(uids: Iterable[str]) -> bytes:
    """DataComp's subset file: a .npy of sorted 128-bit uids as two unsigned 64-bit halves, repeats kept.

    DataComp's resharder reads it, and `download_upstream.py` writes pools with such uids. PoolError names a uid that is not
    32 lower-case hex digits.
    """
    raw = bytearray()
    for uid in uids:
        if not is_uid(uid):
            raise PoolError(f"{uid!r} is not a DataComp uid: 32 lower-case hex digits")
        raw += bytes.fromhex(uid)
    halves = np.frombuffer(bytes(raw), ">u8").astype("<u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    table = np.empty(len(halves), [("f0", "<u8"), ("f1", "<u8")])
    table["f0"], table["f1"] = halves[order].T
    out = io.BytesIO()
    np.lib.format.write_array(out, table, version=(1, 0), allow_pickle=False)
    return out.getvalue()
