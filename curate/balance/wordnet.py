"""Reader of WordNet's database files, as far as needed: the first synset of a word."""

from functools import lru_cache
from pathlib import Path

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


class WordNet:
    """An index of words, from the texts of `index.noun`, `noun.exc` and so on."""

    def __init__(self, files: dict[str, str]):
        self.first_offset: dict[str, dict[str, int]] = {}
        self.exceptions: dict[str, dict[str, list[str]]] = {}
        for part in _ENDINGS:
            self.first_offset[part] = dict(
                _index_entry(line) for line in files[f"index.{part}"].splitlines() if line[:1] != " "
            )
            words = files[f"{part}.exc"].splitlines()
            self.exceptions[part] = {w.split()[0]: w.split()[1:] for w in words if w.strip()}

    @lru_cache(maxsize=1 << 18)  # noqa: B019  one WordNet a process
    def offset(self, word: str) -> int | None:
        """The file offset of the first synset of a word, nouns before verbs, adjectives and adverbs, as NLTK 3.8 finds it; None if
        there is none."""
        word = word.lower()
        for part in _ENDINGS:
            for form in self._base_forms(word, part):
                return self.first_offset[part][form]
        return None

    def _base_forms(self, word: str, part: str) -> list[str]:
        """The base forms of a word that are in the index of a part of speech, the word itself first."""
        known = self.first_offset[part]
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


def _index_entry(line: str) -> tuple[str, int]:
    """The lemma and its first offset of a line `lemma pos synsets pointers... senses tagged offset...`."""
    fields = line.split()
    return fields[0], int(fields[-int(fields[2])])


def wordnet_table(folder: str) -> pa.Table:
    """WordNet's files of a folder as a table of `name` and `text`. Debian's wordnet-base installs them in /usr/share/wordnet, NLTK in
    nltk_data/corpora/wordnet. RecipeError if they are not there."""
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
