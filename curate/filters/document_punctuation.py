"""Punctuation of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, gathered


@dataclass
class DocumentPunctuation(DocumentFilter):
    """Punctuation marks for each word of the live paragraphs. OBELICS keeps 0.03 and more (arXiv 2306.16527)."""

    min: float | None = 0.03

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        joined = ["\n".join(found) for found in gathered(live, texts, "text")]
        marks = paragraph_ratios.punctuation(pa.array(joined, pa.large_string()))
        return [m / max(1, len(paragraph_ratios.words(t))) for m, t in zip(marks.tolist(), joined)]
