"""Stop words of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters.document_children import DocumentFilter, joined
from curate.filters.stop_word_share import shares, weights


@dataclass
class DocumentStopWords(DocumentFilter):
    """The share of stop words in the live paragraphs, in the language that they are in (see ParagraphStopWords), whatever the page
    declares. OBELICS keeps 0.35 and more of English. A page without a live paragraph scores 0, one in a language without a list 1."""

    reads = ("uid",)
    unit = "0 to 1"
    min: float | None = 0.35
    model: str = ""
    version = 4

    def weights(self) -> dict[str, str]:
        return weights(self.name, self.model)

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        return shares(joined(live, texts), self.name, self.model)
