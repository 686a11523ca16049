"""The best rows of the pool by a score."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError
from curate.select.database import query
from curate.select.exchange import Frame, Sql
from curate.selector import Selection, Selector, identifier

_SIGN, _MASK = np.uint64(1 << 63), np.uint64(0xFFFF)


@dataclass
class TopFraction(Selector):
    """Keeps the `fraction` of the live rows with the highest value of `column`, and all ties at the cut.

    As DataComp codes it (2304.14108, clip_score): n = int(N * fraction), the cut is the value at 0-based rank n in
    descending order, and every row at or above the cut stays: n + 1 rows and the ties. N counts all live rows, also those
    without a score; a null or NaN score is never kept. fraction = 1 keeps every row that has a score.

    mark: a column to add instead, true for those rows: nothing falls yet, so that a later step looks at the whole pool; a Where on that
    column drops the others.

    fraction: share of the live rows that stays, 0 to 1.
    """

    column: str = "clip_score"
    fraction: float = 0.3
    mark: str = ""

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise RecipeError(f"{self.name}: fraction is {self.fraction}; it is above 0 and at most 1")
        self.reads = (self.column,)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.mark: pa.bool_()} if self.mark else {}

    def select(self, live: Frame) -> Selection:
        score, cut = f"{identifier(self.column)}::double", cut_at(live, self.column, self.fraction)
        notes = {"cut": cut if math.isfinite(cut) else None, "of": live.rows}
        if self.mark:
            above = f"coalesce(not isnan({score}) and {score} >= '{cut!r}'::double, false) as {identifier(self.mark)}"
            return Selection(columns=live.each(Sql(f"select id, {above} from live")), notes=notes)
        dropped = live.each(Sql(f"select id from live where coalesce(isnan({score}) or {score} < '{cut!r}'::double, true)"))
        return Selection(dropped, notes=notes)


def cut_at(live: Frame, column: str, fraction: float) -> float:
    """The value at 0-based rank int(N * fraction) in descending order; -inf if that many rows have none.

    No pool is sorted for it: values are counted by their first 16 bits, those that begin like the one of that rank by their next
    16, and so on.
    """
    begin, rank = 0, int(live.rows * fraction)
    for rest in (48, 32, 16, 0):
        counts = np.zeros(1 << 16, np.int64)
        for found in live.each(_Digits(column, begin, rest)).tables():
            counts[found["digit"].to_numpy()] += found["count"].to_numpy()
        reached = counts[::-1].cumsum()
        if reached[-1] <= rank:
            return -math.inf
        at = int(np.searchsorted(reached, rank, side="right"))
        rank -= int(reached[at - 1]) if at else 0
        begin = begin << 16 | ((1 << 16) - 1 - at)
    return float(_value(np.uint64(begin)))


@dataclass(frozen=True)
class _Digits:
    """A histogram task: values of a column that begin with `begin`, by their next 16 bits (`rest`: bits after those)."""

    column: str
    begin: int
    rest: int

    def __call__(self, live: pa.Table) -> pa.Table:
        places = _places(live, self.column)
        alike = places if self.rest == 48 else places[places >> np.uint64(self.rest + 16) == np.uint64(self.begin)]
        counts = np.bincount((alike >> np.uint64(self.rest) & _MASK).astype(np.int64), minlength=1 << 16)
        digits = np.flatnonzero(counts)
        return pa.table({"digit": digits, "count": counts[digits]})


def _places(live: pa.Table, column: str) -> np.ndarray:
    """Values as unsigned integers in the same order."""
    score = f"{identifier(column)}::double"
    found = query(f"select {score} as score from live where not isnan({score})", {"live": live})
    bits = (found["score"].to_numpy() + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value(place: np.uint64) -> np.float64:
    """The inverse of `_places`."""
    return (place & ~_SIGN if place & _SIGN else ~place).view(np.float64)
