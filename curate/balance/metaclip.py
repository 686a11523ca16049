"""Balance selector (MetaCLIP): subsamples captions that match only frequent entries, keeps those that match a rare one."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.balance.entries import entries_hash, read_entries
from curate.balance.matcher import Matcher, Substrings, spacing
from curate.cost import Cost
from curate.errors import RecipeError
from curate.select.database import query
from curate.select.exchange import Frame, Sql, Then
from curate.select.partition import ByHash
from curate.selector import PUBLISHED, Selection, Selector, coin, identifier, quoted

#: Languages written without spaces between words.
UNSPACED = ("bo", "ja", "km", "lo", "my", "th", "zh")

_UNIT = 2**32  # a probability of 1 in fixed point


@dataclass
class Balance(Selector):
    """Keeps a row with probability 1 - prod(1 - min(1, t / count[e])) over the entries e that its caption matches.

    `count[e]` is the number of live captions that match entry e. The rule is MetaCLIP's (2309.16671); its draws are
    replaced by one random number a row, a hash of uid and seed, so that the outcome is the same for any order and worker count.
    A caption that matches no entry is dropped.

    `entries`: a list, a file (JSON list or one entry a line), or for several languages a dict from the values of the
    column `language` to such lists; rows in another language match nothing. `words` instead takes the most frequent words of the
    captions themselves as entries, so many of them (CLIP and MetaCLIP have 500,000 entries). One of these sets t, the count
    up to which an entry is tail and all its captions are kept:
      t       a number; MetaCLIP-400M uses 20,000 (the default), MetaCLIP-2.5B 170,000
      target  the expected number of kept rows
      tail    the share of all matches that belongs to tail entries (6 % in MetaCLIP), solved for each language
    With `t` and `base` (a language), t is the base's, and its tail share is used for the others (MetaCLIP 2).

    Over several releases an entry is filled up to t: with there[e] matching captions in earlier releases the term of entry e is
    min(1, max(0, t - there[e]) / count[e]), count[e] being that of the new captions. `tail` is solved for all captions together;
    `target` is the number of new rows.

    entries: concepts, as a list, a file, or a dict of these by language. words: number of entries taken from the captions themselves, the most frequent
    words.
    t: captions of an entry up to which all are kept. target: expected number of kept rows. tail: share of matches that belongs to entries kept whole.
    language: column with each row's language, where entries are a dict. base: language whose `t` sets the tail share of the others.
    """

    version = 2
    sees_published = True

    entries: str | Sequence[str] | Mapping[str, str | Sequence[str]] = ()
    t: float | None = None
    target: float | None = None
    tail: float | None = None
    text: str = "text"
    language: str = ""
    base: str = ""
    seed: int = 0
    words: int = 0

    def __post_init__(self):
        super().__post_init__()
        if sum(v is not None for v in (self.t, self.target, self.tail)) > 1:
            raise RecipeError(f"{self.name}: give one of t, target and tail")
        if self.words and (self.entries or self.language):
            raise RecipeError(f"{self.name}: words are taken from the captions in place of entries: give one of the two")
        if isinstance(self.entries, Mapping) != bool(self.language):
            raise RecipeError(f"{self.name}: entries by language need the column of the language, and the other way round")
        if self.base and (self.base not in self.entries or self.t is None):
            raise RecipeError(f"{self.name}: base must be one of the languages, and needs t")
        self.reads = (self.text, self.language) if self.language else (self.text,)

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_probability": pa.float64(), f"{self.name}_matches": pa.int32()}

    def costs(self, rows: int) -> list[Cost]:
        return [Cost("matches", "3.5 N x 8 B", 28 * rows, "B")]

    def weights(self) -> dict[str, str]:
        return {f"entries_{k}" if k else "entries": entries_hash(v) for k, v in self._lists().items()}

    def _lists(self) -> dict[str, list[str]]:
        if self.words:
            return {}
        by_language = self.entries if isinstance(self.entries, Mapping) else {"": self.entries}
        return {k: read_entries(v) for k, v in by_language.items()}

    def select(self, live: Frame) -> Selection:
        lists = {"": frequent_words(live, self.text, self.words)} if self.words else self._lists()
        groups = [_Group(language, entries) for language, entries in sorted(lists.items())]
        column = identifier(self.language) if self.language else "''"
        rows = f"select id, uid, {identifier(self.text)} as text, {column} as language from live"
        entries = [pa.table({"language": [g.language] * len(g.entries), "entry": g.entries}, schema=_ENTRIES) for g in groups]
        matched = live.each(Then(Sql(rows), _Match()), live.constant(pa.concat_tables([_ENTRIES.empty_table(), *entries])))
        _add_counts(groups, matched.each(_match_counts), "counts")
        if live.starts[-1] >= PUBLISHED:
            _add_counts(groups, matched.each(Sql(f"from live where id >= {PUBLISHED}")).each(_match_counts), "published")
            matched = matched.each(Sql(f"from live where id < {PUBLISHED}"))
        counts = matched.constant(_counts_table(groups))
        bounds = self._bounds(matched, counts, groups)
        sampled = matched.each(_Sample(bounds, self.seed, self.name), counts)
        _add_counts(groups, matched.each(_kept_match_counts, sampled), "after")
        # Summed as Python's integers: the first exceeds 64 bits at 2 x 10^9 rows.
        sums = sampled.each(_sums)
        names = ", ".join(f"{c} as {identifier(name)}" for c, name in zip(("probability", "matches"), self.adds()))
        notes = {
            "lists": {g.language or "all": g.notes(bounds[g.language]) for g in groups},
            "expected_kept": sums.total("expected") / _UNIT,
            "kept": sums.total("kept"),
            "unmatched": sums.total("unmatched"),
        }
        # Dropped: rows that were not sampled, and those in a language that has no list.
        known = ", ".join(quoted(g.language) for g in groups)
        columns = sampled.each(Sql(f"select id, {names} from live where language in ({known})"))
        drop = sampled.each(Sql(f"select id from live where not keep or language is null or language not in ({known})"))
        return Selection(drop, columns=columns, notes=notes)

    def _bounds(self, matched: Frame, counts: Frame, groups: list["_Group"]) -> dict[str, float]:
        """The threshold t of each language."""
        if self.target is not None:
            return dict.fromkeys([g.language for g in groups], self._t_for_target(self.target, matched, counts, groups))
        t = 20_000.0 if self.t is None else float(self.t)
        share = self.tail
        if self.base:
            share = tail_share(next(g.counts for g in groups if g.language == self.base), t)
        if share is None:
            return dict.fromkeys([g.language for g in groups], t)
        return {g.language: t_for_tail(g.counts, share) for g in groups} | ({self.base: t} if self.base else {})

    def _t_for_target(self, target: float, matched: Frame, counts: Frame, groups: list["_Group"]) -> float:
        """The t at which the expected number of kept rows is `target`, within half a row; the expectation grows with t."""
        low, high = 0.0, float(max((g.counts.max(initial=0) for g in groups), default=0))
        while high - low > 1e-9:
            grid = np.linspace(low, high, 17)
            found = matched.each(_ExpectedKept(tuple(grid.tolist())), counts)
            expected = [found.total(str(n)) for n in range(17)]
            at = min(bisect_left(expected, target * _UNIT), 16)
            if expected[at] <= (target + 0.5) * _UNIT:
                return float(grid[at])
            low, high = grid[max(at - 1, 0)], grid[at]
        return high


@dataclass
class _Group:
    """The entries of one language, with the number of captions that match each: in all (`counts`), in earlier releases
    (`published`), and among the new ones that are kept (`after`)."""

    language: str
    entries: list[str]

    def __post_init__(self):
        self.counts, self.published, self.after = (np.zeros(len(self.entries), np.int64) for _ in range(3))

    def notes(self, t: float) -> dict[str, Any]:
        """Statistics for the report."""
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
        """At most `most` entries at geometrically spaced ranks, the most frequent first: rank, entry, captions before and after."""
        order = np.argsort(-self.counts, kind="stable")[: int((self.counts > 0).sum())]
        ranks = np.unique(np.geomspace(1, max(len(order), 1), most).round().astype(int))[: len(order)]
        return [
            {"rank": int(r), "entry": self.entries[e], "before": int(self.counts[e]), "after": int(self.after[e])}
            for r, e in zip(ranks, order[ranks - 1])
        ]


def tail_share(counts: np.ndarray, t: float) -> float:
    """The share of all matches that belongs to entries with fewer than t matches."""
    return float(counts[counts < t].sum() / max(counts.sum(), 1))


def t_for_tail(counts: np.ndarray, share: float) -> float:
    """The smallest count t for which entries with fewer than t matches hold at least `share` of all matches."""
    ordered = np.sort(counts)
    cumulative = np.cumsum(ordered) / max(ordered.sum(), 1)
    at = int(np.searchsorted(cumulative, share))
    return float(ordered[at] + 1) if at < len(ordered) else float(ordered.max(initial=0) + 1)


def _add_counts(groups: list[_Group], found: Frame, attribute: str) -> None:
    """Add counts by language and entry number to this array of each group."""
    arrays = {g.language: getattr(g, attribute) for g in groups}
    for t in found.tables():
        languages = np.array(t["language"].to_pylist(), object)
        for language in set(languages.tolist()):
            at = languages == language
            arrays[language][t["number"].to_numpy()[at]] += t["n"].to_numpy()[at]


def frequent_words(live: Frame, text: str, most: int) -> list[str]:
    """The `most` words that occur in the most captions; ties are broken by alphabetical order."""
    top = f"order by n desc, entry limit {int(most)}"
    sum_counts = Sql(f"select entry, sum(n)::bigint as n from live group by entry {top}")
    counted = live.shuffle(ByHash("hash"), sum_counts, _WordCounts(text))
    return counted.gathered(Sql(f"select entry, n, 0.0 as _ from live {top}")).table()["entry"].to_pylist()


# ---- tasks

_ENTRIES = pa.schema([("language", pa.large_string()), ("entry", pa.large_string())])


def _counts_table(groups: list[_Group]) -> pa.Table:
    """For each entry, in order, the number of matching captions: new ones, and those of earlier releases."""
    fields = pa.schema([("language", pa.large_string()), ("new", pa.int64()), ("published", pa.int64())])
    tables = [
        pa.table(
            {"language": [g.language] * len(g.counts), "new": g.counts - g.published, "published": g.published}, schema=fields
        )
        for g in groups
    ]
    return pa.concat_tables([fields.empty_table(), *tables])


def _by_language(table: pa.Table, column: str) -> dict[str, pa.Array]:
    """The values of a column by language, in order."""
    languages = table["language"].combine_chunks()
    return {v: table[column].filter(pc.equal(languages, v)).combine_chunks() for v in languages.unique().to_pylist()}


@lru_cache(maxsize=4)
def _matcher(digest: str, entries: "_Uncompared", unspaced: bool) -> Matcher | Substrings:
    """The matcher of entries with this digest, from a cache."""
    return Substrings(entries.values) if unspaced else Matcher(entries.values)


@dataclass(frozen=True)
class _Uncompared:
    """Entries as an argument that the cache of `_matcher` does not compare: it compares their digest."""

    values: list[str] = field(compare=False, hash=False)


@dataclass(frozen=True)
class _WordCounts:
    """Task: the distinct words of a chunk's captions, split as entries match them, with the number of captions that contain each."""

    text: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        found: Counter[str] = Counter()
        for text in rows[self.text].drop_null().to_pylist():
            found.update({w for w in spacing(text).split() if any(c.isalnum() for c in w)})
        counts = pa.table({"entry": pa.array(found, pa.large_string()), "n": pa.array(found.values(), pa.int64())})
        return query("select entry, n, hash(entry) as hash from live", {"live": counts})


