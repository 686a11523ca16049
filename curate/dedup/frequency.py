"""Things that occur too often: boilerplate texts, placeholder images, logos."""

from dataclasses import dataclass, field

import pyarrow as pa

from curate.dedup import keys
from curate.select.exchange import Frame, Sql
from curate.select.partition import ByHash
from curate.selector import PUBLISHED, Selection, Selector, identifier


@dataclass
class Frequency(Selector):
    """Drops every row whose key occurs in more than `max` rows, or with more than `max` different values of `distinct`.

    ALIGN (2102.05918) drops alt texts shared by more than 10 images, `Frequency(("text",), distinct="sha256")`, and images
    with more than 1,000 texts; COYO texts seen more than 10 times; OBELICS image URLs seen more than 10 times, and
    paragraphs that a site has three times or more, `Frequency(("host(url)", "text"), max=2)`. No copy stays. The count is
    added as a column named like the selector. A row with a null in its key stays and has no count.

    max: rows, or different values, that a key may have. key: columns, or functions of one, counted together. distinct: column whose different values are
    counted in place of rows.
    """

    version = 3
    sees_published = True

    key: tuple[str, ...] = ("text",)
    max: int = 10
    distinct: str = ""
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        self.key = tuple(self.key)
        self.reads = keys.reads(self.key, *([keys.column(self.distinct)] if self.distinct else ()))

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.int64()}

    def select(self, live: Frame) -> Selection:
        name, seen = identifier(self.name), keys.sql(self.distinct) if self.distinct else "null"
        each = keys.names(self.key)
        keyed = keys.keyed(self.key, f"{seen} as seen")
        # Of a chunk a key comes once: one that is everywhere fills no bucket.
        own = "0::bigint" if self.distinct else "count(*)"
        few = live.each(Sql(f"select {each}, hash, {own} as n, min(id) as id from ({keyed}) group by {each}, hash"))
        if self.distinct:
            few = few.also(self._values(live, keyed))
        met = f"select id, (sum(n) over (partition by {each}))::bigint as n from live qualify id is not null"
        counted = few.shuffle(ByHash("hash"), Sql(met)).home(live)
        joined = f"""with one as (select {each}, any_value(n) as n from other join ({keyed}) using (id) group by all)
            select id, n as {name} from ({keyed}) join one using ({each})"""
        found = live.each(Sql(joined), counted)
        often = found.each(Sql(f"select id from live where {name} > {int(self.max)} and id < {PUBLISHED}"))
        most = [v for t in found.each(Sql(f"select max({name}) as n from live")).tables() for v in t["n"].to_pylist() if v]
        return Selection(often, columns=found, notes={"most": max(most, default=0), "dropped": often.rows})

    def _values(self, live: Frame, keyed: str) -> Frame:
        """For each bucket of values the number `n` of those of each key in it: the values of one key are in many buckets."""
        each = keys.names(self.key)
        values = f"select distinct {each}, hash, seen, hash({each}, seen) as pair from ({keyed}) where seen is not null"
        count = f"select {each}, hash, count(distinct seen) as n, null::bigint as id from live group by {each}, hash"
        return live.shuffle(ByHash("pair"), Sql(count), Sql(values))
