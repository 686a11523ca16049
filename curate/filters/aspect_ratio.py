"""Filter by the image's aspect ratio."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class AspectRatio(Filter):
    """Longer side over shorter side of the original image, 1 and up. DataComp and COYO keep up to 3.0, CC12M up to 2.5."""

    max: float | None = 3.0
    reads = ("original_width", "original_height")
    dtype = pa.float64()  # 3.001 is more than 3.0
    unit = "1 and more"

    def score(self, live: pa.Table) -> pa.Array:
        sides = (live["original_width"], live["original_height"])
        longer, shorter = pc.max_element_wise(*sides, skip_nulls=False), pc.min_element_wise(*sides, skip_nulls=False)
        shorter = pc.if_else(pc.greater(shorter, 0), shorter, pa.scalar(None, shorter.type))
        return pc.divide(longer.cast(pa.float64()), shorter.cast(pa.float64()))
