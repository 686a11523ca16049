"""Flagged words of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, joined
from curate.filters.paragraph_flagged_words import FLAGGED


@dataclass
class DocumentFlaggedWords(DocumentFilter):
    """The share of words of the live paragraphs that are on a list (of adult pages' words). OBELICS keeps up to 0.01,
    OmniCorpus 0.02.

    words: the list, in small letters; by default OBELICS' words.
    """

    unit = "0 to 1"

    max: float | None = 0.01
    words: tuple[str, ...] = FLAGGED
    version = 3

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        flagged = frozenset(self.words)
        return [paragraph_ratios.listed(paragraph_ratios.letter_words(t), flagged) for t in joined(live, texts)]
