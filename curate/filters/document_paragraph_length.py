"""Filter of documents by the lengths of their paragraphs."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, gathered


@dataclass
class DocumentParagraphLength(DocumentFilter):
    """The words of the longest live paragraph over `longest`, or their mean over `mean`, whichever is more; 0 without a paragraph.
    OmniCorpus' code drops pages whose longest has fewer than 35 words while the mean is under 12 (arXiv 2406.08418).

    longest: words of the longest paragraph that pass, whatever the mean. mean: mean words that pass, whatever the longest.
    """

    unit = "1 where a bound is met"

    min: float | None = 1.0
    longest: int = 35
    mean: int = 12

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        found = gathered(live, texts, "text")
        counts = [[len(paragraph_ratios.spaced(t).split()) for t in page if t is not None] for page in found]
        return [max(max(c) / self.longest, sum(c) / len(c) / self.mean) if c else 0.0 for c in counts]
