"""A document's language."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters.document_children import joined
from curate.filters.language import Language


@dataclass
class DocumentLanguage(Language):
    """Language of the live paragraphs together, as `document_language` and `document_language_score`. A page without a paragraph
    has none and is dropped. OBELICS keeps English of 0.8 and more, asked of the text in lower case (`lower`; arXiv 2306.16527), MINT-1T of
    0.65.

    among: languages that are kept, ISO 639-1; empty: any. min: smallest probability. lower: whether the text is judged in small letters.
    """

    table = "documents"
    reads = ("uid",)
    context = ("texts",)
    min: float | None = 0.8
    lower: bool = False

    def run(self, live: pa.Table, texts: pa.Table) -> pa.Table:
        found = [(text.lower() if self.lower else text) or None for text in joined(live, texts)]
        return super().run(pa.table({"text": pa.array(found, pa.large_string())}))
