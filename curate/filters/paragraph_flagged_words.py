"""Flagged words of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter

#: English words that mark adult pages. A longer list in the languages of the pool is a parameter.
FLAGGED = (
    "blowjob",
    "camgirl",
    "camgirls",
    "cumshot",
    "deepthroat",
    "dildo",
    "fuck",
    "fucked",
    "fucking",
    "gangbang",
    "handjob",
    "hentai",
    "masturbation",
    "milf",
    "orgasm",
    "orgy",
    "porn",
    "porno",
    "pornhub",
    "pussy",
    "sexcam",
    "slut",
    "threesome",
    "tits",
    "xnxx",
    "xvideos",
    "xxx",
)


@dataclass
class ParagraphFlaggedWords(Filter):
    """The share of words that are on a list (of adult pages' words). OBELICS keeps up to 0.01 (arXiv 2306.16527)."""

    table = "texts"
    reads = ("text",)
    max: float | None = 0.01
    words: tuple[str, ...] = FLAGGED
    version = 2

    def score(self, live: pa.Table) -> list:
        flagged = frozenset(self.words)
        found = (None if t is None else paragraph_ratios.words(t) for t in live["text"].to_pylist())
        return [None if w is None else paragraph_ratios.listed(w, flagged) for w in found]