@dataclass(frozen=True)
class _Match:
    """Task: the rows with `numbers`, the numbers of the entries of their language that their caption matches."""

    def __call__(self, rows: pa.Table, entries: pa.Table) -> pa.Table:
        languages, lists = rows["language"], _by_language(entries, "entry")
        numbers = np.full(len(rows), None, object)
        for language, listed in lists.items():
            at = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(languages, language), False)))
            if not len(at):
                continue
            values = listed.to_pylist()
            matcher = _matcher(entries_hash(values), _Uncompared(values), language in UNSPACED)
            row, number = matcher.match(rows["text"].take(pa.array(at)).combine_chunks().cast(pa.large_string()))
            bounds = np.searchsorted(row, np.arange(len(at) + 1))
            for i, low, high in zip(at.tolist(), bounds[:-1].tolist(), bounds[1:].tolist()):
                numbers[i] = number[low:high]
        found = pa.array(numbers.tolist(), pa.list_(pa.int32()))
        return rows.drop_columns(["text"]).append_column("numbers", found)


def _match_counts(matched: pa.Table) -> pa.Table:
    """The number of rows that match each entry: `language`, `number` and `n`."""
    matches = query("select language, unnest(numbers) as number from live", {"live": matched})
    return query("select language, number, count(*) as n from live group by all", {"live": matches})


