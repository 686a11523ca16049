"""MetaCLIP's balance: captions that match only frequent entries are thinned, captions that match a rare one stay."""

import json
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.balance.entries import entries_hash, read_entries
from curate.balance.matcher import Matcher, Substrings
from curate.dedup.chunks import load, scratch, spill
from curate.errors import RecipeError
from curate.paths import parquet
from curate.selector import Live, Selection, Selector, coin, quoted

#: Languages written without blanks between words.
UNSPACED = ("bo", "ja", "km", "lo", "my", "th", "zh")

_WHOLE = 2**32  # what a probability of 1 is as a whole number


@dataclass
class Balance(Selector):
    """Keeps a row with probability 1 - prod(1 - min(1, t / count[e])) over the entries e that its caption matches.

    `count[e]` is the number of live captions that match entry e. The rule is MetaCLIP's (2309.16671); its draws are
    replaced by one coin a row, a hash of uid and seed, so that the outcome is the same for any order and worker count.
    A caption that matches no entry is dropped.

    `entries`: a list, a file (JSON list or one entry a line), or for several languages a dict from the values of the
    column `language` to such lists; rows in another language match nothing. One of these sets t, the count up to which
    an entry is tail and all its captions stay:
      t       a number; MetaCLIP-400M uses 20,000 (the default), MetaCLIP-2.5B 170,000
      target  the number of rows expected to stay
      tail    the share of all matches that belongs to tail entries (6 % in MetaCLIP), solved for each language
    With `t` and `base` (a language), t is the base's, and its tail share is used for the others (MetaCLIP 2).
    """

    version = 2

    entries: str | list[str] | dict[str, str | list[str]] = ()
    t: float | None = None
    target: float | None = None
    tail: float | None = None
    text: str = "text"
    language: str = ""
    base: str = ""
    seed: int = 0
    chunk: int = 50_000  # captions a task; moves nothing but speed

    free = ("chunk",)

    def __post_init__(self):
        super().__post_init__()
        if sum(v is not None for v in (self.t, self.target, self.tail)) > 1:
            raise RecipeError(f"{self.name}: give one of t, target and tail")
        if isinstance(self.entries, dict) != bool(self.language):
            raise RecipeError(f"{self.name}: entries by language need the column of the language, and the other way round")
        if self.base and (self.base not in self.entries or self.t is None):
            raise RecipeError(f"{self.name}: base must be one of the languages, and needs t")
        self.reads = (self.text, self.language) if self.language else (self.text,)

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_probability": pa.float64(), f"{self.name}_matches": pa.int32()}

    def weights(self) -> dict[str, str]:
        return {f"entries_{k}" if k else "entries": entries_hash(v) for k, v in self._lists().items()}

    def _lists(self) -> dict[str, list[str]]:
        return {k: read_entries(v) for k, v in self.entries.items()} if self.language else {"": read_entries(self.entries)}

    def select(self, live: Live) -> Selection:
        with scratch(live) as folder:
            groups = [
                self._count(live, language, entries, folder / f"group{i}")
                for i, (language, entries) in enumerate(sorted(self._lists().items()))
            ]
            bounds = self._bounds(live, groups)
            items = [(path, g.saved, bounds[g.language], self.seed, self.name) for g in groups for path in g.chunks]
            totals = [0, 0, 0]  # Python's numbers: the first outgrows 64 bits at 2 x 10^9 rows
            for group, (numbers, times, some) in zip((g for g in groups for _ in g.chunks), live.map(_toss, items)):
                group.after[numbers] += times
                totals = [a + b for a, b in zip(totals, some)]
            tossed = self._collected(live, [path for path, *_ in items])
        expected, kept, unmatched = totals
        notes = {
            "lists": {g.language or "all": g.notes(bounds[g.language]) for g in groups},
            "expected_kept": expected / _WHOLE,
            "kept": kept,
            "unmatched": unmatched,
        }
        return Selection(self._fallen(live, tossed), columns=tossed, notes=notes)

    def _collected(self, live: Live, chunks: list[str]) -> duckdb.DuckDBPyRelation:
        """What was tossed for all chunks: id, probability, matches, keep."""
        files = [_tossed(path) for path in chunks]
        names = ", ".join(f'{said} as "{name}"' for said, name in zip(("probability", "matches"), self.adds()))
        nothing = "(select 0::bigint as id, 0::double as probability, 0::int as matches, true as keep limit 0)"
        return live.keep(f"select id, {names}, keep from {parquet(files) if files else nothing}")

    def _fallen(self, live: Live, tossed: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        """Rows whose coin fell so, and those in a language that has no list."""
        fallen = tossed.filter("not keep").project("id")
        if not self.language:
            return fallen
        known = ", ".join(map(quoted, self.entries))
        return fallen.union(
            live.sql(f'select id from live where "{self.language}" is null or "{self.language}" not in ({known})')
        )

    def _count(self, live: Live, language: str, entries: list[str], folder: Path) -> "_Group":
        """Match every caption of one language; the matches stay in files, the counts of the entries come back."""
        folder.mkdir()
        listed = folder / "entries.json"
        listed.write_text(json.dumps(entries))
        where = f'where "{self.language}" = {quoted(language)}' if self.language else ""
        chunks = [str(p) for p in spill(live, f'select id, uid, "{self.text}" as text from live {where}', folder, self.chunk)]
        counts = np.zeros(len(entries), np.int64)
        for numbers, times in live.map(_match, [(path, str(listed), language in UNSPACED) for path in chunks]):
            counts[numbers] += times
        np.save(folder / "counts.npy", counts)
        return _Group(language, chunks, counts, str(folder / "counts.npy"), entries, np.zeros_like(counts))

    def _bounds(self, live: Live, groups: list["_Group"]) -> dict[str, float]:
        """t for each language."""
        if self.target is not None:
            return dict.fromkeys([g.language for g in groups], self._t_for_target(live, groups))
        t = 20_000.0 if self.t is None else float(self.t)
        share = self.tail
        if self.base:
            share = tail_share(next(g.counts for g in groups if g.language == self.base), t)
        if share is None:
            return dict.fromkeys([g.language for g in groups], t)
        return {g.language: t_for_tail(g.counts, share) for g in groups} | ({self.base: t} if self.base else {})

    def _t_for_target(self, live: Live, groups: list["_Group"]) -> float:
        """The t for which `target` rows are expected to stay, within half a row; the expectation grows with t."""
        low, high = 0.0, float(max((g.counts.max(initial=0) for g in groups), default=0))
        while high - low > 1e-9:
            grid = np.linspace(low, high, 17)
            items = [(path, g.saved, grid) for g in groups for path in g.chunks]
            expected = [sum(some) for some in zip([0] * 17, *live.map(_expect, items))]
            at = min(bisect_left(expected, self.target * _WHOLE), 16)
            if expected[at] <= (self.target + 0.5) * _WHOLE:
                return float(grid[at])
            low, high = grid[max(at - 1, 0)], grid[at]
        return high


@dataclass
class _Group:
    """The captions of one language, matched."""

    language: str
    chunks: list[str]
    counts: np.ndarray
    saved: str  # the counts as a file, for the workers
    entries: list[str]
    after: np.ndarray  # the counts among the captions that stay

    def notes(self, t: float) -> dict[str, Any]:
        return {
            "t": t,
            "tail_share": tail_share(self.counts, t),
            "matches": int(self.counts.sum()),
            "entries": len(self.counts),
            "entries_hash": entries_hash(self.entries),
            "entries_matched": int((self.counts > 0).sum()),
            "entries_above_t": int((self.counts > t).sum()),
            "ranked": self.ranked(),
        }

    def ranked(self, most: int = 40) -> list[dict[str, Any]]:
        """Entries from the most frequent on, ever fewer of them: rank, entry, captions before and after."""
        order = np.argsort(-self.counts, kind="stable")[: int((self.counts > 0).sum())]
        ranks = np.unique(np.geomspace(1, max(len(order), 1), most).round().astype(int))[: len(order)]
        return [
            {"rank": int(r), "entry": self.entries[e], "before": int(self.counts[e]), "after": int(self.after[e])}
            for r, e in zip(ranks, order[ranks - 1])
        ]


def tail_share(counts: np.ndarray, t: float) -> float:
    """The share of all matches that belongs to entries with fewer than t of them."""
    return float(counts[counts < t].sum() / max(counts.sum(), 1))


def t_for_tail(counts: np.ndarray, share: float) -> float:
    """The smallest count t for which entries with fewer than t matches hold at least `share` of all matches."""
    ordered = np.sort(counts)
    held = np.cumsum(ordered) / max(ordered.sum(), 1)
    at = int(np.searchsorted(held, share))
    return float(ordered[at] + 1) if at < len(ordered) else float(ordered.max(initial=0) + 1)


@lru_cache(maxsize=4)
def _matcher(listed: str, unspaced: bool) -> Matcher | Substrings:
    entries = json.loads(Path(listed).read_text())
    return Substrings(entries) if unspaced else Matcher(entries)


def _match(item: tuple[str, str, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Match one chunk; its pairs go to a file beside it, its counts come back, sparse."""
    path, listed, unspaced = item
    texts = load(Path(path))["text"].combine_chunks()
    rows, numbers = _matcher(listed, unspaced).match(texts)
    np.save(path + ".npy", np.stack([rows, numbers]).astype(np.int32))
    times = np.bincount(numbers)
    seen = np.flatnonzero(times)
    return seen, times[seen]


def _probability(path: str, counts: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows of a chunk that match: their places, and the probability to stay."""
    rows, numbers = np.load(path + ".npy")
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    miss = 1.0 - np.minimum(1.0, t / counts[numbers])
    return rows[starts], (1.0 - np.multiply.reduceat(miss, starts) if len(starts) else np.empty(0))


def _whole(probability: np.ndarray) -> int:
    """The sum of probabilities as a whole number, 1 being _WHOLE: the order of the rows, and how they are cut, must not matter."""
    return int(np.rint(probability * _WHOLE).astype(np.int64).sum())


def _expect(item: tuple[str, str, np.ndarray]) -> list[int]:
    """The number of rows of a chunk expected to stay, times _WHOLE, for each t of a grid."""
    path, counts, grid = item[0], np.load(item[1]), item[2]
    return [_whole(_probability(path, counts, t)[1]) for t in grid]


def _tossed(path: str) -> str:
    """The file of what was tossed for a chunk."""
    return path + ".parquet"


def _toss(item: tuple[str, str, float, int, str]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Write for each row of a chunk its probability, the number of entries matched, and whether it stays. Returns sparse the counts of
    those that do; and three sums: of the probabilities (`_whole`), of the rows that stay, and of those without a match."""
    path, counts, t, seed, salt = item
    chunk = load(Path(path))
    probability = np.zeros(len(chunk))
    rows, p = _probability(path, np.load(counts), t)
    probability[rows] = p
    matched, numbers = np.load(path + ".npy")
    keep = coin(chunk["uid"].to_pylist(), seed, salt) < probability
    times = np.bincount(numbers[keep[matched]])
    seen = np.flatnonzero(times)
    matches = np.bincount(matched, minlength=len(chunk)).astype(np.int32)
    rows = pa.table([chunk["id"], probability, matches, keep], names=["id", "probability", "matches", "keep"])
    pq.write_table(rows, _tossed(path), compression="none", use_dictionary=False)
    return seen, times[seen], [_whole(probability), int(keep.sum()), int((matches == 0).sum())]
