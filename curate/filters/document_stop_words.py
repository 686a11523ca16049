"""Stop words of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, joined


@dataclass
class DocumentStopWords(DocumentFilter):
    """The share of stop words in the live paragraphs, in the language the page declares. OBELICS keeps 0.35 and more of
    English. A page without a live paragraph scores 0, one in a language without a list 1."""

    reads = ("uid", "lang")
    min: float | None = 0.35
    version = 2

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        pairs = zip(joined(live, texts), live["lang"].to_pylist())
        return [paragraph_ratios.stop_words(paragraph_ratios.words(text), lang) for text, lang in pairs]
