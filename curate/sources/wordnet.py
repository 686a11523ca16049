"""Reader of WordNet's database files: the first synset of a word, its lemma, the number of its senses, its synonyms.

WordNet 3.0's database comes with Debian's package `wordnet-base` (in /usr/share/wordnet) and as NLTK's corpus
(nltk_data/corpora/wordnet); its licence allows any use with its notice.
"""

from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from curate.errors import RecipeError

#: Inflectional endings and their replacements in the base form, by part of speech (WordNet's morphology, `morphy`).
_ENDINGS = {
    "noun": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}


class Lemma(NamedTuple):
    """An entry of an index. offset: of its first, most frequent synset, eight digits; senses: how many there are."""

    word: str
    offset: str
    senses: int


class WordNet:
    """An index of words, from the texts of `index.noun`, `noun.exc` and so on, of all or some parts of speech."""

    def __init__(self, files: dict[str, str]):
        self.lemmas: dict[str, dict[str, Lemma]] = {}
        self.exceptions: dict[str, dict[str, list[str]]] = {}
        for part in (p for p in _ENDINGS if f"index.{p}" in files):
            lines = files[f"index.{part}"].splitlines()
            self.lemmas[part] = {e.word: e for e in (_index_entry(line) for line in lines if line[:1] != " ")}
            words = files[f"{part}.exc"].splitlines()
            self.exceptions[part] = {w.split()[0]: w.split()[1:] for w in words if w.strip()}

    @lru_cache(maxsize=1 << 18)  # noqa: B019  one WordNet a process
    def offset(self, word: str) -> int | None:
        """The file offset of the first synset of a word, nouns before verbs, adjectives and adverbs, as NLTK 3.8 finds it; None if
        there is none."""
        word = word.lower()
        return next((int(found.offset) for part in self.lemmas if (found := self.lemma(word, part))), None)

    def lemma(self, word: str, part: str = "noun") -> Lemma | None:
        """The entry of a word in lower case, its words joined by `_`, in any inflection; None if there is none."""
        return next((self.lemmas[part][form] for form in self._base_forms(word, part)), None)

    @cached_property
    def longest(self) -> int:
        """The most words in a noun."""
        return max((lemma.count("_") + 1 for lemma in self.lemmas["noun"]), default=0)

    def _base_forms(self, word: str, part: str) -> list[str]:
        """The base forms of a word that are in the index of a part of speech, the word itself first."""
        known = self.lemmas[part]
        if word in self.exceptions[part]:
            return [f for f in (word, *self.exceptions[part][word]) if f in known]
        forms = [word]
        stripped = self._strip(forms, part)
        found = [f for f in (word, *stripped) if f in known]
        while stripped and not found:
            stripped = self._strip(stripped, part)
            found = [f for f in stripped if f in known]
        return found

    @staticmethod
    def _strip(forms: list[str], part: str) -> list[str]:
        return [f[: len(f) - len(old)] + new for f in forms for old, new in _ENDINGS[part] if f.endswith(old)]


def _index_entry(line: str) -> Lemma:
    """The entry of a line `lemma pos synsets pointers... senses tagged offset...`."""
    fields = line.split()
    return Lemma(fields[0], fields[-int(fields[2])], int(fields[2]))


def database_file(folder: str, name: str) -> Path:
    """A file of the database; RecipeError where it is missing."""
    path = Path(folder) / name
    if not path.is_file():
        raise RecipeError(f"{path} is missing: install WordNet's database (Debian: wordnet-base), or name its folder")
    return path


@lru_cache(maxsize=2)
def nouns(folder: str) -> WordNet:
    """The nouns of the database in a folder. RecipeError if it is not there."""
    return WordNet({name: database_file(folder, name).read_text("utf-8") for name in ("index.noun", "noun.exc")})


def synonyms(lemma: Lemma, folder: str) -> list[str]:
    """The other words of a noun's first sense, in WordNet's order."""
    with database_file(folder, "data.noun").open("rb") as f:
        f.seek(int(lemma.offset))
        parts = f.readline().decode().split()
    # offset, file, part of speech, count (hexadecimal), then words with their ids
    words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
    return [w.replace("_", " ") for w in words if w.lower() != lemma.word]


# ---- for tasks on other machines


def wordnet_table(folder: str) -> pa.Table:
    """WordNet's files of a folder as a table of `name` and `text`. RecipeError if they are not there."""
    names = [name for part in _ENDINGS for name in (f"index.{part}", f"{part}.exc")]
    try:
        texts = [(Path(folder) / name).read_text("utf-8") for name in names]
        WordNet(dict(zip(names, texts)))
    except (OSError, ValueError, IndexError) as e:
        raise RecipeError(f"{folder}: not WordNet's files (Debian package wordnet-base, or NLTK's corpus): {e}") from e
    return pa.table({"name": names, "text": pa.array(texts, pa.large_string())})


def wordnet_of(table: pa.Table) -> WordNet:
    """The WordNet of a table made by wordnet_table; the process caches the last one."""
    return _parsed(tuple(table["name"].to_pylist()), tuple(table["text"].to_pylist()))


@lru_cache(maxsize=1)
def _parsed(names: tuple[str, ...], texts: tuple[str, ...]) -> WordNet:
    return WordNet(dict(zip(names, texts)))
