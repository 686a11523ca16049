"""Characters in the caption."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class CaptionChars(Filter):
    """Code points in the caption, or in another column, `of`. DataComp's basic filter keeps six or more (2304.14108), LAION five."""

    min: float | None = 6
    reads = ("text",)
    dtype = pa.int32()

    of: str = "text"

    def __post_init__(self):
        super().__post_init__()
        self.reads = (self.of,)

    def score(self, live: pa.Table) -> pa.Array:
        return pc.utf8_length(live[self.of])
