"""From pairs of rows that are too alike to the rows that stay.

One rule for every dedup: rows are judged from best to worst, and a row falls if a better row that *stays* is too like it.
So every row that falls has a survivor it really resembles, and nothing falls because of a row that fell itself. (SemDeDup's
code drops a row for any earlier row, kept or not; joining pairs into components drops rows that resemble no survivor.)

Rows are numbered by rank here: 0 is the best. Memory is bounded: of a row's better neighbours only the `limit` best are
listed; a row whose listed neighbours all fell while more exist is asked about again, so the outcome is exact.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.selector import EDGES

KEPT, DROPPED, UNKNOWN = 0, 1, 2

#: worse row, better row, how alike: three arrays of one length.
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Finds the pairs of the rows asked about with those alive, see resolve.
Find = Callable[[np.ndarray, np.ndarray], Iterable[Pairs]]

_STEP = 1 << 20  # pairs turned into Python numbers at a time
_PAIRS = 1 << 13  # so many are no crowd, however few the rows
_TELLING, _MORE = 8, 8  # so many pairs tell of a crowd; else so many times the rows are looked at,
_SMALL = 4  # as long as all are more than so many times these


@dataclass
class Resolved:
    """Who stays. `survivor` and `similarity` mean something where `dropped` is true."""

    dropped: np.ndarray
    survivor: np.ndarray
    similarity: np.ndarray
    pairs: int  # listed in all rounds
    rounds: int

    def edges(self, ids: np.ndarray) -> pa.Table:
        """The EDGES of the dropped rows; `ids` maps ranks to ids."""
        fallen = np.flatnonzero(self.dropped)
        table = pa.table([ids[fallen], ids[self.survivor[fallen]], self.similarity[fallen]], schema=EDGES)
        return table.sort_by("id")


def resolve(count: int, find: Find, limit: int = 64, sample: int | None = None) -> Resolved:
    """Judge `count` rows.

    `find(asked, alive)` gets two boolean masks and yields the pairs whose worse row is asked about and whose better row is
    alive, in any order; a pair may come twice. A row that may have more pairs once others fell is paired with itself.

    With `sample`, so many rows are compared first, to see how many pairs there will be. In a crowd of look-alikes the better half
    is judged first, then the others are asked about those of it that stay, and only what is left about each other: a few looks
    a row, not all pairs. `find` knows such a question by masks that have no row in common: the alive all stay, and the
    best-ranked pair of each row is enough. The outcome is the same.
    """
    judge = _Judge(count, find, limit, sample)
    judge.between(0, count)
    return Resolved(judge.state == DROPPED, judge.survivor, judge.similarity, judge.pairs, judge.rounds)


class _Judge:
    """What is known of each row so far: a rule asked in parts. See resolve."""

    def __init__(self, count: int, find: Find, limit: int, sample: int | None):
        self.find, self.limit, self.sample = find, limit, sample
        self.state = np.full(count, UNKNOWN, np.uint8)
        self.survivor, self.similarity = np.full(count, -1), np.zeros(count, np.float32)
        self.pairs = self.rounds = 0

    def between(self, start: int, stop: int) -> None:
        """Judge what is unknown between two ranks, and resembles none of the better rows that stay."""
        rows = start + np.flatnonzero(self.state[start:stop] == UNKNOWN)
        if self.sample and self.crowded(rows):
            middle = int(rows[len(rows) // 2])
            self.between(start, middle)
            self.ask(self.these(middle, stop, UNKNOWN), self.these(start, middle, KEPT), 1)
            self.between(middle, stop)
            return
        alive = self.mask(rows)
        while (asked := self.these(start, stop, UNKNOWN)).any():
            self.ask(asked, alive & (self.state != DROPPED), self.limit, final=True)
            self.rounds += 1

    def crowded(self, rows: np.ndarray) -> bool:
        """Whether there are more pairs than half the rows: as some of them tell, or where those have none to tell of, more of them."""
        size = self.sample
        while len(rows) > _SMALL * size:
            some = self.mask(rows[:: len(rows) // size])
            pairs = len(_first(self.find(some, some), self.limit, len(some))[0][0])
            size *= _MORE
            if pairs >= _TELLING or len(rows) <= _SMALL * size:
                return pairs * (len(rows) / some.sum()) ** 2 > max(len(rows) / 2, _PAIRS)
        return False

    def ask(self, asked: np.ndarray, alive: np.ndarray, limit: int, final: bool = False) -> None:
        """Have rows fall for those that stay. final: what is asked about and has no pair, and will have none, stays."""
        listed, partial = _first(self.find(asked, alive), limit, len(asked))
        if final:
            self.state[asked & ~partial] = KEPT
        at = _fall(listed, self.state)
        fallen = listed[0][at]
        self.survivor[fallen], self.similarity[fallen] = listed[1][at], listed[2][at]
        self.pairs += len(listed[0])

    def these(self, start: int, stop: int, state: int) -> np.ndarray:
        return self.mask(start + np.flatnonzero(self.state[start:stop] == state))

    def mask(self, rows: np.ndarray) -> np.ndarray:
        mask = np.zeros(len(self.state), bool)
        mask[rows] = True
        return mask


def _first(found: Iterable[Pairs], limit: int, count: int) -> tuple[Pairs, np.ndarray]:
    """The pairs sorted by worse and better row, at most `limit` for each worse row; and which rows had more."""
    partial = np.zeros(count, bool)
    kept, waiting, size = _merge([], limit, partial), [], 0
    for pairs in found:
        waiting.append(pairs)
        size += len(pairs[0])
        if size > max(len(kept[0]), 1 << 22):  # merging only when the pile has doubled costs O(n log n) in all
            kept, waiting, size = _merge([kept, *waiting], limit, partial), [], 0
    return _merge([kept, *waiting], limit, partial), partial


def _merge(pieces: list[Pairs], limit: int, partial: np.ndarray) -> Pairs:
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    worse, better, alike = (np.concatenate([e, *(p[i] for p in pieces)]) for i, e in enumerate(empty))
    order = np.lexsort((-alike, better, worse))
    worse, better, alike = worse[order], better[order], alike[order]
    new = np.ones(len(worse), bool)
    new[1:] = (np.diff(worse) != 0) | (np.diff(better) != 0)
    partial[worse[worse == better]] = True
    new &= worse != better
    worse, better, alike = worse[new], better[new], alike[new].astype(np.float32)
    starts = np.flatnonzero(np.diff(worse, prepend=-1))
    nth = np.arange(len(worse)) - np.repeat(starts, np.diff(starts, append=len(worse)))
    partial[worse[nth >= limit]] = True
    few = nth < limit
    return worse[few], better[few], alike[few]


def _fall(listed: Pairs, state: np.ndarray) -> np.ndarray:
    """Settle `state` in place, best rows first; returns for each fallen row the pair with its best survivor."""
    mood, chosen = bytearray(state.tobytes()), []
    for start in range(0, len(listed[0]), _STEP):
        pairs = zip(listed[0][start : start + _STEP].tolist(), listed[1][start : start + _STEP].tolist())
        for n, (worse, better) in enumerate(pairs, start):
            # `better` is final: it has a smaller rank, so all of its own pairs came before.
            if mood[better] == KEPT and mood[worse] != DROPPED:
                mood[worse] = DROPPED
                chosen.append(n)
            elif mood[better] == UNKNOWN and mood[worse] == KEPT:
                mood[worse] = UNKNOWN
    state[:] = np.frombuffer(mood, np.uint8)
    return np.array(chosen, np.int64)


def first_of(keys: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """For each row the first row with equal values: rows that are equal need to be compared with others only once.

    `keys` are hashes of the rows' values, which decides quickly; `values[at[i]]` are those of row i, which decides.
    """
    _, place, inverse = np.unique(keys, return_index=True, return_inverse=True)
    first = place[inverse]
    copies = np.flatnonzero(first != np.arange(len(keys)))
    for rows in np.array_split(copies, len(copies) // 4096 + 1):
        differ = (values[at[rows]] != values[at[first[rows]]]).any(axis=1)
        first[rows[differ]] = rows[differ]  # two rows with one key: possible, if not probable
    return first


def spread(done: Resolved, first: np.ndarray) -> Resolved:
    """The outcome for distinct rows, carried over to all rows.

    `done` judged the rows where `first[i] == i`, in their order. A copy falls for its first row, or for the survivor of it.
    """
    distinct = np.flatnonzero(first == np.arange(len(first)))
    model = np.searchsorted(distinct, first)
    copy = first != np.arange(len(first))
    lost = done.dropped[model]
    return Resolved(
        dropped=copy | lost,
        survivor=np.where(lost, distinct[done.survivor[model]], first),
        similarity=np.where(lost, done.similarity[model], np.float32(1)),
        pairs=done.pairs,
        rounds=done.rounds,
    )
