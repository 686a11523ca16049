"""The shorter side of the image."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class ImageSide(Filter):
    """Shorter side of the original image, in pixels. DataComp and COYO keep 200 and more."""

    min: float | None = 200
    reads = ("original_width", "original_height")
    dtype = pa.int32()
    unit = "pixels"

    def score(self, live: pa.Table) -> pa.Array:
        return pc.min_element_wise(live["original_width"], live["original_height"], skip_nulls=False)
