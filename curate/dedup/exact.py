"""Exact duplicates: rows with equal values in the key columns."""

from dataclasses import dataclass, field

from curate.cost import Cost
from curate.dedup import keys
from curate.dedup.quality import columns, sort_key
from curate.select.exchange import Frame
from curate.selector import Selection, Selector


@dataclass
class ExactDedup(Selector):
    """Of the rows with the same value in every `key` one stays: the best by the `by` columns, then by uid.

    The default key is the SHA-256 of the bytes as fetched: the same image under another URL. A key is a column or a
    function of one (keys.FUNCTIONS). A row with a null in its key is a duplicate of nothing. `by` names columns of which
    more is better (`-column`: less is better), for example `("clip_score",)` to keep the best caption of an image.

    key: columns, or functions of one, that must all be equal. LAION deduplicates by URL and text, COYO by hash and text.
    """

    version = 3
    sees_published = True

    key: tuple[str, ...] = ("sha256",)
    by: tuple[str, ...] = ()
    table: str = field(default="images", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        self.key, self.by = tuple(self.key), tuple(self.by)
        self.reads = keys.reads(self.key, *columns(self.by))

    def costs(self, rows: int) -> list[Cost]:
        return [Cost("keys", "28 N B", 28 * rows, "B")]

    def select(self, live: Frame) -> Selection:
        edges = keys.keep_best(live, self.key, sort_key(self.by))
        return Selection(edges, edges=edges, notes={"groups": keys.groups(edges)})
