"""Rows that are the same in every byte of the columns named."""

from dataclasses import dataclass, field

from curate.dedup import keys
from curate.dedup.quality import better_first, columns
from curate.selector import Live, Selection, Selector


@dataclass
class ExactDedup(Selector):
    """Of the rows with the same value in every `key` one stays: the best by the `by` columns, then by uid.

    The default key is the SHA-256 of the bytes as fetched: the same image under another URL. A key is a column or a
    function of one (keys.FUNCTIONS). A row with a null in its key is a duplicate of nothing. `by` names columns of which
    more is better (`-column`: less is better), for example `("clip_score",)` to keep the best caption of an image.
    """

    version = 3

    key: tuple[str, ...] = ("sha256",)
    by: tuple[str, ...] = ()
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        self.key, self.by = tuple(self.key), tuple(self.by)
        self.reads = keys.reads(self.key, *columns(self.by))

    def select(self, live: Live) -> Selection:
        each = keys.listed(live.con, self.key)
        whole = " and ".join(f"{keys.sql(live.con, k)} is not null" for k in self.key)
        with keys.repeated(live, each, whole) as twice:
            edges = live.keep(f"""
                with best as (select id, first_value(id) over (partition by {each} order by {better_first(self.by)}) as survivor
                              from live semi join {twice} on hash({each}) = "__hash" where {whole})
                select id, survivor, 1.0::float as similarity from best where id != survivor""")
        groups = edges.aggregate("count(distinct survivor)").fetchall()[0][0]
        return Selection(edges, edges=edges, notes={"groups": groups})
