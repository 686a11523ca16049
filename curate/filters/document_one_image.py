"""Random subsampling of documents with one image."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters.document_children import DocumentFilter, counted
from curate.selector import coin


@dataclass
class DocumentOneImage(DocumentFilter):
    """A number from 0 to 1 by the hash of the uid for documents with one live image; 0 for all others. KOSMOS-1 drops half of the pages
    with one image (arXiv 2302.14045, appendix A.2): `max=0.5`."""

    unit = "0 to 1"

    max: float | None = 0.5
    seed: int = 0

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        return np.where(counted(live, images) == 1, coin(live["uid"].to_pylist(), self.seed, "single"), 0.0)
