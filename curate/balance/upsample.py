"""Upsample selector: repeats rows of rare languages, concepts or sources in the shards."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curate.balance.matcher import Matcher
from curate.dedup import keys
from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.selector import Selection, Selector, coin


@dataclass
class Upsample(Selector):
    """Adds `copies`, the number of samples that a row becomes in the shards. Drops nothing.

    One of these sets it:
      factors   copies for values of `key`, a column or a function of one such as `host(url)`: {"sw": 3, "de": 1.5}
      concepts  copies for rows whose `text` matches an entry (MetaCLIP's match, 2309.16671); of several the largest: {"tapir": 4}
      temper    the shares of the values of `key` become proportional to rows ** temper, as XLM-R (1911.02116, 0.3) samples languages:
                the most frequent value keeps one copy, the others get more. For keys with few values

    A fraction holds on average: 1.5 gives every other row two copies, chosen at random with a seed. A row gets at most `max` copies and
    at least one; rows to which none of these applies get one. Caps, Budget and Balance reduce what is frequent.

    max: copies of a row at most. key: column, or function of one, to whose values `factors` and `temper` apply.
    """

    factors: dict[str, float] = field(default_factory=dict)
    concepts: dict[str, float] = field(default_factory=dict)
    temper: float | None = None
    key: str = "language"
    text: str = "text"
    max: int = 10
    seed: int = 0
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if (bool(self.factors) + bool(self.concepts) + (self.temper is not None)) != 1:
            raise RecipeError(f"{self.name}: give one of factors, concepts and temper")
        if min([*self.factors.values(), *self.concepts.values(), 1]) < 1 or self.max < 1:
            raise RecipeError(
                f"{self.name}: a factor is 1 or more, and so is max; to keep less of something use Caps or Budget"
            )
        if self.temper is not None and not 0 <= self.temper <= 1:
            raise RecipeError(f"{self.name}: temper must lie between 0 and 1")
        self.reads = (self.text,) if self.concepts else keys.reads((self.key,))

    def adds(self) -> dict[str, pa.DataType]:
        return {"copies": pa.int32()}

    def select(self, live: Frame) -> Selection:
        if self.concepts:
            found = live.each(_ConceptFactors(self.text, self.concepts))
        else:
            factors = self.factors or self._tempered_factors(live)
            table = pa.table({"value": pa.array(factors, pa.string()), "factor": pa.array(factors.values(), pa.float64())})
            rows = live.each(Sql(f"select id, uid, {keys.sql(self.key)}::varchar as value from live"))
            joined = "select id, uid, coalesce(factor, 1.0) as factor from live left join other using (value)"
            found = rows.each(Sql(joined), rows.constant(table))
        copies = found.each(_Copies(self.max, self.seed, self.name))
        return Selection(columns=copies, notes={"rows": live.rows, "samples": copies.each(_sum_of_copies).total("n")})

    def _tempered_factors(self, live: Frame) -> dict[str, float]:
        """The factor of each value of the key: (largest count / its count) ** (1 - temper)."""
        counted = live.each(Sql(f"select {keys.sql(self.key)}::varchar as value, count(*) as n from live group by all"))
        sizes: dict[str, int] = {}
        for t in counted.tables():
            for value, n in zip(t["value"].to_pylist(), t["n"].to_pylist()):
                if value is not None:
                    sizes[value] = sizes.get(value, 0) + n
        most = max(sizes.values(), default=1)
        return {value: (most / n) ** (1 - (self.temper or 0.0)) for value, n in sorted(sizes.items())}


@dataclass(frozen=True)
class _ConceptFactors:
    """Task: the largest factor of the concepts that each row's text matches; 1 where none matches."""

    text: str
    factors: dict[str, float]

    def __call__(self, live: pa.Table) -> pa.Table:
        factor, factors = np.ones(len(live)), np.array(list(self.factors.values()), float)
        row, entry = Matcher(list(self.factors)).match(live[self.text].combine_chunks().cast(pa.large_string()))
        np.maximum.at(factor, row, factors[entry])
        return pa.table({"id": live["id"], "uid": live["uid"], "factor": factor})


@dataclass(frozen=True)
class _Copies:
    """Task: factors as whole numbers of copies, rounded up where the row's random number is below the fraction."""

    most: int
    seed: int
    salt: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        factor = rows["factor"].to_numpy()
        round_up = coin(rows["uid"].to_pylist(), self.seed, self.salt) < factor % 1
        copies = np.minimum(np.floor(factor) + round_up, self.most)
        return pa.table({"id": rows["id"], "copies": pa.array(copies.astype(np.int32))})


def _sum_of_copies(rows: pa.Table) -> pa.Table:
    return pa.table({"n": [int(rows["copies"].to_numpy().sum())]})
