"""Words of a document."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, summed


@dataclass
class DocumentWords(DocumentFilter):
    """Words of a document's live paragraphs. OBELICS keeps 10 to 2,000 (arXiv 2306.16527), OmniCorpus 50 to 100,000."""

    dtype = pa.int32()
    unit = "words"
    min: float | None = 10
    max: float | None = 2000
    version = 3

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        return summed(live, texts, [len(paragraph_ratios.letter_words(t or "")) for t in texts["text"].to_pylist()])
