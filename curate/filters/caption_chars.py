"""Characters in the caption."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class CaptionChars(Filter):
    """Code points in the caption. DataComp's basic filter keeps six or more (2304.14108), LAION five."""

    min: float | None = 6
    reads = ("text",)
    dtype = pa.int32()
    unit = "characters"

    def score(self, live: pa.Table) -> pa.Array:
        return pc.utf8_length(live["text"])
