"""Filter by an image's rank on its page."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class ImageOrder(Filter):
    """The image's place among the live images of its page, the first being 1. KOSMOS-1 keeps five images of a page (arXiv 2302.14045,
    appendix A.2); `max=5` keeps the first five."""

    reads = ("doc_uid", "position")
    context = ("images",)
    dtype = pa.int32()
    unit = "place on the page, from 1"
    max: float | None = 5

    def score(self, live: pa.Table, images: pa.Table) -> np.ndarray:
        others = images.filter(images["live"]).select(["doc_uid", "position"])
        pages = {page: n for n, page in enumerate(dict.fromkeys(others["doc_uid"].to_pylist()), 1)}
        there, here = (_keys(t, pages) for t in (others, live))
        order = np.sort(there)
        return np.searchsorted(order, here) - np.searchsorted(order, here >> np.int64(32) << np.int64(32)) + 1


def _keys(rows: pa.Table, pages: dict[str, int]) -> np.ndarray:
    """For each row its page and its position as one number."""
    found = np.array([pages.get(p, 0) for p in rows["doc_uid"].to_pylist()], np.int64)
    return (found << np.int64(32)) + pc.fill_null(rows["position"], 0).to_numpy().astype(np.int64)
