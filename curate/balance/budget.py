"""So many samples, or so many words, from each of several pools."""

from dataclasses import dataclass, field

import pyarrow as pa

from curate.dedup.quality import better_first, columns
from curate.errors import RecipeError
from curate.selector import Live, Selection, Selector, coin_sql, quoted


@dataclass
class Budget(Selector):
    """Keeps rows of each pool until its budget is spent: the best by the `by` columns, else in the order of a seeded coin.

    budgets: a number for each pool; a row belongs to the first pool whose name occurs in its `key` (the path of the file that it
    came from), and falls if there is none. cost: a column with what a row costs, such as `caption_words` for a budget in words;
    without one each row costs 1. The row that would overspend falls, and all that come after it. A row without a cost falls.
    A pool smaller than its budget gives all it has; notes say what each gave.
    """

    version = 2

    budgets: dict[str, float] = field(default_factory=dict)
    key: str = "source_file"
    cost: str = ""
    by: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if not self.budgets or min(self.budgets.values()) < 0:
            raise RecipeError(f"{self.name}: budgets= must give a number, 0 or more, for the name of each pool")
        self.by = tuple(self.by)
        self.reads = tuple(dict.fromkeys((self.key, *([self.cost] if self.cost else []), *columns(self.by))))

    def adds(self) -> dict[str, pa.DataType]:
        return {f"{self.name}_pool": pa.large_string()}

    def select(self, live: Live) -> Selection:
        order = better_first(self.by) if self.by else f"{coin_sql('uid', self.seed, self.name)}, uid"
        names = " ".join(f'when contains("{self.key}", {quoted(n)}) then {quoted(n)}' for n in self.budgets)
        limits = " ".join(f"when {quoted(n)} then {float(limit)!r}::double" for n, limit in self.budgets.items())
        cost = f'"{self.cost}"::double' if self.cost else "1::double"
        found = live.keep(f"""
            with named as (select *, case {names} end as "__pool", {cost} as "__cost" from live),
                 spent as (select id, sum("__cost") over (partition by "__pool" order by {order} rows unbounded preceding) as "__total"
                           from named where not isnan("__cost"))
            select id, "__pool" as "{self.name}_pool", "__cost" as cost, coalesce("__total" <= case "__pool" {limits} end, false) as keep
            from named left join spent using (id)""")
        sums = found.filter("keep").aggregate(f'"{self.name}_pool", sum(cost order by id)').fetchall()
        spent = dict.fromkeys(self.budgets, 0.0) | dict(sums)
        return Selection(found.filter("not keep"), columns=found, notes={"spent": spent, "budgets": dict(self.budgets)})
