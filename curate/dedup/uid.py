"""Rows with the same uid: the same text and URL, listed twice. The first in the order of the input stays."""

from dataclasses import dataclass

from curate.selector import EDGES, Live, Selection, Selector


@dataclass
class DuplicateUid(Selector):
    """Every pool begins with it: a sample is known by its uid, so a uid may live only once."""

    reads = ("uid",)

    def select(self, live: Live) -> Selection:
        # Most uids occur once: an aggregate over 8-byte hashes finds the few that may not, and only those are compared.
        pairs = live.sql("""
            with twice as (select hash(uid) as h from live group by h having count(*) > 1),
                 few as (select id, min(id) over (partition by uid) as first from live semi join twice on hash(live.uid) = twice.h)
            select id, first as survivor, 1.0::float as similarity from few where id != first order by id""").to_arrow_table().cast(EDGES)
        return Selection(drop=pairs["id"].to_numpy(), edges=pairs)
