"""Words of a caption that begin with a capital."""

import re
from dataclasses import dataclass

import pyarrow as pa

from curate.stage import Filter

_WORD = re.compile(r"[^\W\d_][\w'’-]*")


@dataclass
class CaptionCapitals(Filter):
    """Share of the caption's words that begin with a capital, 0 to 1; 1 too if the first word does not: then it is no
    sentence. No words: 1.

    Conceptual Captions (ACL 2018) drops captions whose first word is not capitalised and those with too many capitals; how many
    is not published. The bound here is ours: headlines and file names have more, sentences with a name or two less.
    """

    reads = ("text",)
    unit = "0 to 1"
    max: float | None = 0.5

    def score(self, live: pa.Table) -> list:
        return [None if t is None else capitals(t) for t in live["text"].to_pylist()]


def capitals(text: str) -> float:
    """The share for one text."""
    words = _WORD.findall(text)
    if not words or not words[0][0].isupper():
        return 1.0
    return sum(w[0].isupper() for w in words) / len(words)