def _kept_match_counts(matched: pa.Table, sampled: pa.Table) -> pa.Table:
    """`_match_counts` of the rows that are kept."""
    return _match_counts(matched.filter(sampled["keep"].combine_chunks()))


def _probabilities(matched: pa.Table, counts: pa.Table, bounds: dict[str, float] | float) -> np.ndarray:
    """The probability with which each row is kept; 0 where nothing matches."""
    probability, new, published = np.zeros(len(matched)), _by_language(counts, "new"), _by_language(counts, "published")
    languages, numbers = matched["language"], matched["numbers"].combine_chunks()
    for language, count in new.items():
        t = bounds[language] if isinstance(bounds, dict) else bounds
        at = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(languages, language), False)))
        in_language = numbers.take(pa.array(at))
        sizes = np.diff(in_language.offsets.to_numpy())
        at, sizes = at[sizes > 0], sizes[sizes > 0]
        flat = in_language.flatten().to_numpy()
        if len(flat):
            room = np.maximum(0.0, t - published[language].to_numpy()[flat])
            miss = 1.0 - np.minimum(1.0, room / count.to_numpy()[flat])
            probability[at] = 1.0 - np.multiply.reduceat(miss, np.cumsum(sizes) - sizes)
    return probability


def _fixed_point_sum(probability: np.ndarray) -> int:
    """The sum of probabilities in units of 1 / _UNIT: integers, so that neither the order of rows nor the chunks change it."""
    return int(np.rint(probability * _UNIT).astype(np.int64).sum())


