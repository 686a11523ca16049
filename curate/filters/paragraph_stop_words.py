"""Stop words of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.stop_word_share import shares, weights
from curate.stage import Filter


@dataclass
class ParagraphStopWords(Filter):
    """The share of words that are stop words of the paragraph's language. OBELICS keeps 0.3 and more of English (arXiv
    2306.16527).

    The language is that of the list that fits best; a paragraph that fits none, and that fastText (`model`, see Language) says is in a
    language without a list, scores 1. What the page declares decides nothing: templates declare `en`, or their author's language. `language` names a
    column with the language's code instead; a language without a list scores 1 then too. Bounds hold for a language: Arabic pages had
    to go without this rule (Wasm).

    language: column with the paragraph's language; empty: the list that fits best.
    """

    table = "texts"
    reads = ("text",)
    unit = "0 to 1"
    min: float | None = 0.3
    language: str = ""
    model: str = ""
    version = 4

    def __post_init__(self):
        super().__post_init__()
        if self.language:
            self.reads = ("text", self.language)

    def weights(self) -> dict[str, str]:
        return {} if self.language else weights(self.name, self.model)

    def score(self, live: pa.Table) -> list:
        texts = live["text"].to_pylist()
        if not self.language:
            return shares(texts, self.name, self.model)
        pairs = zip(texts, live[self.language].to_pylist())
        return [None if t is None else paragraph_ratios.stop_words(paragraph_ratios.letter_words(t), code) for t, code in pairs]
