"""Special characters of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, joined


@dataclass
class DocumentSymbols(DocumentFilter):
    """The share of characters of the live paragraphs that are no letters: white space, digits, punctuation, symbols. OBELICS
    keeps up to 0.275."""

    unit = "0 to 1"

    max: float | None = 0.275
    version = 3

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> pa.Array:
        return paragraph_ratios.special(pa.array(joined(live, texts, "\n\n"), pa.large_string()))
