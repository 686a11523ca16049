"""Live images of a document."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters.document_children import DocumentFilter, counted


@dataclass
class DocumentImages(DocumentFilter):
    """Live images of a document. OBELICS keeps 1 to 30 (arXiv 2306.16527), mmc4-core 2 to 15 (2304.06939)."""

    dtype = pa.int32()
    unit = "images"
    min: float | None = 1
    max: float | None = 30

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        return counted(live, images)
