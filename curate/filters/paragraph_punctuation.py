"""Punctuation of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphPunctuation(Filter):
    """The share of marks (`, ; : ? ! .`) among marks and words. OBELICS keeps 0.001 and more, asked of paragraphs with
    `from_words` marks and words together (arXiv 2306.16527): one mark. Shorter ones score 1.

    from_words: marks and words that a paragraph must have to be judged.
    """

    table = "texts"
    reads = ("text",)
    unit = "0 to 1"
    min: float | None = 0.001
    from_words: int = 12
    version = 2

    def score(self, live: pa.Table) -> pa.Array:
        return paragraph_ratios.punctuation(live["text"], self.from_words)
