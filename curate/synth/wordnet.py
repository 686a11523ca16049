"""Links from words of a caption to WordNet's nouns, for models that read a knowledge base beside the picture (KRISP,
2012.11014).

WordNet 3.0's database comes with Debian's package `wordnet-base` (in /usr/share/wordnet); its licence allows any use with its
notice.
"""

import copy
import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import RecipeError
from curate.models import file_sha256
from curate.stage import Stage

LINK = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("lemma", pa.large_string()),
        ("synset", pa.large_string()),
        ("senses", pa.int32()),
    ]
)
#: Endings of plurals and what they stand for (WordNet's morphy).
ENDINGS = (("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"), ("s", ""))
#: Nouns in WordNet that a caption means as something else.
NOT_NOUNS = frozenset(
    (
        "a an the in on at by of to and or no as is are was it he she his her be am i us who with for from over out up "
        "down off "
        "so do does did has have had can will may then than more less most least one two three four five six seven eight "
        "nine ten"
    ).split()
)


@dataclass
class WordnetLinks(Stage):
    """Adds `<of>_links`: for each noun that WordNet knows its place in the text (code points, end exclusive), the lemma, the
    synset (`n02084071`: part of speech and offset, as ImageNet names it) of its most frequent sense, and how many senses there
    are.

    The longest lemma wins (`ice_cream` before `ice`). No word sense is guessed: the first is WordNet's most frequent one.
    folder: of the database files `index.noun` and `noun.exc`.
    """

    version = 2

    of: str = "text"
    folder: str = "/usr/share/wordnet"
    untracked = ("folder",)

    def __post_init__(self):
        self.name = self.name or f"{self.of}_links"
        super().__post_init__()
        self.reads = (self.of,)

    def weights(self) -> dict[str, str]:
        return {"wordnet": file_sha256(str(database_file(self.folder, "index.noun")))}

    def preflight(self, widths: dict[str, int]) -> None:
        copy.copy(self).load()

    def load(self) -> None:
        self._nouns = nouns(self.folder)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.list_(LINK)}

    def run(self, live: pa.Table) -> pa.Table:
        return pa.table(
            {
                self.name: pa.array(
                    [None if t is None else list(links(t, self._nouns)) for t in live[self.of].to_pylist()], pa.list_(LINK)
                )
            }
        )


@dataclass(frozen=True)
class Nouns:
    """Lemma -> (offset of the first synset, number of senses); irregular plural -> lemma."""

    first: dict[str, tuple[str, int]]
    irregular: dict[str, str]

    @functools.cached_property
    def longest(self) -> int:
        """The most words in a lemma."""
        return max((lemma.count("_") + 1 for lemma in self.first), default=0)

    def lemma(self, words: str) -> str | None:
        """The lemma of words joined by `_`, singular or plural."""
        if words in self.first:
            return words
        forms = [self.irregular.get(words, "")] + [
            words[: -len(e)] + new for e, new in ENDINGS if words.endswith(e) and len(words) > len(e) + 1
        ]
        return next((f for f in forms if f in self.first), None)


def database_file(folder: str, name: str) -> Path:
    """A file of the database; RecipeError where it is missing."""
    path = Path(folder) / name
    if not path.is_file():
        raise RecipeError(f"{path} is missing: install WordNet's database (Debian: wordnet-base), or give its folder")
    return path


@functools.lru_cache(maxsize=2)
def nouns(folder: str) -> Nouns:
    """Read the database. RecipeError if it is not there."""
    first = {}
    for line in database_file(folder, "index.noun").read_text("utf-8").splitlines():
        if not line.startswith("  "):
            parts = line.split()
            # lemma pos synsets pointers pointer... senses tagged offset...
            first[parts[0]] = (parts[6 + int(parts[3])], int(parts[2]))
    irregular = dict(line.split()[:2] for line in database_file(folder, "noun.exc").read_text("utf-8").splitlines())
    return Nouns(first, irregular)


def synonyms(word: str, known: Nouns, folder: str) -> list[str]:
    """The other words of a noun's first sense, in WordNet's order; none of a word that is no noun, or has none."""
    lemma = known.lemma(word.lower()) if word.isalpha() and word.lower() not in NOT_NOUNS else None
    if lemma is None:
        return []
    with database_file(folder, "data.noun").open("rb") as f:
        f.seek(int(known.first[lemma][0]))
        parts = f.readline().decode().split()
    # offset, file, part of speech, count (hexadecimal), then words with their ids
    words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
    return [w.replace("_", " ") for w in words if w.lower() != lemma]


def links(text: str, known: Nouns) -> Iterator[dict[str, Any]]:
    """The nouns of a text, in order, not overlapping."""
    words = list(re.finditer(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text))
    i = 0
    while i < len(words):
        for n in range(min(known.longest, len(words) - i), 0, -1):
            some = words[i : i + n]
            plain = all(text[a.end() : b.start()].isspace() for a, b in itertools.pairwise(some))
            lemma = known.lemma("_".join(w[0].lower() for w in some)) if plain else None
            if lemma and not (n == 1 and some[0][0].lower() in NOT_NOUNS):
                offset, senses = known.first[lemma]
                yield {
                    "start": some[0].start(),
                    "end": some[-1].end(),
                    "lemma": lemma,
                    "synset": f"n{offset}",
                    "senses": senses,
                }
                i += n - 1
                break
        i += 1
