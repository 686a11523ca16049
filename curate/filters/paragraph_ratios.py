"""Text statistics of the rules for paragraphs and documents: words, special characters, punctuation, stop words, repetition.

The measures are those of OBELICS' release (obelics/processors/web_document_filtering.py), whose filters come from BigScience's
ROOTS; the bounds are in the filters.
"""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.filters.stop_words import LANGUAGES_OF, STOP_WORDS

#: Scripts written without spaces: Han, kana, Thai, Lao, Khmer, Burmese.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
#: What ASCII words lose at their edges.
_ODD = "".join(c for c in map(chr, range(128)) if not c.isalnum() and c != "_")
#: What words of letters lose too.
_NO_LETTER = _ODD + "0123456789_"


def _of_symbols(point: int) -> bool:
    """Marks of emoji and symbols (variation selectors, U+20DD to U+20E4), with which no word is written."""
    return 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF or 0x20DD <= point <= 0x20E4


@cache
def _patterns() -> tuple[re.Pattern, re.Pattern]:
    r"""What words lose at their edges: all but letters, digits, `_` and combining marks, which `\w` lacks. And two letters with
    their marks, in a script without spaces."""
    marks = [chr(i) for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i))[0] == "M" and not _of_symbols(i)]
    own = "".join(filter(_UNSPACED.match, marks))
    # Ranges: a class holds what lies beyond the first plane item by item, and looks at one after the other.
    runs = (list(run) for _, run in groupby(enumerate(marks), key=lambda m: ord(m[1]) - m[0]))
    kept = r"\w" + "".join(f"{run[0][1]}-{run[-1][1]}" for run in runs)
    return re.compile(rf"^[^{kept}]+|[^{kept}]+$"), re.compile(f".[{own}]*.?[{own}]*")


def words(text: str) -> list[str]:
    """Words in lower case without punctuation at their edges. Where a script has no spaces, two characters count as a word
    (the mean length of a Chinese word is about 1.6)."""
    # Most words have nothing at their edges: asking costs less than stripping.
    if text.isascii():
        return [w for w in [w if w.isalnum() else w.strip(_ODD) for w in text.lower().split()] if w]
    edge, _ = _patterns()
    return [w for w in [w if w.isalnum() else edge.sub("", w) for w in spaced(text).lower().split()] if w]


def spaced(text: str) -> str:
    """A text with blanks after every two characters of scripts that have none."""
    if text.isascii():
        return text
    _, two = _patterns()
    return _UNSPACED.sub(lambda m: f" {' '.join(two.findall(m[0]))} ", text)


def tokens(text: str) -> list[str]:
    """Words and marks, as NLTK's tokenizer has them: a mark is a token, also at a word's edge."""
    return _TOKEN.findall(spaced(text))


def letter_words(text: str) -> list[str]:
    """Words as OBELICS counts them: digits and `_` go from their edges too, so that `2nd` is `nd` and a number is no word."""
    if text.isascii():
        return [w for w in [w if w.isalpha() else w.strip(_NO_LETTER) for w in text.lower().split()] if w]
    edge, _ = _patterns()
    bare = [w if w.isalpha() else w.strip(_NO_LETTER) for w in words(text)]
    return [w for w in [w if w.isalpha() else edge.sub("", w) for w in bare] if w]


#: A word with what joins it inside, several dots, any other mark.
_TOKEN = re.compile(r"\w+(?:[-.'’]\w+)*|\.{2,}|[^\w\s]")
#: Characters from which a text is long.
_LONG = 200
#: Of the hash of an n-gram: an odd number with bits all over (2^64 over the golden ratio).
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
#: Texts whose characters are looked at together.
_TOGETHER = 512


@cache
def _special() -> np.ndarray:
    """For each code point whether it is neither a letter nor a mark of one."""
    return np.array([unicodedata.category(chr(i))[0] not in "LM" or _of_symbols(i) for i in range(sys.maxunicode + 1)])


