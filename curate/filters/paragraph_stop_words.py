"""Stop words of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class ParagraphStopWords(Filter):
    """The share of words that are stop words of the paragraph's language. OBELICS keeps 0.3 and more of English (arXiv
    2306.16527).

    `language` is a column with the language's code; without one the list that fits best is taken. A language without a list
    scores 1. Bounds hold for a language: Arabic pages had to go without this rule (Wasm).
    """

    table = "texts"
    reads = ("text", "lang")
    min: float | None = 0.3
    language: str = "lang"
    version = 2

    def __post_init__(self):
        super().__post_init__()
        self.reads = ("text", self.language)

    def score(self, live: pa.Table) -> list:
        pairs = zip(live["text"].to_pylist(), live[self.language].to_pylist())
        return [None if t is None else paragraph_ratios.stop_words(paragraph_ratios.words(t), lang) for t, lang in pairs]
