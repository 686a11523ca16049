"""Flagged words of a paragraph."""

from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.stage import Filter

#: The list of OBELICS' release (obelics/utils/filtering_utils.py, Apache 2.0). A longer one in the languages of the pool is a parameter.
FLAGGED = tuple(
    (
        "anal bareback bbw bdsm blowjob blowjobs brazzers bukkake camgirl camwhore cocksucking creampie cuckold cum "
        "cumming cums cumshot cumshots cumslut cunnilingus deepthroat deepthroating dildo dildos dogging doggystyle "
        "dominatrix erotic fellatio femdom fingering fisting footjob gangbang handjob hentai horney horniest horny jism "
        "jizz masterbating masturbate masturbating masturbation milf orgies orgy pegging porn pornhub porno pornos "
        "pornstar pornstars redtube rimming slutty squirting strapon threesome vibrator xhamster xnxx xvideos xxx "
        "youporn"
    ).split()
)


@dataclass
class ParagraphFlaggedWords(Filter):
    """The share of words that are on a list (of adult pages' words). OBELICS keeps up to 0.01 (arXiv 2306.16527).

    words: the list, in small letters; by default OBELICS' words.
    """

    table = "texts"
    reads = ("text",)
    unit = "0 to 1"
    max: float | None = 0.01
    words: tuple[str, ...] = FLAGGED
    version = 3

    def score(self, live: pa.Table) -> list:
        flagged = frozenset(self.words)
        found = (None if t is None else paragraph_ratios.letter_words(t) for t in live["text"].to_pylist())
        return [None if w is None else paragraph_ratios.listed(w, flagged) for w in found]
