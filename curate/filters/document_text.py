"""A document's paragraphs as one text."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters.document_children import joined
from curate.stage import Stage


@dataclass
class DocumentText(Stage):
    """Adds `document_text`: the live paragraphs, a line each, null without any; for TextDedup over whole pages. Shards need not
    have it twice: `Shards(without=("document_text",))`.

    OmniCorpus (2406.08418) deduplicates whole pages by MinHash.
    """

    table = "documents"
    reads = ("uid",)
    context = ("texts",)
    exposes = (("texts", "text"),)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.large_string()}

    def run(self, live: pa.Table, texts: pa.Table) -> pa.Table:
        found = [text or None for text in joined(live, texts)]
        return pa.table({self.name: pa.array(found, pa.large_string())})
