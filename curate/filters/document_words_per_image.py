"""Words of a document per image."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, counted, summed

#: The score of a document with too few images for the rule, which passes.
ENOUGH = 1e6


@dataclass
class DocumentWordsPerImage(DocumentFilter):
    """Words of the live paragraphs for each live image. OmniCorpus keeps 50 and more, asked of documents with more than two
    images (arXiv 2406.08418, its English rules); the others score a million.

    above_images: documents with no more images than this are not asked.
    """

    unit = "words an image"

    min: float | None = 50
    above_images: int = 2
    version = 3

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> np.ndarray:
        words = summed(live, texts, [len(paragraph_ratios.words(t or "")) for t in texts["text"].to_pylist()])
        pictures = counted(live, images)
        return np.where(pictures > self.above_images, words / np.maximum(pictures, 1), ENOUGH).astype(np.float32)
