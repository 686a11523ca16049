"""Budget selector: a fixed number of samples, words or tokens from each of several pools."""

from dataclasses import dataclass, field

import pyarrow as pa

from curate.dedup.quality import coin_key, columns, sort_key
from curate.errors import RecipeError
from curate.select.exchange import Frame, Sql
from curate.selector import Selection, Selector, identifier, quoted


@dataclass
class Budget(Selector):
    """Keeps rows of each pool until its budget is spent: the best by the `by` columns, else in a seeded random order.

    budgets: a number for each pool; a row belongs to the first pool whose name occurs in its `key` (the path of its input
    file), and is dropped if there is none. cost: column with the cost of a row, such as `caption_words` for a budget in words
    or `caption_tokens` for one in tokens; none: each row costs 1. A row without a cost is dropped, and so is the row that would exceed the budget,
    with all rows ranked after it. A pool smaller than its budget is kept whole; the notes record what each pool spent. Rows of earlier
    releases rank first: new rows get what remains of a budget.

    key: column in which the names of pools are looked for. Ours.
    """

    version = 2
    sees_published = True

    budgets: dict[str, float] = field(default_factory=dict)
    key: str = "source_file"
    cost: str = ""
    by: tuple[str, ...] = ()
    seed: int = 0
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if not self.budgets or min(self.budgets.values()) < 0:
            raise RecipeError(f"{self.name}: budgets= must give a number, 0 or more, for the name of each pool")
        self.by = tuple(self.by)
        self.reads = tuple(dict.fromkeys((self.key, *([self.cost] if self.cost else []), *columns(self.by))))

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_pool": pa.large_string()}

    def select(self, live: Frame) -> Selection:
        coin = coin_key(self.seed, self.name)
        key, name = identifier(self.key), identifier(f"{self.name}_pool")
        pools = " ".join(f"when contains({key}, {quoted(n)}) then {quoted(n)}" for n in self.budgets)
        cost = f"{identifier(self.cost)}::double" if self.cost else "1::double"
        columns = f"id, case {pools} end as {name}, {cost} as cost"
        ordered = live.in_order(sort_key(self.by) if self.by else coin, columns)
        # Each range of the order starts from what the ranges before it spent, pool by pool.
        sums = [_costs_by_pool(t) for t in ordered.each(Sql(_SPENT.format(name))).tables()]
        before = [{n: sum(s.get(n) or 0.0 for s in sums[:i]) for n in self.budgets} for i in range(len(sums))]
        spent = ordered.each(Sql(_TOTAL.format(name)), ordered.beside(_amounts(b) for b in before))
        limited = spent.each(Sql(_WITHIN.format(name)), spent.constant(_amounts(self.budgets)))
        found = limited.home(live)
        drop = found.each(Sql("select id from live where not keep"))
        kept = [_costs_by_pool(t) for t in limited.each(Sql(_KEPT.format(name))).tables()]
        total = {n: sum(k.get(n) or 0.0 for k in kept) for n in self.budgets}
        return Selection(drop, columns=found, notes={"spent": total, "budgets": dict(self.budgets)})


_SPENT = "select {0} as pool, sum(cost order by sort) as cost from live where not isnan(cost) group by {0}"
_KEPT = "select {0} as pool, sum(cost order by sort) as cost from live where keep group by {0}"
_TOTAL = """select live.*, coalesce(amount, 0) + sum(if(isnan(cost), null, cost)) over
    (partition by {0} order by sort rows unbounded preceding) as total from live left join other on other.pool = live.{0}"""
_WITHIN = """select id, {0}, cost, sort, coalesce(not isnan(cost) and total <= amount, false) as keep
    from live left join other on other.pool = live.{0}"""


def _costs_by_pool(rows: pa.Table) -> dict[str, float]:
    return dict(zip(rows["pool"].to_pylist(), rows["cost"].to_pylist()))


def _amounts(numbers: dict[str, float]) -> pa.Table:
    """A number for each pool as a table of `pool` and `amount`."""
    return pa.table({"pool": pa.array(list(numbers), pa.string()), "amount": pa.array(list(numbers.values()), pa.float64())})
