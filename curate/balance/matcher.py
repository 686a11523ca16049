"""Substring matchers: which entries of a long list occur in which captions (MetaCLIP's match, vectorized).

MetaCLIP (2309.16671) puts spaces around seven punctuation marks, replaces tab, newline and carriage return by spaces, and
matches an entry if `" " + entry + " "` is in `" " + caption + " "`, case-sensitively. Equivalently, the tokens of the entry, split at
single spaces, are consecutive tokens of the caption: a whole chunk of captions is split at once, its tokens are numbered, and a
trie over the numbers is walked for all positions together. An Aho-Corasick automaton finds the same matches (the tests
compare the two), but one character and one Python object at a time.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError

MARKS = b",.;:?!`"
_BREAKS = bytes.maketrans(b"\t\n\r", b"   ")
_END = b"\0"  # separates two captions; matches nothing
_BLOOM = 22  # log2 of the size of the filter before the search for a trie edge
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Fibonacci hashing spreads keys over the filter


def spacing(text: str) -> str:
    """A caption as MetaCLIP matches it: spaces around punctuation marks and at both ends."""
    return _space(f" {text} ".encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _space(text: bytes) -> bytes:
    text = text.translate(_BREAKS)
    for mark in MARKS:
        text = text.replace(bytes([mark]), b" %c " % mark)
    return text


class Matcher:
    """A trie over the tokens of distinct entries. An entry's number is its index in the list."""

    def __init__(self, entries: Iterable[str]):
        self.words: dict[bytes, int] = {}
        edges: dict[tuple[int, int], int] = {}
        leaf: dict[int, int] = {}
        for number, entry in enumerate(entries):
            node = 0
            for token in entry.encode().replace(_END, b"\1\1").split(b" "):  # a NUL never matches
                word = self.words.setdefault(token, len(self.words))
                node = edges.setdefault((node, word), len(edges) + 1)
            leaf[node] = number
        self.count = len(entries) if leaf else 0
        self._freeze(edges, leaf)

    def _freeze(self, edges: dict[tuple[int, int], int], leaf: dict[int, int]) -> None:
        """Turn the trie's dicts into arrays: edges below the root by word, the others as sorted keys (node, word)."""
        size = len(self.words) + 1  # one more for unknown words, number -1
        self.first = np.zeros(size, np.int32)  # word -> node below the root, 0 = none
        self.entry = np.full(len(edges) + 1, -1, np.int32)
        self.inner = np.zeros(len(edges) + 1, bool)  # nodes with children
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
        return (keys.astype(np.uint64) * _FIBONACCI) >> np.uint64(64 - _BLOOM)

    def match(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Distinct pairs (index of the text, number of the entry), sorted, as two arrays; a null text matches nothing."""
        words, owner = self._tokenize(texts)
        start = np.flatnonzero(self.first[words])
        node = self.first[words[start]]
        found = []
        depth = 0
        while len(start):
            ends_here = self.entry[node] >= 0
            found.append(owner[start[ends_here]] * self.count + self.entry[node[ends_here]])
            inner = self.inner[node]
            start, node, depth = start[inner], node[inner], depth + 1
            start, node = self._descend(start, node, words[start + depth])
        pairs = np.sort(np.concatenate([np.empty(0, np.int64), *found]))
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]  # np.unique hashes, which is five times slower here
        return pairs // max(self.count, 1), pairs % max(self.count, 1)

    def _tokenize(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of all texts as word numbers (-1 = in no entry), and the index of the text that each belongs to."""
        raw = pc.fill_null(pc.cast(texts, pa.large_binary()), b"").to_numpy(zero_copy_only=False).tolist()
        joined = b" \0 ".join(raw)
        if joined.count(_END) >= max(len(raw), 1):  # a caption contains a NUL: replaced by a byte that is in no entry
            joined = b" \0 ".join(r.replace(_END, b"\1") for r in raw)
        tokens = pc.split_pattern(pa.array([_space(joined)], pa.large_binary()), b" ").flatten()
        coded = tokens.dictionary_encode()
        known = np.array([self.words.get(w, -1) for w in coded.dictionary.to_pylist()], np.int32)
        codes = coded.indices.to_numpy()
        end = coded.dictionary.index(pa.scalar(_END, coded.dictionary.type)).as_py()
        return np.append(known[codes], np.int32(-1)), np.cumsum(codes == end)

    def _descend(self, start: np.ndarray, node: np.ndarray, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The start positions whose node has a child for `word`, and these children."""
        keys = node * np.int64(self.size) + word
        possible = (word >= 0) & self.bloom[self._slot(keys)]
        start, keys = start[possible], keys[possible]
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        exists = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), bool)
        return start[exists], self.to[at[exists]]


class Substrings:
    """An Aho-Corasick matcher for languages written without spaces: an entry matches wherever its characters occur."""

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
        """Distinct pairs (index of the text, number of the entry), as Matcher.match."""
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
