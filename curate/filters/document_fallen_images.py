"""Count of a document's dropped images."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.filters.document_children import DocumentFilter


@dataclass
class DocumentFallenImages(DocumentFilter):
    """Images of a document that some rule before this one dropped. By default all of them must have passed: a page with one
    unsafe picture goes as a whole.

    Where it stands among the rules says which ones count: `Nsfw(), DocumentFallenImages()` before those that may cost single
    images. Without it the others stay, as OBELICS and mmc4 do; DocumentImages says how many must be left.
    """

    reads = ("uid", "source_row")
    dtype = pa.int32()
    unit = "images"
    max: float | None = 0
    version = 2

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        # Not by doc_uid: those of a page's second capture, which fell as a whole, have that of the first.
        at = np.asarray(pc.fill_null(pc.index_in(images["source_row"], live["source_row"]), -1))
        fell = (at >= 0) & ~np.asarray(images["live"])
        return np.bincount(at[fell], minlength=len(live))
