"""Repeated character n-grams of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, joined


@dataclass
class DocumentCharRepetition(DocumentFilter):
    """The share of the most repeated character n-grams of the live paragraphs. OBELICS: n = 10, at most 0.1."""

    unit = "0 to 1"

    max: float | None = 0.1
    n: int = 10
    version = 2

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        return [paragraph_ratios.character_repetition(text, self.n) for text in joined(live, texts, "\n\n")]
