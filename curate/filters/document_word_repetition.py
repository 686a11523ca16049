"""Repeated word n-grams of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, joined


@dataclass
class DocumentWordRepetition(DocumentFilter):
    """The share of word n-grams of the live paragraphs that occur more than once. OBELICS: n = 5, at most 0.2."""

    unit = "0 to 1"

    max: float | None = 0.2
    n: int = 5
    version = 3

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        return [paragraph_ratios.word_repetition(paragraph_ratios.letter_words(t), self.n) for t in joined(live, texts)]
