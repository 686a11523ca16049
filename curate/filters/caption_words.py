"""Words in the caption."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class CaptionWords(Filter):
    """Words in the caption, split at white space. DataComp's basic filter keeps three or more (2304.14108)."""

    min: float | None = 3
    reads = ("text",)
    dtype = pa.int32()
    unit = "words"

    def score(self, live: pa.Table) -> pa.Array:
        words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(live["text"])))
        return pc.if_else(pc.equal(pc.utf8_trim_whitespace(live["text"]), ""), 0, words.cast(pa.int32()))
