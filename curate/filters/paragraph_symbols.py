"""Special characters of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphSymbols(Filter):
    """The share of characters that are no letters: white space, digits, punctuation, symbols. OBELICS keeps up to 0.3
    (arXiv 2306.16527); the blanks of English are some 0.17."""

    table = "texts"
    reads = ("text",)
    dtype = pa.float32()
    unit = "0 to 1"
    max: float | None = 0.3
    version = 3

    def score(self, live: pa.Table) -> pa.Array:
        return paragraph_ratios.special(live["text"])
