"""Repeated word n-grams of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphWordRepetition(Filter):
    """The share of word n-grams that occur more than once. OBELICS: n = 5, at most 0.1 (arXiv 2306.16527)."""

    table = "texts"
    reads = ("text",)
    dtype = pa.float32()
    unit = "0 to 1"
    max: float | None = 0.1
    n: int = 5
    version = 3

    def score(self, live: pa.Table) -> list:
        found = (None if t is None else paragraph_ratios.letter_words(t) for t in live["text"].to_pylist())
        return [None if w is None else paragraph_ratios.word_repetition(w, self.n) for w in found]
