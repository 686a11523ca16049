"""Which entries of a long list occur in which captions: MetaCLIP's substring match, as array arithmetic.

MetaCLIP (2309.16671) puts blanks round seven punctuation marks, turns tab, newline and carriage return into blanks, and
says an entry matches if `" " + entry + " "` is in `" " + caption + " "`. Case counts. That is the same as saying that
the entry's pieces, cut at single blanks, are consecutive pieces of the caption; so a whole chunk of captions is cut at
once, its pieces become numbers, and a trie over numbers is walked for all positions together. An Aho-Corasick automaton
finds the same set (the tests hold the two against each other) one character and one Python object at a time.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError

MARKS = b",.;:?!`"
_BREAKS = bytes.maketrans(b"\t\n\r", b"   ")
_END = b"\0"  # stands between two captions; matches nothing
_BLOOM = 22  # log2 of the size of the filter before the search for a trie edge
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads keys over the filter


def spacing(text: str) -> str:
    """A caption as MetaCLIP matches it."""
    return _space(f" {text} ".encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _space(text: bytes) -> bytes:
    text = text.translate(_BREAKS)
    for mark in MARKS:
        text = text.replace(bytes([mark]), b" %c " % mark)
    return text


class Matcher:
    """A trie over the pieces of the entries. An entry's number is its place in the list; entries must be distinct."""

    def __init__(self, entries: Iterable[str]):
        self.words: dict[bytes, int] = {}
        edges: dict[tuple[int, int], int] = {}
        leaf: dict[int, int] = {}
        for number, entry in enumerate(entries):
            node = 0
            for piece in entry.encode().replace(_END, b"\1\1").split(b" "):  # a NUL never matches
                word = self.words.setdefault(piece, len(self.words))
                node = edges.setdefault((node, word), len(edges) + 1)
            leaf[node] = number
        self.count = len(entries) if leaf else 0
        self._freeze(edges, leaf)

    def _freeze(self, edges: dict[tuple[int, int], int], leaf: dict[int, int]) -> None:
        size = len(self.words) + 1  # one more for "no such word", number -1
        self.first = np.zeros(size, np.int32)  # word -> node below the root, 0 = none
        self.entry = np.full(len(edges) + 1, -1, np.int32)
        self.inner = np.zeros(len(edges) + 1, bool)  # nodes that go on
        self.entry[list(leaf)] = list(leaf.values())
        deep = [(node, word, to) for (node, word), to in edges.items() if node]
        for (node, word), to in edges.items():
            if not node:
                self.first[word] = to
        nodes, words, to = (np.array(c, np.int64) for c in (zip(*deep) if deep else ((), (), ())))
        self.inner[nodes] = True
        keys = nodes * size + words
        order = np.argsort(keys)
        self.keys, self.to, self.size = keys[order], to[order].astype(np.int32), size
        self.bloom = np.zeros(1 << _BLOOM, bool)
        self.bloom[self._slot(keys)] = True

    @staticmethod
    def _slot(keys: np.ndarray) -> np.ndarray:
        return (keys.astype(np.uint64) * _ODD) >> np.uint64(64 - _BLOOM)

    def match(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (place of the text, number of the entry), each once, sorted; a null text matches nothing."""
        words, owner = self._cut(texts)
        place = np.flatnonzero(self.first[words])
        node = self.first[words[place]]
        found = []
        depth = 0
        while len(place):
            hit = self.entry[node] >= 0
            found.append(owner[place[hit]] * self.count + self.entry[node[hit]])
            on = self.inner[node]
            place, node, depth = place[on], node[on], depth + 1
            place, node = self._step(place, node, words[place + depth])
        pairs = np.sort(np.concatenate([np.empty(0, np.int64), *found]))
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]  # np.unique hashes, which is five times slower here
        return pairs // max(self.count, 1), pairs % max(self.count, 1)

    def _cut(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """All pieces of all texts as word numbers (-1 = in no entry), and the text each belongs to."""
        raw = pc.fill_null(pc.cast(texts, pa.large_binary()), b"").to_numpy(zero_copy_only=False).tolist()
        joined = b" \0 ".join(raw)
        if joined.count(_END) >= max(len(raw), 1):  # a caption with a NUL in it: a mark that is in no entry
            joined = b" \0 ".join(r.replace(_END, b"\1") for r in raw)
        pieces = pc.split_pattern(pa.array([_space(joined)], pa.large_binary()), b" ").flatten()
        coded = pieces.dictionary_encode()
        known = np.array([self.words.get(w, -1) for w in coded.dictionary.to_pylist()], np.int32)
        codes = coded.indices.to_numpy()
        end = coded.dictionary.index(pa.scalar(_END, coded.dictionary.type)).as_py()
        return np.append(known[codes], np.int32(-1)), np.cumsum(codes == end)

    def _step(self, place: np.ndarray, node: np.ndarray, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Follow one more word from each node; positions that cannot go on fall away."""
        keys = node * np.int64(self.size) + word
        ahead = (word >= 0) & self.bloom[self._slot(keys)]
        place, keys = place[ahead], keys[ahead]
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        there = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), bool)
        return place[there], self.to[at[there]]


class Substrings:
    """The same for languages written without blanks: an entry matches where its characters occur. Aho-Corasick."""

    def __init__(self, entries: Iterable[str]):
        try:
            import ahocorasick
        except ImportError as e:
            raise RecipeError("matching a language without blanks needs the package pyahocorasick") from e
        self.automaton = ahocorasick.Automaton()
        for number, entry in enumerate(entries):
            self.automaton.add_word(entry, number)
        self.count = len(self.automaton)
        if self.count:
            self.automaton.make_automaton()

    def match(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """As Matcher.match."""
        if not self.count:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        pairs = [
            (row, number)
            for row, text in enumerate(texts.to_pylist())
            if text
            for number in sorted({n for _, n in self.automaton.iter(text)})
        ]
        rows, numbers = zip(*pairs) if pairs else ((), ())
        return np.array(rows, np.int64), np.array(numbers, np.int64)
