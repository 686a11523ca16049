"""Words of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphWords(Filter):
    """Words of a paragraph. OBELICS keeps 4 to 1,000 (arXiv 2306.16527, appendix A.1)."""

    table = "texts"
    reads = ("text",)
    dtype = pa.int32()
    unit = "words"
    min: float | None = 4
    max: float | None = 1000
    version = 3

    def score(self, live: pa.Table) -> list:
        return [None if t is None else len(paragraph_ratios.letter_words(t)) for t in live["text"].to_pylist()]