def special(texts: pa.Array) -> pa.Array:
    """The share of characters that are neither letters nor their marks: white space, digits, punctuation, symbols, emoji. 1 for
    an empty text. OBELICS has a list of them, which lacks rare symbols and holds some letters (`上`, `π`).

    Some texts at a time are looked at as one row of code points: a loop over the characters of each costs ten times as much.
    """
    shares = [np.zeros(0)]
    for i in range(0, len(texts), _TOGETHER):
        some = [t or "" for t in texts[i : i + _TOGETHER].to_pylist()]
        long = np.fromiter(map(len, some), np.int64, len(some))
        hits = _special()[np.frombuffer("".join(some).encode("utf-32-le", "surrogatepass"), "<u4")]
        ends, up_to = np.cumsum(long), np.concatenate([[0], np.cumsum(hits)])
        shares.append(np.where(long > 0, (up_to[ends] - up_to[ends - long]) / np.maximum(long, 1), 1.0))
    return pa.array(np.concatenate(shares), mask=np.asarray(pc.is_null(texts)))


def punctuation(texts: pa.Array, least: int = 0) -> pa.Array:
    """The share of marks (`, ; : ? ! .`) among marks and words; 1 where both together are fewer than `least`, 0 where there
    are none."""
    marks = pc.count_substring_regex(texts, "[,;:?!.]")
    every = pc.add(marks, pc.count_substring_regex(texts, r"[\pL\pM\pN_']+"))
    share = pc.divide(marks.cast(pa.float64()), pc.max_element_wise(every, 1, skip_nulls=False))
    return pc.if_else(pc.and_(pc.greater(every, 0), pc.less(every, least)), 1.0, share)


def stop_words(found: list[str], lang: str | None) -> float:
    """The share of words that are stop words of the language. Without a language: of the list that fits best. For a language
    1 without a list, which decides nothing."""
    if not found:
        return 0.0
    code = (lang or "").lower().replace("_", "-").split("-")[0]
    if code and code not in STOP_WORDS:
        return 1.0
    if code:
        return sum(w in STOP_WORDS[code] for w in found) / len(found)
    counts = Counter(language for w in found for language in LANGUAGES_OF.get(w, ()))
    return max(counts.values(), default=0) / len(found)


def listed(found: list[str], listing: Iterable[str]) -> float:
    """The share of words that are in a list."""
    return sum(w in listing for w in found) / len(found) if found else 0.0


def character_repetition(text: str, n: int) -> float:
    """The share that the most frequent character n-grams have of all: of the repeated ones, the sqrt(distinct) most
    frequent."""
    if len(text) >= _LONG:
        counts = _gram_counts(text, n)
    else:
        grams = [text[i : i + n] for i in range(len(text) - n + 1)]
        if len(set(grams)) == len(grams):  # most short texts repeat nothing, and counting is dearer than looking
            return 0.0
        counts = np.fromiter(Counter(grams).values(), np.int64)
    repeated = np.sort(counts[counts > 1])[::-1][: int(len(counts) ** 0.5)]
    return float(repeated.sum() / counts.sum())


def _gram_counts(text: str, n: int) -> np.ndarray:
    """How often each n-gram occurs, n-grams compared by 64-bit hashes: twice as fast as counting strings."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    count = len(codes) - n + 1
    hashes = np.zeros(max(count, 0), np.uint64)
    for i in range(n if count > 0 else 0):
        hashes *= _MULTIPLIER
        hashes += codes[i : i + count]
    hashes.sort()
    return np.diff(np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1], [True]])))


def word_repetition(found: list[str], n: int) -> float:
    """The share of word n-grams that occur more than once."""
    if len(set(found)) == len(found):
        return 0.0
    grams = Counter(zip(*(found[i:] for i in range(n))))
    return sum(c for c in grams.values() if c > 1) / grams.total() if grams else 0.0
