"""MetaCLIP's balance: captions that match only frequent entries are thinned, captions that match a rare one stay."""

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
from curate.select.exchange import ByHash, Frame, Sql, Then
from curate.selector import PUBLISHED, Selection, Selector, coin, identifier, quoted

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
    column `language` to such lists; rows in another language match nothing. `words` in their place takes as entries that many of the
    words of the captions themselves, the most frequent ones (CLIP and MetaCLIP have 500,000 entries). One of these sets t, the count
    up to which an entry is tail and all its captions stay:
      t       a number; MetaCLIP-400M uses 20,000 (the default), MetaCLIP-2.5B 170,000
      target  the number of rows expected to stay
      tail    the share of all matches that belongs to tail entries (6 % in MetaCLIP), solved for each language
    With `t` and `base` (a language), t is the base's, and its tail share is used for the others (MetaCLIP 2).

    In a set that grows an entry is filled up to t: with there[e] matching captions in earlier releases the term of entry e is
    min(1, max(0, t - there[e]) / count[e]), count[e] being that of the new captions. `tail` is solved for all captions together;
    `target` is the number of new rows.

    entries: concepts, as a list, a file, or a dict of these by language. words: number of entries taken from the captions themselves, the most frequent
    words.
    t: captions of an entry that all stay. target: rows expected to stay. tail: share of matches of entries that all stay.
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
        _add(groups, matched.each(_counted), "counts")
        if live.starts[-1] >= PUBLISHED:
            _add(groups, matched.each(Sql(f"from live where id >= {PUBLISHED}")).each(_counted), "there")
            matched = matched.each(Sql(f"from live where id < {PUBLISHED}"))
        counts = matched.constant(_counts_table(groups))
        bounds = self._bounds(matched, counts, groups)
        tossed = matched.each(_Toss(bounds, self.seed, self.name), counts)
        _add(groups, matched.each(_kept, tossed), "after")
        # Python's numbers: the first outgrows 64 bits at 2 x 10^9 rows.
        sums = tossed.each(_sums)
        names = ", ".join(f"{c} as {identifier(name)}" for c, name in zip(("probability", "matches"), self.adds()))
        notes = {
            "lists": {g.language or "all": g.notes(bounds[g.language]) for g in groups},
            "expected_kept": sums.total("expected") / _WHOLE,
            "kept": sums.total("kept"),
            "unmatched": sums.total("unmatched"),
        }
        # Rows whose coin fell so, and those in a language that has no list.
        known = ", ".join(quoted(g.language) for g in groups)
        columns = tossed.each(Sql(f"select id, {names} from live where language in ({known})"))
        drop = tossed.each(Sql(f"select id from live where not keep or language is null or language not in ({known})"))
        return Selection(drop, columns=columns, notes=notes)

    def _bounds(self, matched: Frame, counts: Frame, groups: list["_Group"]) -> dict[str, float]:
        """t for each language."""
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
        """The t for which `target` rows are expected to stay, within half a row; the expectation grows with t."""
        low, high = 0.0, float(max((g.counts.max(initial=0) for g in groups), default=0))
        while high - low > 1e-9:
            grid = np.linspace(low, high, 17)
            found = matched.each(_Expect(tuple(grid.tolist())), counts)
            expected = [found.total(str(n)) for n in range(17)]
            at = min(bisect_left(expected, target * _WHOLE), 16)
            if expected[at] <= (target + 0.5) * _WHOLE:
                return float(grid[at])
            low, high = grid[max(at - 1, 0)], grid[at]
        return high


@dataclass
class _Group:
    """The entries of one language, and how many captions match each: in all (`counts`), in earlier releases (`there`), and of the new
    ones after the balance."""

    language: str
    entries: list[str]

    def __post_init__(self):
        self.counts, self.there, self.after = (np.zeros(len(self.entries), np.int64) for _ in range(3))

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


def _add(groups: list[_Group], found: Frame, to: str) -> None:
    """Add up counts by language and number of the entry."""
    by = {g.language: getattr(g, to) for g in groups}
    for t in found.tables():
        languages = np.array(t["language"].to_pylist(), object)
        for language in set(languages.tolist()):
            at = languages == language
            by[language][t["number"].to_numpy()[at]] += t["n"].to_numpy()[at]


def frequent_words(live: Frame, text: str, most: int) -> list[str]:
    """The `most` words that occur in the most captions; of those in as many the first in order."""
    top = f"order by n desc, entry limit {int(most)}"
    met = Sql(f"select entry, sum(n)::bigint as n from live group by entry {top}")
    counted = live.shuffle(ByHash("hash"), met, _Words(text))
    return counted.gathered(Sql(f"select entry, n, 0.0 as _ from live {top}")).table()["entry"].to_pylist()


# ---- tasks

_ENTRIES = pa.schema([("language", pa.large_string()), ("entry", pa.large_string())])


def _counts_table(groups: list[_Group]) -> pa.Table:
    """For each entry, in order, how many new captions match it, and how many of earlier releases."""
    fields = pa.schema([("language", pa.large_string()), ("new", pa.int64()), ("there", pa.int64())])
    each = [
        pa.table({"language": [g.language] * len(g.counts), "new": g.counts - g.there, "there": g.there}, schema=fields)
        for g in groups
    ]
    return pa.concat_tables([fields.empty_table(), *each])


