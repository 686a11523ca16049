"""Punctuation of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, joined


@dataclass
class DocumentPunctuation(DocumentFilter):
    """The share of marks (`, ; : ? ! .`) among marks and words of the live paragraphs. OBELICS keeps 0.03 and more
    (arXiv 2306.16527)."""

    unit = "0 to 1"

    min: float | None = 0.03
    version = 2

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> pa.Array:
        return paragraph_ratios.punctuation(pa.array(joined(live, texts), pa.large_string()))
