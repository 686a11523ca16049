"""Things that occur too often: boilerplate texts, placeholder images, logos."""

from dataclasses import dataclass, field

import pyarrow as pa

from curate.dedup import keys
from curate.selector import Live, Selection, Selector


@dataclass
class Frequency(Selector):
    """Drops every row whose key occurs in more than `max` rows, or with more than `max` different values of `distinct`.

    ALIGN (2102.05918) drops alt texts shared by more than 10 images, `Frequency(("text",), distinct="sha256")`, and images
    with more than 1,000 texts; COYO texts seen more than 10 times; OBELICS image URLs seen more than 10 times, and
    paragraphs that a site has three times or more, `Frequency(("host(url)", "text"), max=2)`. No copy stays. The count is
    added as a column named like the selector. A row with a null in its key stays and has no count.
    """

    version = 3

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

    def select(self, live: Live) -> Selection:
        named = ", ".join(f"{keys.sql(live.con, k)} as k{i}" for i, k in enumerate(self.key))
        each = ", ".join(f"k{i}" for i in range(len(self.key)))
        whole = " and ".join(f"k{i} is not null" for i in range(len(self.key)))
        seen, count = (keys.sql(live.con, self.distinct), "count(distinct seen)") if self.distinct else ("id", "count(*)")
        found = live.keep(f"""
            with keyed as (select id, {named}, {seen} as seen from live),
                 counted as (select {each}, {count} as n from keyed where {whole} group by all)
            select id, n as "{self.name}" from keyed join counted using ({each})""")
        often = found.filter(f'"{self.name}" > {int(self.max)}')
        most, dropped = found.aggregate(f'max("{self.name}"), count(*) filter ("{self.name}" > {int(self.max)})').fetchall()[0]
        return Selection(often, columns=found, notes={"most": most or 0, "dropped": dropped})
