"""Live paragraphs of a document."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters.document_children import DocumentFilter, counted


@dataclass
class DocumentTexts(DocumentFilter):
    """Live paragraphs of a document. mmc4-core keeps 4 to 40 sentences (arXiv 2304.06939)."""

    dtype = pa.int32()
    unit = "paragraphs"
    min: float | None = 1

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        return counted(live, texts)
