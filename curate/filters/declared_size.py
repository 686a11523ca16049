"""Filter by the size that a page declares for an image."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter

#: The score of an image without a declared size, which passes.
UNKNOWN = 65_535


@dataclass
class DeclaredSize(Filter):
    """The shorter side in pixels as the page declares it; 65,535 where it declares none. A rule before any fetch, so that icons are not
    asked for. A page may show a large file small: such a thumbnail falls here, and not by a rule of the file's own sides (M3W, KOSMOS-1,
    mmc4). OBELICS asks both."""

    reads = ("declared_width", "declared_height")
    dtype = pa.int32()
    unit = "pixels"
    min: float | None = 64

    def score(self, live: pa.Table) -> pa.ChunkedArray:
        return pc.fill_null(pc.min_element_wise(live["declared_width"], live["declared_height"], skip_nulls=True), UNKNOWN)
