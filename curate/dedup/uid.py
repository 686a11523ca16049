"""Rows with the same uid: the same text and URL, or the same page, listed twice."""

from dataclasses import dataclass, field

from curate.dedup.keys import keep_best
from curate.dedup.quality import PUBLISHED_FIRST
from curate.select.exchange import Frame
from curate.selector import Selection, Selector, identifier


@dataclass
class DuplicateUid(Selector):
    """Every pool begins with it: a sample is known by its uid, so a uid may live only once. The first in the order of the
    input stays; with `newest`, a column of times, the newest: of pages the last capture, as in OBELICS (arXiv 2306.16527)."""

    sees_published = True

    table: str = field(default="images", kw_only=True)
    newest: str = ""

    def __post_init__(self):
        super().__post_init__()
        self.reads = ("uid", self.newest) if self.newest else ("uid",)

    def select(self, live: Frame) -> Selection:
        newest = f"{identifier(self.newest)}, 'DESC NULLS LAST', " if self.newest else ""
        edges = keep_best(live, ("uid",), f"create_sort_key({PUBLISHED_FIRST}, {newest}id, 'ASC NULLS LAST')")
        return Selection(edges, edges=edges)
