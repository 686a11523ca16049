"""Words that a caption repeats."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter

#: Function words, whose repetition does not count.
CLOSED = frozenset(
    (
        "a an the this that these those some any each every no my your his her its our their "
        "about above across after against along among around as at before behind below beneath beside between beyond by down "
        "during for from in inside into near next of off on onto opposite out outside over past per through to toward towards "
        "under up upon via with within without and or but nor so than then while when where who which whose "
        "is are was were be been being has have had it he she they them him i we you"
    ).split()
)


@dataclass
class CaptionRepetition(Filter):
    """Share of the caption's words that occurred in it before, 0 to 1: "dog dog dog" has 2/3. CC12M keeps up to 0.2
    (2102.08981) of a measure that is not published; this one is ours.

    Words are in lower case without punctuation; two characters are a word where a script has no spaces. Articles, prepositions and other
    words of closed classes (English) may come again: "a man with a camera on a tripod" repeats nothing. No words: 0.
    """

    reads = ("text",)
    unit = "0 to 1"
    max: float | None = 0.2
    version = 3

    def score(self, live: pa.Table) -> list:
        found = (None if t is None else paragraph_ratios.words(t) for t in live["text"].to_pylist())
        return [None if words is None else repeated(words) / len(words) if words else 0.0 for words in found]


def repeated(words: list[str]) -> int:
    """The number of repeated words, without function words."""
    content = [w for w in words if w not in CLOSED]
    return len(content) - len(set(content))
