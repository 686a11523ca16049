"""The best rows of the pool by a score."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curate.errors import RecipeError
from curate.selector import BATCH, Live, Selection, Selector, identifier

#: Values that are sorted, not counted in ranges.
_FEW = 1 << 18

_SIGN, _MASK, _DIGIT = np.uint64(1 << 63), np.uint64(0xFFFF), np.uint64(16)


@dataclass
class TopFraction(Selector):
    """Keeps the `fraction` of the live rows with the highest value of `column`, and all ties at the cut.

    As DataComp codes it (2304.14108, clip_score): n = int(N * fraction), the cut is the value at 0-based rank n in
    descending order, and every row at or above the cut stays: n + 1 rows and the ties. N counts all live rows, also those
    without a score; a null or NaN score is never kept. fraction = 1 keeps every row that has a score.
    """

    column: str = "clip_score"
    fraction: float = 0.3

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise RecipeError(f"{self.name}: fraction is {self.fraction}; it is above 0 and at most 1")
        self.reads = (self.column,)

    def select(self, live: Live) -> Selection:
        score, cut = f"{identifier(self.column)}::double", cut_at(live, self.column, self.fraction)
        dropped = live.keep(f"select id from live where coalesce(isnan({score}) or {score} < '{cut!r}'::double, true)")
        return Selection(dropped, notes={"cut": cut if math.isfinite(cut) else None, "of": live.count})


def cut_at(live: Live, column: str, fraction: float) -> float:
    """The value at 0-based rank int(N * fraction) in descending order; -inf if so many rows have none.

    No pool is sorted for it: values are counted by their first 16 bits, those that begin like the one of that rank by their next
    16, until few are left.
    """
    begin, rank = np.uint64(0), int(live.count * fraction)
    for rest in map(np.uint64, (48, 32, 16, 0)):
        counts = np.zeros(1 << 16, np.int64)
        for places in _places(live, column):
            alike = places if rest == 48 else places[places >> rest + _DIGIT == begin]
            counts += np.bincount((alike >> rest & _MASK).astype(np.int64), minlength=1 << 16)
        reached = counts[::-1].cumsum()
        if reached[-1] <= rank:
            return -math.inf
        at = int(np.searchsorted(reached, rank, side="right"))
        rank -= int(reached[at - 1]) if at else 0
        begin = begin << _DIGIT | np.uint64(_MASK - at)
        if reached[at] - (reached[at - 1] if at else 0) <= _FEW:
            few = np.concatenate([places[places >> rest == begin] for places in _places(live, column)])
            return float(_value(np.sort(few)[-1 - rank]))
    return float(_value(begin))


def _places(live: Live, column: str) -> Iterator[np.ndarray]:
    """The values of a column that are numbers, as whole numbers in the same order, some at a time."""
    score = f"{identifier(column)}::double"
    for batch in live.sql(f"select {score} as score from live where not isnan({score})").to_arrow_reader(BATCH):
        bits = (batch["score"].to_numpy(zero_copy_only=False) + 0.0).view(np.uint64)  # -0.0 becomes 0.0
        yield np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value(place: np.uint64) -> np.float64:
    """The number that has a place."""
    return (place & ~_SIGN if place & _SIGN else ~place).view(np.float64)
