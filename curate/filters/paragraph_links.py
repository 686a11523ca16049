"""Share of a paragraph's characters inside links."""

from dataclasses import dataclass

import pyarrow as pa

from curate.stage import Filter


@dataclass
class ParagraphLinks(Filter):
    """The share of characters inside links: high in menus that nothing else gives away. Boilerpipe's tree has its first cut
    at a link density of 0.33 (WSDM 2010).

    Ours: Boilerpipe's bound is for blocks of a page of any kind.
    """

    table = "texts"
    reads = ("link_share",)
    unit = "0 to 1"
    max: float | None = 0.8

    def score(self, live: pa.Table) -> pa.ChunkedArray:
        return live["link_share"]
