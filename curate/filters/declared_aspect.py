"""Filter by the aspect ratio that a page declares for an image."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class DeclaredAspect(Filter):
    """The longer side over the shorter one as the page declares them; 1 where it does not. A rule before any fetch; M3W
    allows 3, OBELICS and mmc4 allow 2 of the real sides."""

    reads = ("declared_width", "declared_height")
    unit = "1 and more"
    max: float | None = 3

    def score(self, live: pa.Table) -> pa.ChunkedArray:
        width, height = (pc.cast(live[c], pa.float32()) for c in self.reads)
        known = pc.and_(pc.greater(width, 0), pc.greater(height, 0))
        ratio = pc.divide(pc.max_element_wise(width, height), pc.min_element_wise(width, height))
        return pc.if_else(pc.fill_null(known, False), ratio, 1.0)
