"""MassiveText's rules for pages."""

import re
from dataclasses import dataclass

import pyarrow as pa

from curate.filters import paragraph_ratios
from curate.filters.document_children import DocumentFilter, joined
from curate.filters.scripts import script

#: Two of these words a page needs.
WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_SYMBOLS = (re.compile("#"), re.compile(r"\.\.\.|…"))
_BULLET = ("•", "‣", "▪", "◦", "●", "-", "*")
_ELLIPSIS = ("...", "…")


@dataclass
class DocumentMassiveText(DocumentFilter):
    """How many of MassiveText's rules the live paragraphs break (Gopher, Rae et al. 2021, arXiv 2112.11446, appendix A.1.1), its count
    of words apart (DocumentWords): a mean length of words from 3 to 10 characters, a letter in `letters` of the words, at least two
    occurrences of `words`; with `lines` also at most one `#` or ellipsis for ten words, nine lines in ten that begin with a bullet, three
    that end in an ellipsis.

    Words are tokens as NLTK has them, marks among them. The first three are rules of English: a page whose letters are mostly of
    another script than Latin is not asked. OmniCorpus asks the same of other words, and more than 0.8 of them (arXiv 2406.08418).

    words: frequent words, of which two must occur. letters: share of words with a letter, at least. lines: whether lines and bullets are looked at.
    """

    dtype = pa.int32()
    unit = "rules broken"
    max: float | None = 0
    words: tuple[str, ...] = WORDS
    letters: float = 0.8
    lines: bool = True

    def score(self, live: pa.Table, images: pa.Table, texts: pa.Table) -> list:
        return [self.broken(text) for text in joined(live, texts)]

    def broken(self, text: str) -> int:
        tokens = paragraph_ratios.tokens(text)
        english = script(text) in ("latin", None)
        return (self._words(tokens) if english else 0) + (self._lines(text, len(tokens)) if self.lines else 0)

    def _words(self, tokens: list[str]) -> int:
        count, listed = max(len(tokens), 1), frozenset(self.words)
        return sum(
            (
                not 3 <= sum(map(len, tokens)) / count <= 10,
                sum(any(map(str.isalpha, t)) for t in tokens) / count < self.letters,
                sum(t.lower() in listed for t in tokens) < 2,
            )
        )

    def _lines(self, text: str, words: int) -> int:
        lines = [line.strip() for line in text.split("\n")]
        return sum(
            (
                any(len(symbol.findall(text)) > 0.1 * words for symbol in _SYMBOLS),
                sum(line.startswith(_BULLET) for line in lines) > 0.9 * len(lines),
                sum(line.endswith(_ELLIPSIS) for line in lines) > 0.3 * len(lines),
            )
        )
