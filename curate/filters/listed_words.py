"""Count of listed words in the caption."""

import copy
from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.models import file_sha256, weights_file
from curate.sources.lines import words
from curate.stage import Filter


@dataclass
class ListedWords(Filter):
    """How many different words of a list occur in the caption.

    With `min` a list of what pictures show: SBU (NIPS 2011) wants two words of its lists of objects, attributes, actions, stuff
    and scenes. With `max=0` a list of words that nobody wants: COYO's and Conceptual Captions' profanity. words: a text file,
    one word (or several, found side by side) a line; what follows a tab is ignored. Compared in lower case, whole words, without
    punctuation; two characters are a word where a script has no spaces.
    """

    reads = ("text",)
    dtype = pa.int32()
    unit = "words"
    version = 4

    words: str = ""

    def weights(self) -> dict[str, str]:
        return {"weights": f"sha256:{file_sha256(str(weights_file(self.name, self.words)))}"}

    def preflight(self, widths: dict[str, int]) -> None:
        copy.copy(self).load()

    def load(self) -> None:
        listed = words(self.name, str(weights_file(self.name, self.words)))
        entries = (" ".join(paragraph_ratios.words(word)) for _, word, _ in listed)
        self._listed = frozenset(filter(None, entries))
        self._lengths = {len(entry.split()) for entry in self._listed}

    def run(self, live: pa.Table) -> pa.Table:
        found = (None if t is None else paragraph_ratios.words(t) for t in live["text"].to_pylist())
        return pa.table({self.name: pa.array([None if w is None else self.count(w) for w in found], self.dtype)})

    def count(self, words: list[str]) -> int:
        grams = (words if n == 1 else map(" ".join, zip(*(words[i:] for i in range(n)))) for n in self._lengths)
        return sum(len(self._listed.intersection(found)) for found in grams)