@dataclass(frozen=True)
class _ExpectedKept:
    """Task: the expected number of kept rows of a chunk, times _UNIT, for each t of a grid."""

    grid: tuple[float, ...]

    def __call__(self, matched: pa.Table, counts: pa.Table) -> pa.Table:
        return pa.table({str(n): [_fixed_point_sum(_probabilities(matched, counts, t))] for n, t in enumerate(self.grid)})


@dataclass(frozen=True)
class _Sample:
    """Task: for each row its probability, the number of entries matched, and whether it is kept."""

    bounds: dict[str, float]
    seed: int
    salt: str

    def __call__(self, matched: pa.Table, counts: pa.Table) -> pa.Table:
        probability = _probabilities(matched, counts, self.bounds)
        keep = coin(matched["uid"].to_pylist(), self.seed, self.salt) < probability
        matches = pc.fill_null(pc.list_value_length(matched["numbers"]), 0).cast(pa.int32())
        columns = {
            "id": matched["id"],
            "language": matched["language"],
            "probability": probability,
            "matches": matches,
            "keep": keep,
        }
        return pa.table(columns)


def _sums(sampled: pa.Table) -> pa.Table:
    """Sums over a chunk: of the probabilities (`_fixed_point_sum`), of the kept rows, and of rows with a language but no match."""
    known = sampled.filter(sampled["language"].is_valid())
    return pa.table(
        {
            "expected": [_fixed_point_sum(sampled["probability"].to_numpy())],
            "kept": [pc.sum(sampled["keep"]).as_py() or 0],
            "unmatched": [pc.sum(pc.equal(known["matches"], 0)).as_py() or 0],
        }
    )
