"""Rows with the same uid: the same text and URL, or the same page, listed twice."""

from dataclasses import dataclass, field

from curate.dedup.keys import repeated
from curate.selector import Live, Selection, Selector


@dataclass
class DuplicateUid(Selector):
    """Every pool begins with it: a sample is known by its uid, so a uid may live only once. The first in the order of the
    input stays; with `newest`, a column of times, the newest: of pages the last capture, as in OBELICS (arXiv 2306.16527)."""

    table: str = field(default="images", kw_only=True)
    newest: str = ""

    def __post_init__(self):
        super().__post_init__()
        self.reads = ("uid", self.newest) if self.newest else ("uid",)

    def select(self, live: Live) -> Selection:
        order = f'"{self.newest}" desc nulls last, id' if self.newest else "id"
        with repeated(live, "uid") as twice:
            pairs = live.keep(f"""
                with few as (select id, first_value(id) over (partition by uid order by {order}) as first
                             from live semi join {twice} on hash(live.uid) = "__hash")
                select id, first as survivor, 1.0::float as similarity from few where id != first""")
        return Selection(pairs, edges=pairs)
