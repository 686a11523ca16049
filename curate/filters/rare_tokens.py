"""Count of the caption's words outside a vocabulary."""

import copy
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from curate.errors import RecipeError
from curate.filters import paragraph_ratios
from curate.models import file_sha256, weights_file
from curate.sources.lines import words
from curate.stage import Filter


@dataclass
class RareTokens(Filter):
    """How many words of the caption are not in a vocabulary.

    CC3M keeps captions all of whose words occur five times and more in English Wikipedia, CC12M twenty times; ALIGN asks
    for the 100 million most frequent unigrams and bigrams of its own raw pool (with `bigrams`, pairs of neighbouring words
    must be listed too). vocabulary: a text file, one word (or two, for a bigram) a line, or with its count after a tab;
    `count` is the least one that is taken. Words are in lower case without punctuation.

    count: occurrences that a listed word needs. bigrams: whether pairs of neighbouring words are looked up too.
    """

    reads = ("text",)
    dtype = pa.int32()
    unit = "words"
    max: float | None = 0
    version = 4

    vocabulary: str = ""
    count: int = 5
    bigrams: bool = False

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(weights_file(self.name, self.vocabulary)))}"}

    def preflight(self, widths: dict[str, int]) -> None:
        copy.copy(self).load()

    def load(self) -> None:
        file, known = str(weights_file(self.name, self.vocabulary)), []
        for number, word, count in words(self.name, file):
            if count and not count.isdecimal():
                raise RecipeError(f"{self.name}: {file}: line {number}: {count[:40]!r} is no count")
            if int(count or self.count) >= self.count:
                known.append(word)
        self._known = frozenset(" ".join(paragraph_ratios.words(word)) for word in known)

    def run(self, live: pa.Table) -> pa.Table:
        return pa.table(
            {
                self.name: pa.array(
                    [None if t is None else self.rare(paragraph_ratios.words(t)) for t in live["text"].to_pylist()], self.dtype
                )
            }
        )

    def rare(self, words: list[str]) -> int:
        pairs = pairwise(words) if self.bigrams else ()
        return sum(w not in self._known for w in words) + sum(f"{a} {b}" not in self._known for a, b in pairs)
