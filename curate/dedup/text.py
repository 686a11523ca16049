"""Texts that are the same after normalisation, or nearly the same: MinHash-LSH, then exact Jaccard similarity."""

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.dedup.greedy import PAIRS, duplicates, pairs_table
from curate.dedup.quality import columns, sort_key
from curate.errors import RecipeError
from curate.select.database import query
from curate.select.exchange import Frame, in_order, rows_at
from curate.select.partition import ByHash
from curate.selector import Selection, Selector, identifier

_BUCKET = 256  # better rows of a bucket, of those that stay, that a row is compared with
_AT_ONCE = 1 << 18  # pairs in memory
_MONEY = "$€£¥₹₩₽₺₫฿¢"
#: Signs that are part of a word: C#, C++, A+; $5, 5 €, 5%, 5°; -5.
_SIGN = rf"(?<=[^\W_])[+#](?![+#]*\w)|(?<=[^\W_][+#])[+#](?![+#]*\w)|[{_MONEY}](?=\d)|(?<=\d)[{_MONEY}%‰°]|(?<!\S)-(?=\d)"
_NO_WORD = re.compile(rf"(?:(?!{_SIGN})[\W_])+")


def normal(text: str) -> str:
    """Compatibility-normalised, lower case, everything but letters, marks and digits as single blanks; but `C#`, `C++`, `A+`, `$5`, `5€`,
    `5%`, `5°` and `-5` keep their signs, as they mean something else without.

    A text without any of them is only stripped.
    """
    words = _NO_WORD.sub(_blanks, unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-"))
    return " ".join(words.split()) or text.strip()


def _blanks(found: re.Match) -> str:
    """A blank for each character that is no mark: Hindi and Thai write vowels as marks, which are no letters to `re`."""
    run = found[0]
    return " " if run.isascii() else "".join(c if unicodedata.category(c)[0] == "M" else " " for c in run)


def shingles(text: str, size: int) -> set[str]:
    """The character n-grams of a normalised text, n = `size`; the text itself if it is shorter."""
    return {text[i : i + size] for i in range(max(len(text) - size + 1, 1))}


def jaccard(a: set, b: set) -> float:
    """Jaccard similarity of two sets, not both empty."""
    both = len(a & b)
    return both / (len(a) + len(b) - both)


@dataclass
class TextDedup(Selector):
    """Of texts that are the same or nearly so one stays: the best by the `by` columns, then by uid.

    The same: equal after `normal`. Nearly: their sets of `shingle` characters have a Jaccard similarity of `min` or more;
    1 turns this part off. Pairs are proposed by MinHash-LSH (`bands` x `rows` minima by the package rensa; a pair of
    similarity s is proposed with probability 1 - (1 - s^rows)^bands, 0.95 at the default 0.8, 0.9999 at 0.9) and checked
    exactly, so nothing falls by a collision. In a bucket with more than 256 rows that stay a row is compared with the best 256 of
    them only: pairs of a similarity near `min` that share no smaller bucket may be missed there; notes count such buckets as
    `crowded`. Rows with a null or blank text stay.

    min: Jaccard similarity from which on texts are duplicates; 1: equal texts only. shingle: characters of a shingle. bands, rows: of the MinHash
    signature.

    MinHash is Broder's (https://doi.org/10.1109/SEQUEN.1997.666900); OmniCorpus (2406.08418) deduplicates pages at 0.8.
    """

    version = 3
    sees_published = True

    column: str = "text"
    min: float = 0.8
    shingle: int = 5
    bands: int = 16
    rows: int = 8
    by: tuple[str, ...] = ()
    seed: int = 0
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.min <= 1 or min(self.shingle, self.bands, self.rows) < 1:
            raise RecipeError(f"{self.name}: min must lie above 0 and be at most 1; shingle, bands and rows be at least 1")
        self.by = tuple(self.by)
        self.reads = tuple(dict.fromkeys((self.column, *columns(self.by))))

    def select(self, live: Frame) -> Selection:
        bands = self.bands if self.min < 1 else 0
        hashed = _MinHashed(self.column, f"{sort_key(self.by)} as rank", self.shingle, bands, self.rows, self.seed)
        rows = live.each(hashed)
        crowded: list[int] = []

        def find(asked: Frame) -> Frame:
            pairs = asked.shuffle(ByHash("hash"), _BucketPairs(self.min, self.shingle), _banded, max(bands, 1))
            crowded.append(sum(t["crowded"][0].as_py() for t in pairs.each(_crowded).tables()))
            return pairs.each(_pairs)

        found = duplicates(live, rows, find, _BUCKET)
        notes = {"texts": rows.rows, **found.notes(), "crowded": crowded[-1]}
        return Selection(found.edges, edges=found.edges, notes=notes)


@dataclass(frozen=True)
class _MinHashed:
    """The rows with a text that is not blank: the text, normalised, `same` (its MD5) and `bands`, the hashes of its MinHash bands."""

    column: str
    rank: str
    size: int
    bands: int
    rows: int
    seed: int

    def __call__(self, live: pa.Table) -> pa.Table:
        text = identifier(self.column)
        some = f"""regexp_matches({text}, '[^\\pZ\\p{{Cc}}\\p{{Cf}}]')"""
        found = query(f"select id, uid, {self.rank}, {text} as text from live where {some} order by id", {"live": live})
        texts = [normal(t) for t in found["text"].to_pylist()]
        raw = [t.encode("utf-8", "surrogatepass") for t in texts]
        same = [hashlib.md5(r, usedforsecurity=False).digest() for r in raw]
        found = found.drop_columns(["text"]).append_column("text", pa.array(raw, pa.large_binary()))
        found = found.append_column("same", pa.array(same, pa.binary()))
        if not self.bands:
            return found.append_column("bands", pa.array([[]] * len(texts), pa.list_(pa.uint64())))
        from rensa import RMinHash

        minima = RMinHash.digests_from_token_sets(
            [list(shingles(t, self.size)) for t in texts], num_perm=self.bands * self.rows, seed=self.seed
        )
        minima = np.array(minima, np.uint64).reshape(len(texts), self.bands, self.rows)
        with np.errstate(over="ignore"):
            odd = np.cumprod(np.full(self.rows, 0x9E3779B97F4A7C15, np.uint64))
            hashed = ((minima + np.uint64(1)) * odd).sum(axis=2, dtype=np.uint64) * odd[0]
        return found.append_column("bands", pa.array(list(hashed), pa.list_(pa.uint64())))


def _banded(rows: pa.Table) -> pa.Table:
    """Each row once for each band."""
    exploded = "select * exclude (bands, same), unnest(bands) as value, generate_subscripts(bands, 1)::int as band from live"
    return query(f"select *, hash(band, value) as hash from ({exploded})", {"live": rows})


@dataclass(frozen=True)
class _BucketPairs:
    """The verified pairs that share a bucket of some band (greedy.PAIRS); the schema's metadata counts `crowded` buckets."""

    bound: float
    size: int

    def __call__(self, banded: pa.Table) -> Iterator[pa.Table]:
        order = in_order(banded, "band", "value", "rank")
        bands, values = (banded[c].to_numpy()[order] for c in ("band", "value"))
        new = np.append(True, (np.diff(bands) != 0) | (np.diff(values) != 0))[: len(order)]
        size = np.diff(np.flatnonzero(np.append(new, True)))
        rows = rows_at(banded, order[np.repeat(size > 1, size)])
        edges = np.cumsum([0, *size[size > 1]])
        note = {"crowded": str(int((size > _BUCKET + 1).sum()))}
        pairs = self._pairs(rows["text"], rows["asked"].to_numpy(), edges)
        while some := list(itertools.islice(pairs, _AT_ONCE)):
            worse, better, alike = zip(*some)
            yield pairs_table(rows, np.array(worse), np.array(better), np.array(alike)).replace_schema_metadata(note)
        yield PAIRS.empty_table().replace_schema_metadata(note)

    def _pairs(self, texts: pa.ChunkedArray, asked: np.ndarray, edges: np.ndarray) -> Iterator[tuple[int, int, float]]:
        for low, high in itertools.pairwise(edges.tolist()):
            if asked[low:high].any():
                yield from _bucket(texts, range(low, high), asked, self.bound, self.size)


def _crowded(pairs: pa.Table) -> pa.Table:
    return pa.table({"crowded": [int((pairs.schema.metadata or {}).get(b"crowded", b"0"))]})


def _pairs(pairs: pa.Table) -> pa.Table:
    return pairs.replace_schema_metadata(None)


def _bucket(
    texts: pa.ChunkedArray, rows: range, asked: np.ndarray, bound: float, size: int
) -> Iterator[tuple[int, int, float]]:
    """The similar pairs of one bucket, best row first: row, better row, similarity. A row that was not compared with all better ones is
    paired with itself: its pairs are wanted again in the next round."""
    more, sets = asked[list(rows[:_BUCKET])].any(), []
    for n, row in enumerate(rows):
        if n >= _BUCKET and not asked[row]:
            continue
        mine = shingles(texts[row].as_py().decode("utf-8", "surrogatepass"), size)
        if asked[row]:
            for other, theirs in zip(rows[:n], sets):
                # Sets of very different size cannot be alike: the cheap test goes first.
                if bound * max(len(mine), len(theirs)) <= min(len(mine), len(theirs)) and (s := jaccard(mine, theirs)) >= bound:
                    yield row, other, s
            if more and n > _BUCKET:
                yield row, row, 0.0
        if len(sets) < _BUCKET:
            sets.append(mine)
