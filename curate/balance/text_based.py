"""TextBased selector: keeps rows whose caption names a WordNet synset of a list (DataComp's text-based filter)."""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curate.dedup.vectors import file_hash
from curate.errors import RecipeError
from curate.select.exchange import Frame
from curate.selector import Selection, Selector
from curate.sources.lines import lines
from curate.sources.wordnet import wordnet_of, wordnet_table


@dataclass
class TextBased(Selector):
    """Keeps rows whose caption has a word (cut at white space) whose first WordNet synset is in a list.

    DataComp (2304.14108) uses the synsets of ImageNet-21k and looks at English captions only: put a language filter
    before it. As there, a synset is known by its number alone, whatever its part of speech. `synsets` is a file with one
    synset a line, `n02121620` or the bare number; `wordnet` a folder with WordNet's own files.

    synsets: file with a synset a line. text: column with the captions.
    """

    synsets: str = ""
    wordnet: str = "/usr/share/wordnet"
    text: str = "text"

    untracked = ("wordnet",)

    def __post_init__(self):
        super().__post_init__()
        if not self.synsets:
            raise RecipeError(f"{self.name}: synsets= must name a file with one synset a line")
        self.reads = (self.text,)

    def weights(self) -> dict[str, str]:
        return {"synsets_hash": file_hash(self.synsets), "wordnet_hash": file_hash(Path(self.wordnet) / "index.noun")}

    def preflight(self, widths: dict[str, int]) -> None:
        wordnet_table(self.wordnet)
        read_synsets(self.synsets)

    def select(self, live: Frame) -> Selection:
        wanted = read_synsets(self.synsets)
        wordnet = live.constant(wordnet_table(self.wordnet))
        drop = live.each(_WithoutSynset(self.text, wanted), wordnet)
        return Selection(drop, notes={"synsets": len(wanted)})


def read_synsets(path: str) -> frozenset[int]:
    """The synset numbers of a file with one a line. RecipeError names the file, and the line that has none."""
    found = set()
    for number, line in enumerate(lines(path), 1):
        for word in line.split():
            digits = re.sub(r"[^0-9]", "", word)
            if not digits:
                raise RecipeError(f"{path}: line {number}: {word[:40]!r} is no synset")
            found.add(int(digits))
    return frozenset(found)


@dataclass(frozen=True)
class _WithoutSynset:
    """Task: the ids of the rows whose caption names no synset of the list."""

    text: str
    wanted: frozenset[int]

    def __call__(self, live: pa.Table, wordnet: pa.Table) -> pa.Table:
        words = wordnet_of(wordnet)
        named = [any(words.offset(w) in self.wanted for w in (text or "").split()) for text in live[self.text].to_pylist()]
        return live.select(["id"]).filter(pa.array([not n for n in named], pa.bool_()))
