"""Special characters of a document."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, gathered


@dataclass
class DocumentSymbols(DocumentFilter):
    """The share of characters of the live paragraphs that are neither letters nor white space. OBELICS keeps up to 0.275."""

    max: float | None = 0.275

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> pa.Array:
        return paragraph_ratios.special(
            pa.array(["\n".join(found) for found in gathered(live, texts, "text")], pa.large_string())
        )
