"""Rows whose captions name something from a list of concepts: DataComp's text-based filter."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from curate.balance.wordnet import WordNet
from curate.dedup.chunks import load, scratch, spill
from curate.dedup.vectors import file_hash
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector
from curate.sources.lines import lines


@dataclass
class TextBased(Selector):
    """Keeps rows whose caption has a word (cut at white space) whose first WordNet synset is in a list.

    DataComp (2304.14108) uses the synsets of ImageNet-21k and looks at English captions only: put a language filter
    before it. As there, a synset is known by its number alone, whatever its part of speech. `synsets` is a file with one
    synset a line, `n02121620` or the bare number; `wordnet` a folder with WordNet's own files.
    """

    synsets: str = ""
    wordnet: str = "/usr/share/wordnet"
    text: str = "text"
    chunk: int = 50_000  # captions a task; moves nothing but speed

    free = ("chunk", "wordnet")

    def __post_init__(self):
        super().__post_init__()
        if not self.synsets:
            raise RecipeError(f"{self.name}: synsets= must name a file with one synset a line")
        self.reads = (self.text,)

    def weights(self) -> dict[str, str]:
        return {"synsets_hash": file_hash(self.synsets), "wordnet_hash": file_hash(Path(self.wordnet) / "index.noun")}

    def preflight(self, widths: dict[str, int]) -> None:
        _concepts(self.wordnet, self.synsets)

    def select(self, live: Live) -> Selection:
        _concepts(self.wordnet, self.synsets)  # wrong files are found here, not in a worker
        with scratch(live) as folder:
            paths = spill(live, f'select id, "{self.text}" as text from live', folder, self.chunk)
            items = [(str(p), self.wordnet, self.synsets) for p in paths]
            drop = np.concatenate([np.empty(0, np.int64), *live.map(_strange, items)])
        return Selection(np.sort(drop), notes={"synsets": len(read_synsets(self.synsets))})


def read_synsets(path: str) -> frozenset[int]:
    """Synset numbers, one a line. RecipeError names the file, and the line that has none."""
    found = set()
    for number, line in enumerate(lines(path), 1):
        for word in line.split():
            digits = re.sub(r"[^0-9]", "", word)
            if not digits:
                raise RecipeError(f"{path}: line {number}: {word[:40]!r} is no synset")
            found.add(int(digits))
    return frozenset(found)


@lru_cache(maxsize=2)
def _concepts(wordnet: str, synsets: str) -> tuple[WordNet, frozenset[int]]:
    return WordNet(wordnet), read_synsets(synsets)


def _strange(item: tuple[str, str, str]) -> np.ndarray:
    """Ids of the rows of a chunk that name nothing from the list."""
    chunk = load(Path(item[0]))
    words, wanted = _concepts(*item[1:])
    named = [any(words.offset(w) in wanted for w in (text or "").split()) for text in chunk["text"].to_pylist()]
    return chunk["id"].to_numpy()[~np.array(named, bool)]
