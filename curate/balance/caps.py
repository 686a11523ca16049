"""No more than so many rows of one kind: of a site, a language, a cluster."""

from dataclasses import dataclass, field

from curate.dedup import keys
from curate.dedup.quality import better_first, columns
from curate.selector import Live, Selection, Selector, coin_sql


@dataclass
class Caps(Selector):
    """Keeps at most `max` rows for each value of the `key`: the best by the `by` columns, else a seeded draw.

    A key is a column or a function of one, such as `host(url)`. Rows with a null in their key stay.
    """

    version = 3

    key: tuple[str, ...] = ("host(url)",)
    max: int = 1000
    by: tuple[str, ...] = ()
    seed: int = 0
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        self.key, self.by = tuple(self.key), tuple(self.by)
        self.reads = keys.reads(self.key, *columns(self.by))

    def select(self, live: Live) -> Selection:
        order = better_first(self.by) if self.by else f"{coin_sql('uid', self.seed, self.name)}, uid"
        each = keys.listed(live.con, self.key)
        whole = " and ".join(f"{keys.sql(live.con, k)} is not null" for k in self.key)
        found = live.keep(f"""
            with placed as (select id, row_number() over (partition by {each} order by {order}) as place, hash({each}) as h
                            from live where {whole})
            select id, h from placed where place > {int(self.max)}""")
        return Selection(found, notes={"capped": found.aggregate("count(distinct h)").fetchall()[0][0]})
