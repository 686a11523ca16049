"""Punctuation of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphPunctuation(Filter):
    """Punctuation marks for each character. OBELICS keeps 0.001 and more, asked of paragraphs from 12 words (arXiv 2306.16527);
    shorter ones score 1."""

    table = "texts"
    reads = ("text",)
    min: float | None = 0.001
    from_words: int = 12

    def score(self, live: pa.Table) -> list:
        marks = paragraph_ratios.punctuation(live["text"]).tolist()
        return [None if t is None else self.measure(t, m) for t, m in zip(live["text"].to_pylist(), marks)]

    def measure(self, text: str, marks: int) -> float:
        return 1.0 if len(paragraph_ratios.words(text)) < self.from_words else marks / len(text)
