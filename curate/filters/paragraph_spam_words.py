"""Share of site boilerplate words in a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter, below

#: The list of OBELICS' release (build_obelics/13_final_processing.py, Apache 2.0), with its spelling.
SPAM = tuple(
    (
        "facebook twitter instagram reddit youtube pinterest flickr share tweet post comment subscribe newletter "
        "blogger bloggers interested might like sign-up sign log logged access contact content privacy policy website "
        "cookies cookie licensed password account follow terms mailing list download loading click"
    ).split()
)


@dataclass
class ParagraphSpamWords(Filter):
    """The share of words that talk about the site: log in, subscribe, cookies. OBELICS keeps less than 0.12 in its
    last step (arXiv 2306.16527).

    words: the list, in small letters; by default OBELICS' 40 words.
    """

    table = "texts"
    reads = ("text",)
    unit = "0 to 1"
    max: float | None = below(0.12)
    words: tuple[str, ...] = SPAM
    version = 3

    def score(self, live: pa.Table) -> list:
        spam = frozenset(self.words)
        found = (None if t is None else paragraph_ratios.letter_words(t) for t in live["text"].to_pylist())
        return [None if w is None else paragraph_ratios.listed(w, spam) for w in found]
