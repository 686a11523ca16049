"""Rows with the same uid: the same text and URL, listed twice. The first in the order of the input stays."""

from dataclasses import dataclass

from curate.selector import EDGES, Live, Selection, Selector


@dataclass
class DuplicateUid(Selector):
    """Every pool begins with it: a sample is known by its uid, so a uid may live only once."""

    reads = ("uid",)

    def select(self, live: Live) -> Selection:
        pairs = live.sql("""
            select id, first as survivor, 1.0::float as similarity
            from (select id, min(id) over (partition by uid) as first from live)
            where id != first order by id""").to_arrow_table().cast(EDGES)
        return Selection(drop=pairs["id"].to_numpy(), edges=pairs)
