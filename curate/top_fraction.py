"""The best rows of the pool by a score."""

import math
from dataclasses import dataclass

from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector, identifier


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
    """The value at 0-based rank int(N * fraction) in descending order; -inf if so many rows have none."""
    score = f"{identifier(column)}::double"
    n = int(live.count * fraction)
    found = live.sql(f"select {score} from live where not isnan({score}) order by 1 desc limit 1 offset {n}").fetchall()
    return found[0][0] if found else -math.inf
