"""Repeated character n-grams of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphCharRepetition(Filter):
    """The share of the most repeated character n-grams. OBELICS: n = 10, at most 0.1 (arXiv 2306.16527, after ROOTS,
    2303.03915)."""

    table = "texts"
    reads = ("text",)
    dtype = pa.float32()
    unit = "0 to 1"
    max: float | None = 0.1
    n: int = 10

    def score(self, live: pa.Table) -> list:
        return [None if t is None else paragraph_ratios.character_repetition(t, self.n) for t in live["text"].to_pylist()]
