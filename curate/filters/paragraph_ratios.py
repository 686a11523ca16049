"""What the rules for paragraphs and documents measure: words, special characters, punctuation, stop words, repetition.

The measures follow the filters that OBELICS took from BigScience's ROOTS; the bounds are in the filters.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from curate.filters.stop_words import STOP_WORDS

#: Scripts written without spaces: Han, kana, Thai, Lao, Khmer, Burmese.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_EDGE = re.compile(r"^[^\w]+|[^\w]+$")


def words(text: str) -> list[str]:
    """Words in lower case without punctuation at their edges. Where a script has no spaces, two characters count as a word
    (the mean length of a Chinese word is about 1.6)."""
    if not text.isascii():
        text = _UNSPACED.sub(lambda m: " " + " ".join(m[0][i:i + 2] for i in range(0, len(m[0]), 2)) + " ", text)
    # Most words have nothing at their edges: asking costs a tenth of stripping.
    return [w for w in [w if w.isalnum() else _EDGE.sub("", w) for w in text.lower().split()] if w]


@lru_cache(maxsize=8192)
def _class(character: str) -> str:
    return unicodedata.category(character)[0]


def special(text: str) -> float:
    """The share of characters that are neither letters (with their marks) nor white space: digits, punctuation, symbols,
    emoji."""
    counted = Counter(text)
    odd = sum(n for c, n in counted.items() if _class(c) not in "LMZ" and not c.isspace())
    return odd / len(text) if text else 1.0


def punctuation(text: str) -> float:
    """Punctuation marks for each character."""
    return sum(n for c, n in Counter(text).items() if _class(c) == "P") / len(text) if text else 0.0


def stop_words(found: list[str], lang: str | None) -> float:
    """The share of words that are stop words of the language. Without a language: of the list that fits best. For a language
    without a list 1, because nothing can be said."""
    if not found:
        return 0.0
    code = (lang or "").lower().replace("_", "-").split("-")[0]
    if code and code not in STOP_WORDS:
        return 1.0
    lists = [STOP_WORDS[code]] if code else STOP_WORDS.values()
    return max(sum(w in listed for w in found) for listed in lists) / len(found)


def listed(found: list[str], listing: Iterable[str]) -> float:
    """The share of words that are in a list."""
    return sum(w in listing for w in found) / len(found) if found else 0.0


def character_repetition(text: str, n: int) -> float:
    """The share that the most frequent character n-grams have of all: of the repeated ones, the sqrt(distinct) most
    frequent."""
    grams = Counter(text[i:i + n] for i in range(len(text) - n + 1))
    repeated = sorted((c for c in grams.values() if c > 1), reverse=True)[:int(len(grams) ** 0.5)]
    return sum(repeated) / grams.total() if grams else 0.0


def word_repetition(found: list[str], n: int) -> float:
    """The share of word n-grams that occur more than once."""
    grams = Counter(zip(*(found[i:] for i in range(n))))
    return sum(c for c in grams.values() if c > 1) / grams.total() if grams else 0.0
