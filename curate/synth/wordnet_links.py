"""Links from words of a caption to WordNet's nouns, for models that read a knowledge base beside the picture (KRISP,
2012.11014)."""

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate.models import file_sha256
from curate.sources.wordnet import WordNet, database_file, nouns
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

    version = 3

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


def links(text: str, known: WordNet) -> Iterator[dict[str, Any]]:
    """The nouns of a text, in order, not overlapping."""
    words = list(re.finditer(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text))
    i = 0
    while i < len(words):
        for n in range(min(known.longest, len(words) - i), 0, -1):
            some = words[i : i + n]
            plain = all(text[a.end() : b.start()].isspace() for a, b in itertools.pairwise(some))
            lemma = known.lemma("_".join(w[0].lower() for w in some)) if plain else None
            if lemma and not (n == 1 and some[0][0].lower() in NOT_NOUNS):
                yield {
                    "start": some[0].start(),
                    "end": some[-1].end(),
                    "lemma": lemma.word,
                    "synset": f"n{lemma.offset}",
                    "senses": lemma.senses,
                }
                i += n - 1
                break
        i += 1
