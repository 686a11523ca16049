"""A paragraph's language."""

from dataclasses import dataclass

from curate.filters.language import Language


@dataclass
class ParagraphLanguage(Language):
    """Language of a paragraph, as `paragraph_language` and `paragraph_language_score`. OBELICS' paper asks for a probability of
    0.8 (arXiv 2306.16527), its released settings do not ask.

    among: languages that are kept, ISO 639-1; empty: any. min: smallest probability.
    """

    table = "texts"
