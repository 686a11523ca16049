"""C4's rules for pages."""

import re
from dataclasses import dataclass

import pyarrow as pa

from curate.filters.document_children import DocumentFilter, joined

#: Where a sentence ends: marks, perhaps a quotation mark, and white space or the end of the line.
_SENTENCE = re.compile(r"[.?!]+[\"'”’)]*(?=\s|$)")


@dataclass
class DocumentC4(DocumentFilter):
    """How many of C4's rules for pages the live paragraphs break (Raffel et al. 2020, arXiv 1910.10683, section 2.2): `sentences` or
    more, no `lorem ipsum`, no curly bracket. Its list of bad words is DocumentFlaggedWords(max=0) with words of your own.

    Sentences are counted by their marks; C4 used NLTK's tokenizer.

    sentences: fewest on a page.
    """

    dtype = pa.int32()
    unit = "rules broken"
    max: float | None = 0
    sentences: int = 3

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        return [
            (len(_SENTENCE.findall(t)) < self.sentences) + ("lorem ipsum" in t.lower()) + ("{" in t)
            for t in joined(live, texts)
        ]
