"""Special characters of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphSymbols(Filter):
    """The share of characters that are neither letters nor white space. OBELICS keeps up to 0.3 (arXiv 2306.16527)."""

    table = "texts"
    reads = ("text",)
    dtype = pa.float32()
    max: float | None = 0.3

    def score(self, live: pa.Table) -> pa.Array:
        return paragraph_ratios.special(live["text"])