def _of(table: pa.Table, column: str) -> dict[str, pa.Array]:
    """The values of a column by language, in their order."""
    languages = table["language"].combine_chunks()
    return {v: table[column].filter(pc.equal(languages, v)).combine_chunks() for v in languages.unique().to_pylist()}


@lru_cache(maxsize=4)
def _matcher(digest: str, entries: "_Hidden", unspaced: bool) -> Matcher | Substrings:
    return Substrings(entries.values) if unspaced else Matcher(entries.values)


@dataclass(frozen=True)
class _Hidden:
    """Entries that a cache knows by their digest, not by themselves."""

    values: list[str] = field(compare=False, hash=False)


@dataclass(frozen=True)
class _Words:
    """The words of a chunk's captions, as entries match them, with the number of captions that have each."""

    text: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        found: Counter[str] = Counter()
        for text in rows[self.text].drop_null().to_pylist():
            found.update({w for w in spacing(text).split() if any(c.isalnum() for c in w)})
        counts = pa.table({"entry": pa.array(found, pa.large_string()), "n": pa.array(found.values(), pa.int64())})
        return query("select entry, n, hash(entry) as hash from live", {"live": counts})


@dataclass(frozen=True)
class _Match:
    """The rows with `numbers`, those of the entries of their language that their caption matches."""

    def __call__(self, rows: pa.Table, entries: pa.Table) -> pa.Table:
        languages, lists = rows["language"], _of(entries, "entry")
        numbers = np.full(len(rows), None, object)
        for language, listed in lists.items():
            at = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(languages, language), False)))
            if not len(at):
                continue
            values = listed.to_pylist()
            matcher = _matcher(entries_hash(values), _Hidden(values), language in UNSPACED)
            row, number = matcher.match(rows["text"].take(pa.array(at)).combine_chunks().cast(pa.large_string()))
            bounds = np.searchsorted(row, np.arange(len(at) + 1))
            for i, low, high in zip(at.tolist(), bounds[:-1].tolist(), bounds[1:].tolist()):
                numbers[i] = number[low:high]
        found = pa.array(numbers.tolist(), pa.list_(pa.int32()))
        return rows.drop_columns(["text"]).append_column("numbers", found)


def _flat(matched: pa.Table, where: np.ndarray | None = None) -> pa.Table:
    """`language` and `number` of each match, of all rows or of those where a mask holds."""
    rows = matched if where is None else matched.filter(pa.array(where))
    return query("select language, unnest(numbers) as number from live", {"live": rows})


def _counted(matched: pa.Table) -> pa.Table:
    return query("select language, number, count(*) as n from live group by all", {"live": _flat(matched)})


def _kept(matched: pa.Table, tossed: pa.Table) -> pa.Table:
    """The same of the rows that stay."""
    keep = tossed["keep"].combine_chunks().to_numpy(zero_copy_only=False)
    return query("select language, number, count(*) as n from live group by all", {"live": _flat(matched, keep)})


def _probabilities(matched: pa.Table, counts: pa.Table, bounds: dict[str, float] | float) -> np.ndarray:
    """The probability of each row to stay; 0 where nothing matches."""
    probability, new, there = np.zeros(len(matched)), _of(counts, "new"), _of(counts, "there")
    languages, numbers = matched["language"], matched["numbers"].combine_chunks()
    for language, count in new.items():
        t = bounds[language] if isinstance(bounds, dict) else bounds
        at = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(languages, language), False)))
        some = numbers.take(pa.array(at))
        sizes = np.diff(some.offsets.to_numpy())
        at, sizes = at[sizes > 0], sizes[sizes > 0]
        flat = some.flatten().to_numpy()
        if len(flat):
            room = np.maximum(0.0, t - there[language].to_numpy()[flat])
            miss = 1.0 - np.minimum(1.0, room / count.to_numpy()[flat])
            probability[at] = 1.0 - np.multiply.reduceat(miss, np.cumsum(sizes) - sizes)
    return probability


def _whole(probability: np.ndarray) -> int:
    """The sum of probabilities as a whole number, 1 being _WHOLE: the order of the rows, and how they are cut, must not matter."""
    return int(np.rint(probability * _WHOLE).astype(np.int64).sum())


@dataclass(frozen=True)
class _Expect:
    """The number of rows of a chunk expected to stay, times _WHOLE, for each t of a grid."""

    grid: tuple[float, ...]

    def __call__(self, matched: pa.Table, counts: pa.Table) -> pa.Table:
        return pa.table({str(n): [_whole(_probabilities(matched, counts, t))] for n, t in enumerate(self.grid)})


@dataclass(frozen=True)
class _Toss:
    """For each row its probability, the number of entries matched, and whether it stays."""

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


def _sums(tossed: pa.Table) -> pa.Table:
    """Three sums: of the probabilities (`_whole`), of the rows that stay, and of those in a known language without a match."""
    known = tossed.filter(tossed["language"].is_valid())
    return pa.table(
        {
            "expected": [_whole(tossed["probability"].to_numpy())],
            "kept": [pc.sum(tossed["keep"]).as_py() or 0],
            "unmatched": [pc.sum(pc.equal(known["matches"], 0)).as_py() or 0],
        }
    )
