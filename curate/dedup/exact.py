"""Rows that are the same in every byte of the columns named."""

from dataclasses import dataclass

from curate.dedup.quality import better_first, columns
from curate.selector import EDGES, Live, Selection, Selector


@dataclass
class ExactDedup(Selector):
    """Of the rows with the same value in every `key` column one stays: the best by the `by` columns, then by uid.

    The default key is the SHA-256 of the bytes as fetched: the same image under another URL. A row with a null in its
    key is a duplicate of nothing. `by` names columns of which more is better (`-column`: less is better), for example
    `("clip_score",)` to keep the best caption of an image, or `("original_width", "original_height")`.
    """

    key: tuple[str, ...] = ("sha256",)
    by: tuple[str, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        self.key, self.by = tuple(self.key), tuple(self.by)
        self.reads = (*self.key, *(c for c in columns(self.by) if c not in self.key))

    def select(self, live: Live) -> Selection:
        keys = ", ".join(f'"{c}"' for c in self.key)
        whole = " and ".join(f'"{c}" is not null' for c in self.key)
        # Most keys occur once: a hash aggregate finds the others, so that only those are sorted.
        edges = live.sql(f"""
            with keyed as (select *, hash({keys}) as h from live where {whole}),
                 twice as (select h from keyed group by h having count(*) > 1),
                 best as (select id, first_value(id) over (partition by {keys} order by {better_first(self.by)}) as survivor
                          from keyed semi join twice using (h))
            select id, survivor, 1.0::float as similarity from best where id != survivor order by id
            """).to_arrow_table().cast(EDGES)
        return Selection(edges["id"].to_numpy(), edges=edges, notes={"groups": len(edges["survivor"].unique())})
