"""Words that a caption repeats."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter


@dataclass
class CaptionRepetition(Filter):
    """Share of the caption's words that occurred in it before, 0 to 1: "dog dog dog" has 2/3. CC12M keeps up to 0.2
    (2102.08981).

    Words are in lower case without punctuation; two characters are a word where a script has no spaces. No words: 0.
    """

    reads = ("text",)
    max: float | None = 0.2
    version = 3

    def score(self, live: pa.Table) -> list:
        found = (None if t is None else paragraph_ratios.words(t) for t in live["text"].to_pylist())
        return [None if words is None else 1 - len(set(words)) / len(words) if words else 0.0 for words in found]
