"""Share of a document's images that match a paragraph."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.filters.document_children import DocumentFilter, owners


@dataclass
class DocumentAligned(DocumentFilter):
    """The share of live images whose `column` (Align's cosine) is more than `above`; 0 without images. mmc4-core keeps
    documents with three quarters above 0.25 of ViT-L/14 (arXiv 2304.06939).

    above: cosine that an image must exceed to count.
    """

    unit = "0 to 1"

    min: float | None = 0.75
    above: float = 0.25
    column: str = "align"
    version = 2

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        at = owners(live, images)
        fits = np.asarray(pc.fill_null(pc.greater(images[self.column], pa.scalar(self.above, images[self.column].type)), False))
        total = np.bincount(at[at >= 0], minlength=len(live))
        good = np.bincount(at[(at >= 0) & fits], minlength=len(live))
        return (good / np.maximum(total, 1)).astype(np.float32)
