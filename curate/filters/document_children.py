"""Base class of document filters: access to the live paragraphs and images of each document."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class DocumentFilter(Filter):
    """A filter of documents that looks at their children. Write `score(live, images, texts)`: the part's rows of both tables,
    with a boolean column `live`."""

    table = "documents"
    reads = ("uid",)
    context = ("images", "texts")

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list | np.ndarray | pa.Array:
        raise NotImplementedError(f"{type(self).__name__} must define score()")


def owners(live: pa.Table, children: pa.Table) -> np.ndarray:
    """For each child the row of its document in `live`; -1 if the child is not live or its document is not there."""
    index = pc.index_in(children["doc_uid"], live["uid"])
    return np.asarray(pc.fill_null(pc.if_else(children["live"], index, None), -1))


def counted(live: pa.Table, children: pa.Table) -> np.ndarray:
    """Live children of each document."""
    at = owners(live, children)
    return np.bincount(at[at >= 0], minlength=len(live))


def summed(live: pa.Table, children: pa.Table, values: list[int]) -> np.ndarray:
    """The sum of a value over the live children of each document."""
    at = owners(live, children)
    return np.bincount(at[at >= 0], weights=np.asarray(values, dtype=float)[at >= 0], minlength=len(live)).astype(np.int64)


def gathered(live: pa.Table, children: pa.Table, column: str) -> list[list]:
    """A column's values of each document's live children, in page order."""
    at = owners(live, children)
    order = np.lexsort((children["position"].to_numpy(), at))
    order = order[at[order] >= 0]
    values = children[column].take(pa.array(order)).to_pylist()
    ends = np.searchsorted(at[order], np.arange(len(live) + 1)).tolist()
    return [values[a:b] for a, b in pairwise(ends)]


def joined(live: pa.Table, texts: pa.Table, gap: str = "\n") -> list[str]:
    """Each document's live paragraphs, a line each; paragraphs without a text are left out. OBELICS counts characters with an empty
    line as the gap."""
    return [gap.join(t for t in found if t is not None) for found in gathered(live, texts, "text")]
